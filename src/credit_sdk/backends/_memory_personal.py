"""The user ledger beside the organisations': what holds for both, and the proof that it is right."""

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from uuid import UUID

from credit_sdk import models
from credit_sdk.backends._memory_longer_holds import LongerHolds
from credit_sdk.backends._memory_people import BalanceHold, Person, Transaction
from credit_sdk.backends._memory_verification import Figure, Verification
from credit_sdk.operations import ExpireHolds, VerifyLedger


class PersonalLedger(LongerHolds, Verification):
    """Users' own credits in memory."""

    def expire_holds(self, operation: ExpireHolds) -> models.ExpiredHolds:
        """Give back holds whose time is over, of both ledgers together as many as the limit allows."""
        expired = super().expire_holds(operation).expired
        live = self.live_balance_holds.values()
        overdue = [hold for hold in live if hold.expires_at <= self.moment]
        overdue.sort(key=lambda hold: hold.expires_at)
        del overdue[operation.limit - expired :]
        self.let_expire(overdue)
        return models.ExpiredHolds(expired=expired + len(overdue))

    def verify_ledger(self, operation: VerifyLedger) -> models.Verification:
        """Recompute the books of one organisation, or of all and of the users."""
        verification = super().verify_ledger(operation)
        if operation.org_id is not None:
            return verification
        differences = tuple(
            models.Difference(subject=subject, figure=figure, recorded=recorded, recomputed=recomputed)
            for subject, figure, recorded, recomputed in sorted(self._personal_figures())
            if recorded != recomputed
        )
        counts = {
            "users": len(self.people),
            "transactions": len(self.transactions),
            "open_holds": verification.open_holds + len(self.live_balance_holds),
        }
        return verification.model_copy(
            update=counts | {"differences": verification.differences + differences}
        )

    def _personal_figures(self) -> Iterator[Figure]:
        for person in self.people.values():
            rows = [each for each in self.transactions.values() if each.person is person]
            holds = [each for each in self.balance_holds.values() if each.person is person]
            yield from _balance_figures(person, rows, holds)
            yield from _captures(rows, holds)
            yield from _refunds(rows)


def _balance_figures(person: Person, rows: list[Transaction], holds: list[BalanceHold]) -> Iterator[Figure]:
    subject = f"balance of user {person.name}"
    held = sum(each.credits for each in holds if each.status == "held")
    yield subject, "credits", person.credits, sum(each.amount for each in rows)
    yield subject, "held_credits", person.held, held
    for row, balance in zip(rows, accumulate(each.amount for each in rows), strict=True):
        yield f"transaction {row.id}", "balance_after", row.balance, balance


def _captures(rows: list[Transaction], holds: list[BalanceHold]) -> Iterator[Figure]:
    captured: Counter[UUID] = Counter()
    for row in rows:
        if row.hold_id is not None:
            captured[row.hold_id] -= row.amount
    for hold in holds:
        yield f"hold {hold.id}", "captured_credits", hold.captured, captured[hold.id]


def _refunds(rows: list[Transaction]) -> Iterator[Figure]:
    taken = {each.id: -each.amount for each in rows}
    refunded: Counter[int] = Counter()
    for row in rows:
        if row.refund_of is not None:
            refunded[row.refund_of] += row.amount
    for charge, credits in refunded.items():
        yield f"transaction {charge}", "refunded credits", credits, min(credits, taken[charge])
