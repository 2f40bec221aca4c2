"""Operations as calls of the stored functions of the same name, and their rows as results.

`Deduct` is `SELECT * FROM ledger.deduct(org_id => $1, ...)`. Amounts cross this border as integers
of which `scale` make one credit (1000 for millicredits).
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, cast, get_args, get_type_hints

from psycopg.types.numeric import Int8

from credit_sdk.amounts import Credits, to_millicredits
from credit_sdk.operations import DeductBatch, Metadata, Operation, ResultT_co

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a stored function."""

    statement: bytes
    parameters: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """How an operation's fields become the arguments of its function."""

    statement: bytes
    amounts: frozenset[str]
    documents: frozenset[str]
    fields: tuple[str, ...]


@cache
def signature(kind: type[Operation[Any]]) -> Signature:
    """Return the call for a class of operations; arguments are passed by name."""
    fields = tuple(kind.model_fields)
    documents = _fields_of_type(kind, Metadata)
    arguments = ", ".join(
        f'"{name}" => ${position}{"::jsonb" if name in documents else ""}'
        for position, name in enumerate(fields, start=1)
    )
    return Signature(
        # Names of classes and fields of this package, never a caller's text.
        statement=f"SELECT * FROM ledger.{function_name(kind)}({arguments})".encode(),  # noqa: S608
        amounts=_fields_of_type(kind, Credits),
        documents=documents,
        fields=fields,
    )


def function_name(kind: type[Operation[Any]]) -> str:
    """Return the name of the stored function: the class name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def calls(operation: Operation[Any], scale: int) -> list[Call]:
    """Return the calls that carry an operation out: one, or one for each organisation of a batch."""
    if isinstance(operation, DeductBatch):
        return [_batch_call(operation, org_id, scale) for org_id in _organizations(operation)]
    shape = signature(type(operation))
    return [Call(shape.statement, tuple(argument(operation, name, scale) for name in shape.fields))]


def result(
    operation: Operation[ResultT_co], columns: tuple[str, ...], rows: list[Row | None], scale: int
) -> ResultT_co:
    """Return the result that the rows (one a call) stand for."""
    answers = cast("list[Row]", rows)
    documents = [
        row[0] if columns == ("document",) else dict(zip(columns, row, strict=True)) for row in answers
    ]
    if isinstance(operation, DeductBatch):
        document = {"outcomes": _in_order(operation, documents)}
    else:
        document = documents[0]
    return cast("ResultT_co", operation.result.model_validate(document, context={"scale": scale}))


def argument(operation: Operation[Any], name: str, scale: int) -> Any:
    """Return a field as the argument of a function: amounts in the database's units, documents as JSON."""
    value = getattr(operation, name)
    if value is None:
        return None
    shape = signature(type(operation))
    if name in shape.amounts:
        return Int8(to_millicredits(value, scale))
    if name in shape.documents:
        return json.dumps(value, separators=(",", ":")) if value else "{}"
    return value


def _fields_of_type(kind: type[Operation[Any]], wanted: object) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(
        name for name in kind.model_fields if hints[name] == wanted or wanted in get_args(hints[name])
    )


_BATCH = b"SELECT * FROM ledger.deduct_batch(org_id => $1, charges => $2::jsonb)"
_CHARGE_FIELDS = ("user_id", "service_type", "service_name", "request_id", "request_metadata", "api_key_id")


def _organizations(batch: DeductBatch) -> list[str]:
    return list(dict.fromkeys(charge.org_id for charge in batch.charges))


def _batch_call(batch: DeductBatch, org_id: str, scale: int) -> Call:
    # One JSON document costs the client a fifth of what arrays of parameters do.
    charges = [
        {name: getattr(charge, name) for name in _CHARGE_FIELDS}
        | {"credits": to_millicredits(charge.credits, scale)}
        for charge in batch.charges
        if charge.org_id == org_id
    ]
    return Call(_BATCH, (org_id, json.dumps(charges, separators=(",", ":"))))


def _in_order(batch: DeductBatch, documents: list[dict[str, Any]]) -> list[Any]:
    organizations = _organizations(batch)
    outcomes = {
        org_id: iter(document["outcomes"]) for org_id, document in zip(organizations, documents, strict=True)
    }
    return [next(outcomes[charge.org_id]) for charge in batch.charges]


__all__ = ["Call", "Row", "argument", "calls", "function_name", "result", "signature"]
