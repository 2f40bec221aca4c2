"""Subscriptions to plans, and the calendar by which they are billed."""

import calendar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from credit_sdk.models import BillingCycle, SubscriptionPlan, SubscriptionStatus

PRICES: dict[SubscriptionPlan, Decimal] = {
    "byok": Decimal(30),
    "platform": Decimal(50),
    "hybrid": Decimal(99),
}
"""What plans cost in USD a month."""

MONTHS: dict[BillingCycle, int] = {"monthly": 1, "yearly": 12}
"""How long the periods of billing cycles are; a custom one has no end."""


@dataclass(slots=True)
class Subscription:
    """An organisation's subscription to a plan. Prices are in USD."""

    org_id: str
    subscription_plan: SubscriptionPlan
    monthly_price: Decimal
    billing_cycle: BillingCycle
    status: SubscriptionStatus
    current_period_start: datetime
    current_period_end: datetime | None
    created_at: datetime
    updated_at: datetime
    trial_ends_at: datetime | None = None
    canceled_at: datetime | None = None
    id: UUID = field(default_factory=uuid4)

    @property
    def anchor(self) -> datetime:
        """With which moment the periods began that are paid for."""
        return self.trial_ends_at or self.created_at

    @property
    def is_current(self) -> bool:
        """Whether the organisation has the plan now."""
        return self.status in {"active", "trialing", "past_due"}


def end_of_period(start: datetime, cycle: BillingCycle, anchor: datetime) -> datetime | None:
    """Return when a period that begins at `start` ends: on the same day, months later.

    A period that began on the last day of a short month ends on the day of `anchor`, with which the
    subscription began: from 31 January to 28 February to 31 March.
    """
    if cycle not in MONTHS:
        return None
    is_last = start.day == _last_day(start.year, start.month)
    years, month = divmod(start.month - 1 + MONTHS[cycle], 12)
    year = start.year + years
    day = max(start.day, anchor.day) if is_last else start.day
    return start.replace(year=year, month=month + 1, day=min(day, _last_day(year, month + 1)))


def trial_end(start: datetime, days: int) -> datetime | None:
    """Return when a trial of so many days ends; None without one."""
    return start + timedelta(days=days) if days else None


def _last_day(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]
