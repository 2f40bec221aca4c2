"""Every request as an operator sees it: a line in the log, figures, and a span that continues the caller's.

This stands around everything else, so that refusals and failures are seen too.
"""

import logging
from time import perf_counter

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, get_tracer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_server.measuring import Figures

UNKNOWN = "unknown"
PLAIN_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"})
_FAILURE = 500

logger = logging.getLogger("reference_server.requests")


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
        status = _FAILURE
        began = perf_counter()

        async def look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.figures.requests_in_flight.inc()
        with get_tracer(__name__).start_as_current_span(
            scope["method"],
            context=_callers(scope),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self.app(scope, receive, look)
            finally:
                method, route = _method(scope), _route(scope)
                seconds = perf_counter() - began
                self.figures.requests_in_flight.dec()
                self.figures.requests.labels(method, route, str(status)).inc()
                self.figures.request_seconds.labels(method, route).observe(seconds)
                if span.is_recording():
                    span.update_name(f"{method} {route}")
                    span.set_attributes(
                        {
                            "http.request.method": method,
                            "http.route": route,
                            "http.response.status_code": status,
                            "credits.http_request_id": scope["state"]["request_id"],
                        }
                    )
                    if status >= _FAILURE:
                        span.set_status(StatusCode.ERROR)
                _log(method, route, status, seconds)


def _callers(scope: Scope) -> Context | None:
    """Return the trace that the caller tells of, if any."""
    told = {name.lower().encode() for name in propagate.get_global_textmap().fields}
    if all(name not in told for name, _ in scope["headers"]):
        return None
    return propagate.extract(Headers(scope=scope))


def _log(method: str, route: str, status: int, seconds: float) -> None:
    # Paths have ids of organisations and users in them; the template says enough.
    fields = {"method": method, "route": route, "status": status, "milliseconds": round(seconds * 1_000, 1)}
    logger.info("%s %s %s", method, route, status, extra=fields)


def _method(scope: Scope) -> str:
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    return scope["method"] if scope["method"] in known else UNKNOWN


def _route(scope: Scope) -> str:
    route = scope.get("state", {}).get("route")
    if route is not None:
        return str(route)
    return scope["path"] if scope["path"] in PLAIN_ROUTES else UNKNOWN
