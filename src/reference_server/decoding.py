"""From a request to the fields of its operation: path, query and body, each name once."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel
from starlette.requests import Request

from credit_sdk.errors import FieldError, ValidationFailedError
from credit_sdk.operations import Deduct, DeductBatch, Operation, parse
from credit_sdk.wire import IDEMPOTENCY_HEADER
from reference_server.bodies import has_body, read_body, require_json
from reference_server.headers import header_values
from reference_server.routes import Route
from reference_server.strict_json import parse_object

MOST_PARAMETERS = 50
LONGEST_NOTE = 255
_IDEMPOTENCY_KEY = IDEMPOTENCY_HEADER.lower().encode()
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


async def decode(
    request: Request, route: Route, path: Mapping[str, str], *, seconds: float
) -> dict[str, Any]:
    """Return the fields that the request gives to its operation, not yet validated."""
    body = await _body_fields(request, route, seconds) if route.address.has_body else {}
    query = _query_fields(request, route)
    if path or query:
        _refuse_repeated([*path, *query, *body])
    fields = _without_nulls({**query, **_own_names(body, route), **path}, route.address.operation)
    _refuse_reserved(fields, route)
    return _with_idempotency_key(fields, route, request)


def operation_of(route: Route, fields: Mapping[str, Any]) -> Operation[Any]:
    """Return the operation; what is wrong with it is told by the names of the address."""
    try:
        return parse(route.address.operation, fields)
    except ValidationFailedError as error:
        raise _by_wire_names(error, route.address.wire_names) from None


def _by_wire_names(error: ValidationFailedError, names: Mapping[str, str]) -> ValidationFailedError:
    """Name the argument as the caller did. Sentences begin with its name."""
    for name, wire in names.items():
        if error.detail.startswith(name):
            renamed = [
                entry | {"loc": [names.get(str(part), part) for part in entry["loc"]]}
                for entry in error.errors
            ]
            detail = wire + error.detail.removeprefix(name)
            return type(error)(detail, errors=renamed)
    return error


async def _body_fields(request: Request, route: Route, seconds: float) -> dict[str, Any]:
    optional = route.terms.in_query or not route.needs_body
    if optional and not has_body(request):
        return {}
    require_json(request)
    body = await read_body(request, largest=route.terms.largest_body, seconds=seconds)
    return parse_object(body) if body or not optional else {}


def _query_fields(request: Request, route: Route) -> dict[str, Any]:
    text = request.scope["query_string"].decode("latin-1")
    if not text:
        return {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError:  # too many, or not UTF-8
        raise _invalid([], "The query cannot be read.", "query") from None
    if pairs and not route.takes_query:
        raise _invalid([pairs[0][0]], "The fields of this address stand in the body", "extra_forbidden")
    _refuse_repeated(name for name, _ in pairs)
    return {name: _typed(name, value, route) for name, value in pairs}


def _typed(name: str, text: str, route: Route) -> Any:
    """Read what a query can only say as text."""
    if name in route.integers:
        return _number(name, text)
    return _boolean(name, text) if name in route.booleans else text


def _boolean(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise _invalid([name], "Input should be true or false", "bool_parsing")
    return text == "true"


def _number(name: str, text: str) -> int:
    """Read a whole number; refuse what only Python would call one, such as `1_0`."""
    if not _WHOLE_NUMBER.fullmatch(text):
        raise _invalid([name], "Input should be a whole number", "int_parsing")
    return int(text)


def _without_nulls(fields: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Leave out the fields that are null, which is to say nothing about them."""
    return {
        name: value for name, value in fields.items() if value is not None or name not in kind.model_fields
    }


def _own_names(body: dict[str, Any], route: Route) -> dict[str, Any]:
    """Return the body with the operation's names for what the address calls otherwise."""
    body = _with_notes(body, route) if route.terms.noted else body
    if not route.address.wire_names:
        return body
    names = {wire: name for name, wire in route.address.wire_names.items()}
    for name in route.address.wire_names.keys() & body.keys():
        raise _invalid([name], "Extra inputs are not permitted", "extra_forbidden")
    return {names.get(name, name): value for name, value in body.items()}


def _with_notes(body: dict[str, Any], route: Route) -> dict[str, Any]:
    """Move what the address only notes, such as the id of a job, into the metadata."""
    notes = {name: body[name] for name in route.terms.noted if body.get(name) is not None}
    for name, value in notes.items():
        if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > LONGEST_NOTE:
            raise _invalid([name], "Input should be a string or a whole number", "string_type")
    metadata = body.get("request_metadata")
    rest = {name: value for name, value in body.items() if name not in route.terms.noted}
    if not notes or not isinstance(metadata, dict | None):
        return rest
    _refuse_repeated([*notes, *(metadata or {})])
    return rest | {"request_metadata": {**(metadata or {}), **notes}}


def _refuse_repeated(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _invalid([name], "Field given more than once", "repeated")
        seen.add(name)


def _refuse_reserved(fields: Mapping[str, Any], route: Route, *where: str | int) -> None:
    for name in route.terms.reserved & fields.keys():
        raise _invalid([*where, name], "Extra inputs are not permitted", "extra_forbidden")


def _with_idempotency_key(fields: dict[str, Any], route: Route, request: Request) -> dict[str, Any]:
    keys = header_values(request.scope, _IDEMPOTENCY_KEY)
    kind = route.address.operation
    if kind is DeductBatch:
        return _with_charges(fields, route, _one_key(keys) if keys else None)
    if not keys or kind.idempotency is None:
        return fields
    said = [fields[kind.idempotency]] if kind.idempotency in fields else []
    return fields | {kind.idempotency: _one_key([*keys, *said])}


def _with_charges(fields: dict[str, Any], route: Route, key: str | None) -> dict[str, Any]:
    """Treat the charges of a batch as fields of their own.

    Those without a request id get one from the key of the batch, the same when it is repeated.
    """
    charges = fields.get("charges")
    if not isinstance(charges, list):
        return fields
    return fields | {"charges": [_charge(charge, route, key, place) for place, charge in enumerate(charges)]}


def _charge(charge: Any, route: Route, key: str | None, place: int) -> Any:
    if not isinstance(charge, dict):
        return charge
    derived = {} if key is None else {"request_id": f"{key}:{place}"}
    said = _without_nulls(charge, Deduct)
    _refuse_reserved(said, route, "charges", place)
    return derived | said


def _one_key(keys: list[Any]) -> Any:
    if any(key != keys[0] for key in keys):
        message = "Idempotency-Key and the body name different keys"
        raise _invalid([IDEMPOTENCY_HEADER], message, "idempotency_key")
    return keys[0]


def _invalid(loc: list[str | int], message: str, type: str) -> ValidationFailedError:
    where = f"{'.'.join(map(str, loc))}: " if loc else ""
    return ValidationFailedError(f"{where}{message}", errors=[FieldError(loc=loc, msg=message, type=type)])
