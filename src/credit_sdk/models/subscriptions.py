"""Subscriptions, and the billing screens."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from credit_sdk.amounts import Balance, Money
from credit_sdk.models._base import Result
from credit_sdk.models.organizations import Organization
from credit_sdk.models.pools import Allocation, CreditPool
from credit_sdk.models.reading import Usage

SubscriptionPlan = Literal["platform", "byok", "hybrid"]
BillingCycle = Literal["monthly", "yearly", "custom"]
SubscriptionStatus = Literal["active", "trialing", "past_due", "canceled", "paused"]


class Subscription(Result):
    """An organisation's subscription. `monthly_price` is in USD.

    A subscription that ends with its period keeps its status and has `canceled_at` set meanwhile.
    """

    subscription_id: UUID
    org_id: str
    subscription_plan: SubscriptionPlan
    monthly_price: Money
    billing_cycle: BillingCycle
    status: SubscriptionStatus
    trial_ends_at: datetime | None = None
    current_period_start: datetime
    current_period_end: datetime | None = None
    canceled_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


class SubscriptionList(Result):
    """All subscriptions of an organisation, the newest first."""

    items: tuple[Subscription, ...]


class BillingEvent(Result):
    """One row of an organisation's billing history. `amount` is in `currency`."""

    event_id: UUID
    org_id: str
    event_type: str
    amount: Money
    currency: str
    credits: Balance | None = None
    subscription_id: UUID | None = None
    payment_status: str | None = None
    payment_method: str | None = None
    paid_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    event_metadata: dict[str, JsonValue]
    notes: str | None = None
    created_at: datetime


class BillingHistoryPage(Result):
    """A page of the history, newest first; `next_cursor` asks for the next one."""

    items: tuple[BillingEvent, ...]
    next_cursor: str | None = None


class OrganizationBilling(Result):
    """The billing screen of an organisation's administrator."""

    organization: Organization
    subscription: Subscription | None = None
    credit_pool: CreditPool | None = None
    user_allocations: tuple[Allocation, ...]
    usage_stats_30_days: Usage


class RevenueMetrics(Result):
    """What subscriptions bring in, in USD, a month and a year."""

    total_mrr: Money
    total_arr: Money
    active_subscriptions: int


class PlanShare(Result):
    """How many active subscriptions a plan has, and what they bring in a month, in USD."""

    subscription_plan: SubscriptionPlan
    subscriptions: int
    monthly_revenue: Money


class OrganizationUsage(Result):
    """What one organisation used in the last 30 days."""

    org_id: str
    org_name: str
    credits_used: Balance
    charges: int


class SystemOrganization(Result):
    """One organisation on the system administrator's screen."""

    org_id: str
    org_name: str
    status: str
    subscription_plan: SubscriptionPlan | None = None
    monthly_price: Money | None = None
    members: int
    total_credits: Balance
    used_credits: Balance
    available_credits: Balance


class SystemBilling(Result):
    """The billing screen of the system administrator."""

    organizations: tuple[SystemOrganization, ...]
    revenue_metrics: RevenueMetrics
    subscription_distribution: tuple[PlanShare, ...]
    top_organizations_by_usage: tuple[OrganizationUsage, ...]
