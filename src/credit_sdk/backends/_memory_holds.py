"""Setting credits aside: `held`, then once and for ever `captured`, `voided` or `expired`."""

from datetime import timedelta
from typing import Any

from credit_sdk import models
from credit_sdk.amounts import to_millicredits
from credit_sdk.backends._memory_books import Allocation, Entry, Hold
from credit_sdk.backends._memory_charges import Charges, content_of, receipt
from credit_sdk.errors import (
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    InsufficientCreditsError,
)
from credit_sdk.operations import CaptureHold, ExpireHolds, GetHold, PlaceHold, VoidHold


class Holds(Charges):
    """The rules of holds."""

    def place_hold(self, operation: PlaceHold) -> models.Hold:
        """Set credits aside, once for each request id."""
        earlier = self._held_before(operation)
        if earlier is not None:
            return self._hold(earlier, replayed=True)
        allocation = self.spendable(operation.org_id, operation.user_id)
        content = content_of(operation)
        self.secure(allocation, content[1])
        allocation.held += content[1]
        allocation.updated_at = self.moment
        hold = Hold(
            operation.org_id,
            content,
            operation.request_id,
            operation.request_metadata,
            created_at=self.moment,
            expires_at=self.moment + timedelta(seconds=operation.ttl_seconds),
        )
        self.holds[hold.id] = self.live_holds[hold.org_id, hold.request_id] = hold
        return self._hold(hold)

    def capture_hold(self, operation: CaptureHold) -> models.Receipt:
        """Charge a hold, once."""
        hold = self.hold(operation.hold_id, operation.org_id)
        credits = hold.credits if operation.credits is None else to_millicredits(operation.credits)
        match hold.status:
            case "captured":
                return self._captured_before(hold, credits)
            case "voided":
                raise HoldClosedError("The hold was given back.")
            case "expired":
                self._secure_again(hold, credits)
            case "held":
                self._secure_capture(hold, credits)
        return self._capture(hold, credits, operation.request_metadata)

    def void_hold(self, operation: VoidHold) -> models.Hold:
        """Give a hold back."""
        hold = self.hold(operation.hold_id, operation.org_id)
        if hold.status == "captured":
            raise HoldClosedError("The hold was captured.")
        if hold.status != "held":
            return self._hold(hold, replayed=True)
        self.close_hold(hold, "voided")
        return self._hold(hold)

    def get_hold(self, operation: GetHold) -> models.Hold:
        """Look at a hold."""
        return self._hold(self.hold(operation.hold_id, operation.org_id))

    def expire_holds(self, operation: ExpireHolds) -> models.ExpiredHolds:
        """Give back holds whose time is over."""
        overdue = [hold for hold in self.live_holds.values() if hold.expires_at <= self.moment]
        overdue.sort(key=lambda hold: hold.expires_at)
        for hold in overdue[: operation.limit]:
            self.close_hold(hold, "expired")
        return models.ExpiredHolds(expired=len(overdue[: operation.limit]))

    def _held_before(self, operation: PlaceHold) -> Hold | None:
        """Return the hold that the request id already stands for, open or captured."""
        key = operation.org_id, operation.request_id
        entry = self.entry_by_request.get(key)
        if entry is not None and entry.hold_id is None:
            raise IdempotencyConflictError
        hold = self.live_holds.get(key) or (self.holds[entry.hold_id] if entry and entry.hold_id else None)
        if hold is not None and hold.content != content_of(operation):
            raise IdempotencyConflictError
        return hold

    def _captured_before(self, hold: Hold, credits: int) -> models.Receipt:
        if credits != hold.captured:
            raise IdempotencyConflictError("The hold was captured with another amount.")
        entry = self.entry_by_request[hold.org_id, hold.request_id]
        return models.Receipt.model_validate(receipt(entry, replayed=True), context=self.SCALE)

    def _secure_capture(self, hold: Hold, credits: int) -> None:
        """See to it that the hold can be charged with so much: it counts for itself."""
        allocation = self._allocation(hold)
        extra = credits - hold.credits
        if extra <= 0:
            return
        try:
            self.secure(allocation, extra)
        except InsufficientCreditsError as error:
            raise self.insufficient(allocation, "hold", credits, 0) from error

    def _secure_again(self, hold: Hold, credits: int) -> None:
        """See to it that an expired hold can be charged all the same."""
        if (hold.org_id, hold.request_id) in self.live_holds | self.entry_by_request:
            raise IdempotencyConflictError
        try:
            self.secure(self._allocation(hold), credits)
        except InsufficientCreditsError as error:
            raise HoldExpiredError from error

    def _capture(self, hold: Hold, credits: int, metadata: dict[str, Any]) -> models.Receipt:
        if hold.status == "held":
            self.close_hold(hold, "captured")
        hold.status = "captured"
        hold.captured = credits
        user_id, _, service_type, service_name = hold.content
        entry: Entry = self.charge(
            self._allocation(hold),
            (user_id, credits, service_type, service_name),
            hold.request_id,
            hold.metadata | metadata,
            hold_id=hold.id,
        )
        return models.Receipt.model_validate(receipt(entry), context=self.SCALE)

    def _allocation(self, hold: Hold) -> Allocation:
        return self.allocations[hold.org_id, hold.content[0]]

    def _hold(self, hold: Hold, *, replayed: bool = False) -> models.Hold:
        user_id, credits, service_type, service_name = hold.content
        document = {
            "hold_id": hold.id,
            "org_id": hold.org_id,
            "user_id": user_id,
            "credits": credits,
            "captured_credits": hold.captured,
            "status": hold.status,
            "service_type": service_type,
            "service_name": service_name,
            "request_id": hold.request_id,
            "expires_at": hold.expires_at,
            "created_at": hold.created_at,
            "replayed": replayed,
        }
        return models.Hold.model_validate(document, context=self.SCALE)
