"""Everything under /api/cross-app: find the address, read, authenticate, limit, permit, do.

The token stands in the body, which therefore has to be read first. What is wrong with the rest of it is
told to those whose token is good.
"""

import logging
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from credit_sdk.errors import (
    CreditError,
    InvalidTokenError,
    NotAuthenticatedError,
    TokenExpiredError,
)
from credit_sdk.models.crossapp import AppSession, TokenValidity
from credit_sdk.operations import crossapp
from credit_sdk.wire import API_KEY_HEADER, CROSS_APP_PATH
from reference_server.access import Ledger
from reference_server.callers import Session
from reference_server.crossapp.endpoints import RESOURCES, Endpoint, Visit
from reference_server.crossapp.payments import Payments
from reference_server.crossapp.people import App, People, Person
from reference_server.crossapp.recognising import recognise
from reference_server.crossapp.tokens import LATE_SECONDS, Claim, is_app_id
from reference_server.decoding import decode, operation_of
from reference_server.encoding import JSON_TYPE, json_response, media_type, problem_response
from reference_server.limits import Limiter, client_address
from reference_server.passwords import PasswordCheck
from reference_server.problems import NoSuchAddressError, WrongMethodError
from reference_server.settings import Settings

logger = logging.getLogger(__name__)
_NOT_KEPT = {"Cache-Control": "no-store"}
_HEALTH = f"{CROSS_APP_PATH}/health"


@dataclass(frozen=True, slots=True)
class CrossAppApi:
    """The application under /api/cross-app."""

    settings: Settings
    people: People
    ledger: Ledger
    payments: Payments
    limiter: Limiter
    passwords: PasswordCheck = field(default_factory=PasswordCheck)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(_NOT_KEPT)
        request = Request(scope, receive)
        try:
            response = await self._answer(request, headers)
        except CreditError as error:
            request_id = scope["state"]["request_id"]
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                logger.warning("request %s: %s", request_id, error)
            response = problem_response(error, request_id, headers)
        await response(scope, receive, send)

    async def _answer(self, request: Request, headers: dict[str, str]) -> Response:
        path = request.scope["path"]
        if path == _HEALTH and request.method in {"GET", "HEAD"}:
            return JSONResponse({"status": "healthy"}, headers=headers)
        resource = next((each for each in RESOURCES if each.path == path), None)
        if resource and request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(resource.methods)})
        endpoint = resource.route(request.method) if resource else None
        if not isinstance(endpoint, Endpoint):
            await self.meet(request, None, {}, headers)
            raise (
                WrongMethodError(resource.methods)
                if resource
                else NoSuchAddressError(request.scope["raw_path"])
            )
        media_type(request, [JSON_TYPE])
        if endpoint.address.operation is crossapp.LogIn:
            return json_response(await self._log_in(request, endpoint, headers), headers)
        return json_response(await self._serve(request, endpoint, headers), headers)

    async def _serve(self, request: Request, endpoint: Endpoint, headers: dict[str, str]) -> Any:
        fields: dict[str, Any] = {}
        unreadable: CreditError | None = None
        try:
            fields = await decode(request, endpoint, {}, seconds=self.settings.body_seconds)
        except CreditError as error:
            unreadable = error
        try:
            visit = await self.meet(request, endpoint, fields, headers)
        except (InvalidTokenError, TokenExpiredError):
            if endpoint.address.operation is crossapp.ValidateToken and fields.get("session_token"):
                await self._known_app(request, fields)
                return TokenValidity(valid=False)
            raise
        if unreadable:
            raise unreadable
        visit.app.require(endpoint.permission)
        return await endpoint.handler(visit, operation_of(endpoint, fields))

    async def meet(
        self, request: Request, endpoint: Endpoint | None, fields: dict[str, Any], headers: dict[str, str]
    ) -> Visit:
        """Return who asks for whom. Raises 401 or, for too many requests, 429."""
        try:
            visit = await self._visit(request, endpoint, fields)
        except NotAuthenticatedError:
            await self.limiter.count_refusal(client_address(request, self.settings.trusted_proxies))
            raise
        charging = endpoint is not None and endpoint.terms.charging
        if not (visit.app.has_key and charging):
            caller = Session(f"{visit.person.id} at {visit.app.info.app_id}")
            headers.update(await self.limiter.spend(caller, request.method, charging=charging))
        return visit

    async def _visit(self, request: Request, endpoint: Endpoint | None, fields: dict[str, Any]) -> Visit:
        claim = Claim.of(_token(request, fields))
        app_id = fields.get("app_id", claim.app_id)
        if not isinstance(app_id, str) or app_id != claim.app_id:
            raise InvalidTokenError
        found = await self.people.find_session(app_id, _key_digest(request), claim.kid, claim.jti)
        is_refresh = endpoint is not None and endpoint.address.operation is crossapp.RefreshToken
        app = App.of(found["app"])
        expires_at = claim.verify(found["public_key"], app_id, late=LATE_SECONDS if is_refresh else 0)
        if found["user"] is None:
            raise InvalidTokenError
        return Visit(
            app,
            Person.of(found["user"]),
            claim,
            expires_at,
            frozenset(fields),
            self.people,
            self.ledger,
            self.payments,
        )

    async def _known_app(self, request: Request, fields: dict[str, Any]) -> None:
        """Refuse applications that are not known: only the others learn that a token is not valid."""
        app_id = fields.get("app_id")
        if not is_app_id(app_id):
            raise InvalidTokenError
        found = await self.people.find_login(app_id, _key_digest(request), "")
        App.of(found["app"])

    async def _log_in(self, request: Request, endpoint: Endpoint, headers: dict[str, str]) -> AppSession:
        address = client_address(request, self.settings.trusted_proxies)
        await self.limiter.count_log_in("address", self.settings.logins_per_address, address)
        fields = await decode(request, endpoint, {}, seconds=self.settings.body_seconds)
        login = cast("crossapp.LogIn", operation_of(endpoint, fields))
        account = sha256(login.email.lower().encode()).hexdigest()
        headers.update(await self.limiter.count_log_in("account", self.settings.logins_per_account, account))
        found = await self.people.find_login(login.app_id, _key_digest(request), login.email)
        app = App.of(found["app"])
        recognised = await recognise(self.people, self.passwords, login, found["user"])
        issued = await self.people.open_session(
            login.app_id,
            recognised.person.id,
            app_user_id=login.app_user_id,
            app_metadata=login.app_metadata,
            password_hash=recognised.password_hash,
        )
        return AppSession(
            session_token=issued.token,
            user=recognised.person.seen_by(app),
            app_info=app.info,
            permissions=app.permissions,
            expires_at=issued.expires_at,
        )


def _token(request: Request, fields: dict[str, Any]) -> str:
    """Return the token of the header or the body; raise `NotAuthenticatedError` for none."""
    said = []
    for value in request.headers.getlist("authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() != "bearer":
            raise InvalidTokenError("The Authorization header must be a bearer token.")
        said.append(token.strip())
    if "session_token" in fields:
        said.append(fields["session_token"])
    if not said:
        raise NotAuthenticatedError
    if not isinstance(said[0], str) or any(each != said[0] for each in said):
        raise InvalidTokenError
    return said[0]


def _key_digest(request: Request) -> bytes | None:
    keys = request.headers.getlist(API_KEY_HEADER)
    return sha256(",".join(keys).encode("utf-8", "replace")).digest() if keys else None
