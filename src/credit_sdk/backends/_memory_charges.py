"""Charging, refunding, and asking whether a charge would be taken."""

from collections.abc import Mapping
from typing import Any

from credit_sdk import models
from credit_sdk.amounts import format_credits, from_millicredits, to_millicredits
from credit_sdk.backends._memory_books import Allocation, Content, Entry, id_held, id_taken
from credit_sdk.backends._memory_caps import Caps
from credit_sdk.errors import (
    ConflictError,
    CreditError,
    NoAllocationError,
    NotFoundError,
    problem_from_error,
)
from credit_sdk.operations import CheckCharges, CheckCredits, Deduct, DeductBatch, PlaceHold, Refund


class Charges(Caps):
    """The rules of charges."""

    def check_credits(self, operation: CheckCredits) -> models.CreditCheck:
        """Say whether `deduct` would take so much now; without an active allocation: no, with zeros."""
        required = to_millicredits(operation.credits)
        try:
            allocation = self.spendable(operation.org_id, operation.user_id)
        except NoAllocationError:
            remaining, available, suffices = 0, 0, False
        else:
            most = self.available(allocation)
            remaining, available = allocation.remaining, most - self.overage(operation.org_id)
            suffices = required <= most and self.caps_allow(allocation, required)
        document = {
            "has_sufficient_credits": suffices,
            "remaining_credits": remaining,
            "available_credits": available,
            "required_credits": required,
        }
        return models.CreditCheck.model_validate(document, context=self.SCALE)

    def deduct(self, operation: Deduct) -> models.Receipt:
        """Take credits, once for each request id."""
        self.require_standing(operation.org_id, operation.user_id)
        content = content_of(operation)
        earlier = self.charged(operation.org_id, operation.request_id, content)
        if earlier is not None:
            return models.Receipt.model_validate(receipt(earlier, replayed=True), context=self.SCALE)
        self.refuse_held_id(operation.org_id, operation.user_id, operation.request_id)
        allocation = self.spendable(operation.org_id, operation.user_id)
        self.secure(allocation, content[1], operation.request_id, operation.api_key_id)
        entry = self.charge(
            allocation,
            content,
            operation.request_id,
            operation.request_metadata,
            api_key_id=operation.api_key_id,
        )
        return models.Receipt.model_validate(receipt(entry), context=self.SCALE)

    def check_charges(self, operation: CheckCharges) -> models.ChargedIds:
        """Say which request ids have charged a member."""
        self.require_standing(operation.org_id, operation.user_id)
        entries = {
            each: self.entry_by_request.get((operation.org_id, each)) for each in operation.request_ids
        }
        return models.ChargedIds(
            request_ids=tuple(
                each
                for each, entry in entries.items()
                if entry is not None and entry.refund_of is None and entry.content[0] == operation.user_id
            )
        )

    def deduct_batch(self, operation: DeductBatch) -> models.BatchResult:
        """Take charges one after the other; one that is refused does not stop the others."""
        members = {(charge.org_id, charge.user_id) for charge in operation.charges}
        for each in members & self.allocations.keys():
            self.give_back(self.overdue(self.allocations[each]))
        return models.BatchResult(outcomes=tuple(map(self._outcome, operation.charges)))

    def refund(self, operation: Refund) -> models.RefundReceipt:
        """Give back what a charge took, at most once altogether."""
        charge = self._charge_to_refund(operation)
        earlier = self.entry_by_request.get((charge.org_id, operation.idempotency_key))
        if earlier is not None:
            return self._refunded_before(earlier, charge, operation)
        hold = self.live_holds.get((charge.org_id, operation.idempotency_key))
        if hold is not None:
            raise id_held(hold)
        refundable = self.refundable(charge)
        credits = refundable if operation.credits is None else to_millicredits(operation.credits)
        if not 0 < credits <= refundable:
            raise ConflictError(
                f"Of the charge {charge.id}, which took {_shown(charge.credits)} credits, "
                f"{_shown(refundable)} can be refunded."
            )
        return self._refund_receipt(self._give_back(charge, credits, refundable - credits, operation))

    def refundable(self, charge: Entry) -> int:
        """Return what is left of a charge."""
        return charge.credits + sum(
            each.credits for each in self.entries.values() if each.refund_of == charge.id
        )

    def refuse_held_id(self, org_id: str, user_id: str, request_id: str) -> None:
        """Refuse a request id under which somebody holds credits: it charges by capturing them."""
        hold = self.blocking_hold(org_id, user_id, request_id)
        if hold is not None:
            raise id_held(hold)

    def charge(
        self,
        allocation: Allocation,
        content: Content,
        request_id: str,
        metadata: Mapping[str, Any],
        **more: Any,
    ) -> Entry:
        """Record a charge and count it against the allocation."""
        allocation.used += content[1]
        allocation.updated_at = self.moment
        return self.record(
            Entry(
                allocation.org_id,
                content,
                request_id,
                dict(metadata),
                self.moment,
                remaining=allocation.remaining,
                **more,
            )
        )

    def _outcome(self, charge: Deduct) -> models.BatchOutcome:
        try:
            return models.BatchOutcome(request_id=charge.request_id, receipt=self.deduct(charge))
        except CreditError as error:
            return models.BatchOutcome(request_id=charge.request_id, problem=problem_of(error))

    def _charge_to_refund(self, operation: Refund) -> Entry:
        if operation.charge_id is not None:
            charge = self.entries.get(operation.charge_id)
        else:
            charge = self.entry_by_request.get((operation.org_id or "", operation.request_id or ""))
        if charge is None or operation.org_id not in {None, charge.org_id}:
            raise NotFoundError(f"There is no charge {operation.charge_id or operation.request_id} here.")
        if charge.refund_of is not None:
            raise ConflictError(f"{charge.id} is a refund itself, which cannot be refunded.")
        return charge

    def _refunded_before(self, earlier: Entry, charge: Entry, operation: Refund) -> models.RefundReceipt:
        same_amount = operation.credits is None or to_millicredits(operation.credits) == -earlier.credits
        if earlier.refund_of != charge.id or not same_amount:
            raise id_taken(earlier.org_id, earlier.request_id)
        return self._refund_receipt(earlier, replayed=True)

    def _give_back(self, charge: Entry, credits: int, refundable: int, operation: Refund) -> Entry:
        user_id, _, service_type, service_name = charge.content
        return self.charge(
            self.allocations[charge.org_id, user_id],
            (user_id, -credits, service_type, service_name),
            operation.idempotency_key,
            {"reason": operation.reason} if operation.reason is not None else {},
            refund_of=charge.id,
            refundable=refundable,
        )

    def _refund_receipt(self, entry: Entry, *, replayed: bool = False) -> models.RefundReceipt:
        document = {
            "refund_id": entry.id,
            "charge_id": entry.refund_of,
            "org_id": entry.org_id,
            "user_id": entry.content[0],
            "credits_refunded": -entry.credits,
            "refundable_credits": entry.refundable,
            "remaining_credits": entry.remaining,
            "request_id": entry.request_id,
            "created_at": entry.created_at,
            "replayed": replayed,
        }
        return models.RefundReceipt.model_validate(document, context=self.SCALE)


def content_of(operation: Deduct | PlaceHold) -> Content:
    """Return what the operation's request id stands for."""
    return (
        operation.user_id,
        to_millicredits(operation.credits),
        operation.service_type,
        operation.service_name,
    )


def receipt(entry: Entry, *, replayed: bool = False) -> dict[str, Any]:
    """Return the receipt of a charge, in millicredits."""
    user_id, credits, service_type, service_name = entry.content
    return {
        "charge_id": entry.id,
        "org_id": entry.org_id,
        "user_id": user_id,
        "credits_used": credits,
        "remaining_credits": entry.remaining,
        "service_type": service_type,
        "service_name": service_name,
        "request_id": entry.request_id,
        "created_at": entry.created_at,
        "replayed": replayed,
    }


def _shown(millicredits: int) -> str:
    return format_credits(from_millicredits(millicredits))


def problem_of(error: CreditError) -> models.Problem:
    """Return a refusal as the outcome of a batch tells it."""
    return models.Problem.model_validate(problem_from_error(error))
