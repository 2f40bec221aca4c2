"""Logging in and out, for browsers."""

import re
from dataclasses import dataclass
from hmac import compare_digest

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import (
    CreditError,
    NotFoundError,
    PermissionDeniedError,
    ValidationFailedError,
)
from reference_server.auth import credential_of
from reference_server.cookies import set_cookie, set_session
from reference_server.credentials import SESSION_TTL
from reference_server.encoding import JSON_TYPE, media_type
from reference_server.identities import close_session, open_session
from reference_server.limits import Limiter, client_address
from reference_server.oidc.access import ProviderTokens
from reference_server.oidc.attempts import SECONDS, Attempt
from reference_server.origins import is_forged
from reference_server.problems import LogInError, ProviderUnavailableError
from reference_server.settings import Settings

ATTEMPT_COOKIE = "login_attempt"
HINT_COOKIE = "id_token_hint"
_HERE = "/auth"
_LONGEST_COOKIE = 3_800
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1023}", re.ASCII)
_TRY_AGAIN = frozenset({"server_error", "temporarily_unavailable"})
"""What the provider's `error` is called when it is not about the person (RFC 6749, 4.1.2.1)."""
_HTML_TYPE = "text/html"


@dataclass(frozen=True, slots=True)
class LogIns:
    """The addresses under /auth. `people` is None while no provider is configured."""

    settings: Settings
    backend: AsyncSqlBackend
    limiter: Limiter
    people: ProviderTokens | None

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route(f"{_HERE}/login", self.log_in),
            Route(f"{_HERE}/callback", self.come_back),
            Route(f"{_HERE}/logout", self.log_out, methods=["POST"]),
        ]

    async def log_in(self, request: Request) -> Response:
        """Send the browser to the provider."""
        await self._count(request)
        people = self._known_people()
        attempt = Attempt.begin(_local_path(request.query_params.get("return_to", "/")))
        response = RedirectResponse(await people.provider.login_url(attempt), 303)
        sealed = attempt.sealed(self.settings.secret_key)
        set_cookie(response, self.settings, ATTEMPT_COOKIE, sealed, path=_HERE, seconds=SECONDS)
        return response

    async def come_back(self, request: Request) -> Response:
        """Open a session for whom the provider sends back."""
        await self._count(request)
        people = self._known_people()
        attempt = Attempt.opened(request.cookies.get(ATTEMPT_COOKIE, ""), self.settings.secret_key)
        code = _code(request, attempt, self.settings.oidc_issuer)
        done = await people.provider.log_in(code, attempt)
        session = await people.session_of_person(done.person)
        is_system_admin = people.system_admin_role in done.person.roles
        token = await open_session(self.backend, session.user_id, is_system_admin=is_system_admin)
        response = RedirectResponse(attempt.return_to, 303)
        self._set_session(response, token, done.id_token)
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session here; say, or send the browser, where the provider's own ends."""
        await self._count(request)
        credential = credential_of(request)
        if credential.place == "cookie" and is_forged(request, self.settings.cors_origins):
            raise PermissionDeniedError("A request with a session cookie must come from this site.")
        kind = media_type(request, [JSON_TYPE, _HTML_TYPE])
        await close_session(self.backend, credential.token)
        url = await self._logout_url(request)
        response = (
            RedirectResponse(url or "/", 303) if kind == _HTML_TYPE else JSONResponse({"logout_url": url})
        )
        set_session(response, self.settings, "")
        set_cookie(response, self.settings, HINT_COOKIE, "", path=_HERE, seconds=0)
        return response

    async def _logout_url(self, request: Request) -> str | None:
        if self.people is None:
            return None
        hint = request.cookies.get(HINT_COOKIE)
        try:
            return await self.people.provider.logout_url(hint, f"{self.settings.base_url}/")
        except CreditError:
            # Our session has ended, whether the provider answers or not.
            return None

    async def _count(self, request: Request) -> None:
        """Count it as what comes without a credential: these addresses ask the provider for an answer."""
        await self.limiter.count_refusal(client_address(request, self.settings.trusted_proxies))

    def _known_people(self) -> ProviderTokens:
        if self.people is None:
            raise NotFoundError("No identity provider is configured here.")
        return self.people

    def _set_session(self, response: Response, token: str, id_token: str) -> None:
        seconds = int(SESSION_TTL.total_seconds())
        hint = id_token if len(id_token) <= _LONGEST_COOKIE else ""
        set_session(response, self.settings, token)
        set_cookie(response, self.settings, HINT_COOKIE, hint, path=_HERE, seconds=seconds if hint else 0)
        set_cookie(response, self.settings, ATTEMPT_COOKIE, "", path=_HERE, seconds=0)


def _code(request: Request, attempt: Attempt, issuer: str | None) -> str:
    """Return the code that the provider sent along, in answer to this attempt."""
    said = request.query_params
    if not compare_digest(said.get("state", "").encode(), attempt.state.encode()):
        raise LogInError
    if said.get("iss", issuer) != issuer:
        raise LogInError
    if said.get("error") in _TRY_AGAIN:
        raise ProviderUnavailableError
    if "error" in said:
        raise PermissionDeniedError("The identity provider did not log you in.")
    if not said.get("code"):
        raise LogInError
    return said["code"]


def _local_path(path: str) -> str:
    if not _LOCAL_PATH.fullmatch(path):
        raise ValidationFailedError(
            "return_to must be a path of this site.",
            errors=[{"loc": ["return_to"], "msg": "Not a path of this site", "type": "local_path"}],
        )
    return path
