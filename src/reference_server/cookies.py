"""Cookies: for this site only, and never for its scripts."""

from urllib.parse import urlsplit

from starlette.responses import Response

from credit_sdk.wire import SESSION_COOKIE
from reference_server.credentials import SESSION_TTL
from reference_server.settings import Settings


def set_cookie(
    response: Response, settings: Settings, name: str, value: str, *, path: str, seconds: int
) -> None:
    """Keep a value in the browser; for no seconds, forget it."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=path,
        secure=urlsplit(settings.base_url).scheme == "https",
        httponly=True,
        samesite="lax",
    )


def set_session(response: Response, settings: Settings, token: str) -> None:
    """Keep a session's token as long as the session lasts; without one, forget it."""
    seconds = int(SESSION_TTL.total_seconds()) if token else 0
    set_cookie(response, settings, SESSION_COOKIE, token, path="/", seconds=seconds)
