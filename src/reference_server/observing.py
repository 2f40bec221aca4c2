"""Every request as an operator sees it: a line in the log, figures, and a span that continues the caller's.

This stands around everything else, so that refusals and failures are seen too.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from time import perf_counter

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Span, SpanKind, StatusCode, get_tracer, use_span
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_server.measuring import Figures

UNKNOWN = "unknown"
PLAIN_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FAILURE = 500
_NOTHING: AbstractContextManager[None] = nullcontext()

logger = logging.getLogger("reference_server.requests")
# It follows the provider that is set, whenever that is.
_tracer = get_tracer(__name__)


def name_route(scope: Scope, template: str) -> None:
    """Say which address answers, with its fields in braces: what figures and spans are named by."""
    scope.setdefault("state", {})["route"] = template


class Observed:
    """Logs, counts and traces every request."""

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self.app = app
        self.figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and look at its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        span = _tracer.start_span(scope["method"], context=_callers(scope), kind=SpanKind.SERVER)
        with _within(span):
            await self._watch(span, scope, receive, send)

    async def _watch(self, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        status = _FAILURE
        began = perf_counter()

        async def look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.figures.requests_in_flight.inc()
        try:
            await self.app(scope, receive, look)
        finally:
            method, route = _method(scope), _route(scope)
            seconds = perf_counter() - began
            self.figures.requests_in_flight.dec()
            self.figures.answered(method, route, status, seconds)
            if span.is_recording():
                _describe(span, method, route, status, scope["state"]["request_id"])
            if logger.isEnabledFor(logging.INFO):
                _log(method, route, status, seconds)


def _within(span: Span) -> AbstractContextManager[object]:
    """Return a block that is the span's, and ends it."""
    if not span.get_span_context().is_valid:
        # Nobody traces, and the caller told of no trace: to enter and leave this would be for nothing.
        return _NOTHING
    return use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False)


def _describe(span: Span, method: str, route: str, status: int, request_id: str) -> None:
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "credits.http_request_id": request_id,
        }
    )
    if status >= _FAILURE:
        span.set_status(StatusCode.ERROR)


def _callers(scope: Scope) -> Context | None:
    """Return the trace that the caller tells of, if any."""
    telling = _telling(propagate.get_global_textmap())
    for name, _ in scope["headers"]:
        if name in telling:
            return propagate.extract(Headers(scope=scope))
    return None


@cache
def _telling(propagator: TextMapPropagator) -> frozenset[bytes]:
    """Return the names of the headers that tell of a trace."""
    return frozenset(name.lower().encode() for name in propagator.fields)


def _log(method: str, route: str, status: int, seconds: float) -> None:
    # Paths have ids of organisations and users in them; the template says enough.
    fields = {"method": method, "route": route, "status": status, "milliseconds": round(seconds * 1_000, 1)}
    logger.info("%s %s %s", method, route, status, extra=fields)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else UNKNOWN


def _route(scope: Scope) -> str:
    route = scope.get("state", {}).get("route")
    if route is not None:
        return str(route)
    return scope["path"] if scope["path"] in PLAIN_ROUTES else UNKNOWN
