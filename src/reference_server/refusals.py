"""Refusals say where to get more credits."""

from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import quote

from credit_sdk.backends.sql import Actor
from credit_sdk.errors import NotAMemberError, RefusedError
from credit_sdk.models import BatchOutcome, BatchResult
from credit_sdk.operations import DeductBatch, Operation, ResultT_co
from reference_server.access import Ledger

_TOPPED_UP = frozenset({"insufficient_credits", "no_allocation"})


@dataclass(frozen=True, slots=True)
class ExplainingLedger:
    """A ledger whose refusals carry the address of the page where credits are bought."""

    ledger: Ledger
    top_up_url: str

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result."""
        try:
            result = await self.ledger.execute(operation)
        except NotAMemberError:
            raise
        except RefusedError as error:
            error.top_up_url = self._address(getattr(operation, "org_id", None))
            raise
        if isinstance(operation, DeductBatch) and isinstance(result, BatchResult):
            return cast("ResultT_co", self._explained(operation, result))
        return result

    def on_behalf_of(self, actor: Actor) -> "ExplainingLedger":
        """Return the same ledger, whose audit names the actor."""
        return replace(self, ledger=self.ledger.on_behalf_of(actor))

    def _explained(self, batch: DeductBatch, result: BatchResult) -> BatchResult:
        outcomes = (
            self._with_address(outcome, charge.org_id)
            for charge, outcome in zip(batch.charges, result.outcomes, strict=True)
        )
        return BatchResult(outcomes=tuple(outcomes))

    def _with_address(self, outcome: BatchOutcome, org_id: str) -> BatchOutcome:
        if outcome.problem is None or outcome.problem.code not in _TOPPED_UP:
            return outcome
        problem = outcome.problem.model_copy(update={"top_up_url": self._address(org_id)})
        return outcome.model_copy(update={"problem": problem})

    def _address(self, org_id: str | None) -> str | None:
        if org_id is None and "{org_id}" in self.top_up_url:
            return None
        return self.top_up_url.replace("{org_id}", quote(org_id or "", safe=""))
