"""A request to the dashboard: whose it is, and what they may ask of the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from credit_sdk.models import Organization
from credit_sdk.operations import ListOrganizations, Operation, ResultT_co
from reference_server.access import MANAGERS, Ledger
from reference_server.callers import Session
from reference_server.routes import TERMS

_MOST_ORGANIZATIONS = 500


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a person. `headers` go into the answer."""

    request: Request
    session: Session
    ledger: Ledger
    headers: Mapping[str, str]

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Carry an operation out as the API does: by its rule and, if it changes something, audited."""
        allowed = await TERMS[type(operation)].rule(self.session, operation, self.ledger)
        ledger = self.ledger
        if not operation.is_question:
            ledger = ledger.on_behalf_of(self.session.actor(self.request.state.request_id))
        return cast("ResultT_co", await ledger.execute(allowed))

    async def organizations(self) -> tuple[Organization, ...]:
        """Return the person's own organisations."""
        mine = ListOrganizations(user_id=self.session.user_id, limit=_MOST_ORGANIZATIONS)
        return (await self.execute(mine)).items

    def manages(self, org_id: str) -> bool:
        """Whether the organisation's screens are for them; the ledger's rules decide for themselves."""
        return self.session.is_system_admin or self.session.roles.get(org_id) in MANAGERS

    @property
    def query(self) -> Mapping[str, str]:
        """What the address says after the question mark."""
        return self.request.query_params
