"""Adopt a database of the first system: its rows become books, and nothing of it is dropped or rewritten.

Its tables, functions and views are put aside, whole, into the schema `first_system`. The ledger's own take
their names, get the rows, and the columns that only the old tables have. All of it is one transaction, with
the migrations: it is done and verified, or nothing has happened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from reference_server.adoption import catalogue, refusals
from reference_server.adoption.extras import give_extras
from reference_server.adoption.shapes import HOME, SHAPES, view_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable

    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA = "first_system"
AFTER = 12
"""The version of the books that rows are carried into; what later migrations do, they do to adopted rows."""
_MADE = re.compile(r"(?im)^CREATE TABLE (?:IF NOT EXISTS )?(?:public\.)?(\w+)")
_FUNCTIONS = """
    SELECT oid::regprocedure::text, proname, proargtypes[0] = 'uuid'::regtype FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proname = ANY(%s)
"""
_DIFFERING = """
    SELECT count(*) FROM old_users AS person
    WHERE person.credits <> (
      SELECT sum(entry.amount) FROM old_credits_transactions AS entry WHERE entry.user_id = person.id
    )
"""
_VIEWS = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' AND relname = ANY(%s)
"""


class AdoptionError(RuntimeError):
    """The database cannot be adopted as it is; `reasons` name tables and columns."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        more = len(self.reasons) - 1
        others = f" (and {more} more, which --dry-run lists)" if more else ""
        super().__init__(f"This database cannot be adopted as it is: {self.reasons[0]}{others}.")


@dataclass(frozen=True)
class Adoption:
    """What adopting a database comes to: its tables with their rows, and what an operator should know."""

    rows: dict[str, int]
    notes: tuple[str, ...]


class FirstSystem:
    """A database of the first system, under a transaction of the caller's."""

    def __init__(self, connection: Connection, folder: Traversable, names: list[str]) -> None:
        self._connection = connection
        self._sql = folder / "adoption"
        self._replaced = sorted(
            file.name.removesuffix(".sql")
            for each in ("compat", "views")
            for file in (folder / each).iterdir()
        )
        connection.execute("SET LOCAL search_path = ''")
        self._found = catalogue.read(connection, names, self._replaced)
        connection.execute("RESET search_path; SET LOCAL TimeZone = 'UTC'")

    def lock(self) -> None:
        """Keep everybody off the tables: from here on no charge falls between the two systems."""
        for table in self._found.tables:
            self._connection.execute(
                sql.SQL("LOCK TABLE public.{} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table))
            )

    def examine(self) -> Adoption:
        """Return what there is to adopt; raise AdoptionError with every reason against it."""
        reasons = list(refusals.of_structure(self._found))
        if reasons:
            raise AdoptionError(reasons)
        tables = self._found.tables
        for table in SHAPES:
            present = frozenset(column.name for column in tables[table]) if table in tables else None
            self._connection.execute(view_of(table, present).encode())
        names = sql.SQL(", ").join(sql.SQL("({})").format(sql.Literal(name)) for name in tables)
        self._connection.execute(
            sql.SQL("CREATE TEMPORARY VIEW old_tables (name) AS VALUES {}").format(names)
        )
        self._run("reading.sql")
        reasons = list(refusals.of_rows(self._connection, self._text("refusals.sql")))
        if reasons:
            raise AdoptionError(reasons)
        return Adoption({table: self._count(table) for table in tables}, tuple(self._notes()))

    def put_aside(self) -> None:
        """Move the tables, functions and views into a schema of their own, as they are."""
        self._connection.execute(f"CREATE SCHEMA {SCHEMA}".encode())
        for reader in self._found.readers:
            self._move(sql.SQL("VIEW {}").format(sql.SQL(reader.name)))
        for (view,) in self._connection.execute(_VIEWS, [self._replaced]).fetchall():
            self._move(sql.SQL("VIEW public.{}").format(sql.Identifier(view)))
        self._functions = self._connection.execute(_FUNCTIONS, [self._replaced]).fetchall()
        for signature, _, _ in self._functions:
            self._move(sql.SQL("FUNCTION {}").format(sql.SQL(signature)))
        for table in self._found.tables:
            self._move(sql.SQL("TABLE public.{}").format(sql.Identifier(table)))

    def carry(self) -> None:
        """Fill the ledger's tables, and let what refers to the old ones refer to them."""
        self._run("carry.sql")
        for table, columns in self._found.tables.items():
            extra = refusals.extra_columns(table, columns)
            give_extras(self._connection, SCHEMA, table, HOME[table], extra)
        for reference in self._found.references:
            statement = "ALTER TABLE {} DROP CONSTRAINT {}, ADD CONSTRAINT {} {}"
            name = sql.Identifier(reference.name)
            parts = sql.SQL(reference.table), name, name, sql.SQL(reference.definition)
            self._connection.execute(sql.SQL(statement).format(*parts))

    def finish(self) -> None:
        """Let the application's views and callers see the ledger, and prove that every balance is kept."""
        for reader in self._found.readers:
            name, definition = sql.SQL(reader.name), sql.SQL(reader.definition)
            self._connection.execute(sql.SQL("CREATE VIEW {} AS {}").format(name, definition))
        if any(takes_uuid for _, _, takes_uuid in self._functions):
            self._run("uuid_callers.sql")
        reasons = [
            f"{place} of {owner} would become {after} instead of {before}"
            for place, owner, before, after in self._connection.execute(self._text("balances.sql").encode())
        ]
        books = self._connection.execute("SELECT ledger.verify_ledger()").fetchone()
        assert books is not None  # noqa: S101 - a function answers
        reasons += [
            f"{wrong['subject']} of {wrong['org_id']} would not add up in {wrong['figure']}"
            for wrong in books[0]["differences"]
        ]
        if reasons:
            raise AdoptionError(reasons)

    def _notes(self) -> list[str]:
        notes = [
            f"{table}.{column.name} can be empty for rows that the ledger writes"
            for table, columns in self._found.tables.items()
            for column in refusals.extra_columns(table, columns)
            if column.is_required and column.default is None and not column.is_identity
        ]
        notes += [
            f"the trigger {trigger} of {table} stays with the old table"
            for table, trigger in self._found.triggers
        ]
        notes += [
            f"the role {role} has rights on {table}, which stay there: GRANT credits_app TO {role}"
            for table, role in self._found.rights
        ]
        differing = self._connection.execute(_DIFFERING).fetchone()
        if differing and differing[0]:
            notes.append(
                f"users.credits of {differing[0]} users is not the sum of their transactions, which decides"
            )
        return notes

    def _move(self, what: sql.Composed) -> None:
        self._connection.execute(sql.SQL("ALTER {} SET SCHEMA {}").format(what, sql.Identifier(SCHEMA)))

    def _count(self, table: str) -> int:
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(f"old_{table}"))
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def _run(self, file: str) -> None:
        self._connection.execute(self._text(file).encode())

    def _text(self, file: str) -> str:
        return (self._sql / file).read_text(encoding="utf-8")


def first_system(
    connection: Connection, folder: Traversable, migrations: Iterable[str]
) -> FirstSystem | None:
    """Return the first system in a database without a schema of ours, or None if it is free for one.

    Raises AdoptionError for tables that are in the way and not the first system's.
    """
    ours = {name for text in migrations for name in _MADE.findall(text)}
    taken = catalogue.tables(connection, ours | SHAPES.keys())
    strangers = [name for name in taken if name not in SHAPES]
    if strangers:
        raise AdoptionError(
            f"{name} is a table that the ledger has too, and not one of the first system: rename it"
            for name in strangers
        )
    return FirstSystem(connection, folder, taken) if taken else None
