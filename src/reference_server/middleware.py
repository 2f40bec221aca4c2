"""What every answer has: a request id, careful headers, and never a traceback."""

import logging
import os
import re
import traceback
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from credit_sdk.errors import UnavailableError
from credit_sdk.redaction import redact_text
from credit_sdk.wire import REQUEST_ID_HEADER
from reference_server.encoding import problem_response
from reference_server.headers import header
from reference_server.problems import InternalError

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}", re.ASCII)
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

_HEADER_NAMES = frozenset(name for name, _ in _HEADERS)
_REQUEST_ID = REQUEST_ID_HEADER.lower().encode()

logger = logging.getLogger(__name__)

current_request: ContextVar[str | None] = ContextVar("current_request", default=None)
"""The id of the request that is being answered, for the log."""


class Envelope:
    """Gives every request an id and every answer its headers; the last resort for what nobody expected."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in all cases."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        current_request.set(request_id)
        answer = _Answer(send, request_id)
        try:
            await self.app(scope, receive, answer.send)
        except Exception:
            # The text of an exception that nobody expected may quote an address or a key.
            trace = redact_text(traceback.format_exc())
            logger.error("request %s failed\n%s", request_id, trace)  # noqa: TRY400 - that is, redacted
            if answer.started:
                raise
            await problem_response(InternalError(), request_id)(scope, receive, answer.send)


class _Answer:
    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            present = {name for name, _ in message["headers"]}
            missing = (
                _HEADERS
                if present.isdisjoint(_HEADER_NAMES)
                else [header for header in _HEADERS if header[0] not in present]
            )
            request_id = (_REQUEST_ID, self._request_id.encode())
            message["headers"] = [*message["headers"], *missing, request_id]
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = header(scope, _REQUEST_ID)
    return given if given and _PRINTABLE.fullmatch(given) else os.urandom(16).hex()


@dataclass(slots=True)
class Traffic:
    """How many requests are in flight, and whether the server is stopping."""

    in_flight: int = 0
    stopping: bool = False


class Gate:
    """Counts what is in flight; turns newcomers away while the server is stopping."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self.app = app
        self.traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer 503."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif self.traffic.stopping:
            headers = {"Connection": "close"}
            response = problem_response(UnavailableError(), scope["state"]["request_id"], headers)
            await response(scope, receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.traffic.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.traffic.in_flight -= 1
