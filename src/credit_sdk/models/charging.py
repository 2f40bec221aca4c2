"""Receipts, holds, checks and batches."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

from credit_sdk.amounts import Balance, Taken
from credit_sdk.errors import CreditError, Limit, error_from_problem
from credit_sdk.models._base import HoldStatus, Result

ChargeId = UUID | int
"""What names a charge: a UUID in an organisation's ledger, a number in the users' own."""


class Receipt(Result):
    """What a charge took, once.

    `remaining_credits` is what was left of the allocation, or of the user's own balance, right after this
    charge; `org_id` is None for the latter. `replayed` says that the charge had been taken before, under
    the same request id.
    """

    success: Literal[True] = True
    charge_id: ChargeId
    org_id: str | None = None
    user_id: str
    credits_used: Taken
    remaining_credits: Balance
    service_type: str
    service_name: str | None = None
    request_id: str
    created_at: datetime
    replayed: bool = False

    @property
    def remaining(self) -> Balance:
        """What was left right after this charge, in credits."""
        return self.remaining_credits


class RefundReceipt(Result):
    """What a refund gave back. `refundable_credits` is what is left of the charge."""

    success: Literal[True] = True
    refund_id: ChargeId
    charge_id: ChargeId
    org_id: str | None = None
    user_id: str
    credits_refunded: Taken
    refundable_credits: Balance
    remaining_credits: Balance
    request_id: str
    created_at: datetime
    replayed: bool = False


class Hold(Result):
    """Credits set aside for an operation until `expires_at`.

    `credits` is what the hold has, or had when it ended, without the parts that were charged meanwhile.
    `by_payer` says that the payer placed it in person: only then may the payer's session end it.
    """

    hold_id: UUID
    org_id: str | None = None
    user_id: str
    credits: Balance
    captured_credits: Balance
    status: HoldStatus
    service_type: str
    service_name: str | None = None
    request_id: str
    expires_at: datetime
    created_at: datetime
    replayed: bool = False
    by_payer: bool = False


class HoldCharges(Result):
    """What was charged for parts of a hold, in the order of the request, and what became of the hold."""

    hold: Hold
    receipts: tuple[Receipt, ...]


class BatchReceipt(Result):
    """What a run of a job came to. Amounts are credits.

    `records_pending` succeeded and are in the outbox, or not sent yet; `records_skipped` were charged or kept
    by an earlier run; `records_failed` raised, and took nothing.
    """

    request_id: str
    records_charged: int
    credits_charged: Balance
    records_pending: int
    records_skipped: int
    records_failed: int


class ChargedIds(Result):
    """Request ids that have charged, in the order in which they were asked for."""

    request_ids: tuple[str, ...]


class CreditCheck(Result):
    """Advice for a user interface; the database decides again when credits are taken.

    `remaining_credits` is what is left of the allocation or the balance, `available_credits` what of it is
    not held.
    """

    has_sufficient_credits: bool
    remaining_credits: Balance
    available_credits: Balance
    required_credits: Balance

    def __bool__(self) -> bool:
        """Whether the credits suffice."""
        return self.has_sufficient_credits


class Problem(Result):
    """Why one charge of a batch was refused: the fields of a problem body (RFC 9457)."""

    code: str
    status: int
    detail: str
    limit: Limit | None = None
    required: Balance | None = None
    available: Balance | None = None
    resets_at: datetime | None = None
    top_up_url: str | None = None

    def exception(self) -> CreditError:
        """Return the exception that a single charge would have raised."""
        return error_from_problem(self.model_dump()) or CreditError(self.detail)


class BatchOutcome(Result):
    """The outcome of one charge of a batch: a receipt, or the problem that refused it."""

    request_id: str
    receipt: Receipt | None = None
    problem: Problem | None = None

    @property
    def success(self) -> bool:
        """Whether the charge was taken."""
        return self.receipt is not None


class BatchResult(Result):
    """The outcomes of a batch, in the order of its charges."""

    outcomes: tuple[BatchOutcome, ...]

    def __iter__(self) -> Iterator[BatchOutcome]:  # type: ignore[override]  # a batch is its outcomes, not its fields
        """Iterate over the outcomes."""
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)


class HoldOutcome(Result):
    """The outcome of one hold of a batch: the hold, or the problem that refused it."""

    request_id: str
    hold: Hold | None = None
    problem: Problem | None = None


class HoldBatchResult(Result):
    """The outcomes of a batch of holds, in their order."""

    outcomes: tuple[HoldOutcome, ...]


class CaptureOutcome(Result):
    """The outcome of one capture of a batch: a receipt, or the problem that refused it."""

    hold_id: UUID
    receipt: Receipt | None = None
    problem: Problem | None = None


class CaptureBatchResult(Result):
    """The outcomes of a batch of captures, in their order."""

    outcomes: tuple[CaptureOutcome, ...]
