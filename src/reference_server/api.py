"""Everything under /api: authenticate, limit, find the address, parse, authorise, execute, encode.

The order is a promise (SPEC section 6): nothing is said about an address or a body before it is
known who asks.
"""

import logging
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from credit_sdk.errors import (
    CreditError,
    NotAuthenticatedError,
    PermissionDeniedError,
)
from credit_sdk.models import ChargePage
from credit_sdk.operations import ListCharges
from reference_server.access import Ledger
from reference_server.auth import Authenticator, credential_of
from reference_server.callers import Caller, Session
from reference_server.decoding import decode, operation_of
from reference_server.encoding import (
    CSV_TYPE,
    JSON_TYPE,
    csv_response,
    json_response,
    media_type,
    problem_response,
)
from reference_server.limits import SAFE_METHODS, Limiter, client_address
from reference_server.observing import name_route
from reference_server.origins import is_forged
from reference_server.problems import NoSuchAddressError, WrongMethodError
from reference_server.routes import Route, find
from reference_server.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Api:
    """The application under /api."""

    settings: Settings
    ledger: Ledger
    authenticator: Authenticator
    limiter: Limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: dict[str, str] = {}
        try:
            response = await self._answer(Request(scope, receive), headers)
        except CreditError as error:
            request_id = scope["state"]["request_id"]
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.warning("request %s: %s", request_id, error)
            response = problem_response(error, request_id, headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        """Return the response; `headers` gets what even an error's response has to carry."""
        resource, path = find(request.scope["raw_path"]) or (None, {})
        if resource:
            name_route(request.scope, resource.path)
        if resource and request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(resource.methods)})
        caller = await self.authenticate(request)
        route = resource.route(request.method) if resource else None
        charging = route is not None and route.terms.charging
        headers.update(await self.limiter.spend(caller, request.method, charging=charging))
        if not resource:
            raise NoSuchAddressError(request.scope["raw_path"])
        if not route:
            raise WrongMethodError(resource.methods)
        return await self._serve(request, route, path, caller, headers)

    async def authenticate(self, request: Request) -> Caller:
        """Return who sent a request; one without a valid credential is counted, a forged one refused."""
        try:
            caller = await self.authenticator.caller_of(credential_of(request))
        except NotAuthenticatedError:
            await self.limiter.count_refusal(client_address(request, self.settings.trusted_proxies))
            raise
        if isinstance(caller, Session) and caller.from_cookie and request.method not in SAFE_METHODS:
            self._refuse_forgery(request)
        return caller

    def _refuse_forgery(self, request: Request) -> None:
        if is_forged(request, self.settings.cors_origins):
            raise PermissionDeniedError("A request with a session cookie must come from this site.")

    async def _serve(
        self, request: Request, route: Route, path: dict[str, str], caller: Caller, headers: dict[str, str]
    ) -> Response:
        kind = route.address.operation
        accepted = media_type(request, [JSON_TYPE, *([CSV_TYPE] if kind is ListCharges else [])])
        fields = await decode(request, route, path, seconds=self.settings.body_seconds)
        operation = await route.terms.rule(caller, operation_of(route, fields), self.ledger)
        ledger = self.ledger
        if route.is_audited(caller):
            ledger = ledger.on_behalf_of(caller.actor(request.state.request_id))
        result = await ledger.execute(operation)
        if accepted == CSV_TYPE and isinstance(result, ChargePage):
            return csv_response(result, headers)
        return json_response(result, headers)
