"""From results and errors to responses."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from credit_sdk.amounts import to_number
from credit_sdk.errors import (
    ConfigurationError,
    CreditError,
    InvalidTokenError,
    NotAuthenticatedError,
    TokenExpiredError,
    UnavailableError,
    UnexpectedResponseError,
    problem_from_error,
)
from credit_sdk.models import BatchResult, Charge, ChargePage
from reference_server.headers import header
from reference_server.problems import InternalError, NotAcceptableError

JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"
CSV_TYPE = "text/csv"
DEFAULT_RETRY_AFTER: Final = 1
_ANYTHING = frozenset({"*/*", ""})
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


def media_type(request: Request, offered: Sequence[str]) -> str:
    """Return which of the offered types the request likes best; raise `NotAcceptableError` for none."""
    accept = header(request.scope, b"accept")
    if accept is None or accept in _ANYTHING:
        return offered[0]
    ranges = dict(map(_range, filter(None, map(str.strip, accept.lower().split(","))))) or {"*/*": 1.0}
    quality, _, best = max((_quality(kind, ranges), -place, kind) for place, kind in enumerate(offered))
    if quality <= 0:
        raise NotAcceptableError(f"This address answers {' or '.join(offered)}.")
    return best


def _range(text: str) -> tuple[str, float]:
    kind, *parameters = (part.strip() for part in text.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    return kind, float(weight) if _WEIGHT.fullmatch(weight) else 0.0


def _quality(kind: str, ranges: Mapping[str, float]) -> float:
    for pattern in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if pattern in ranges:
            return ranges[pattern]
    return 0.0


def json_response(result: BaseModel, headers: Mapping[str, str] | None = None) -> Response:
    """Return a result as JSON: amounts are numbers without trailing zeros."""
    # Half of each outcome of a batch is empty by nature.
    body = result.model_dump_json(exclude_none=isinstance(result, BatchResult))
    return Response(body, media_type=JSON_TYPE, headers=headers)


def csv_response(page: ChargePage, headers: Mapping[str, str]) -> Response:
    """Return a page of charges as CSV; the next page's cursor is in the header `X-Next-Cursor`."""
    cursor = {"X-Next-Cursor": page.next_cursor} if page.next_cursor else {}
    return Response(csv_lines(page.items), media_type=CSV_TYPE, headers={**headers, **cursor})


def csv_lines(charges: Sequence[Charge], *, heading: bool = True) -> str:
    """Return charges as lines of CSV, below the names of their fields if `heading`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if heading:
        writer.writerow(Charge.model_fields)
    for charge in charges:
        writer.writerow(_cell(value) for value in charge.model_dump(mode="json").values())
    return text.getvalue()


def problem_response(
    error: CreditError, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error as a problem body (RFC 9457)."""
    shown = described(error)
    body = json.dumps(problem_from_error(shown) | {"request_id": request_id}, default=plain)
    merged = {**(headers or {}), **headers_of(shown)}
    return Response(body, status_code=shown.status, media_type=PROBLEM_TYPE, headers=merged)


def described(error: CreditError) -> CreditError:
    """Return an error without what only the inside should know: one of the database may name its host."""
    match error:
        case ConfigurationError():
            return UnavailableError()
        case UnavailableError():
            return type(error)(retry_after=error.retry_after)
        case UnexpectedResponseError():
            return InternalError()
        case _:
            return error


def headers_of(error: CreditError) -> Mapping[str, str]:
    """Return the headers that an error's response has to carry."""
    match error:
        case InvalidTokenError() | TokenExpiredError():
            return {"WWW-Authenticate": 'Bearer realm="credits", error="invalid_token"'}
        case NotAuthenticatedError():
            return {"WWW-Authenticate": 'Bearer realm="credits"'}
        case UnavailableError(retry_after=seconds):
            return {"Retry-After": str(math.ceil(seconds or DEFAULT_RETRY_AFTER))}
        case _:
            return getattr(error, "headers", {})


def plain(value: object) -> Any:
    """Return what JSON has for a value that it does not know."""
    match value:
        case Decimal():
            return to_number(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)


def _cell(value: Any) -> Any:
    """Return a value as a cell that spreadsheets do not take for a formula."""
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
