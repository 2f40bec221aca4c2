"""What a database has that is the first system's: tables, columns, and what depends on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_TABLES = """
    SELECT relation.relname FROM pg_class AS relation
    WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p')
      AND relation.relname = ANY(%s)
    ORDER BY relation.relname
"""
_COLUMNS = """
    SELECT
      field.attname,
      CASE WHEN type.typtype = 'e' THEN 'enum' ELSE type.typname END,
      format_type(field.atttypid, field.atttypmod),
      pg_get_expr(preset.adbin, preset.adrelid),
      field.attidentity <> '',
      field.attgenerated <> '',
      field.attnotnull
    FROM pg_attribute AS field
    JOIN pg_type AS type ON type.oid = field.atttypid
    LEFT JOIN pg_attrdef AS preset ON preset.adrelid = field.attrelid AND preset.adnum = field.attnum
    WHERE field.attrelid = format('public.%%I', %s::text)::regclass
      AND field.attnum > 0 AND NOT field.attisdropped
    ORDER BY field.attnum
"""
_HAS_PRIMARY_KEY = """
    SELECT EXISTS (
      SELECT FROM pg_constraint
      WHERE conrelid = format('public.%%I', %s::text)::regclass AND contype = 'p'
    )
"""
_REFERENCES = """
    SELECT
      reference.conrelid::regclass::text, reference.conname, pg_get_constraintdef(reference.oid),
      target.relname, string_agg(field.attname, ', '), min(own.attname),
      min(format_type(own.atttypid, own.atttypmod))
    FROM pg_constraint AS reference
    JOIN pg_class AS target ON target.oid = reference.confrelid
    JOIN pg_attribute AS field
      ON field.attrelid = reference.confrelid AND field.attnum = ANY(reference.confkey)
    JOIN pg_attribute AS own ON own.attrelid = reference.conrelid AND own.attnum = ANY(reference.conkey)
    WHERE reference.contype = 'f'
      AND reference.confrelid = ANY(%(moved)s::regclass[])
      AND reference.conrelid <> ALL(%(moved)s::regclass[])
    GROUP BY reference.oid, target.relname
    ORDER BY 1, 2
"""
_READERS = """
    WITH RECURSIVE reads (reader, depth) AS (
      SELECT unnest(%(moved)s::regclass[]), 0
      UNION
      SELECT rule.ev_class, reads.depth + 1
      FROM reads
      JOIN pg_depend AS dependency
        ON dependency.refobjid = reads.reader AND dependency.classid = 'pg_rewrite'::regclass
      JOIN pg_rewrite AS rule ON rule.oid = dependency.objid AND rule.ev_class <> reads.reader
    )
    SELECT reader.oid::regclass::text, reader.relkind = 'm', pg_get_viewdef(reader.oid)
    FROM reads
    JOIN pg_class AS reader ON reader.oid = reads.reader
    WHERE reads.depth > 0 AND reader.relpersistence <> 't'
      AND NOT (reader.relnamespace = 'public'::regnamespace AND reader.relname = ANY(%(names)s))
    GROUP BY reader.oid
    ORDER BY max(reads.depth), 1
"""
_TRIGGERS = """
    SELECT DISTINCT owner.relname, hook.tgname
    FROM pg_trigger AS hook
    JOIN pg_class AS owner ON owner.oid = hook.tgrelid
    WHERE NOT hook.tgisinternal AND hook.tgrelid = ANY(%(moved)s::regclass[])
    ORDER BY 1, 2
"""
_RIGHTS = """
    SELECT DISTINCT relation.relname, coalesce(role.rolname, 'PUBLIC')
    FROM pg_class AS relation
    CROSS JOIN LATERAL aclexplode(relation.relacl) AS item
    LEFT JOIN pg_roles AS role ON role.oid = item.grantee
    WHERE relation.oid = ANY(%(moved)s::regclass[]) AND item.grantee <> relation.relowner
    ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Column:
    """A column as it is; `type` is PostgreSQL's short name, or `enum`."""

    name: str
    type: str
    declared: str
    default: str | None
    is_identity: bool
    is_generated: bool
    is_required: bool


@dataclass(frozen=True)
class Reference:
    """A foreign key of another table to one that is adopted."""

    table: str
    name: str
    definition: str
    target: str
    target_columns: str
    column: str
    type: str


@dataclass(frozen=True)
class Reader:
    """A view of the application's own over tables that are adopted, or over such a view."""

    name: str
    is_materialized: bool
    definition: str


@dataclass(frozen=True)
class Catalogue:
    """The first system's tables in a database, and what of the application depends on them."""

    tables: dict[str, list[Column]]
    keyless: tuple[str, ...]
    references: tuple[Reference, ...]
    readers: tuple[Reader, ...]
    triggers: tuple[tuple[str, str], ...]
    rights: tuple[tuple[str, str], ...]


def tables(connection: Connection, names: Iterable[str]) -> list[str]:
    """Return which of the names are tables of the schema `public`."""
    return [name for (name,) in connection.execute(_TABLES, [list(names)])]


def read(connection: Connection, names: Sequence[str], replaced: Iterable[str]) -> Catalogue:
    """Return what there is about tables; the views `replaced` are the first system's own.

    What depends on them is described with full names: nothing may be in the search path.
    """
    moved = {"moved": [f"public.{name}" for name in names], "names": list(replaced)}
    return Catalogue(
        {name: [Column(*row) for row in connection.execute(_COLUMNS, [name])] for name in names},
        tuple(name for name in names if not _has_primary_key(connection, name)),
        tuple(Reference(*row) for row in connection.execute(_REFERENCES, moved)),
        tuple(Reader(*row) for row in connection.execute(_READERS, moved)),
        tuple((table, trigger) for table, trigger in connection.execute(_TRIGGERS, moved)),
        tuple((table, role) for table, role in connection.execute(_RIGHTS, moved)),
    )


def _has_primary_key(connection: Connection, name: str) -> bool:
    return connection.execute(_HAS_PRIMARY_KEY, [name]).fetchone() == (True,)
