"""Setting credits aside: `held`, then once and for ever `captured`, `voided` or `expired`."""

from datetime import timedelta
from typing import Any

from credit_sdk import models
from credit_sdk.amounts import to_millicredits
from credit_sdk.backends._memory_books import Allocation, Content, Hold, id_taken, insufficient
from credit_sdk.backends._memory_caps import spender_of
from credit_sdk.backends._memory_charges import Charges, content_of, problem_of, receipt
from credit_sdk.errors import (
    CreditError,
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    RefusedError,
)
from credit_sdk.operations import (
    CaptureHold,
    CaptureHoldBatch,
    ExpireHolds,
    GetHold,
    PlaceHold,
    PlaceHoldBatch,
    VoidHold,
)


class Holds(Charges):
    """The rules of holds."""

    def place_hold(self, operation: PlaceHold) -> models.Hold:
        """Set credits aside, once for each request id."""
        self.require_standing(operation.org_id, operation.user_id)
        content = content_of(operation)
        earlier = self._held_before(operation, content)
        if earlier is not None:
            self.give_back(self.overdue(self._allocation(earlier)))
            return self._hold(earlier, replayed=True)
        allocation = self.spendable(operation.org_id, operation.user_id)
        self.secure(allocation, content[1], operation.request_id, operation.api_key_id)
        allocation.held += content[1]
        allocation.updated_at = self.moment
        hold = Hold(
            operation.org_id,
            content,
            operation.request_id,
            operation.request_metadata,
            created_at=self.moment,
            expires_at=self.moment + timedelta(seconds=operation.ttl_seconds),
            api_key_id=operation.api_key_id,
            by_payer=bool(operation.by_payer),
        )
        self.holds[hold.id] = self.live_holds[hold.org_id, hold.request_id] = hold
        return self._hold(hold)

    def capture_hold(self, operation: CaptureHold) -> models.Receipt:
        """Charge a hold, once."""
        hold = self.find_hold(operation.hold_id, operation.org_id)
        given = None if operation.credits is None else to_millicredits(operation.credits)
        credits = hold.credits if given is None else given
        match hold.status:
            case "captured":
                return self._captured_before(hold, given)
            case "voided":
                raise HoldClosedError(f"The hold {hold.id} was voided.")
            case "expired":
                return self._capture_expired(hold, credits, operation.request_metadata)
            case "held":
                _require_rest(hold, credits)
                self._secure_capture(hold, credits)
                self.close_hold(hold, "captured")
                return self._capture(hold, credits, operation.request_metadata)

    def place_hold_batch(self, operation: PlaceHoldBatch) -> models.HoldBatchResult:
        """Place holds one after the other; one that is refused does not stop the others."""
        return models.HoldBatchResult(outcomes=tuple(map(self._outcome_of_placing, operation.holds)))

    def capture_hold_batch(self, operation: CaptureHoldBatch) -> models.CaptureBatchResult:
        """Capture holds one after the other; one that is refused does not stop the others."""
        return models.CaptureBatchResult(outcomes=tuple(map(self._outcome_of_capturing, operation.captures)))

    def void_hold(self, operation: VoidHold) -> models.Hold:
        """Give a hold back."""
        hold = self.find_hold(operation.hold_id, operation.org_id)
        if hold.status == "captured":
            raise HoldClosedError(f"The hold {hold.id} was captured; refund the charge instead.")
        if hold.status != "held":
            return self._hold(hold, replayed=True)
        self.close_hold(hold, "voided")
        return self._hold(hold)

    def get_hold(self, operation: GetHold) -> models.Hold:
        """Look at a hold."""
        return self._hold(self.find_hold(operation.hold_id, operation.org_id))

    def expire_holds(self, operation: ExpireHolds) -> models.ExpiredHolds:
        """Give back holds whose time is over."""
        overdue = [hold for hold in self.live_holds.values() if hold.expires_at <= self.moment]
        overdue.sort(key=lambda hold: hold.expires_at)
        for hold in overdue[: operation.limit]:
            self.close_hold(hold, "expired")
        return models.ExpiredHolds(expired=len(overdue[: operation.limit]))

    def _outcome_of_placing(self, hold: PlaceHold) -> models.HoldOutcome:
        try:
            return models.HoldOutcome(request_id=hold.request_id, hold=self.place_hold(hold))
        except CreditError as error:
            return models.HoldOutcome(request_id=hold.request_id, problem=problem_of(error))

    def _outcome_of_capturing(self, capture: CaptureHold) -> models.CaptureOutcome:
        try:
            return models.CaptureOutcome(hold_id=capture.hold_id, receipt=self.capture_hold(capture))
        except CreditError as error:
            return models.CaptureOutcome(hold_id=capture.hold_id, problem=problem_of(error))

    def _held_before(self, operation: PlaceHold, content: Content) -> Hold | None:
        """Return the hold that the request id already stands for, open or captured.

        One of the member's own that is overdue is given back for the new one.
        """
        entry = self.entry_by_request.get((operation.org_id, operation.request_id))
        hold = self.blocking_hold(operation.org_id, operation.user_id, operation.request_id)
        if hold is None and entry is not None:
            # A part's charge names the hold that it was taken from, whose id is another.
            hold = self.holds[entry.hold_id] if entry.hold_id else None
            if hold is None or hold.status != "captured" or hold.request_id != operation.request_id:
                raise id_taken(operation.org_id, operation.request_id)
        if hold is not None and (hold.content, hold.by_payer) != (content, bool(operation.by_payer)):
            raise id_taken(operation.org_id, operation.request_id)
        return hold

    def _captured_before(self, hold: Hold, credits: int | None) -> models.Receipt:
        entry = self.entry_by_request[hold.org_id, hold.request_id]
        if credits not in {None, entry.credits}:
            raise IdempotencyConflictError(f"The hold {hold.id} was captured before, for another amount.")
        return models.Receipt.model_validate(receipt(entry, replayed=True), context=self.SCALE)

    def _secure_capture(self, hold: Hold, credits: int) -> None:
        """See to it that the hold can be charged with so much: what it set aside is the member's already.

        Caps have counted it, too, but what is captured after its time counts afresh.
        """
        extra, others = credits - hold.credits, list[Hold]()
        if extra > 0:
            allocation = self.spendable(hold.org_id, hold.content[0])
            others = self._in_the_way(hold, allocation, extra)
        is_late = hold.expires_at <= self.moment
        if extra > 0 or is_late:
            overdue = self.overdue(self._allocation(hold))
            granted = 0 if is_late else hold.credits
            self.require_caps(spender_of(hold), credits, granted=granted, given_back=overdue)
            if self.is_capped(hold.org_id):
                others = [each for each in overdue if each is not hold]
        if (hold.org_id, hold.request_id) in self.entry_by_request:
            raise id_taken(hold.org_id, hold.request_id)
        self.give_back(others)

    def _in_the_way(self, hold: Hold, allocation: Allocation, extra: int) -> list[Hold]:
        """Return the overdue holds to be given back so that more than the hold can be charged."""
        free = self.free(allocation)
        others = [each for each in self.overdue(allocation) if each is not hold]
        available = free + sum(each.credits for each in others)
        if extra > available:
            raise insufficient(allocation, "hold", hold.credits + extra, hold.credits + max(available, 0))
        return others if extra > free else []

    def _capture_expired(self, hold: Hold, credits: int, metadata: dict[str, Any]) -> models.Receipt:
        """Charge a hold that was given back, if the balance covers it all the same.

        If the job ran again under the same request id and was charged, that charge is the answer;
        while its new hold is open, that one is to be captured.
        """
        user_id, _, service_type, service_name = hold.content
        earlier = self.charged(hold.org_id, hold.request_id, (user_id, credits, service_type, service_name))
        if earlier is not None:
            return models.Receipt.model_validate(receipt(earlier, replayed=True), context=self.SCALE)
        _require_rest(hold, credits)
        self.refuse_held_id(hold.org_id, user_id, hold.request_id)
        allocation = self._allocation(hold)
        try:
            self.spendable(hold.org_id, user_id)
            self.require_available(allocation, credits)
            self.require_caps(spender_of(hold), credits, given_back=self.overdue(allocation))
        except RefusedError as error:
            raise HoldExpiredError(
                f"The hold {hold.id} has expired, and the balance does not cover it. {error.detail}"
            ) from error
        self.give_back(self.overdue(allocation))
        hold.status = "captured"
        return self._capture(hold, credits, metadata)

    def _capture(self, hold: Hold, credits: int, metadata: dict[str, Any]) -> models.Receipt:
        hold.captured += credits
        user_id, _, service_type, service_name = hold.content
        entry = self.charge(
            self._allocation(hold),
            (user_id, credits, service_type, service_name),
            hold.request_id,
            hold.metadata | metadata,
            hold_id=hold.id,
            api_key_id=hold.api_key_id,
        )
        return models.Receipt.model_validate(receipt(entry), context=self.SCALE)

    def _allocation(self, hold: Hold) -> Allocation:
        return self.allocations[hold.org_id, hold.content[0]]

    def _hold(self, hold: Hold, *, replayed: bool = False) -> models.Hold:
        user_id, _, service_type, service_name = hold.content
        document = {
            "hold_id": hold.id,
            "org_id": hold.org_id,
            "user_id": user_id,
            "credits": hold.credits,
            "captured_credits": hold.captured,
            "status": hold.status,
            "service_type": service_type,
            "service_name": service_name,
            "request_id": hold.request_id,
            "expires_at": hold.expires_at,
            "created_at": hold.created_at,
            "replayed": replayed,
            "by_payer": hold.by_payer,
        }
        return models.Hold.model_validate(document, context=self.SCALE)


def _require_rest(hold: Hold, credits: int) -> None:
    if not credits:
        raise HoldClosedError(f"The hold {hold.id} has nothing left.")
