"""The contract of subscriptions: what they cost, what becomes of them, at most one for each organisation."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk.contract.harness import Harness, assert_shows, make, refused, shown, unique
from credit_sdk.errors import ConflictError, NotAMemberError, NotFoundError, ValidationFailedError
from credit_sdk.models import Subscription, SubscriptionPlan
from credit_sdk.operations import (
    CancelSubscription,
    CreateSubscription,
    GetSubscription,
    GetUserCredits,
    ListBillingHistory,
    ListSubscriptions,
    UpdateSubscription,
    UpgradeSubscription,
)


def subscribe(ledger: Harness, plan: SubscriptionPlan = "platform", **fields: Any) -> Subscription:
    """Return the subscription of a new organisation, or of the one that is named."""
    fields.setdefault("org_id", ledger.prepare().org_id if "org_id" not in fields else None)
    return ledger.execute(make(CreateSubscription, subscription_plan=plan, **fields))


def events(ledger: Harness, org_id: str) -> list[tuple[Any, ...]]:
    """Return what the history says of an organisation's subscriptions, oldest first."""
    page = ledger.execute(ListBillingHistory(org_id=org_id, limit=500))
    return shown(
        (each for each in reversed(page.items) if each.event_type.startswith("subscription_")),
        "event_type",
        "subscription_id",
    )


def look(ledger: Harness, subscription: Subscription) -> Subscription:
    """Return the subscription as it is now."""
    return ledger.execute(GetSubscription(subscription_id=str(subscription.subscription_id)))


def update(subscription: Subscription, **fields: Any) -> UpdateSubscription:
    """Return a change of a subscription."""
    return make(UpdateSubscription, subscription_id=str(subscription.subscription_id), **fields)


def upgrade(subscription: Subscription, plan: SubscriptionPlan) -> UpgradeSubscription:
    """Return the move to another plan."""
    return UpgradeSubscription(subscription_id=str(subscription.subscription_id), new_plan=plan)


def cancel(subscription: Subscription, *, at_period_end: bool = False) -> CancelSubscription:
    """Return the end of a subscription."""
    return CancelSubscription(subscription_id=str(subscription.subscription_id), at_period_end=at_period_end)


class TestCreateSubscription:
    """Subscribing an organisation to a plan."""

    @pytest.mark.parametrize(("plan", "price"), [("byok", 30), ("platform", 50), ("hybrid", 99)])
    def test_costs_what_the_plan_costs(self, ledger: Harness, plan: SubscriptionPlan, price: int) -> None:
        subscription = subscribe(ledger, plan)
        assert_shows(subscription, subscription_plan=plan, monthly_price=price, billing_cycle="monthly")
        assert_shows(subscription, status="active", trial_ends_at=None, canceled_at=None)
        assert look(ledger, subscription) == subscription

    def test_has_the_price_that_is_given(self, ledger: Harness) -> None:
        assert subscribe(ledger, monthly_price="49.95").monthly_price == Decimal("49.95")
        assert subscribe(ledger, monthly_price=0).monthly_price == 0

    def test_has_a_price_that_can_be_kept(self, ledger: Harness) -> None:
        most = Decimal("9999999999.99")
        subscription = subscribe(ledger, monthly_price=most)
        assert look(ledger, subscription).monthly_price == most
        with pytest.raises(ValidationFailedError, match="at most 9,999,999,999"):
            update(subscription, monthly_price=most + Decimal("0.01"))

    def test_lasts_as_long_as_its_cycle(self, ledger: Harness) -> None:
        lengths = {}
        for cycle in "monthly", "yearly", "custom":
            each = subscribe(ledger, billing_cycle=cycle)
            end = each.current_period_end
            lengths[cycle] = None if end is None else (end - each.current_period_start).days
        assert lengths["monthly"] in range(28, 32)
        assert lengths["yearly"] in {365, 366}
        assert lengths["custom"] is None

    def test_may_begin_with_a_trial(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, trial_days=14)
        assert subscription.status == "trialing"
        assert subscription.trial_ends_at == subscription.created_at + timedelta(days=14)

    @pytest.mark.parametrize("trial_days", [0, 14])
    def test_there_is_one_at_most(self, ledger: Harness, trial_days: int) -> None:
        first = subscribe(ledger, trial_days=trial_days)
        with refused(ConflictError):
            subscribe(ledger, "hybrid", org_id=first.org_id)
        assert ledger.execute(ListSubscriptions(org_id=first.org_id)).items == (first,)

    def test_is_seen_by_members(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        subscribe(ledger, "hybrid", org_id=payer.org_id, monthly_price=90)
        [standing] = ledger.execute(GetUserCredits(user_id=payer.user_id)).organizations
        assert_shows(standing, subscription_plan="hybrid", monthly_price=90)

    def test_is_written_into_the_history(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        expected = [("subscription_created", subscription.subscription_id)]
        assert events(ledger, subscription.org_id) == expected

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            subscribe(ledger, org_id=unique("org"))
        with refused(NotAMemberError):
            ledger.execute(ListSubscriptions(org_id=unique("org")))


class TestWhichSubscription:
    """By its own id, or as an organisation's current one."""

    def test_by_organisation(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        by_organization = GetSubscription(subscription_id=subscription.org_id)
        assert ledger.execute(by_organization) == subscription

    def test_the_current_one_of_an_organisation(self, ledger: Harness) -> None:
        first = subscribe(ledger)
        ledger.execute(cancel(first))
        with refused(NotFoundError):
            ledger.execute(GetSubscription(subscription_id=first.org_id))
        second = subscribe(ledger, org_id=first.org_id)
        assert ledger.execute(GetSubscription(subscription_id=first.org_id)) == second

    @pytest.mark.parametrize("unknown", ["0d1f7c1e-52a4-4d0f-9c3e-0c5a4e1d0001", "no-such-thing", "00000000"])
    def test_what_is_unknown_is_not_found(self, ledger: Harness, unknown: str) -> None:
        for question in (
            GetSubscription(subscription_id=unknown),
            UpdateSubscription(subscription_id=unknown, status="paused"),
            UpgradeSubscription(subscription_id=unknown, new_plan="hybrid"),
            CancelSubscription(subscription_id=unknown),
        ):
            with refused(NotFoundError):
                ledger.execute(question)

    def test_an_organisation_without_one_has_none(self, ledger: Harness) -> None:
        with refused(NotFoundError):
            ledger.execute(GetSubscription(subscription_id=ledger.prepare().org_id))

    def test_all_of_an_organisation_the_newest_first(self, ledger: Harness) -> None:
        first = subscribe(ledger)
        canceled = ledger.execute(cancel(first))
        ledger.advance(1)
        second = subscribe(ledger, "byok", org_id=first.org_id)
        assert ledger.execute(ListSubscriptions(org_id=first.org_id)).items == (second, canceled)
        assert ledger.execute(ListSubscriptions(org_id=ledger.prepare().org_id)).items == ()


class TestUpdate:
    """Changing a subscription."""

    def test_changes_what_is_given(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        changed = ledger.execute(update(subscription, monthly_price="45.50"))
        assert_shows(changed, subscription_plan="platform", monthly_price=Decimal("45.50"), status="active")
        paused = ledger.execute(update(subscription, status="paused"))
        assert_shows(paused, monthly_price=Decimal("45.50"), status="paused")
        yearly = ledger.execute(update(subscription, status="active", billing_cycle="yearly"))
        assert_shows(yearly, status="active", billing_cycle="yearly")
        assert look(ledger, subscription) == yearly

    def test_another_plan_is_written_into_the_history(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        changed = ledger.execute(update(subscription, subscription_plan="hybrid", monthly_price=80))
        assert_shows(changed, subscription_plan="hybrid", monthly_price=80)
        assert [each[0] for each in events(ledger, subscription.org_id)] == [
            "subscription_created",
            "subscription_upgraded",
        ]

    def test_the_same_plan_keeps_its_price(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, "byok", monthly_price=25)
        assert ledger.execute(update(subscription, subscription_plan="byok")).monthly_price == 25
        assert ledger.execute(update(subscription, subscription_plan="hybrid")).monthly_price == 99

    def test_a_trial_that_is_made_active_ends_now(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, trial_days=14)
        assert subscription.current_period_end == subscription.trial_ends_at
        active = ledger.execute(update(subscription, status="active"))
        assert active.status == "active"
        assert active.trial_ends_at == active.current_period_start > subscription.current_period_start
        assert active.current_period_end is not None
        assert (active.current_period_end - active.current_period_start).days in range(28, 32)

    def test_one_that_is_not_paid_for_stays_the_current_one(self, ledger: Harness) -> None:
        first = subscribe(ledger)
        late = ledger.execute(update(first, status="past_due"))
        assert ledger.execute(GetSubscription(subscription_id=first.org_id)) == late
        ledger.advance(1)
        second = subscribe(ledger, org_id=first.org_id)
        assert ledger.execute(GetSubscription(subscription_id=first.org_id)) == second

    def test_a_paused_one_may_be_followed_by_another(self, ledger: Harness) -> None:
        first = subscribe(ledger)
        ledger.execute(update(first, status="paused"))
        subscribe(ledger, org_id=first.org_id)
        with refused(ConflictError):
            ledger.execute(update(first, status="active"))

    def test_a_canceled_one_stays_as_it_is(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        canceled = ledger.execute(cancel(subscription))
        for change in update(subscription, monthly_price=1), upgrade(subscription, "hybrid"):
            with refused(ConflictError):
                ledger.execute(change)
        assert look(ledger, subscription) == canceled


class TestUpgrade:
    """Moving to another plan."""

    @pytest.mark.parametrize(
        ("before", "after", "price", "event"),
        [
            ("byok", "platform", 50, "subscription_upgraded"),
            ("platform", "hybrid", 99, "subscription_upgraded"),
            ("hybrid", "byok", 30, "subscription_downgraded"),
        ],
    )
    def test_moves_to_the_plans_own_price(
        self, ledger: Harness, before: SubscriptionPlan, after: SubscriptionPlan, price: int, event: str
    ) -> None:
        subscription = subscribe(ledger, before)
        moved = ledger.execute(upgrade(subscription, after))
        assert_shows(moved, subscription_plan=after, monthly_price=price, status="active")
        assert moved.subscription_id == subscription.subscription_id
        assert events(ledger, moved.org_id)[1:] == [(event, subscription.subscription_id)]

    def test_the_price_that_was_paid_decides_which_way_it_went(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, "byok", monthly_price=70)
        ledger.execute(upgrade(subscription, "platform"))
        assert events(ledger, subscription.org_id)[1][0] == "subscription_downgraded"

    def test_the_same_plan_is_no_move(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, "byok", monthly_price=70)
        with refused(ConflictError):
            ledger.execute(upgrade(subscription, "byok"))
        assert look(ledger, subscription) == subscription


class TestCancel:
    """Ending a subscription; the row stays."""

    def test_at_once(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        canceled = ledger.execute(cancel(subscription))
        assert canceled.status == "canceled"
        assert canceled.canceled_at is not None
        assert look(ledger, subscription) == canceled
        assert events(ledger, subscription.org_id)[1:] == [
            ("subscription_canceled", subscription.subscription_id)
        ]

    def test_when_the_period_ends(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        canceled = ledger.execute(cancel(subscription, at_period_end=True))
        assert canceled.status == "active"
        assert canceled.canceled_at is not None
        assert ledger.execute(GetSubscription(subscription_id=subscription.org_id)) == canceled

    @pytest.mark.parametrize("at_period_end", [True, False])
    def test_twice_is_refused(self, ledger: Harness, at_period_end: bool) -> None:
        subscription = subscribe(ledger)
        ledger.execute(cancel(subscription, at_period_end=at_period_end))
        with refused(ConflictError):
            ledger.execute(cancel(subscription, at_period_end=at_period_end))

    def test_can_still_be_ended_at_once(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        later = ledger.execute(cancel(subscription, at_period_end=True))
        ended = ledger.execute(cancel(subscription))
        assert_shows(ended, status="canceled", canceled_at=later.canceled_at)
        assert [each[0] for each in events(ledger, subscription.org_id)] == [
            "subscription_created",
            "subscription_canceled",
        ]

    def test_a_period_without_an_end_ends_at_once(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, billing_cycle="custom")
        assert ledger.execute(cancel(subscription, at_period_end=True)).status == "canceled"

    def test_makes_room_for_another(self, ledger: Harness) -> None:
        first = subscribe(ledger)
        ledger.execute(cancel(first))
        assert subscribe(ledger, org_id=first.org_id).status == "active"
