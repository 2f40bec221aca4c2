"""Subscriptions to plans, and the billing screens."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from credit_sdk import models
from credit_sdk.amounts import MonthlyPrice
from credit_sdk.operations._base import LARGEST_PAGE, Cursor, Operation, OrgId, Whole

SubscriptionId = Annotated[str, Field(min_length=1, max_length=36, pattern=r"^[\x21-\x7e]+$")]


class CreateSubscription(Operation[models.Subscription]):
    """Subscribe an organisation to a plan, and make its pool. Without a price, the plan's own.

    An organisation has one active subscription at most: a second one is a conflict.
    """

    org_id: OrgId
    subscription_plan: models.SubscriptionPlan
    monthly_price: MonthlyPrice | None = None
    billing_cycle: models.BillingCycle = "monthly"
    trial_days: Annotated[int, Field(ge=0, le=365), Whole] = 0


class GetSubscription(Operation[models.Subscription]):
    """Look at a subscription by its own id, or at an organisation's active one by the organisation's."""

    subscription_id: SubscriptionId


class ListSubscriptions(Operation[models.SubscriptionList]):
    """List all subscriptions of an organisation, the newest first."""

    org_id: OrgId


class UpdateSubscription(Operation[models.Subscription]):
    """Change a subscription's plan, price or cycle, or pause and resume it."""

    subscription_id: SubscriptionId
    subscription_plan: models.SubscriptionPlan | None = None
    monthly_price: MonthlyPrice | None = None
    billing_cycle: models.BillingCycle | None = None
    status: Literal["active", "paused", "past_due"] | None = None


class UpgradeSubscription(Operation[models.Subscription]):
    """Move to another plan at its own price; the history says upgraded or downgraded by the price."""

    subscription_id: SubscriptionId
    new_plan: models.SubscriptionPlan


class CancelSubscription(Operation[models.Subscription]):
    """Cancel a subscription, at once or when its period ends. The row stays."""

    subscription_id: SubscriptionId
    at_period_end: StrictBool = False


class GetOrganizationBilling(Operation[models.OrganizationBilling]):
    """Look at the billing screen of an organisation."""

    org_id: OrgId


class GetSystemBilling(Operation[models.SystemBilling]):
    """Look at the billing screen of the whole system."""


class ListBillingHistory(Operation[models.BillingHistoryPage]):
    """List an organisation's billing events, newest first."""

    org_id: OrgId
    event_type: Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[a-z_]+$")] | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None
