"""The table of addresses: which permission an application needs, and what is done."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from credit_sdk.errors import PermissionDeniedError
from credit_sdk.models import crossapp as models
from credit_sdk.models.crossapp import Permission
from credit_sdk.operations import Operation, Spend, crossapp, parse
from credit_sdk.wire import CROSS_APP_ADDRESSES
from reference_server.access import Ledger
from reference_server.callers import Caller
from reference_server.crossapp.payments import Payments
from reference_server.crossapp.people import App, People, Person
from reference_server.crossapp.tokens import Claim
from reference_server.routes import Resource, Route, Terms

LONGEST_REQUEST_ID = 255


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of an application that acts for a user."""

    app: App
    person: Person
    claim: Claim
    expires_at: datetime
    said: frozenset[str]
    """The fields that the request said itself."""
    people: People
    ledger: Ledger
    payments: Payments


Handler = Callable[[Visit, Any], Awaitable[BaseModel]]


async def _validate(visit: Visit, _: crossapp.ValidateToken) -> models.TokenValidity:
    return models.TokenValidity(
        valid=True,
        user=visit.person.seen_by(visit.app),
        app_info=visit.app.info,
        permissions=visit.app.permissions,
        expires_at=visit.expires_at,
    )


async def _refresh(visit: Visit, _: crossapp.RefreshToken) -> models.RefreshedToken:
    issued = await visit.people.open_session(visit.app.info.app_id, visit.person.id, replaces=visit.claim.jti)
    return models.RefreshedToken(
        new_session_token=issued.token, expires_at=issued.expires_at, permissions=visit.app.permissions
    )


async def _log_out(visit: Visit, _: crossapp.LogOut) -> models.LoggedOut:
    await visit.people.close_session(visit.claim.jti)
    return models.LoggedOut()


async def _user_info(visit: Visit, _: crossapp.GetUserInfo) -> models.AppUser:
    return visit.person.seen_by(visit.app)


async def _check(visit: Visit, question: crossapp.CheckAppCredits) -> models.AppCredits:
    required = question.required_credits
    enough = visit.person.available >= (required or 0)
    return models.AppCredits(
        user_id=visit.person.id,
        current_balance=visit.person.credits,
        has_sufficient_credits=enough,
        required_credits=required,
        available_packages=await visit.people.packages(),
    )


async def _consume(visit: Visit, order: crossapp.ConsumeAppCredits) -> models.AppConsumption:
    app_id = visit.app.info.app_id
    fields = {
        "user_id": visit.person.id,
        "credits": order.credits,
        "description": order.description,
        "service_type": order.service,
        "request_id": _request_id(app_id, order, is_given="request_id" in visit.said),
        "request_metadata": {**order.metadata, "app_id": app_id},
    }
    spent = await visit.ledger.execute(parse(Spend, fields))
    transaction_id = int(str(spent.charge_id))
    await visit.people.note_usage(app_id, transaction_id)
    return models.AppConsumption(
        credits_consumed=spent.credits_used,
        new_balance=spent.remaining_credits,
        transaction_id=transaction_id,
        request_id=spent.request_id,
        replayed=spent.replayed,
    )


def _request_id(app_id: str, order: crossapp.ConsumeAppCredits, *, is_given: bool) -> str:
    """Return the charge's request id: the application's own, its job's, or a new one; never another's."""
    job = order.metadata.get("job_id")
    if is_given or not isinstance(job, str | int) or isinstance(job, bool):
        named = f"app:{app_id}:{order.request_id}"
    else:
        named = f"app:{app_id}:job:{order.service}:{job}"
    if (
        len(named) <= LONGEST_REQUEST_ID
        and named.isascii()
        and named.isprintable()
        and named == named.strip()
    ):
        return named
    return f"app:{app_id}:{sha256(named.encode()).hexdigest()}"


async def _purchase(visit: Visit, order: crossapp.PurchaseCredits) -> models.AppCheckout:
    return await visit.payments.checkout(
        visit.person.id, package_id=order.package_id, credits=order.credits, return_url=order.return_url
    )


async def _packages(visit: Visit, _: crossapp.ListPackages) -> models.CreditPackages:
    return models.CreditPackages(packages=await visit.people.packages())


async def _subscriptions(visit: Visit, _: crossapp.ListAppSubscriptions) -> models.AppSubscriptions:
    return models.AppSubscriptions(subscriptions=await visit.payments.subscriptions(visit.person.id))


async def _log_in_first(visit: Visit, _: crossapp.LogIn) -> models.AppSession:
    """Refuse: who logs in has no session yet, and is served before there is a visit."""
    raise PermissionDeniedError(f"{visit.app.info.app_id} has a session already.")


async def _nobody(caller: Caller, _: Any, __: Ledger) -> Operation[Any]:
    raise PermissionDeniedError(f"{caller.id} is no session of an application.")


@dataclass(frozen=True)
class Endpoint(Route):
    """An address, what an application must be permitted for it, and what is done."""

    permission: Permission | None
    handler: Handler


_DONE: Mapping[type[Operation[Any]], tuple[Permission | None, bool, Handler]] = {
    crossapp.LogIn: (None, False, _log_in_first),
    crossapp.ValidateToken: (None, True, _validate),
    crossapp.RefreshToken: (None, False, _refresh),
    crossapp.LogOut: (None, False, _log_out),
    crossapp.GetUserInfo: ("read_user_info", False, _user_info),
    crossapp.CheckAppCredits: ("read_credits", True, _check),
    crossapp.ConsumeAppCredits: ("consume_credits", True, _consume),
    crossapp.PurchaseCredits: ("purchase_credits", False, _purchase),
    crossapp.ListPackages: ("read_credits", False, _packages),
    crossapp.ListAppSubscriptions: ("manage_subscriptions", False, _subscriptions),
}
"""The permission, whether requests with the application's key are unlimited by default, what is done."""

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    Endpoint(address, Terms(_nobody, charging=charging), permission, handler)
    for address in CROSS_APP_ADDRESSES
    for permission, charging, handler in (_DONE[address.operation],)
)

RESOURCES: tuple[Resource, ...] = tuple(
    Resource(path, {each.address.method: each for each in ENDPOINTS if each.address.path == path})
    for path in dict.fromkeys(each.address.path for each in ENDPOINTS)
)
