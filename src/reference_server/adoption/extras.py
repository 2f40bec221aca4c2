"""Columns that only the first system's table has: the ledger's gets them, with what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

    from reference_server.adoption.catalogue import Column

    Connection = psycopg.Connection[tuple[Any, ...]]

_KEYS = {"organization_members": ("org_id", "user_id")}
_RULES = """
    SELECT rule.conname, pg_get_constraintdef(rule.oid) FROM pg_constraint AS rule
    WHERE rule.conrelid = %s::regclass AND rule.contype IN ('c', 'f')
      AND EXISTS (
        SELECT FROM pg_attribute AS field
        WHERE field.attrelid = rule.conrelid AND field.attnum = ANY(rule.conkey) AND field.attname = ANY(%s)
      )
"""
_DEFAULTS = """
    SELECT field.attname, pg_get_expr(preset.adbin, preset.adrelid)
    FROM pg_attrdef AS preset
    JOIN pg_attribute AS field ON field.attrelid = preset.adrelid AND field.attnum = preset.adnum
    WHERE preset.adrelid = %s::regclass
"""
_INDEXES = """
    SELECT pg_get_indexdef(entry.indexrelid), entry.indexrelid::regclass::text, entry.indisprimary
    FROM pg_index AS entry
    WHERE entry.indrelid = %s::regclass
      AND EXISTS (
        SELECT FROM pg_attribute AS field
        WHERE field.attrelid = entry.indrelid AND field.attnum = ANY(entry.indkey) AND field.attname = ANY(%s)
      )
"""


def give_extras(connection: Connection, schema: str, table: str, home: str, columns: list[Column]) -> None:
    """Add columns of `schema.table` to `public.home`: their defaults, rules, indexes and values."""
    if not columns:
        return
    names = [column.name for column in columns]
    target = sql.Identifier("public", home)
    source = sql.Identifier(schema, table)
    connection.execute(
        sql.SQL("ALTER TABLE {} {}").format(target, sql.SQL(", ").join(map(_addition, columns)))
    )
    values = sql.SQL(", ").join(
        sql.SQL("{name} = old.{name}").format(name=sql.Identifier(name)) for name in names
    )
    # Ids are text here and may be UUIDs there, or the other way round.
    keys = sql.SQL(" AND ").join(
        sql.SQL("new.{key}::text = old.{key}::text").format(key=sql.Identifier(key))
        for key in _KEYS.get(table, ("id",))
    )
    connection.execute(
        sql.SQL("UPDATE {} AS new SET {} FROM {} AS old WHERE {}").format(target, values, source, keys)
    )
    address = f"{schema}.{table}"
    presets: dict[str, str] = dict(connection.execute(_DEFAULTS, [address]).fetchall())
    for column in columns:
        default = _identity(address, column) if column.is_identity else presets.get(column.name)
        if default is None:
            continue
        name = sql.Identifier(column.name)
        preset = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}").format(
            target, name, sql.SQL(default)
        )
        connection.execute(preset)
        if column.is_required:
            connection.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL").format(target, name))
    for name, definition in connection.execute(_RULES, [address, names]).fetchall():
        rule = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
        among_us = definition.replace(f" REFERENCES {schema}.", " REFERENCES public.")
        connection.execute(rule.format(target, sql.Identifier(name), sql.SQL(among_us)))
    for definition, name, is_primary in connection.execute(_INDEXES, [address, names]).fetchall():
        kept = definition.replace(f" ON {address} ", f" ON public.{home} ", 1)
        if is_primary:
            # The ledger's table has another primary key, of this name.
            own = name.removeprefix(f"{schema}.")
            kept = kept.replace(f" INDEX {own} ", f" INDEX {home}_key_of_{schema} ", 1)
        connection.execute(sql.SQL(kept))


def _addition(column: Column) -> sql.Composed:
    return sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(column.name), sql.SQL(column.declared))


def _identity(address: str, column: Column) -> str:
    return f"nextval(pg_get_serial_sequence('{address}', '{column.name}')::regclass)"
