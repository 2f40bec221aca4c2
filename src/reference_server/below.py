"""Applications that answer everything below a path: they know their own addresses."""

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send


class Below(BaseRoute):
    """Everything below a path, whatever it is called."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        self.path = path
        self.app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the application answers a request."""
        below = scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self.path}/")
        return (Match.FULL if below else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.app(scope, receive, send)


class Ahead:
    """The same for the paths that most requests are for, ahead of the router, which tries routes in turn."""

    def __init__(self, app: ASGIApp, paths: tuple[str, ...], ahead: ASGIApp) -> None:
        self.app = app
        self.ahead = ahead
        self._beginnings = tuple(f"{path}/" for path in paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        is_ahead = scope["type"] == "http" and scope["path"].startswith(self._beginnings)
        await (self.ahead if is_ahead else self.app)(scope, receive, send)
