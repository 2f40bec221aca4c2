"""What operations answer: frozen values. All amounts are credits unless a name says otherwise."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from credit_sdk.amounts import Balance, Money
from credit_sdk.errors import CreditError, Limit, error_from_problem

HoldStatus = Literal["held", "captured", "voided", "expired"]
ResetPeriod = Literal["daily", "weekly", "monthly", "never"]
Role = Literal["owner", "admin", "billing_admin", "member"]


class Result(BaseModel):
    """A frozen answer. Fields that a newer server adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Receipt(Result):
    """What a charge took, once.

    `remaining_credits` is what was left of the allocation right after this charge. `replayed` says
    that the charge had been taken before, under the same request id.
    """

    success: Literal[True] = True
    charge_id: UUID
    org_id: str
    user_id: str
    credits_used: Balance
    remaining_credits: Balance
    service_type: str
    service_name: str | None = None
    request_id: str
    created_at: datetime
    replayed: bool = False

    @property
    def remaining(self) -> Balance:
        """What was left of the allocation right after this charge, in credits."""
        return self.remaining_credits


class RefundReceipt(Result):
    """What a refund gave back. `refundable_credits` is what is left of the charge."""

    success: Literal[True] = True
    refund_id: UUID
    charge_id: UUID
    org_id: str
    user_id: str
    credits_refunded: Balance
    refundable_credits: Balance
    remaining_credits: Balance
    request_id: str
    created_at: datetime
    replayed: bool = False


class Hold(Result):
    """Credits set aside for an operation. `remaining_credits` counts what is still free to spend."""

    hold_id: UUID
    org_id: str
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


class CreditCheck(Result):
    """Advice for a user interface; the database decides again when credits are taken.

    `remaining_credits` is what is left of the allocation, `available_credits` what of it is not held.
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


class CreditPool(Result):
    """An organisation's credits. `available_credits` is what is not yet allocated to members."""

    org_id: str
    total_credits: Balance
    allocated_credits: Balance
    used_credits: Balance
    settled_credits: Balance
    available_credits: Balance
    monthly_refresh_amount: Balance
    next_refresh_date: datetime | None = None
    allow_overage: bool = False
    overage_limit: Balance
    lifetime_purchased_credits: Balance
    updated_at: datetime


class Allocation(Result):
    """A member's share of an organisation's credits."""

    org_id: str
    user_id: str
    allocated_credits: Balance
    used_credits: Balance
    held_credits: Balance
    remaining_credits: Balance
    reset_period: ResetPeriod
    next_reset_date: datetime | None = None
    is_active: bool
    notes: str | None = None
    updated_at: datetime


class AllocationPage(Result):
    """A page of allocations; `next_cursor` asks for the next one."""

    items: tuple[Allocation, ...]
    next_cursor: str | None = None


class OrganizationCredits(Result):
    """A user's standing in one organisation; amounts are zero without an allocation."""

    org_id: str
    org_name: str
    role: Role
    is_default: bool
    joined_at: datetime
    subscription_plan: str | None = None
    monthly_price: Money | None = None
    allocated_credits: Balance
    used_credits: Balance
    held_credits: Balance
    remaining_credits: Balance
    has_allocation: bool


class UserCredits(Result):
    """A user's standing in all their organisations, the default one first, then by joining date."""

    user_id: str
    user_email: str | None = None
    organizations: tuple[OrganizationCredits, ...]


class UserBilling(UserCredits):
    """The user's own billing screen."""

    total_usage_last_30_days: Balance


class PoolChange(Result):
    """An addition to a pool."""

    success: Literal[True] = True
    org_id: str
    credits_added: Balance
    total_credits: Balance
    available_credits: Balance
    request_id: str
    replayed: bool = False


class AllocationChange(Result):
    """An addition to a member's allocation."""

    success: Literal[True] = True
    org_id: str
    user_id: str
    credits_added: Balance
    allocated_credits: Balance
    remaining_credits: Balance
    reset_period: ResetPeriod
    request_id: str
    replayed: bool = False


class Charge(Result):
    """One row of the attribution: a charge, or a refund with negative `credits_used`."""

    charge_id: UUID
    org_id: str
    user_id: str
    credits_used: Balance
    service_type: str
    service_name: str | None = None
    request_id: str
    request_metadata: dict[str, JsonValue] = Field(default_factory=dict)
    refund_of: UUID | None = None
    created_at: datetime


class ChargePage(Result):
    """A page of charges, newest first; `next_cursor` asks for the next one."""

    items: tuple[Charge, ...]
    next_cursor: str | None = None


class UsageByService(Result):
    """What one service took in the period."""

    service_type: str
    credits_used: Balance
    charges: int


class UsageByUser(Result):
    """What one member used in the period."""

    user_id: str
    credits_used: Balance
    charges: int


class UsageByDay(Result):
    """What was used on one day (UTC)."""

    day: date
    credits_used: Balance
    charges: int


class Usage(Result):
    """Usage over the last `days` days; refunds are subtracted from credits, not from counts."""

    org_id: str
    days: int
    since: datetime
    total_credits_used: Balance
    total_charges: int
    by_service: tuple[UsageByService, ...]
    by_user: tuple[UsageByUser, ...]
    by_day: tuple[UsageByDay, ...]


class ExpiredHolds(Result):
    """How many holds were given back because their time was over."""

    expired: int


class Difference(Result):
    """A figure of the books that does not follow from the append-only rows. Amounts are millicredits."""

    org_id: str
    subject: str
    figure: str
    recorded: int
    recomputed: int


class Verification(Result):
    """The outcome of recomputing every balance from the append-only rows."""

    organizations: int
    allocations: int
    charges: int
    open_holds: int
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether the books agree with the append-only rows."""
        return not self.differences
