"""Which tables hold an organisation's books: every one with a column `org_id`, and the organisation's own.

They are asked of the database, so that a new table is exported the day it is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from hashlib import sha256
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from reference_server.transfer.lines import Head, Table, TransferError

Connection = psycopg.Connection[tuple[Any, ...]]

LEFT_OUT = {
    "stripe_customers": "Stripe's events reach the server of one database, and stay there",
    "organization_cells": "where an organisation lives is each database's own knowledge",
}
"""Tables with an `org_id` that do not belong to the books, and why."""
_OF_THE_CLUSTER = {
    "ledger_heads": ("candidate_at", "candidate_xid"),
    "user_credit_allocations": ("moved",),
    "credit_pools": ("moved",),
}
"""Columns that mean something in the cluster alone in which they were written."""
_DECIDED_BY = {"user_credit_allocations": {"credit_pools", "credit_caps"}}
"""Tables whose triggers look at others, to which no foreign key leads."""
_AT_ONCE = 500

_COLUMNS: LiteralString = """
    SELECT
      relation.relname, owner.attname,
      array_agg(field.attname::text ORDER BY field.attnum) FILTER (WHERE field.attgenerated = ''),
      coalesce(array_agg(field.attname::text) FILTER (WHERE field.attgenerated <> ''), '{}'),
      (
        SELECT array_agg(part.attname::text ORDER BY place.number)
        FROM pg_index AS main
        CROSS JOIN LATERAL unnest(main.indkey::int2[]) WITH ORDINALITY AS place (attnum, number)
        INNER JOIN pg_attribute AS part ON part.attrelid = main.indrelid AND part.attnum = place.attnum
        WHERE main.indrelid = relation.oid AND main.indisprimary
      ),
      (
        SELECT coalesce(array_agg(DISTINCT other.relname::text), '{}')
        FROM pg_constraint AS reference
        INNER JOIN pg_class AS other ON other.oid = reference.confrelid
        WHERE reference.conrelid = relation.oid AND reference.contype = 'f'
      )
    FROM pg_class AS relation
    INNER JOIN pg_attribute AS owner
      ON owner.attrelid = relation.oid AND NOT owner.attisdropped
      AND owner.attname = CASE relation.relname WHEN 'organizations' THEN 'id' ELSE 'org_id' END
    INNER JOIN pg_attribute AS field
      ON field.attrelid = relation.oid AND field.attnum > 0 AND NOT field.attisdropped
    WHERE relation.relnamespace = 'public'::regnamespace
      AND relation.relkind IN ('r', 'p') AND NOT relation.relispartition
    GROUP BY relation.oid, relation.relname, owner.attname
    ORDER BY relation.relname
"""
_VERSION: LiteralString = "SELECT max(version) FROM public.credit_sdk_migrations"
_HEAD: LiteralString = "SELECT sequence, encode(digest, 'hex') FROM public.ledger_heads WHERE org_id = %s"
# Times are written in the session's zone, and bytes as it likes them. A role that row-level security would
# show only a part is refused.
_PLAIN: LiteralString = (
    "SELECT set_config('timezone', 'UTC', TRUE), set_config('bytea_output', 'hex', TRUE),"
    " set_config('datestyle', 'ISO', TRUE), set_config('row_security', 'off', TRUE)"
)


@dataclass(frozen=True, slots=True)
class Source:
    """A table, and the columns that are kept of it. `owner` names the organisation, `key` the order."""

    name: str
    owner: str
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    key: tuple[str, ...]

    def rows(
        self, connection: Connection, org_id: str, *, but_for_request: str | None = None
    ) -> Iterator[str]:
        """Yield an organisation's rows as JSON, without those of a request; not all of them at once."""
        keeping: sql.Composable = sql.SQL("TRUE")
        if but_for_request is not None and "request_id" in self.columns:
            keeping = sql.SQL("request_id IS DISTINCT FROM {}").format(sql.Literal(but_for_request))
        query = sql.SQL(
            "SELECT (to_jsonb(kept) - {left_out}::text[])::text FROM {table} AS kept"
            " WHERE {owner} = {org_id} AND {keeping} ORDER BY {key}"
        ).format(
            left_out=sql.Literal(list(self.left_out)),
            table=sql.Identifier("public", self.name),
            owner=sql.Identifier(self.owner),
            org_id=sql.Literal(org_id),
            keeping=keeping,
            key=sql.SQL(", ").join(map(sql.Identifier, self.key)),
        )
        with connection.cursor(name="rows_of_organization") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(query)
            for (row,) in cursor:
                yield row


class Summing:
    """Counts the rows of a table, and digests them as they pass."""

    def __init__(self) -> None:
        self._rows = 0
        self._digest = sha256()

    def add(self, row: str) -> None:
        """Take one more row, as PostgreSQL writes it."""
        self._rows += 1
        self._digest.update(row.encode() + b"\n")

    def table(self) -> Table:
        """Return what has passed."""
        return Table(rows=self._rows, digest=self._digest.hexdigest())


def sources(connection: Connection) -> list[Source]:
    """Return the tables in an order in which rows can be written."""
    found: dict[str, Source] = {}
    after: dict[str, set[str]] = {}
    for name, owner, columns, generated, key, references in connection.execute(_COLUMNS):
        if name in LEFT_OUT:
            continue
        foreign = _OF_THE_CLUSTER.get(name, ())
        kept = tuple(column for column in columns if column not in foreign)
        found[name] = Source(name, owner, kept, (*generated, *foreign), tuple(key))
        after[name] = {*references, *_DECIDED_BY.get(name, ())}
    order = TopologicalSorter({name: sorted(after[name] & found.keys() - {name}) for name in found})
    return [found[name] for name in order.static_order()]


def prepare(connection: Connection) -> int:
    """Let the transaction write values in one way only; return the version of the schema."""
    connection.execute(_PLAIN)
    known = connection.execute("SELECT to_regclass('public.credit_sdk_migrations') IS NOT NULL").fetchone()
    row = connection.execute(_VERSION).fetchone() if known == (True,) else None
    if row is None or row[0] is None:
        raise TransferError("The database has no billing schema: run `credits migrate` on it first.")
    return int(row[0])


def head(connection: Connection, org_id: str) -> Head:
    """Return the end of an organisation's chain."""
    row = connection.execute(_HEAD, [org_id]).fetchone()
    return Head(sequence=row[0], digest=row[1]) if row else Head(sequence=0, digest="00" * 32)
