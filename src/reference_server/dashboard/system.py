"""The system administrator's screen."""

from dataclasses import dataclass

from starlette.responses import Response

from credit_sdk import operations
from credit_sdk.models import SystemOrganization
from reference_server.dashboard.forms import read_fields
from reference_server.dashboard.rendering import Pages
from reference_server.dashboard.visits import Visit

_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class SystemScreen:
    """Answers with all organisations and what they bring in."""

    pages: Pages

    async def show(self, visit: Visit) -> Response:
        """Show revenue, and the organisations that are searched for."""
        billing = await visit.execute(operations.GetSystemBilling())
        wanted = read_fields(visit.request.url.query).get("q", "").strip()
        found = [each for each in billing.organizations if _fits(each, wanted)]
        return self.pages.page(
            "system.html",
            headers=visit.headers,
            visit=visit,
            mine=await visit.organizations(),
            org_id=None,
            billing=billing,
            wanted=wanted,
            found=found[:_MOST_SHOWN],
            more=len(found) - _MOST_SHOWN,
        )


def _fits(organization: SystemOrganization, wanted: str) -> bool:
    names = (
        organization.org_id,
        organization.org_name,
        organization.status,
        organization.subscription_plan or "",
    )
    return any(wanted.casefold() in name.casefold() for name in names)
