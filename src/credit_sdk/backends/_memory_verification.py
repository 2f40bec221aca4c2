"""Recomputing every balance from the rows that are never changed."""

from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias
from uuid import UUID

from credit_sdk import models
from credit_sdk.backends._memory_books import Entry
from credit_sdk.backends._memory_pools import Pools
from credit_sdk.operations import VerifyLedger

FILLING_EVENTS = frozenset({"credit_purchase", "credit_grant", "pool_refresh"})
Figure: TypeAlias = tuple[str, str, int, int]
"""What is kept beside the rows it follows from: subject, figure, recorded, recomputed."""


class Verification(Pools):
    """The proof that the books are right."""

    def verify_ledger(self, operation: VerifyLedger) -> models.Verification:
        """Recompute the books of one organisation, or of all."""
        if operation.org_id is not None:
            self.organization(operation.org_id)
        org_ids = [operation.org_id] if operation.org_id is not None else sorted(self.organizations)
        return models.Verification(
            organizations=len(org_ids),
            allocations=sum(each.org_id in org_ids for each in self.allocations.values()),
            charges=sum(each.org_id in org_ids for each in self.entries.values()),
            open_holds=sum(each.org_id in org_ids for each in self.live_holds.values()),
            differences=tuple(
                models.Difference(
                    org_id=org_id, subject=subject, figure=figure, recorded=recorded, recomputed=recomputed
                )
                for org_id in org_ids
                for subject, figure, recorded, recomputed in sorted(self._figures(org_id))
                if recorded != recomputed
            ),
        )

    def _figures(self, org_id: str) -> Iterator[Figure]:
        entries = [each for each in self.entries.values() if each.org_id == org_id]
        yield from self._pool_figures(org_id)
        yield from self._allocation_figures(org_id, entries)
        yield from self._hold_figures(org_id, entries)
        yield from self._refund_figures(entries)

    def _pool_figures(self, org_id: str) -> Iterator[Figure]:
        if org_id not in self.pools:
            return
        added = [
            each.credits or 0 for each in self.events if each.org_id == org_id and each.type in FILLING_EVENTS
        ]
        available = self.unallocated(org_id)
        yield "pool", "total_credits", self.pools[org_id].total, sum(added)
        yield "pool", "available_credits", available, max(available, 0)

    def _allocation_figures(self, org_id: str, entries: list[Entry]) -> Iterator[Figure]:
        used: Counter[str] = Counter()
        for entry in entries:
            used[entry.content[0]] += entry.credits
        held: Counter[str] = Counter()
        for hold in self.holds.values():
            if hold.org_id == org_id and hold.status == "held":
                held[hold.content[0]] += hold.credits
        for each in self.of_organization(org_id):
            subject = f"allocation of user {each.user_id}"
            yield subject, "settled_credits + used_credits", each.settled + each.used, used[each.user_id]
            yield subject, "held_credits", each.held, held[each.user_id]

    def _hold_figures(self, org_id: str, entries: list[Entry]) -> Iterator[Figure]:
        captured: Counter[UUID] = Counter()
        for entry in entries:
            if entry.hold_id is not None:
                captured[entry.hold_id] += entry.credits
        for hold in self.holds.values():
            if hold.org_id == org_id:
                yield f"hold {hold.id}", "captured_credits", hold.captured, captured[hold.id]

    def _refund_figures(self, entries: list[Entry]) -> Iterator[Figure]:
        refunded: Counter[UUID] = Counter()
        for entry in entries:
            if entry.refund_of is not None:
                refunded[entry.refund_of] -= entry.credits
        for charge_id, credits in refunded.items():
            taken = self.entries[charge_id].credits
            yield f"charge {charge_id}", "refunded credits", credits, min(credits, taken)
