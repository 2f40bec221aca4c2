"""Setting a user's own credits aside: `held`, then once and for ever `captured`, `voided` or `expired`."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from credit_sdk import models
from credit_sdk.amounts import to_millicredits
from credit_sdk.backends._memory_balances import Balances
from credit_sdk.backends._memory_people import (
    BalanceHold,
    Content,
    Person,
    already_used,
    content_of,
    require_active,
    too_few,
)
from credit_sdk.errors import (
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    NotFoundError,
    RefusedError,
)
from credit_sdk.operations import (
    CaptureBalanceHold,
    GetBalanceHold,
    PlaceBalanceHold,
    VoidBalanceHold,
)


class BalanceHolds(Balances):
    """The rules of holds on balances."""

    def place_balance_hold(self, operation: PlaceBalanceHold) -> models.Hold:
        """Set credits aside, once for each request id."""
        person, content = self.person(operation.user_id), content_of(operation)
        earlier = self._placed_before(person, operation, content)
        if earlier is not None:
            self.let_expire(self.overdue_of(person))
            return self._shown(earlier, replayed=True)
        self.secure_balance(person, content[0], operation.request_id)
        person.held += content[0]
        hold = BalanceHold(
            person,
            content,
            operation.request_id,
            operation.description,
            operation.request_metadata,
            created_at=self.moment,
            expires_at=self.moment + timedelta(seconds=operation.ttl_seconds),
            by_payer=bool(operation.by_payer),
        )
        self.balance_holds[hold.id] = self.live_balance_holds[person.number, hold.request_id] = hold
        return self._shown(hold)

    def capture_balance_hold(self, operation: CaptureBalanceHold) -> models.Spending:
        """Charge a hold, once."""
        hold = self._find_balance_hold(operation.hold_id, operation.user_id)
        given = None if operation.credits is None else to_millicredits(operation.credits)
        credits = hold.credits if given is None else given
        match hold.status:
            case "captured":
                return self._taken_before(hold, given)
            case "voided":
                raise HoldClosedError(f"The hold {hold.id} was voided.")
            case "expired":
                return self._capture_late(hold, credits, operation.request_metadata)
            case "held":
                self._make_room(hold, credits)
                self.close_balance_hold(hold, "captured")
                return self._take(hold, credits, operation.request_metadata)

    def void_balance_hold(self, operation: VoidBalanceHold) -> models.Hold:
        """Give a hold back."""
        hold = self._find_balance_hold(operation.hold_id, operation.user_id)
        if hold.status == "captured":
            raise HoldClosedError(f"The hold {hold.id} was captured; refund the charge instead.")
        if hold.status != "held":
            return self._shown(hold, replayed=True)
        self.close_balance_hold(hold, "voided")
        return self._shown(hold)

    def get_balance_hold(self, operation: GetBalanceHold) -> models.Hold:
        """Look at a hold."""
        return self._shown(self._find_balance_hold(operation.hold_id, operation.user_id))

    def _find_balance_hold(self, hold_id: UUID, user_id: str | None) -> BalanceHold:
        hold = self.balance_holds.get(hold_id)
        if hold is None or (user_id is not None and self.person(user_id) is not hold.person):
            raise NotFoundError(f"There is no hold {hold_id} here.")
        return hold

    def _placed_before(
        self, person: Person, operation: PlaceBalanceHold, content: Content
    ) -> BalanceHold | None:
        """Return the hold that the request id already stands for, open or captured.

        One that is overdue is given back for the new one.
        """
        row = self.transaction_by_request.get((person.number, operation.request_id))
        hold = self.hold_in_the_way(person, operation.request_id)
        if hold is None and row is not None:
            hold = self.balance_holds[row.hold_id] if row.hold_id else None
            if hold is None:
                raise already_used(person, operation.request_id)
        if hold is not None and (hold.content, hold.by_payer) != (content, bool(operation.by_payer)):
            raise already_used(person, operation.request_id)
        return hold

    def _taken_before(self, hold: BalanceHold, credits: int | None) -> models.Spending:
        if credits not in {None, hold.captured}:
            raise IdempotencyConflictError(f"The hold {hold.id} was captured before, for another amount.")
        row = self.transaction_by_request[hold.person.number, hold.request_id]
        return self.spending(row, replayed=True)

    def _make_room(self, hold: BalanceHold, credits: int) -> None:
        """See to it that the hold can be charged with so much: what it set aside is the user's already."""
        extra, others = credits - hold.credits, list[BalanceHold]()
        if extra > 0:
            require_active(hold.person)
            others = self._overdue_beside(hold, extra)
        if (hold.person.number, hold.request_id) in self.transaction_by_request:
            raise already_used(hold.person, hold.request_id)
        self.let_expire(others)

    def _overdue_beside(self, hold: BalanceHold, extra: int) -> list[BalanceHold]:
        """Return the overdue holds to be given back so that more than the hold can be charged."""
        free = hold.person.credits - hold.person.held
        others = [each for each in self.overdue_of(hold.person) if each is not hold]
        available = free + sum(each.credits for each in others)
        if extra > available:
            raise too_few("hold", hold.credits + extra, hold.credits + max(available, 0))
        return others if extra > free else []

    def _capture_late(self, hold: BalanceHold, credits: int, metadata: dict[str, Any]) -> models.Spending:
        """Charge a hold that was given back, if the balance covers it all the same.

        If the job ran again under the same request id and was charged, that charge is the answer; while
        its new hold is open, that one is to be captured.
        """
        person, content = hold.person, (credits, *hold.content[1:])
        earlier = self.spent(person, hold.request_id, content)
        if earlier is not None:
            return self.spending(earlier, replayed=True)
        self.refuse_balance_hold(person, hold.request_id)
        try:
            self.secure_balance(person, credits, hold.request_id)
        except RefusedError as error:
            raise HoldExpiredError(
                f"The hold {hold.id} has expired, and the balance does not cover it. {error.detail}"
            ) from error
        hold.status = "captured"
        return self._take(hold, credits, metadata)

    def _take(self, hold: BalanceHold, credits: int, metadata: dict[str, Any]) -> models.Spending:
        hold.captured = credits
        row = self.move(
            hold.person,
            -credits,
            (credits, *hold.content[1:]),
            hold.request_id,
            description=hold.description,
            metadata=hold.metadata | metadata,
            hold_id=hold.id,
        )
        return self.spending(row)

    def _shown(self, hold: BalanceHold, *, replayed: bool = False) -> models.Hold:
        document = {
            "hold_id": hold.id,
            "user_id": hold.person.name,
            "credits": hold.credits,
            "captured_credits": hold.captured,
            "status": hold.status,
            "service_type": hold.content[2],
            "service_name": hold.content[3],
            "request_id": hold.request_id,
            "expires_at": hold.expires_at,
            "created_at": hold.created_at,
            "replayed": replayed,
            "by_payer": hold.by_payer,
        }
        return models.Hold.model_validate(document, context=self.SCALE)
