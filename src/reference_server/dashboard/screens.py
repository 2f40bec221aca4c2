"""The addresses under /dashboard: the operations and access rules of the API, answered as pages."""

from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from credit_sdk.errors import NotAuthenticatedError, PermissionDeniedError
from credit_sdk.operations import GetUserBilling
from reference_server.access import Ledger
from reference_server.auth import Authenticator, credential_of
from reference_server.callers import Session
from reference_server.dashboard.pages import refusal_page, user_page
from reference_server.limits import Limiter, client_address
from reference_server.routes import TERMS
from reference_server.settings import Settings

_HEADERS = {"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"}
_STYLE = (files(__package__) / "style.css").read_bytes()


@dataclass(frozen=True, slots=True)
class Screens:
    """The dashboard. It shows what the session in the browser's cookie may see."""

    settings: Settings
    ledger: Ledger
    authenticator: Authenticator
    limiter: Limiter

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [Route("/dashboard", self.show_user), Route("/dashboard/style.css", _style)]

    async def show_user(self, request: Request) -> Response:
        """Answer with the user's own screen."""
        try:
            caller = await self.authenticator.caller_of(credential_of(request))
        except NotAuthenticatedError as error:
            await self.limiter.count_refusal(client_address(request, self.settings.trusted_proxies))
            log_in = "/auth/login" if self.settings.oidc_issuer else None
            return HTMLResponse(refusal_page(str(error), log_in), error.status, _HEADERS)
        headers = await self.limiter.spend(caller, request.method, None)
        if not isinstance(caller, Session):
            raise PermissionDeniedError("The dashboard is for people: an API key has no screen.")
        operation = await TERMS[GetUserBilling].rule(caller, GetUserBilling(), self.ledger)
        billing = await self.ledger.execute(operation)
        return HTMLResponse(user_page(billing), headers={**headers, **_HEADERS})


async def _style(_: Request) -> Response:
    return Response(_STYLE, media_type="text/css")
