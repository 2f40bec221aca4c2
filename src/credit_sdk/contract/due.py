"""The contract of time: resets, refreshes, ends of trials and periods.

A run does what is due in all organisations, so these tests look at their own and compare counts only
where nothing can be left to do.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from credit_sdk.contract.harness import Harness, Payer, assert_shows, look, make
from credit_sdk.contract.subscribing import cancel, events, subscribe
from credit_sdk.contract.subscribing import look as look_again
from credit_sdk.errors import ConflictError
from credit_sdk.models import BillingEvent, CreditPool, DueRun, ResetPeriod
from credit_sdk.operations import (
    GetPool,
    GetSubscription,
    ListBillingHistory,
    Refund,
    RunDue,
    VerifyLedger,
)

DAY = 86_400
NOTHING = DueRun(
    holds_expired=0, allocations_reset=0, pools_refreshed=0, subscriptions_ended=0, subscriptions_renewed=0
)


def _run(ledger: Harness) -> None:
    """Do what is due, until nothing is."""
    while ledger.execute(RunDue()) != NOTHING:
        pass


def _resetting(
    ledger: Harness, period: ResetPeriod = "daily", *, pool: int = 1_000, allocated: int = 100
) -> Payer:
    """Return a member whose allocation resets."""
    payer = ledger.prepare(pool=pool, allocated=None)
    ledger.execute(payer.allocate(allocated, reset_period=period))
    return payer


def _pool(ledger: Harness, payer: Payer) -> CreditPool:
    return ledger.execute(GetPool(org_id=payer.org_id))


def _history(ledger: Harness, payer: Payer, kind: str) -> tuple[BillingEvent, ...]:
    return ledger.execute(make(ListBillingHistory, org_id=payer.org_id, event_type=kind)).items


def _verify(ledger: Harness, payer: Payer) -> None:
    assert ledger.execute(VerifyLedger(org_id=payer.org_id)).differences == ()


def _next(period: ResetPeriod, moment: datetime) -> datetime:
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    while (period == "weekly" and day.weekday()) or (period == "monthly" and day.day > 1):
        day += timedelta(days=1)
    return day


class TestReset:
    """Closing an allocation's period, and filling it up again out of the pool."""

    def test_fills_up_what_was_used(self, ledger: Harness) -> None:
        payer = _resetting(ledger, pool=1_000, allocated=100)
        ledger.execute(payer.deduct("62.5"))
        ledger.advance(DAY)
        _run(ledger)
        ledger.assert_balance(payer, allocated=100, used=0, held=0)
        pool = _pool(ledger, payer)
        assert_shows(pool, total_credits=1_000, allocated_credits=100, used_credits=62.5)
        assert_shows(pool, settled_credits=62.5, available_credits=837.5)
        [event] = _history(ledger, payer, "allocation_reset")
        assert_shows(event, credits=62.5, amount=0)
        assert event.event_metadata["user_id"] == payer.user_id
        _verify(ledger, payer)

    def test_takes_no_more_than_the_pool_has(self, ledger: Harness) -> None:
        payer = _resetting(ledger, pool=130, allocated=100)
        ledger.execute(payer.deduct(80))
        ledger.advance(DAY)
        _run(ledger)
        ledger.assert_balance(payer, allocated=50, used=0, held=0)
        assert_shows(_pool(ledger, payer), available_credits=0, settled_credits=80, total_credits=130)
        _verify(ledger, payer)

    def test_what_was_missing_is_made_good_at_the_next_one(self, ledger: Harness) -> None:
        payer = _resetting(ledger, pool=130, allocated=100)
        ledger.execute(payer.deduct(80))
        ledger.advance(DAY)
        _run(ledger)
        ledger.client.credits.add(payer.org_id, 500)
        ledger.advance(DAY)
        _run(ledger)
        ledger.assert_balance(payer, allocated=100, used=0, held=0)
        assert_shows(_pool(ledger, payer), settled_credits=80, available_credits=450)
        _verify(ledger, payer)

    @pytest.mark.parametrize("period", ["daily", "weekly", "monthly"])
    def test_comes_at_the_boundaries_of_the_calendar(self, ledger: Harness, period: ResetPeriod) -> None:
        payer = _resetting(ledger, period)
        before = ledger.allocation(payer)
        ledger.execute(payer.deduct(10))
        ledger.advance(32 * DAY)
        _run(ledger)
        after = ledger.allocation(payer)
        assert before.next_reset_date == _next(period, before.updated_at)
        assert after.next_reset_date == _next(period, after.updated_at)
        assert_shows(after, used_credits=0, reset_period=period)

    def test_late_is_once(self, ledger: Harness) -> None:
        payer = _resetting(ledger)
        ledger.execute(payer.deduct(10))
        ledger.advance(10 * DAY)
        _run(ledger)
        assert len(_history(ledger, payer, "allocation_reset")) == 1
        ledger.assert_balance(payer, allocated=100, used=0, held=0)
        assert_shows(_pool(ledger, payer), settled_credits=10, available_credits=890)

    def test_not_before_its_time(self, ledger: Harness) -> None:
        payer = _resetting(ledger, "monthly")
        never = ledger.join(payer.org_id, allocated=50)
        for each in payer, never:
            ledger.execute(each.deduct(10))
        _run(ledger)
        ledger.assert_balance(payer, allocated=100, used=10, held=0)
        ledger.advance(40 * DAY)
        _run(ledger)
        ledger.assert_balance(never, allocated=50, used=10, held=0)

    def test_leaves_holds_alone(self, ledger: Harness) -> None:
        payer = _resetting(ledger)
        ledger.execute(payer.deduct(10))
        # A moment before a midnight that the hold outlives.
        ledger.advance(DAY)
        hold = ledger.execute(payer.hold(60, ttl_seconds=DAY))
        _run(ledger)
        ledger.assert_balance(payer, allocated=100, used=0, held=60)
        assert ledger.execute(look(hold)).status == "held"
        with_charge = ledger.execute(payer.deduct(40))
        assert with_charge.remaining_credits == 60
        _verify(ledger, payer)

    def test_a_refund_of_an_earlier_period_comes_back(self, ledger: Harness) -> None:
        payer = _resetting(ledger)
        receipt = ledger.execute(payer.deduct(30))
        ledger.advance(DAY)
        _run(ledger)
        ledger.execute(make(Refund, org_id=payer.org_id, charge_id=receipt.charge_id))
        ledger.assert_balance(payer, allocated=100, used=-30, held=0)
        assert_shows(_pool(ledger, payer), used_credits=0, settled_credits=30)
        _verify(ledger, payer)
        ledger.advance(DAY)
        _run(ledger)
        ledger.assert_balance(payer, allocated=100, used=0, held=0)
        assert_shows(_pool(ledger, payer), used_credits=0, settled_credits=0, available_credits=900)
        _verify(ledger, payer)

    def test_a_second_run_finds_nothing(self, ledger: Harness) -> None:
        payer = _resetting(ledger)
        ledger.execute(payer.deduct(10))
        ledger.advance(DAY)
        done = ledger.execute(RunDue(limit=100_000))
        assert done.allocations_reset >= 1
        assert ledger.execute(RunDue(limit=100_000)) == NOTHING
        assert len(_history(ledger, payer, "allocation_reset")) == 1

    def test_a_lowered_allocation_is_filled_up_to_what_it_was_lowered_to(self, ledger: Harness) -> None:
        payer = _resetting(ledger)
        ledger.execute(payer.deduct(10))
        ledger.administrator.set_allocation(payer.org_id, payer.user_id, 40)
        ledger.advance(DAY)
        _run(ledger)
        ledger.assert_balance(payer, allocated=40, used=0, held=0)
        _verify(ledger, payer)

    def test_overage_never_takes_more_than_the_pool_has(self, ledger: Harness) -> None:
        payer = _resetting(ledger, pool=100, allocated=100)
        ledger.administrator.set_overage(payer.org_id, 50)
        ledger.execute(payer.deduct(130))
        ledger.advance(DAY)
        _run(ledger)
        # The rest of the overdraft is the next period's use.
        ledger.assert_balance(payer, allocated=0, used=30, held=0)
        pool = _pool(ledger, payer)
        assert_shows(pool, total_credits=100, used_credits=130, settled_credits=100, available_credits=0)
        ledger.client.credits.add(payer.org_id, 500)
        ledger.advance(DAY)
        _run(ledger)
        ledger.assert_balance(payer, allocated=100, used=0, held=0)
        assert_shows(_pool(ledger, payer), settled_credits=130, available_credits=370)
        _verify(ledger, payer)

    def test_what_is_switched_off_does_not_reset(self, ledger: Harness) -> None:
        payer, other = _resetting(ledger), _resetting(ledger)
        for each in payer, other:
            ledger.execute(each.deduct(10))
        ledger.administrator.deactivate(payer.org_id, payer.user_id)
        ledger.administrator.suspend(other.org_id)
        ledger.advance(DAY)
        _run(ledger)
        for each in payer, other:
            ledger.assert_balance(each, allocated=100, used=10, held=0)

    def test_the_history_tells_what_it_did(self, ledger: Harness) -> None:
        payer = _resetting(ledger, pool=130, allocated=100)
        ledger.execute(payer.deduct("62.5"))
        ledger.advance(DAY)
        _run(ledger)
        [event] = _history(ledger, payer, "allocation_reset")
        assert event.event_metadata == {
            "user_id": payer.user_id,
            "settled_credits": 62.5,
            "refilled_credits": 30,
            "allocated_credits": 67.5,
            "shortfall_credits": 32.5,
            "reset_period": "daily",
        }
        assert event.period_end == event.created_at
        assert event.period_start is not None
        assert event.period_start < event.created_at


class TestPoolRefresh:
    """What a pool gets each month."""

    def test_adds_once_however_late(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=100)
        ledger.administrator.set_refresh(payer.org_id, "250.5", days=3)
        _run(ledger)
        assert _pool(ledger, payer).total_credits == 1_000
        ledger.advance(100 * DAY)
        _run(ledger)
        pool = _pool(ledger, payer)
        assert_shows(pool, total_credits=1_250.5, available_credits=1_150.5, monthly_refresh_amount=250.5)
        assert_shows(pool, lifetime_purchased_credits=0)
        [event] = _history(ledger, payer, "pool_refresh")
        assert_shows(event, credits=250.5, amount=0)
        _verify(ledger, payer)

    def test_comes_again_next_month(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.administrator.set_refresh(payer.org_id, 10, days=1)
        ledger.advance(2 * DAY)
        _run(ledger)
        pool = _pool(ledger, payer)
        assert pool.next_refresh_date is not None
        assert pool.updated_at < pool.next_refresh_date <= pool.updated_at + timedelta(days=31)
        ledger.advance(32 * DAY)
        _run(ledger)
        assert _pool(ledger, payer).total_credits == 1_020

    def test_is_one_a_month(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        for _ in range(3):
            ledger.administrator.set_refresh(payer.org_id, 10, days=-1)
            _run(ledger)
        assert _pool(ledger, payer).total_credits == 1_010

    def test_is_there_when_allocations_are_refilled(self, ledger: Harness) -> None:
        payer = _resetting(ledger, pool=100, allocated=100)
        ledger.administrator.set_refresh(payer.org_id, 60, days=1)
        ledger.execute(payer.deduct(50))
        ledger.advance(2 * DAY)
        _run(ledger)
        ledger.assert_balance(payer, allocated=100, used=0, held=0)
        assert_shows(_pool(ledger, payer), total_credits=160, available_credits=10)


class TestSubscriptionTime:
    """Trials and periods end by themselves."""

    def test_a_trial_becomes_a_subscription(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, trial_days=7)
        _run(ledger)
        assert look_again(ledger, subscription).status == "trialing"
        ledger.advance(8 * DAY)
        _run(ledger)
        assert look_again(ledger, subscription).status == "active"

    def test_a_period_follows_another(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        ledger.advance(100 * DAY)
        _run(ledger)
        rolled = look_again(ledger, subscription)
        assert rolled.current_period_end is not None
        assert rolled.status == "active"
        assert rolled.current_period_start <= rolled.updated_at < rolled.current_period_end

    def test_more_are_due_than_are_renewed_at_once(self, ledger: Harness) -> None:
        _run(ledger)
        subscriptions = [subscribe(ledger) for _ in range(3)]
        ledger.advance(32 * DAY)
        limited = RunDue(limit=2)
        assert_shows(ledger.execute(limited), subscriptions_ended=0, subscriptions_renewed=2)
        while ledger.execute(limited).subscriptions_renewed:
            pass
        for each in subscriptions:
            renewed = look_again(ledger, each)
            assert renewed.current_period_end is not None
            assert renewed.updated_at < renewed.current_period_end

    def test_a_canceled_one_ends_with_its_period(self, ledger: Harness) -> None:
        subscription = subscribe(ledger)
        canceled = ledger.execute(cancel(subscription, at_period_end=True))
        ledger.advance(DAY)
        _run(ledger)
        assert look_again(ledger, subscription).status == "active"
        ledger.advance(32 * DAY)
        assert ledger.execute(RunDue(limit=100_000)).subscriptions_ended >= 1
        ended = look_again(ledger, subscription)
        assert_shows(ended, status="canceled", canceled_at=canceled.canceled_at)
        kinds = [each[0] for each in events(ledger, subscription.org_id)]
        assert kinds == ["subscription_created", "subscription_canceled"]
        assert subscribe(ledger, org_id=subscription.org_id).status == "active"

    def test_a_custom_cycle_has_no_end_to_wait_for(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, billing_cycle="custom")
        ledger.advance(400 * DAY)
        _run(ledger)
        assert look_again(ledger, subscription).status == "active"

    def test_there_is_still_one_at_most(self, ledger: Harness) -> None:
        subscription = subscribe(ledger, trial_days=7)
        ledger.advance(8 * DAY)
        _run(ledger)
        with pytest.raises(ConflictError):
            subscribe(ledger, org_id=subscription.org_id)
        assert ledger.execute(GetSubscription(subscription_id=subscription.org_id)).status == "active"


class TestRunDue:
    """All of it in one go."""

    def test_gives_overdue_holds_back(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60, ttl_seconds=60))
        ledger.advance(61)
        assert ledger.execute(RunDue(limit=100_000)).holds_expired >= 1
        assert ledger.execute(look(hold)).status == "expired"

    def test_does_as_much_as_it_is_told_to(self, ledger: Harness) -> None:
        _run(ledger)
        payers = [_resetting(ledger) for _ in range(3)]
        ledger.advance(DAY)
        seen: list[Any] = []
        for _ in range(10_000):
            done = ledger.execute(RunDue(limit=1))
            assert max(done.model_dump().values()) <= 1
            seen.append(done)
            if done == NOTHING:
                break
        assert sum(each.allocations_reset for each in seen) >= len(payers)
        for payer in payers:
            assert len(_history(ledger, payer, "allocation_reset")) == 1
