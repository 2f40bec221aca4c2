"""JSON as RFC 8259 has it and no laxer: what Python's parser forgives is refused here.

Numbers with a fraction or an exponent become `Decimal` and never pass through a binary float;
only inside metadata, which is kept but not counted with, they become floats.
"""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from credit_sdk.errors import FieldError, MalformedRequestError, ValidationFailedError

METADATA = frozenset({"request_metadata", "metadata", "app_metadata"})
DEEPEST_BODY = 8
LONGEST_INTEGER = 40
LONGEST_FRACTION = 100
LARGEST_EXPONENT = 308


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the object that the body holds.

    Raises `MalformedRequestError` (400) for what is not JSON, and for duplicate keys, NaN, numbers
    that nobody means and nesting that nobody needs; `ValidationFailedError` (422) for another root.
    """
    document = _parse(body)
    if body.count(b"{") + body.count(b"[") > DEEPEST_BODY:
        _refuse_deep_nesting(document)
    if not isinstance(document, dict):
        error = FieldError(loc=[], msg="Input should be an object", type="object_type")
        raise ValidationFailedError("The body must be a JSON object.", errors=[error])
    return document


def _parse(body: bytes) -> object:
    try:
        return _DECODER.decode(_text(body))
    except RecursionError:
        raise MalformedRequestError("The body is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise MalformedRequestError(
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None


def _text(body: bytes) -> str:
    if not body.strip():
        raise MalformedRequestError("The body is empty.")
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise MalformedRequestError("The body must not start with a byte order mark.")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise MalformedRequestError("The body is not UTF-8.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedRequestError("An object of the body names a member twice.")
    for name in METADATA & members.keys():
        members[name] = _with_floats(members[name])
    return members


def _with_floats(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case dict():
            return {key: _with_floats(item) for key, item in value.items()}
        case list():
            return [_with_floats(item) for item in value]
        case _:
            return value


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise MalformedRequestError(f"A number of the body has more than {LONGEST_INTEGER} digits.")
    return int(text)


def _fraction(text: str) -> Decimal:
    try:
        number = Decimal(text) if len(text) <= LONGEST_FRACTION else None
    except InvalidOperation:
        number = None
    if number is None or abs(number.adjusted()) > LARGEST_EXPONENT:
        raise MalformedRequestError("A number of the body is out of all proportion.")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequestError(f"The body is not JSON: {name} is not a number.")


def _refuse_deep_nesting(document: object) -> None:
    """Bound the nesting of all but metadata, which has a bound of its own and another code (422)."""
    layer = [document]
    for _ in range(DEEPEST_BODY):
        layer = [child for item in layer for child in _containers(item)]
        if not layer:
            return
    raise MalformedRequestError(f"The body is nested deeper than {DEEPEST_BODY} levels.")


def _containers(item: object) -> list[object]:
    if isinstance(item, dict):
        return [
            child for key, child in item.items() if key not in METADATA and isinstance(child, dict | list)
        ]
    if isinstance(item, list):
        return [child for child in item if isinstance(child, dict | list)]
    return []


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_fraction, parse_int=_integer, parse_constant=_refuse_constant
)
