"""The addresses under /dashboard: the operations and access rules of the API, answered as pages."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import CreditError, NotAuthenticatedError, PermissionDeniedError
from reference_server.access import Ledger
from reference_server.auth import Authenticator, credential_of
from reference_server.callers import Session
from reference_server.dashboard.logins import LogIns, refuse_forged
from reference_server.dashboard.organization import OrganizationScreens
from reference_server.dashboard.own import OwnScreen
from reference_server.dashboard.rendering import BASE_PATH, Pages, static_routes
from reference_server.dashboard.system import SystemScreen
from reference_server.dashboard.visits import Visit
from reference_server.encoding import described, headers_of
from reference_server.limits import SAFE_METHODS, Limiter, client_address
from reference_server.observing import name_route
from reference_server.problems import InternalError
from reference_server.settings import Settings

logger = logging.getLogger(__name__)
_ORGANIZATION = f"{BASE_PATH}/organizations/{{org_id}}"
Screen = Callable[[Visit], Awaitable[Response]]
Handler = Callable[[Request], Awaitable[Response]]


class Screens:
    """The dashboard. It shows what the session in the browser's cookie may see."""

    def __init__(
        self,
        settings: Settings,
        backend: AsyncSqlBackend,
        ledger: Ledger,
        authenticator: Authenticator,
        limiter: Limiter,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._authenticator = authenticator
        self._limiter = limiter
        self._pages = Pages("/auth/login" if settings.oidc_issuer else None)
        self._log_ins = LogIns(settings, backend, limiter, self._pages)

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        own = OwnScreen(self._pages)
        organization = OrganizationScreens(self._pages, self._settings)
        screens: dict[str, tuple[Screen, str]] = {
            BASE_PATH: (own.show, "GET"),
            f"{BASE_PATH}/switch": (own.switch, "GET"),
            f"{BASE_PATH}/system": (SystemScreen(self._pages).show, "GET"),
            _ORGANIZATION: (organization.overview, "GET"),
            f"{_ORGANIZATION}/credits": (organization.add_credits, "POST"),
            f"{_ORGANIZATION}/subscription": (organization.change_plan, "POST"),
            f"{_ORGANIZATION}/caps": (organization.set_cap, "POST"),
            f"{_ORGANIZATION}/members": (organization.members, "GET"),
            f"{_ORGANIZATION}/allocations": (organization.allocate, "POST"),
            f"{_ORGANIZATION}/charges": (organization.charges, "GET"),
            f"{_ORGANIZATION}/charges.csv": (organization.export, "GET"),
            f"{_ORGANIZATION}/history": (organization.history, "GET"),
        }
        log_ins = self._log_ins
        return [
            Route("/", _begin),
            *static_routes(),
            Route(f"{BASE_PATH}/login", self._explaining(f"{BASE_PATH}/login", log_ins.show)),
            Route(
                f"{BASE_PATH}/login", self._explaining(f"{BASE_PATH}/login", log_ins.log_in), methods=["POST"]
            ),
            Route(
                f"{BASE_PATH}/logout",
                self._explaining(f"{BASE_PATH}/logout", log_ins.log_out),
                methods=["POST"],
            ),
            *(
                Route(path, self._explaining(path, self._visited(screen)), methods=[method])
                for path, (screen, method) in screens.items()
            ),
        ]

    def _visited(self, screen: Screen) -> Handler:
        """Return what authenticates a request and counts it before the screen is asked."""

        async def answer(request: Request) -> Response:
            try:
                caller = await self._authenticator.caller_of(credential_of(request))
            except NotAuthenticatedError as error:
                await self._limiter.count_refusal(client_address(request, self._settings.trusted_proxies))
                return self._log_ins.ask(request, error)
            if request.method not in SAFE_METHODS:
                refuse_forged(request)
            headers = await self._limiter.spend(caller, request.method, charging=False)
            if not isinstance(caller, Session):
                raise PermissionDeniedError("The dashboard is for people: an API key has no screen.")
            return await screen(Visit(request, caller, self._ledger, headers))

        return answer

    def _explaining(self, path: str, handler: Handler) -> Handler:
        """Return what answers with a page for errors, too."""

        async def answer(request: Request) -> Response:
            name_route(request.scope, path)
            try:
                return await handler(request)
            except CreditError as error:
                request_id = request.state.request_id
                if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    logger.warning("request %s: %s", request_id, error)
                shown = described(error)
                known = not isinstance(shown, InternalError)
                return self._pages.page(
                    "refused.html",
                    shown.status,
                    headers_of(shown),
                    sentence=shown.detail if known else "Something went wrong here.",
                    request_id=request_id,
                )

        return answer


async def _begin(_: Request) -> Response:
    """Lead whoever types the site's name, or has logged out of a provider, to the dashboard."""
    return RedirectResponse(BASE_PATH, 303)
