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
from credit_sdk.models import ActorKind
from credit_sdk.operations import CaptureHold, DeductBatch, Metadata, Operation, Part, PlaceHold, ResultT_co
from credit_sdk.operations._base import RequestId
from credit_sdk.operations.alerting import Events

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a stored function."""

    statement: bytes
    parameters: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who has something done: the name that the audit keeps. `id` is a user's or a key's."""

    id: str
    kind: ActorKind
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """How an operation's fields become the arguments of its function.

    `attributed` is the same call with one more argument, who makes it, which is evaluated before the call.
    """

    statement: bytes
    attributed: bytes
    amounts: frozenset[str]
    documents: frozenset[str]
    fields: tuple[str, ...]


@cache
def signature(kind: type[Operation[Any]]) -> Signature:
    """Return the call for a class of operations; arguments are passed by name."""
    fields = tuple(kind.model_fields)
    documents = frozenset[str]().union(*(_fields_of_type(kind, each) for each in _DOCUMENTS))
    arguments = [
        f'"{name}" => ${position}{"::jsonb" if name in documents else ""}'
        for position, name in enumerate(fields, start=1)
    ]
    said_by = f"CASE WHEN ledger.act_as(${len(fields) + 1}::jsonb) IS NOT NULL THEN $1 END"
    attributed = [argument.replace("$1", said_by) for argument in arguments[:1]] + arguments[1:]
    return Signature(
        statement=_call(kind, arguments),
        attributed=_call(kind, attributed),
        amounts=_fields_of_type(kind, Credits),
        documents=documents,
        fields=fields,
    )


def _call(kind: type[Operation[Any]], arguments: list[str]) -> bytes:
    # Names of classes and fields of this package, never a caller's text.
    return f"SELECT * FROM ledger.{function_name(kind)}({', '.join(arguments)})".encode()  # noqa: S608


def function_name(kind: type[Operation[Any]]) -> str:
    """Return the name of the stored function: the class name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def calls(operation: Operation[Any], scale: int, actor: Actor | None = None) -> list[Call]:
    """Return the calls that carry an operation out: one, or one for each organisation of a batch.

    An `actor` is told in the same statement, for the audit, which knows no batches: they are charges.
    """
    if isinstance(operation, DeductBatch):
        return [_batch_call(operation, org_id, scale) for org_id in _organizations(operation)]
    shape = signature(type(operation))
    parameters = tuple(argument(operation, name, scale) for name in shape.fields)
    if actor is None:
        return [Call(shape.statement, parameters)]
    who = {"actor": actor.id, "actor_kind": actor.kind, "request_id": actor.request_id}
    return [Call(shape.attributed, (*parameters, json.dumps(who)))]


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
    if isinstance(value, tuple):
        items = [
            _item(each, scale) if isinstance(each, Part | PlaceHold | CaptureHold) else each for each in value
        ]
        return json.dumps(items, separators=(",", ":"))
    if name in shape.documents:
        return json.dumps(value, separators=(",", ":")) if value else "{}"
    return value


def _item(item: Part | PlaceHold | CaptureHold, scale: int) -> dict[str, Any]:
    credits = None if item.credits is None else to_millicredits(item.credits, scale)
    return item.model_dump(mode="json", exclude={"credits", "org_id"}) | {"credits": credits}


def _fields_of_type(kind: type[Operation[Any]], wanted: object) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(
        name for name in kind.model_fields if hints[name] == wanted or wanted in get_args(hints[name])
    )


_DOCUMENTS = (
    Metadata,
    tuple[Part, ...],
    tuple[PlaceHold, ...],
    tuple[CaptureHold, ...],
    tuple[RequestId, ...],
    Events,
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


__all__ = ["Actor", "Call", "Row", "argument", "calls", "function_name", "result", "signature"]
