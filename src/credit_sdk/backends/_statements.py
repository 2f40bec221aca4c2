"""Operations as calls of the stored functions of the same name, and their rows as results.

`Deduct` is `SELECT * FROM ledger.deduct(org_id => $1, ...)`. Amounts cross this border as integers
of which `scale` make one credit (1000 for millicredits).
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeGuard, get_args, get_type_hints

from pydantic_core import to_json

from credit_sdk.amounts import Credits, to_millicredits
from credit_sdk.backends._rows import OF_EVERY_CHARGE, Row, row_reader
from credit_sdk.models import ActorKind, BatchOutcome, BatchResult
from credit_sdk.operations import CaptureHold, DeductBatch, Metadata, Operation, Part, PlaceHold, ResultT_co
from credit_sdk.operations._base import RequestId
from credit_sdk.operations.alerting import Events


class Call(NamedTuple):
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
    fields: tuple[str, ...]
    encoders: tuple[tuple[int, Callable[[Any, int], object]], ...]
    """Where arguments are that PostgreSQL takes in another form, and what turns them into it."""
    values: Callable[[dict[str, Any]], tuple[Any, ...]]


@cache
def signature(kind: type[Operation[Any]]) -> Signature:
    """Return the call for a class of operations; arguments are passed by name."""
    fields = tuple(kind.model_fields)
    documents = frozenset[str]().union(*(_fields_of_type(kind, each) for each in _DOCUMENTS))
    encoders: dict[str, Callable[[Any, int], object]] = dict.fromkeys(documents, _document)
    encoders |= dict.fromkeys(_fields_of_type(kind, Credits), _amount)
    arguments = [
        f'"{name}" => ${position}{"::jsonb" if name in documents else ""}'
        for position, name in enumerate(fields, start=1)
    ]
    said_by = f"CASE WHEN ledger.act_as(${len(fields) + 1}::jsonb) IS NOT NULL THEN $1 END"
    attributed = [argument.replace("$1", said_by) for argument in arguments[:1]] + arguments[1:]
    return Signature(
        statement=_call(kind, arguments),
        attributed=_call(kind, attributed),
        fields=fields,
        encoders=tuple((fields.index(name), encode) for name, encode in sorted(encoders.items())),
        values=_values_of(fields),
    )


def _values_of(fields: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    # itemgetter answers a tuple only for two or more.
    if len(fields) > 1:
        return itemgetter(*fields)
    return lambda values: tuple([values[name] for name in fields])


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
    if is_batch(operation):
        return [_batch_call(operation, org_id, scale) for org_id in _organizations(operation)]
    shape = signature(type(operation))
    parameters = _arguments(operation, shape, scale)
    if actor is None:
        return [Call(shape.statement, tuple(parameters))]
    who = {"actor": actor.id, "actor_kind": actor.kind, "request_id": actor.request_id}
    return [Call(shape.attributed, (*parameters, json.dumps(who)))]


def result(
    operation: Operation[ResultT_co], columns: tuple[str, ...], rows: list[Row | None], scale: int
) -> ResultT_co:
    """Return the result that the rows (one a call) stand for."""
    kind = operation.result
    found: Any
    if kind in OF_EVERY_CHARGE and columns != _DOCUMENT:
        found = row_reader(kind, columns, scale)(rows[0] or ())
    elif is_batch(operation):
        found = _in_order(operation, [_outcomes(row, scale) for row in rows])
    else:
        found = kind.model_validate(_answer(columns, rows[0]), context={"scale": scale})
    answered: ResultT_co = found
    return answered


def _answer(columns: tuple[str, ...], row: Row | None) -> dict[str, Any]:
    values: Any = row
    return values[0] if columns == _DOCUMENT else dict(zip(columns, values, strict=True))


def is_batch(operation: Operation[Any]) -> TypeGuard[DeductBatch]:
    """Whether each organisation gets a call of its own."""
    # Not by isinstance, which for a model that is none of a class asks more than all the rest of a call.
    return type(operation) is DeductBatch


def argument(operation: Operation[Any], name: str, scale: int) -> Any:
    """Return a field as the argument of a function: amounts in the database's units, documents as JSON."""
    shape = signature(type(operation))
    return _arguments(operation, shape, scale)[shape.fields.index(name)]


def _arguments(operation: Operation[Any], shape: Signature, scale: int) -> list[Any]:
    arguments = list(shape.values(vars(operation)))
    for position, encode in shape.encoders:
        value = arguments[position]
        if value is not None:
            arguments[position] = encode(value, scale)
    return arguments


def _amount(credits: Decimal, scale: int) -> str:
    # As text, whose type PostgreSQL takes from the function: psycopg's depends on how large a number is.
    return str(to_millicredits(credits, scale))


def _document(value: Any, scale: int) -> str:
    if not isinstance(value, tuple):
        return json.dumps(value, separators=(",", ":")) if value else "{}"
    items = [
        _item(each, scale) if isinstance(each, Part | PlaceHold | CaptureHold) else each for each in value
    ]
    return json.dumps(items, separators=(",", ":"))


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
_DOCUMENT = ("document",)
# As text, which pydantic reads at once; psycopg would make objects of it first.
_BATCH = b"SELECT document::text FROM ledger.deduct_batch(org_id => $1, charges => $2::jsonb)"


def _organizations(batch: DeductBatch) -> list[str]:
    return list(dict.fromkeys(charge.org_id for charge in batch.charges))


def _batch_call(batch: DeductBatch, org_id: str, scale: int) -> Call:
    # One JSON document costs the client a fifth of what arrays of parameters do.
    charges = [
        {
            "user_id": charge.user_id,
            "credits": to_millicredits(charge.credits, scale),
            "service_type": charge.service_type,
            "service_name": charge.service_name,
            "request_id": charge.request_id,
            "request_metadata": charge.request_metadata,
            "api_key_id": charge.api_key_id,
        }
        for charge in batch.charges
        if charge.org_id == org_id
    ]
    document = to_json(charges).decode()
    # What is not ASCII is escaped: the application's connection may have another encoding.
    return Call(_BATCH, (org_id, document if document.isascii() else json.dumps(charges)))


def _outcomes(row: Row | None, scale: int) -> Iterator[BatchOutcome]:
    [document] = row or ("{}",)
    return iter(BatchResult.model_validate_json(document, context={"scale": scale}).outcomes)


def _in_order(batch: DeductBatch, outcomes: list[Iterator[BatchOutcome]]) -> BatchResult:
    of_organization = dict(zip(_organizations(batch), outcomes, strict=True))
    return BatchResult(outcomes=tuple(next(of_organization[charge.org_id]) for charge in batch.charges))


__all__ = ["Actor", "Call", "Row", "argument", "calls", "function_name", "result", "signature"]
