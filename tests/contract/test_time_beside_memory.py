"""Random administration as time goes by, in the database and in memory: both say and show the same."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_sdk import MemoryLedger
from credit_sdk.backends._memory_plans import end_of_period
from credit_sdk.contract.harness import make, unique
from credit_sdk.errors import CreditError
from credit_sdk.models import DueRun
from credit_sdk.operations import (
    AddCredits,
    Allocate,
    CancelSubscription,
    CreateSubscription,
    Deduct,
    GetPool,
    ListAllocations,
    ListBillingHistory,
    ListSubscriptions,
    Operation,
    PlaceHold,
    Refund,
    RunDue,
    UpdateSubscription,
    UpgradeSubscription,
    VerifyLedger,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from credit_sdk.contract import Harness
    from credit_sdk.models import BillingEvent
    from tests.contract.conftest import Owner

SOAK = "soak" in {os.environ.get("HYPOTHESIS_PROFILE"), os.environ.get("CREDITS_TEST_PROFILE")}
NOTHING = DueRun(
    holds_expired=0, allocations_reset=0, pools_refreshed=0, subscriptions_ended=0, subscriptions_renewed=0
)
SECONDS = 20
"""By how much moments may differ: the two clocks are the machine's, read one after the other."""

amounts = st.sampled_from([1, 30, 70, "12.5", 120])
members = st.sampled_from(["ada", "bob"])
plans = st.sampled_from(["byok", "platform", "hybrid"])
cycles = st.sampled_from(["monthly", "yearly", "custom"])
advances = st.tuples(st.just("advance"), st.sampled_from([0.3, 1, 8, 32, 70]))
STEPS = st.one_of(
    st.tuples(st.just("allocate"), members, amounts, st.sampled_from([None, "daily", "weekly", "monthly"])),
    st.tuples(st.just("deduct"), members, amounts),
    st.tuples(st.just("deduct"), members, amounts),
    st.tuples(st.just("hold"), members, amounts, st.sampled_from([60, 86_400])),
    st.tuples(st.just("refund"), st.integers(0, 5)),
    st.tuples(st.just("lower"), members, amounts),
    st.tuples(st.just("add"), amounts),
    st.tuples(st.just("overage"), st.sampled_from([None, 50])),
    st.tuples(st.just("refresh"), amounts, st.sampled_from([1, 10])),
    advances,
    advances,
    st.tuples(st.just("run")),
    st.tuples(st.just("run")),
    st.tuples(st.just("create"), plans, cycles, st.sampled_from([0, 0, 7])),
    st.tuples(
        st.just("update"),
        st.fixed_dictionaries(
            {
                "status": st.sampled_from([None, "active", "paused", "past_due"]),
                "billing_cycle": st.one_of(st.none(), cycles),
                "subscription_plan": st.one_of(st.none(), plans),
                "monthly_price": st.sampled_from([None, None, 10, "64.50"]),
            }
        ),
    ),
    st.tuples(st.just("upgrade"), plans),
    st.tuples(st.just("cancel"), st.booleans()),
)


FIRST = [("create", "platform", "monthly", 0)]
LAST = [("run",), ("add", 1_000), ("advance", 32), ("run",)]


class Books:
    """One of the two ledgers, in an organisation of the run's own."""

    def __init__(
        self,
        administrator: Any,
        execute: Callable[[Operation[Any]], Any],
        advance: Callable[[float], None],
        org_id: str,
    ) -> None:
        self.administrator, self.execute, self.advance_by = administrator, execute, advance
        self.org_id = org_id
        self.charges: list[Any] = []
        administrator.add_organization(org_id, credits=140)
        for name in "ada", "bob":
            administrator.add_member(org_id, name)
            self.allocate(name, 70, "daily")
            # Allocations are refilled in the order of ids, which grow by the millisecond.
            time.sleep(0.003)

    def take(self, step: tuple[Any, ...]) -> str:
        """Do a step and return what came of it."""
        try:
            return str(getattr(self, step[0])(*step[1:]) or "done")
        except CreditError as error:
            return error.code

    def send(self, kind: type[Operation[Any]], **fields: Any) -> Any:
        return self.execute(make(kind, **{k: v for k, v in fields.items() if v is not None}))

    def allocate(self, user_id: str, amount: Any, period: str | None) -> None:
        self.send(
            Allocate, org_id=self.org_id, user_id=user_id, allocated_credits=amount, reset_period=period
        )

    def deduct(self, user_id: str, amount: Any) -> None:
        service = {"service_type": "valuation", "request_id": unique("job")}
        charge = self.send(Deduct, org_id=self.org_id, user_id=user_id, credits=amount, **service)
        self.charges.append(charge)

    def hold(self, user_id: str, amount: Any, ttl: int) -> None:
        service = {"service_type": "valuation", "ttl_seconds": ttl}
        self.send(PlaceHold, org_id=self.org_id, user_id=user_id, credits=amount, **service)

    def refund(self, place: int) -> None:
        if place < len(self.charges):
            self.send(Refund, org_id=self.org_id, charge_id=self.charges[place].charge_id)

    def lower(self, user_id: str, amount: Any) -> None:
        self.administrator.set_allocation(self.org_id, user_id, amount)

    def add(self, amount: Any) -> None:
        self.send(AddCredits, org_id=self.org_id, credits=amount)

    def overage(self, limit: Any) -> None:
        self.administrator.set_overage(self.org_id, limit)

    def refresh(self, amount: Any, days: float) -> None:
        self.administrator.set_refresh(self.org_id, amount, days=days)

    def advance(self, days: float) -> None:
        self.advance_by(days * 86_400)

    def run(self) -> None:
        while self.execute(RunDue()) != NOTHING:
            pass

    def create(self, plan: str, cycle: str, trial_days: int) -> None:
        terms = {"subscription_plan": plan, "billing_cycle": cycle, "trial_days": trial_days}
        self.send(CreateSubscription, org_id=self.org_id, **terms)

    def update(self, fields: dict[str, Any]) -> None:
        self.send(UpdateSubscription, subscription_id=self.newest(), **fields)

    def upgrade(self, plan: str) -> None:
        self.send(UpgradeSubscription, subscription_id=self.newest(), new_plan=plan)

    def cancel(self, at_period_end: bool) -> None:
        self.send(CancelSubscription, subscription_id=self.newest(), at_period_end=at_period_end)

    def newest(self) -> str:
        listed = self.send(ListSubscriptions, org_id=self.org_id).items
        return str(listed[0].subscription_id) if listed else "none"

    def show(self) -> dict[str, Any]:
        """Return all there is to see, without ids."""
        org_id = self.org_id
        subscriptions = self.send(ListSubscriptions, org_id=org_id).items
        history = self.send(ListBillingHistory, org_id=org_id, limit=500).items
        return {
            "pool": self.send(GetPool, org_id=org_id).model_dump(),
            "allocations": self.send(ListAllocations, org_id=org_id).model_dump()["items"],
            "subscriptions": [each.model_dump(exclude={"subscription_id"}) for each in subscriptions],
            "history": [
                each.model_dump(exclude={"event_id", "subscription_id"})
                for each in sorted(history, key=_rank)
            ],
        }


def _rank(event: BillingEvent) -> tuple[Any, ...]:
    """Order events of each kind in time; those of one run have one moment."""
    return event.event_type, event.created_at, str(event.event_metadata.get("user_id"))


def same(one: Any, other: Any) -> bool:
    """Whether two documents say the same, moments but for the machine's own time."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
        case (list(), list()) | (tuple(), tuple()):
            return len(one) == len(other) and all(map(same, one, other))
        case datetime(), datetime():
            return abs(one - other) < timedelta(seconds=SECONDS)
        case str(), str() if one != other:
            with suppress(ValueError):
                return same(datetime.fromisoformat(one), datetime.fromisoformat(other))
            return False
        case _:
            return bool(one == other)


@pytest.mark.parametrize("backend", ["sql"])
def test_time_goes_by_in_the_same_way(harnesses: Callable[[str, str], Harness], backend: str) -> None:
    ledger = harnesses(backend, "blocking")
    ahead = timedelta()

    def advance(seconds: float) -> None:
        nonlocal ahead
        ahead += timedelta(seconds=seconds)

    @settings(
        max_examples=2_000 if SOAK else 40,
        derandomize=not SOAK,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(STEPS, min_size=5, max_size=25))
    def run(steps: list[tuple[Any, ...]]) -> None:
        nonlocal ahead
        org_id = unique("org")
        theirs = Books(ledger.administrator, ledger.execute, ledger.advance, org_id)
        theirs.add(10)
        # The pool was touched just now, on the clock that tests move.
        ahead = ledger.execute(GetPool(org_id=org_id)).updated_at - datetime.now(UTC)
        memory = MemoryLedger(now=lambda: datetime.now(UTC) + ahead)
        ours = Books(memory, memory.execute, advance, org_id)
        ours.add(10)
        for step in [*FIRST, *steps, *LAST]:
            assert theirs.take(step) == ours.take(step), step
            one, other = theirs.show(), ours.show()
            for part in one:
                assert same(one[part], other[part]), (step, one[part], other[part])
        for books in theirs, ours:
            assert books.send(VerifyLedger, org_id=org_id).differences == ()

    run()


moments = st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(anchor=moments, cycle=cycles)
def test_periods_end_on_the_same_days(owner: Owner, anchor: datetime, cycle: Any) -> None:
    start: datetime | None = anchor
    for _ in range(13):
        assert start is not None
        row = owner.connection.execute(
            "SELECT ledger.end_of_period(%s, %s, %s)", [start, cycle, anchor]
        ).fetchone()
        end = end_of_period(start, cycle, anchor)
        assert row == (end,)
        start = end or start
