"""Write an organisation's books from a file into a database that does not know it."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from credit_sdk.models import ChainVerification, Verification
from reference_server.transfer.lines import Contents, Opening, TransferError, read_line, read_row
from reference_server.transfer.tables import Connection, Source, Summing, head, prepare, sources

_AT_ONCE = 500
_INSERT = sql.SQL(
    "INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_array_elements(%s::jsonb) AS line (document)"
    " CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, line.document -> 'row') AS stated"
)

_MAKE_MONTHS = """
    SELECT ledger.require_archive_of(needed.month)
    FROM (
      SELECT DISTINCT date_trunc('month', stated.created_at, 'UTC') AS month
      FROM jsonb_array_elements(%s::jsonb) AS line (document)
      CROSS JOIN LATERAL jsonb_to_record(line.document -> 'row') AS stated (created_at TIMESTAMPTZ)
    ) AS needed
"""
_BY_MONTH = "credit_usage_archive"
"""The table that has a partition for each month, which may be missing here."""


def import_organization(
    connection: Connection, lines: Iterable[str], *, advance: Callable[[], object] = lambda: None
) -> tuple[str, Contents]:
    """Write the rows of an archive, check them, and return whose they are and what they were.

    All of it or nothing, in one transaction: the digests of what stands in the database afterwards are
    those of the file, every balance follows from the rows, and the chain fits. What the database notes
    about it in its audit is put down to `import`. The connection is the owner's, autocommitting, and in
    no transaction. `advance` is called for each row.

    Raises `TransferError` for an organisation that is there already, and for a file that is damaged, of
    another version of the schema, or does not agree with itself.
    """
    reading = iter(lines)
    opening = read_line(Opening, next(reading, ""), "The first line")
    with connection.transaction():
        request_id = f"import-{uuid4()}"
        _begin(connection, opening, request_id)
        tables = {source.name: source for source in sources(connection)}
        try:
            contents = _write(connection, opening.org_id, tables, _counted(reading, advance))
        except psycopg.errors.UniqueViolation as error:
            taken = f"{error.diag.table_name} ({error.diag.constraint_name})"
            raise TransferError(
                f"Something of organisation {opening.org_id!r} is another's here already: {taken}."
            ) from None
        except psycopg.Error as error:
            if not _is_the_rows_fault(error):
                raise
            raise TransferError(
                f"A row of the file does not fit the books: {error.diag.message_primary}"
            ) from None
        _compare(connection, opening.org_id, tables.values(), contents, request_id)
        _verify(connection, opening.org_id)
    return opening.org_id, contents


def _is_the_rows_fault(error: psycopg.Error) -> bool:
    refused_by_us = (error.sqlstate or "").startswith("CR")
    return refused_by_us or isinstance(error, psycopg.DataError | psycopg.IntegrityError)


def _begin(connection: Connection, opening: Opening, request_id: str) -> None:
    version = prepare(connection)
    if version != opening.schema_version:
        advice = (
            "install a credit-sdk as new as the one that wrote the file, and run its `credits migrate` here"
            if version < opening.schema_version
            else "run `credits migrate` on the database that the file came from, and export anew"
        )
        raise TransferError(
            f"The file is of version {opening.schema_version} of the schema, the database of {version}: "
            f"{advice}."
        )
    known = connection.execute("SELECT FROM public.organizations WHERE id = %s", [opening.org_id]).fetchone()
    if known is not None:
        raise TransferError(
            f"Organisation {opening.org_id!r} is in this database already: an import overwrites nothing."
        )
    who = {"actor": "import", "actor_kind": "system", "request_id": request_id}
    connection.execute("SELECT ledger.act_as(%s::jsonb)", [json.dumps(who)])


def _counted(lines: Iterable[str], advance: Callable[[], object]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=2):
        yield number, line
        advance()


def _write(
    connection: Connection, org_id: str, tables: dict[str, Source], lines: Iterator[tuple[int, str]]
) -> Contents:
    last = ""

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal last
        for number, line in lines:
            found = read_row(line, number)
            if found is None:
                last = line
                return
            _refuse_strangers(number, found, org_id, tables)
            yield found[0], line

    for name, group in itertools.groupby(rows(), key=lambda row: row[0]):
        source = tables[name]
        statement = _INSERT.format(
            table=sql.Identifier("public", name),
            columns=sql.SQL(", ").join(map(sql.Identifier, source.columns)),
        )
        texts = (line for _, line in group)
        while chunk := list(itertools.islice(texts, _AT_ONCE)):
            documents = f"[{','.join(chunk)}]"
            if name == _BY_MONTH:
                connection.execute(_MAKE_MONTHS, [documents])
            connection.execute(statement, [documents])
    if not last or next(lines, None) is not None:
        raise TransferError("The file has no end, or something behind it: it was not written to its end.")
    return read_line(Contents, last, "The last line")


def _refuse_strangers(
    number: int, found: tuple[str, dict[str, Any]], org_id: str, tables: dict[str, Source]
) -> None:
    name, row = found
    if name not in tables:
        raise TransferError(f"Line {number} is of the table {name!r}, which no organisation has.")
    if row.get(tables[name].owner) != org_id:
        raise TransferError(f"Line {number} is another organisation's.")


def _compare(
    connection: Connection, org_id: str, tables: Iterable[Source], contents: Contents, request_id: str
) -> None:
    """Read back what was written: what the digests cover is what is in the database now."""
    if contents.tables.keys() != {source.name for source in tables}:
        raise TransferError("The file has other tables than this version's.")
    for source in tables:
        summing = Summing()
        for row in source.rows(connection, org_id, but_for_request=request_id):
            summing.add(row)
        written, stated = summing.table(), contents.tables[source.name]
        if written != stated:
            raise TransferError(
                f"The file does not agree with itself: {source.name} has {written.rows} rows with the digest "
                f"{written.digest}, and the last line says {stated.rows} with {stated.digest}."
            )
    if head(connection, org_id) != contents.head:
        raise TransferError("The file does not agree with itself: the chain has another head.")


def _verify(connection: Connection, org_id: str) -> None:
    [[books]] = connection.execute("SELECT ledger.verify_ledger(%s)", [org_id]).fetchall()
    found = Verification.model_validate(books)
    if not found.ok:
        first = found.differences[0]
        raise TransferError(
            f"The books of the file do not agree: {first.figure} of {first.subject} is {first.recorded} "
            f"millicredits, but the rows say {first.recomputed}."
        )
    [[links]] = connection.execute("SELECT ledger.verify_chain(%s)", [org_id]).fetchall()
    chain = ChainVerification.model_validate(links)
    if not chain.ok:
        broken = chain.breaks[0]
        raise TransferError(f"The chain of the file is broken at {broken.sequence}: {broken.reason}.")
