"""Why a database of the first system cannot be adopted as it is: each reason names a table and a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_server.adoption.shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from reference_server.adoption.catalogue import Catalogue, Column

    Connection = psycopg.Connection[tuple[Any, ...]]

_KEYS = {("organizations", "id"), ("users", "id"), ("users", "email")}
_LEFT_BEHIND = {("organization_credit_pools", "id")}
# Columns of the books that mean something else than a column of that name elsewhere might.
_OURS = {
    "user_credit_allocations": {"settled_credits", "held_credits", "shortfall_credits", "capped"},
    "credit_usage_attribution": {
        *("refund_of", "hold_id", "remaining_after", "refundable_after", "api_key_id"),
    },
    "org_billing_history": {"credits", "request_id"},
    "users": {"held_credits"},
    "credits_transactions": {"refund_of", "refundable_after", "hold_id"},
}


def of_structure(found: Catalogue) -> Iterator[str]:
    """Yield what is wrong with tables and columns, whatever is in them."""
    for table in found.keyless:
        yield f"{table} has no primary key"
    for table, columns in found.tables.items():
        yield from _of_columns(table, {column.name: column for column in columns})
    for reference in found.references:
        named = f"{reference.table}.{reference.column}"
        target = (reference.target, reference.target_columns)
        if target not in _KEYS:
            yield f"{named} refers to {target[0]} ({target[1]}), which is not a key of the ledger"
        elif reference.type == "uuid":
            yield f"{named} is a UUID that refers to {target[0]}, whose ids are text"
    for reader in found.readers:
        if reader.is_materialized:
            yield f"{reader.name} is a materialized view over tables that are replaced"


def of_rows(connection: Connection, query: str) -> Iterator[str]:
    """Yield what is wrong with rows, of which one is named."""
    for place, reason, count, example in connection.execute(query.encode()):
        yield f"{place} is {reason}: {count} {'row' if count == 1 else 'rows'}, such as {example}"


def extra_columns(table: str, columns: list[Column]) -> list[Column]:
    """Return the columns that the ledger does not know and that its table is given."""
    shape = SHAPES[table]
    known = shape.columns.keys() | shape.derived
    return [
        column for column in columns if column.name not in known and (table, column.name) not in _LEFT_BEHIND
    ]


def _of_columns(table: str, columns: dict[str, Column]) -> Iterator[str]:
    shape = SHAPES[table]
    for name, kind in shape.columns.items():
        column = columns.get(name)
        if column is None:
            if name in shape.required:
                yield f"{table}.{name} is missing"
        elif column.type not in kind.accepted:
            yield f"{table}.{name} is {column.declared}, where {kind.described} is needed"
    for column in extra_columns(table, list(columns.values())):
        if table == "organization_credit_pools":
            yield f"{table}.{column.name} is not of the first system, and a view takes the table's place"
        elif column.name in _OURS.get(table, ()):
            yield f"{table}.{column.name} has the name of a column of the ledger that means something else"
        elif column.is_generated:
            yield f"{table}.{column.name} is generated, and not of the first system"
