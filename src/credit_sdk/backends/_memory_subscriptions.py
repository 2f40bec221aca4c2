"""Subscriptions: at most one that runs for each organisation."""

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from credit_sdk import models
from credit_sdk.backends._memory_books import Books, Event, Pool, inactive
from credit_sdk.backends._memory_plans import MONTHS, PRICES, Subscription, end_of_period, trial_end
from credit_sdk.errors import ConflictError, NotFoundError
from credit_sdk.operations import (
    CancelSubscription,
    CreateSubscription,
    GetSubscription,
    ListSubscriptions,
    UpdateSubscription,
    UpgradeSubscription,
)

Change = Literal[
    "subscription_created", "subscription_upgraded", "subscription_downgraded", "subscription_canceled"
]


class Subscriptions(Books):
    """The rules of subscriptions."""

    def create_subscription(self, operation: CreateSubscription) -> models.Subscription:
        """Subscribe an organisation, and make its pool."""
        organization = self.organization(operation.org_id)
        if organization.status == "deleted":
            raise inactive(organization)
        self._require_no_other(operation.org_id)
        self.pools.setdefault(operation.org_id, Pool(self.moment))
        given, plan = operation.monthly_price, operation.subscription_plan
        trial = trial_end(self.moment, operation.trial_days)
        row = Subscription(
            operation.org_id,
            plan,
            PRICES[plan] if given is None else given,
            operation.billing_cycle,
            "trialing" if trial else "active",
            current_period_start=self.moment,
            # A trial is the first period; what is paid for begins after it.
            current_period_end=trial or end_of_period(self.moment, operation.billing_cycle, self.moment),
            created_at=self.moment,
            updated_at=self.moment,
            trial_ends_at=trial,
        )
        self.subscriptions[row.id] = row
        self.note(row, "subscription_created", **({"trial_ends_at": trial.isoformat()} if trial else {}))
        return subscription(row)

    def get_subscription(self, operation: GetSubscription) -> models.Subscription:
        """Look at a subscription by its id, or at an organisation's current one."""
        return subscription(self._find(operation.subscription_id))

    def list_subscriptions(self, operation: ListSubscriptions) -> models.SubscriptionList:
        """List an organisation's subscriptions, the newest first."""
        self.organization(operation.org_id)
        rows = [each for each in self.subscriptions.values() if each.org_id == operation.org_id]
        return models.SubscriptionList(items=tuple(subscription(each) for each in reversed(rows)))

    def update_subscription(self, operation: UpdateSubscription) -> models.Subscription:
        """Change what is given of a subscription that is not canceled."""
        row = self._changeable(operation.subscription_id)
        if operation.status == "active":
            self._require_no_other(row.org_id, row)
        self._reschedule(row, operation)
        row.status = operation.status or row.status
        plan, price = operation.subscription_plan or row.subscription_plan, operation.monthly_price
        if price is None:
            price = row.monthly_price if plan == row.subscription_plan else PRICES[plan]
        self._move(row, plan, price)
        return subscription(row)

    def upgrade_subscription(self, operation: UpgradeSubscription) -> models.Subscription:
        """Move to another plan at its own price."""
        row = self._changeable(operation.subscription_id)
        if row.subscription_plan == operation.new_plan:
            raise ConflictError(f"The subscription {row.id} is to the plan {operation.new_plan} already.")
        self._move(row, operation.new_plan, PRICES[operation.new_plan])
        return subscription(row)

    def cancel_subscription(self, operation: CancelSubscription) -> models.Subscription:
        """Cancel at once, or when the period ends; the row stays."""
        row = self._changeable(operation.subscription_id)
        if row.canceled_at is not None and operation.at_period_end:
            raise ConflictError(f"The subscription {row.id} ends with its period already.")
        later = operation.at_period_end and row.current_period_end is not None
        row.status = row.status if later else "canceled"
        row.updated_at = self.moment
        if row.canceled_at is None:
            row.canceled_at = self.moment
            self.note(row, "subscription_canceled", at_period_end=later)
        return subscription(row)

    def note(self, row: Subscription, change: Change, **metadata: Any) -> None:
        """Write into the history what became of a subscription."""
        figures = {
            "subscription_plan": row.subscription_plan,
            "monthly_price": row.monthly_price,
            "billing_cycle": row.billing_cycle,
            **metadata,
        }
        event = Event(
            row.org_id,
            change,
            self.moment,
            figures,
            amount=row.monthly_price * MONTHS.get(row.billing_cycle, 1),
            subscription_id=row.id,
            period_start=row.current_period_start,
            period_end=row.current_period_end,
        )
        self.write_event(event)

    def _find(self, id: str) -> Subscription:
        try:
            row = self.subscriptions.get(UUID(id))
        except ValueError:
            row = None
        row = row or self.current_subscription(id)
        if row is None:
            raise NotFoundError(f"There is no subscription {id} here.")
        return row

    def _changeable(self, id: str) -> Subscription:
        row = self._find(id)
        if row.status == "canceled":
            raise ConflictError(f"The subscription {row.id} is canceled.")
        return row

    def _require_no_other(self, org_id: str, row: Subscription | None = None) -> None:
        for each in self.subscriptions.values():
            if each.org_id == org_id and each is not row and each.status in {"active", "trialing"}:
                raise ConflictError(f"Organisation {org_id} has an active subscription already: {each.id}.")

    def _reschedule(self, row: Subscription, operation: UpdateSubscription) -> None:
        """Let a trial that is made active end now, and count a cycle from the present period's begin."""
        ends_trial = operation.status == "active" and row.status == "trialing"
        changes_cycle = operation.billing_cycle not in {None, row.billing_cycle}
        row.billing_cycle = operation.billing_cycle or row.billing_cycle
        if ends_trial:
            row.trial_ends_at = row.current_period_start = self.moment
        if ends_trial or (changes_cycle and (operation.status or row.status) != "trialing"):
            row.current_period_end = end_of_period(row.current_period_start, row.billing_cycle, row.anchor)

    def _move(self, row: Subscription, plan: models.SubscriptionPlan, price: Decimal) -> None:
        """Give a subscription another plan and price; another price of the same plan is no event."""
        plan_before, price_before = row.subscription_plan, row.monthly_price
        row.subscription_plan, row.monthly_price = plan, price
        row.updated_at = self.moment
        if plan != plan_before:
            change: Change = "subscription_upgraded" if price > price_before else "subscription_downgraded"
            self.note(row, change, previous_plan=plan_before, previous_price=price_before)


def subscription(row: Subscription) -> models.Subscription:
    """Return a subscription as it is answered."""
    return models.Subscription(
        subscription_id=row.id,
        org_id=row.org_id,
        subscription_plan=row.subscription_plan,
        monthly_price=row.monthly_price,
        billing_cycle=row.billing_cycle,
        status=row.status,
        trial_ends_at=row.trial_ends_at,
        current_period_start=row.current_period_start,
        current_period_end=row.current_period_end,
        canceled_at=row.canceled_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
