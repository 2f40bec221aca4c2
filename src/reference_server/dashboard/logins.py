"""Logging in with a password, and logging out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import (
    CreditError,
    InvalidTokenError,
    NotAuthenticatedError,
    PermissionDeniedError,
    RateLimitedError,
    ValidationFailedError,
)
from credit_sdk.operations import crossapp, parse
from reference_server.auth import credential_of
from reference_server.cookies import set_session
from reference_server.crossapp.people import WRONG_PASSWORD, People
from reference_server.crossapp.recognising import Recognised, recognise
from reference_server.dashboard.forms import Form, read_fields, read_form
from reference_server.dashboard.rendering import BASE_PATH, Pages
from reference_server.encoding import headers_of
from reference_server.identities import close_session, open_session
from reference_server.limits import SAFE_METHODS, Limiter, client_address
from reference_server.origins import is_forged
from reference_server.passwords import PasswordCheck
from reference_server.settings import Settings

_OWN_PAGE = re.compile(r"/dashboard(?:[/?][!-\[\]-~]{0,1023})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogIns:
    """The pages for logging in and out."""

    settings: Settings
    backend: AsyncSqlBackend
    limiter: Limiter
    pages: Pages
    passwords: PasswordCheck = field(default_factory=PasswordCheck)

    def ask(self, request: Request, error: NotAuthenticatedError) -> Response:
        """Return the page to log in on, which leads back to where the request wanted to go."""
        query = f"?{request.url.query}" if request.url.query else ""
        back = request.url.path + query if request.method in SAFE_METHODS else None
        return self._page(_own_page(back), status=error.status, headers=headers_of(error))

    async def show(self, request: Request) -> Response:
        """Answer with the page to log in on."""
        return self._page(_own_page(read_fields(request.url.query).get("return_to")))

    async def log_in(self, request: Request) -> Response:
        """Open a session for who knows the password."""
        refuse_forged(request)
        entered: Mapping[str, str] = {}
        try:
            address = client_address(request, self.settings.trusted_proxies)
            await self.limiter.count_log_in("address", self.settings.logins_per_address, address)
            entered = await read_form(request, self.settings.body_seconds)
            token = await self._opened(await self._recognised(entered))
        except (InvalidTokenError, ValidationFailedError):
            return self._refused(entered, InvalidTokenError(WRONG_PASSWORD))
        except RateLimitedError as error:
            return self._refused(entered, error)
        response = RedirectResponse(_own_page(entered.get("return_to")), 303)
        set_session(response, self.settings, token)
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        refuse_forged(request)
        try:
            await close_session(self.backend, credential_of(request).token)
        except NotAuthenticatedError:
            await self.limiter.count_refusal(client_address(request, self.settings.trusted_proxies))
        response = RedirectResponse(f"{BASE_PATH}/login", 303)
        set_session(response, self.settings, "")
        return response

    async def _opened(self, recognised: Recognised) -> str:
        person = recognised.person
        return await open_session(
            self.backend,
            person.subject or str(person.id),
            is_system_admin=False,
            password_hash=recognised.password_hash,
        )

    async def _recognised(self, entered: Mapping[str, str]) -> Recognised:
        given = {name: entered[name] for name in ("email", "password") if name in entered}
        login = parse(crossapp.LogIn, {"app_id": "dashboard", **given})
        account = sha256(login.email.lower().encode()).hexdigest()
        await self.limiter.count_log_in("account", self.settings.logins_per_account, account)
        people = People(self.backend)
        user: dict[str, Any] | None = (await people.find_login(login.app_id, None, login.email))["user"]
        return await recognise(people, self.passwords, login, user)

    def _refused(self, entered: Mapping[str, str], error: CreditError) -> Response:
        form = Form(entered={"email": entered.get("email", "")}, problems={"email": error.detail})
        headers = headers_of(error) if isinstance(error, RateLimitedError) else {}
        return self._page(_own_page(entered.get("return_to")), form, error.status, headers)

    def _page(
        self, back: str, form: Form | None = None, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        return self.pages.page("login.html", status, headers, form=form or Form(), return_to=back)


def refuse_forged(request: Request) -> None:
    """Raise `PermissionDeniedError` for a form that another site has sent."""
    if is_forged(request, ()):
        raise PermissionDeniedError("A form must be sent from this site.")


def _own_page(path: str | None) -> str:
    """Return where to go after the log-in: a page of the dashboard, nothing else."""
    fits = (
        path
        and _OWN_PAGE.fullmatch(path)
        and not path.startswith((f"{BASE_PATH}/login", f"{BASE_PATH}/logout"))
    )
    return path if path and fits else BASE_PATH
