"""Other sites: which may read answers (CORS), and which may not cause requests (forgery)."""

from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_server.headers import header

ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, OpenAI-Organization, "
    "X-API-Key, X-Power-Level, X-Request-ID"
)
ALLOWED_METHODS = "GET, HEAD, POST, PUT, DELETE"
EXPOSED_HEADERS = (
    "RateLimit, RateLimit-Policy, Retry-After, "
    "X-Cost-Incurred, X-Credits-Remaining, X-Next-Cursor, X-Request-ID"
)
PREFLIGHT_SECONDS = "600"


def is_forged(request: Request, origins: Collection[str]) -> bool:
    """Whether another site's page caused the request: a browser says so in Origin or Sec-Fetch-Site."""
    origin = request.headers.get("origin")
    if origin is not None:
        site = origin.partition("://")[2].lower()
        return origin not in origins and site != request.headers.get("host", "").lower()
    return request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}


class CrossOrigin:
    """Tells browsers which sites may read answers: exactly those that are configured."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        self.app = app
        self.origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer preflights; add the headers to other answers."""
        origin = header(scope, b"origin") if scope["type"] == "http" else None
        if origin is None:
            await self.app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method") is not None:
            await Response(status_code=204, headers=self._preflight(origin))(scope, receive, send)
        else:
            await self.app(scope, receive, self._sending(origin, send))

    def _preflight(self, origin: str) -> dict[str, str]:
        if origin not in self.origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        }

    def _sending(self, origin: str, send: Send) -> Send:
        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if origin in self.origins:
                    headers["Access-Control-Allow-Origin"] = origin
                    headers["Access-Control-Allow-Credentials"] = "true"
                    headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            await send(message)

        return send_with_origin
