"""Users' standing, charges and usage."""

from datetime import date, datetime
from uuid import UUID

from pydantic import Field, JsonValue

from credit_sdk.amounts import Balance, Money
from credit_sdk.models._base import Result, Role


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
    has_balance: bool = False
    """Whether the user has a balance of their own, which pays where no organisation does."""
    organizations: tuple[OrganizationCredits, ...]

    @property
    def is_known(self) -> bool:
        """Whether the ledger knows the user: as a member of an organisation, or by themselves."""
        return bool(self.organizations) or self.has_balance or self.user_email is not None


class UserBilling(UserCredits):
    """The user's own billing screen."""

    total_usage_last_30_days: Balance


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
