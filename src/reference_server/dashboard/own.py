"""The screen that everybody has: their own credits."""

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import RedirectResponse, Response

from credit_sdk import operations
from credit_sdk.models import OrganizationCredits, UserBilling
from credit_sdk.operations import parse
from reference_server.dashboard.forms import read_fields
from reference_server.dashboard.rendering import BASE_PATH, Pages, segment
from reference_server.dashboard.visits import Visit

_LATEST = 10


@dataclass(frozen=True, slots=True)
class OwnScreen:
    """Answers with a person's own credits, and changes which organisation is looked at."""

    pages: Pages

    async def show(self, visit: Visit) -> Response:
        """Show one's credits everywhere, and what was used in one organisation."""
        billing = await visit.execute(operations.GetUserBilling())
        shown = _chosen(billing, visit.query.get("org_id"))
        charges = usage = statement = None
        if shown is not None and (visit.session.is_system_admin or shown.org_id in visit.session.roles):
            latest = operations.ListCharges(org_id=shown.org_id, user_id=visit.session.user_id, limit=_LATEST)
            charges = (await visit.execute(latest)).items
            usage = await visit.execute(operations.GetUsage(org_id=shown.org_id))
        if billing.has_balance:
            statement = await visit.execute(operations.GetStatement(user_id=visit.session.user_id))
        return self.pages.page(
            "own.html",
            headers=visit.headers,
            visit=visit,
            mine=await visit.organizations(),
            org_id=shown.org_id if shown else None,
            watch="/api/v1/org-billing/billing/user",
            billing=billing,
            shown=shown,
            charges=charges,
            usage=usage,
            statement=statement,
            now=datetime.now(UTC),
        )

    async def switch(self, visit: Visit) -> Response:
        """Go to the same screen of another organisation, if there is one for this person."""
        fields = read_fields(visit.request.url.query)
        asked = parse(operations.GetPool, {"org_id": fields.get("org_id", "")})
        screen = fields.get("screen")
        org_id = segment(asked.org_id)
        managed = screen in {"overview", "members", "history"} and visit.manages(asked.org_id)
        if not managed and screen != "charges":
            return RedirectResponse(f"{BASE_PATH}?org_id={org_id}", 303, visit.headers)
        rest = "" if screen == "overview" else f"/{screen}"
        return RedirectResponse(f"{BASE_PATH}/organizations/{org_id}{rest}", 303, visit.headers)


def _chosen(billing: UserBilling, org_id: str | None) -> OrganizationCredits | None:
    """Return the organisation that is asked for, else the first, which pays by default."""
    found = [each for each in billing.organizations if each.org_id == org_id]
    return next(iter([*found, *billing.organizations]), None)
