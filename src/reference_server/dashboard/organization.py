"""The screens of an organisation: overview, members, charges, history."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response, StreamingResponse

from credit_sdk import operations
from credit_sdk.errors import (
    CreditError,
    NotAuthenticatedError,
    NotFoundError,
    PermissionDeniedError,
    ValidationFailedError,
)
from credit_sdk.identifiers import new_request_id
from credit_sdk.models import Cap, ChargePage, CreditPool, SubscriptionPlan
from credit_sdk.operations import parse
from reference_server.access import manages_organization
from reference_server.dashboard.forms import Form, read_fields, read_form, trimmed
from reference_server.dashboard.rendering import BASE_PATH, Pages, segment
from reference_server.dashboard.visits import Visit
from reference_server.encoding import CSV_TYPE, csv_lines
from reference_server.settings import Settings

_PAGE = 50
_TOP = 10
_TOP_UP = {"credits": "Credits", "purchase_amount": "Paid (USD)"}
_ALLOCATE = {"allocated_credits": "Credits", "user_id": "Member", "reset_period": "Resets", "notes": "Notes"}
_PLAN = {"new_plan": "Plan"}
_CAP = {"credits": "At most", "period": "Period of the cap", "subject": "Member"}
_PERIODS = {"call": "in one call", "hour": "an hour", "day": "a day", "month": "a month"}
_FILTERS = {"user_id": "Member", "service_type": "Service", "since": "From", "until": "Until"}
_DONE = {
    "added": "The credits were added to the pool.",
    "allocated": "The credits were allocated.",
    "planned": "The plan was changed.",
    "capped": "The cap was set.",
    "uncapped": "The cap was removed.",
}
"""What a page says after a form was carried out."""


@dataclass(frozen=True, slots=True)
class OrganizationScreens:
    """Answers with an organisation's screens, and carries their forms out."""

    pages: Pages
    settings: Settings

    async def overview(self, visit: Visit) -> Response:
        """Show the pool, the subscription, the forecast and what was used."""
        return await self._overview(visit, Form())

    async def add_credits(self, visit: Visit) -> Response:
        """Add credits to the pool."""
        form = await self._entered(visit)
        try:
            await visit.execute(_operation(operations.AddCredits, visit, form))
        except CreditError as error:
            return await self._overview(visit, _refused(form, error, _TOP_UP), error.status)
        return _done(visit, "", "added")

    async def change_plan(self, visit: Visit) -> Response:
        """Move the organisation to another plan, or subscribe it to one."""
        form = await self._entered(visit)
        org_id = _org_id(visit)
        billing = await visit.execute(operations.GetOrganizationBilling(org_id=org_id))
        try:
            subscribed = billing.subscription
            asked = {
                **form.entered,
                "subscription_id": str(subscribed.subscription_id) if subscribed else org_id,
            }
            move = parse(operations.UpgradeSubscription, asked)
            if subscribed:
                await visit.execute(move)
            else:
                plan = move.new_plan
                await visit.execute(operations.CreateSubscription(org_id=org_id, subscription_plan=plan))
        except CreditError as error:
            return await self._overview(visit, Form(), error.status, plan=_refused(form, error, _PLAN))
        return _done(visit, "", "planned")

    async def set_cap(self, visit: Visit) -> Response:
        """Set or remove a cap of the organisation, or of the member whom the form names."""
        form = await self._entered(visit)
        is_of_member = "subject" in form.entered
        scope = {"scope": "member" if is_of_member else "organization"}
        try:
            await visit.execute(_operation(operations.SetCap, visit, form, **scope))
        except CreditError as error:
            refused = _refused(form, error, _CAP)
            show = self._members if is_of_member else self._overview
            return await show(visit, Form(), error.status, cap=refused)
        what = "capped" if "credits" in form.entered else "uncapped"
        return _done(visit, "/members" if is_of_member else "", what)

    async def members(self, visit: Visit) -> Response:
        """Show members with their allocations and caps."""
        return await self._members(visit, Form())

    async def allocate(self, visit: Visit) -> Response:
        """Add credits of the pool to a member's allocation."""
        form = await self._entered(visit)
        try:
            await visit.execute(_operation(operations.Allocate, visit, form))
        except CreditError as error:
            return await self._members(visit, _refused(form, error, _ALLOCATE), error.status)
        return _done(visit, "/members", "allocated")

    async def charges(self, visit: Visit) -> Response:
        """Show charges, filtered and page by page."""
        fields = trimmed(read_fields(visit.request.url.query))
        form = Form(entered={name: fields[name] for name in _FILTERS if name in fields})
        page = ChargePage(items=())
        status = 200
        try:
            page = await visit.execute(_charges(visit, fields, _PAGE))
        except ValidationFailedError as error:
            form = form.refused(error, _FILTERS)
            status = error.status
        return await self._page(
            visit, "charges.html", status=status, charges=page.items, next=page.next_cursor, form=form
        )

    async def export(self, visit: Visit) -> Response:
        """Answer with all charges that fit the filters, as CSV."""
        asked = _charges(visit, trimmed(read_fields(visit.request.url.query)), operations.LARGEST_PAGE)
        first = await visit.execute(asked)
        headers = {**visit.headers, "Content-Disposition": 'attachment; filename="charges.csv"'}
        return StreamingResponse(_csv(visit, asked, first), headers=headers, media_type=CSV_TYPE)

    async def history(self, visit: Visit) -> Response:
        """Show the billing history, page by page."""
        asked = {"limit": _PAGE, **trimmed(read_fields(visit.request.url.query)), "org_id": _org_id(visit)}
        page = await visit.execute(parse(operations.ListBillingHistory, asked))
        return await self._page(visit, "history.html", events=page.items, next=page.next_cursor)

    async def _overview(
        self,
        visit: Visit,
        form: Form,
        status: int = 200,
        *,
        plan: Form | None = None,
        cap: Form | None = None,
    ) -> Response:
        org_id = _org_id(visit)
        billing = await visit.execute(operations.GetOrganizationBilling(org_id=org_id))
        return await self._page(
            visit,
            "organization.html",
            status=status,
            form=form,
            plan_form=plan or Form(),
            cap_form=cap or Form(),
            plans={each: each for each in get_args(SubscriptionPlan)},
            periods=_PERIODS,
            billing=billing,
            usage=billing.usage_stats_30_days,
            top_users=billing.usage_stats_30_days.by_user[:_TOP],
            forecast=await visit.execute(operations.GetForecast(org_id=org_id)),
            left=await visit.execute(operations.GetBurnDown(org_id=org_id)),
            caps=await _caps(visit, org_id, "organization"),
            top_up_url=self._top_up_url(org_id),
            now=datetime.now(UTC),
        )

    async def _members(
        self, visit: Visit, form: Form, status: int = 200, *, cap: Form | None = None
    ) -> Response:
        org_id = _org_id(visit)
        await manages_organization(
            visit.session, operations.GetOrganizationBilling(org_id=org_id), visit.ledger
        )
        asked = {"org_id": org_id, "limit": _PAGE, **_place(visit)}
        page = await visit.execute(parse(operations.ListMembers, asked))
        caps: dict[str | None, list[Cap]] = {}
        for each in await _caps(visit, org_id, "member"):
            caps.setdefault(each.subject, []).append(each)
        return await self._page(
            visit,
            "members.html",
            status=status,
            form=form,
            fresh=Form(),
            cap_form=cap or Form(),
            periods=_PERIODS,
            names={
                member.user_id: member.name or member.user_email or member.user_id for member in page.items
            },
            pool=await _pool(visit, org_id),
            members=page.items,
            next=page.next_cursor,
            page_query=urlencode(_place(visit)),
            caps=caps,
        )

    async def _page(self, visit: Visit, template: str, *, status: int = 200, **values: Any) -> Response:
        org_id = _org_id(visit)
        done = _DONE.get(visit.query.get("done", ""))
        return self.pages.page(
            template,
            status,
            visit.headers,
            visit=visit,
            mine=await visit.organizations(),
            org_id=org_id,
            address=f"{BASE_PATH}/organizations/{segment(org_id)}",
            watch=f"/api/v1/org-billing/credits/{segment(org_id)}",
            done=done,
            **values,
        )

    def _top_up_url(self, org_id: str) -> str | None:
        template = self.settings.top_up_url
        return template.replace("{org_id}", segment(org_id)) if template else None

    async def _entered(self, visit: Visit) -> Form:
        fields = trimmed(await read_form(visit.request, self.settings.body_seconds))
        subject, request_id = fields.get("user_id", ""), fields.get("request_id") or new_request_id()
        return Form(subject, fields, request_id=request_id)


def _org_id(visit: Visit) -> str:
    """Return which organisation the address names; raise `ValidationFailedError` for what is no id."""
    return parse(operations.GetPool, {"org_id": visit.request.path_params["org_id"]}).org_id


def _operation(
    kind: type[operations.OperationT], visit: Visit, form: Form, **more: str
) -> operations.OperationT:
    return parse(kind, {**form.entered, **more, "org_id": _org_id(visit)})


def _refused(form: Form, error: CreditError, labels: Mapping[str, str]) -> Form:
    """Return the form with the error; what is not about the form is told on a page of its own."""
    if isinstance(error, NotAuthenticatedError | PermissionDeniedError):
        raise error
    return form.refused(error, labels)


def _done(visit: Visit, screen: str, what: str) -> Response:
    query = urlencode({"done": what, **_place(visit)})
    address = f"{BASE_PATH}/organizations/{segment(_org_id(visit))}{screen}?{query}"
    return RedirectResponse(address, 303, visit.headers)


def _place(visit: Visit) -> dict[str, str]:
    """Return on which page of a list the visitor is, as a query says it; empty for the first."""
    cursor = visit.query.get("cursor")
    return {"cursor": cursor} if cursor else {}


async def _pool(visit: Visit, org_id: str) -> CreditPool | None:
    try:
        return await visit.execute(operations.GetPool(org_id=org_id))
    except NotFoundError:
        return None


def _charges(visit: Visit, fields: Mapping[str, str], limit: int) -> operations.ListCharges:
    """Return what is asked for; days of the filter are whole days, in UTC."""
    known = {name: value for name, value in fields.items() if name in {*_FILTERS, "cursor"}}
    for name in ("since", "until"):
        if name in known:
            known[name] = _start_of(known[name], days=name == "until")
    return parse(operations.ListCharges, {**known, "org_id": _org_id(visit), "limit": limit})


def _start_of(day: str, *, days: int) -> str:
    """Return when a day begins, `days` later; what is no day is left for the operation to refuse."""
    try:
        begins = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return day
    return begins.isoformat()


async def _csv(visit: Visit, asked: operations.ListCharges, page: ChargePage) -> AsyncIterator[str]:
    yield csv_lines(page.items, heading=True)
    while page.next_cursor:
        page = await visit.execute(asked.model_copy(update={"cursor": page.next_cursor}))
        yield csv_lines(page.items, heading=False)


async def _caps(visit: Visit, org_id: str, scope: str) -> list[Cap]:
    caps = (await visit.execute(operations.ListCaps(org_id=org_id))).caps
    return [cap for cap in caps if cap.scope == scope]
