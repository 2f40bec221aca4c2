"""The addresses under /api/stripe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from credit_sdk.errors import FieldError, PermissionDeniedError, ValidationFailedError
from credit_sdk.models.crossapp import Permission
from credit_sdk.operations import GetOrganizationBilling, OrgId, parse
from reference_server.access import manages_organization
from reference_server.api import Api
from reference_server.bodies import read_body, require_json
from reference_server.callers import ApiKey, Caller, Session
from reference_server.crossapp.api import CrossAppApi
from reference_server.crossapp.tokens import is_ours
from reference_server.encoding import JSON_TYPE, media_type
from reference_server.limits import client_address
from reference_server.payments.checkouts import Seller
from reference_server.payments.webhook import Webhook
from reference_server.problems import InvalidSignatureError
from reference_server.routes import LARGEST_BODY
from reference_server.strict_json import parse_object

PATH = "/api/stripe"
LARGEST_EVENT = 512 * 1024
"""An event shows its subject as a whole: an invoice with all of its lines."""
SIGNATURE_HEADER = "stripe-signature"
Address = Annotated[str, Field(min_length=1, max_length=2_048, json_schema_extra={"format": "uri"})]


class CheckoutRequest(BaseModel):
    """What somebody wants to buy, and where they come back to."""

    model_config = ConfigDict(extra="forbid", strict=True)

    price_id: Annotated[str, Field(min_length=1, max_length=255)]
    success_url: Address
    cancel_url: Address
    mode: Literal["payment", "subscription"] = "payment"
    org_id: OrgId | None = None


@dataclass(frozen=True, slots=True)
class Payments:
    """Answers for payments. Only products and Stripe's own events need no credential."""

    api: Api
    applications: CrossAppApi
    seller: Seller
    webhook: Webhook

    def routes(self) -> list[BaseRoute]:
        """Return the addresses."""
        return [
            Route(f"{PATH}/create-checkout-session", self.create_checkout_session, methods=["POST"]),
            Route(f"{PATH}/products", self.list_products),
            Route(f"{PATH}/user-subscriptions", self.list_subscriptions),
            Route(f"{PATH}/webhook", self.receive_event, methods=["POST"]),
        ]

    async def create_checkout_session(self, request: Request) -> Response:
        """Open a checkout for the caller, or for an organisation that the caller manages."""
        caller, headers = await self._caller_of(request, "purchase_credits")
        require_json(request)
        body = await read_body(request, largest=LARGEST_BODY, seconds=self.api.settings.body_seconds)
        wanted = _checkout_request(parse_object(body))
        user_id = await self._payer(caller, wanted.org_id)
        package = await self.seller.find_package(price_id=wanted.price_id)
        if package.mode != wanted.mode:
            message = f"mode: the price {package.price_id} is sold with mode {package.mode}."
            raise _invalid(message, FieldError(loc=["mode"], msg="Wrong mode of the price", type="mode"))
        checkout = await self.seller.checkout(
            package,
            user_id=user_id,
            org_id=wanted.org_id,
            success_url=wanted.success_url,
            cancel_url=wanted.cancel_url,
        )
        answer = {"id": checkout.session_id, "session_id": checkout.session_id, "url": checkout.url}
        return JSONResponse(answer, headers=headers)

    async def list_products(self, request: Request) -> Response:
        """Show what is for sale, to everybody."""
        # Counted with what comes without a credential: the answer needs the database.
        await self._count(request)
        media_type(request, [JSON_TYPE])
        return JSONResponse([package.product() for package in await self.seller.packages()])

    async def list_subscriptions(self, request: Request) -> Response:
        """Show the caller's subscriptions, or those of an organisation that the caller manages."""
        caller, headers = await self._caller_of(request, "manage_subscriptions")
        media_type(request, [JSON_TYPE])
        org_id = request.query_params.get("org_id")
        user_id = await self._payer(caller, org_id)
        return JSONResponse(await self.seller.subscriptions(user_id, org_id), headers=headers)

    async def receive_event(self, request: Request) -> Response:
        """Apply an event of Stripe once."""
        seconds = self.api.settings.body_seconds
        body = await read_body(request, largest=LARGEST_EVENT, seconds=seconds)
        try:
            outcome = await self.webhook.receive(body, request.headers.get(SIGNATURE_HEADER))
        except InvalidSignatureError:
            await self._count(request)
            raise
        return JSONResponse(outcome)

    async def _caller_of(self, request: Request, permission: Permission) -> tuple[Caller, Mapping[str, str]]:
        """Return who asks. A user of an application may only do what the application may, for themselves."""
        if not _is_of_application(request):
            caller = await self.api.authenticate(request)
            return caller, await self.api.limiter.spend(caller, request.method, charging=False)
        headers: dict[str, str] = {}
        visit = await self.applications.meet(request, None, {}, headers)
        visit.app.require(permission)
        return Session(visit.person.subject or str(visit.person.id)), headers

    async def _payer(self, caller: Caller, org_id: str | None) -> str | None:
        """Return which user pays, None for the organisation; raise if the caller has no say in it."""
        if org_id is not None:
            question = parse(GetOrganizationBilling, {"org_id": org_id})
            await manages_organization(caller, question, self.api.ledger)
            return None
        if isinstance(caller, ApiKey):
            raise PermissionDeniedError("An API key buys for an organisation only: name its org_id.")
        return caller.user_id

    async def _count(self, request: Request) -> None:
        await self.api.limiter.count_refusal(client_address(request, self.api.settings.trusted_proxies))


def _is_of_application(request: Request) -> bool:
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    return scheme.lower() == "bearer" and is_ours(token.strip())


def _checkout_request(body: dict[str, Any]) -> CheckoutRequest:
    try:
        return CheckoutRequest.model_validate(body)
    except ValidationError as error:
        problems = [
            FieldError(loc=list(each["loc"]), msg=each["msg"], type=each["type"])
            for each in error.errors(include_url=False, include_input=False)
        ]
        first = problems[0]
        raise _invalid(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", *problems) from None


def _invalid(message: str, *errors: FieldError) -> ValidationFailedError:
    return ValidationFailedError(message, errors=list(errors))
