"""Reading a request's body: typed, bounded in size and in time, before anything is parsed."""

import asyncio

from starlette.requests import Request

from credit_sdk.errors import MalformedRequestError
from reference_server.headers import header
from reference_server.problems import BodyTooLargeError, SlowBodyError, UnsupportedMediaTypeError

_LONGEST_LENGTH = 18
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii"})


def has_body(request: Request) -> bool:
    """Whether the request's headers announce a body."""
    length = header(request.scope, b"content-length")
    return header(request.scope, b"transfer-encoding") is not None or length not in {None, "0"}


def require_json(request: Request) -> None:
    """Refuse (415) what is not declared as plain application/json in UTF-8."""
    media_type, *parameters = (header(request.scope, b"content-type") or "").lower().split(";")
    charsets = {value.strip(' "') for name, _, value in _named(parameters) if name == "charset"}
    encoding = header(request.scope, b"content-encoding")
    is_encoded = encoding is not None and encoding.strip().lower() != "identity"
    if media_type.strip() != "application/json" or not charsets <= _UTF8 or is_encoded:
        raise UnsupportedMediaTypeError


async def read_body(request: Request, *, largest: int, seconds: float) -> bytes:
    """Return the body of at most `largest` bytes, if it arrives within `seconds`."""
    declared = _declared_length(request)
    if declared is not None and declared > largest:
        raise _too_large(largest)
    try:
        async with asyncio.timeout(seconds):
            body = await _collect(request, largest)
    except TimeoutError:
        raise SlowBodyError(f"The body did not arrive within {seconds:g} seconds.") from None
    if declared is not None and declared != len(body):
        raise MalformedRequestError(f"The body has {len(body)} bytes, not the {declared} of Content-Length.")
    return body


async def _collect(request: Request, largest: int) -> bytes:
    body = bytearray()
    is_complete = False
    while not is_complete:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise MalformedRequestError("The connection was closed before the body was complete.")
        body += message.get("body", b"")
        if len(body) > largest:
            raise _too_large(largest)
        is_complete = not message.get("more_body", False)
    return bytes(body)


def _named(parameters: list[str]) -> list[tuple[str, str, str]]:
    return [parameter.strip().partition("=") for parameter in parameters]


def _declared_length(request: Request) -> int | None:
    declared = header(request.scope, b"content-length")
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdigit() and len(declared) <= _LONGEST_LENGTH):
        raise MalformedRequestError("Content-Length must be a number.")
    return int(declared)


def _too_large(largest: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"The body must be at most {largest} bytes.")
