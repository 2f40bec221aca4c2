"""Every step of a charge on a user's own balance fails in every way: the same flow, the other ledger."""

from dataclasses import replace
from decimal import Decimal

import pytest

from credit_sdk import MemoryLedger
from credit_sdk._flows import HoldSupport, charging, deducting_afterwards
from credit_sdk.operations import GetBalance, ListTransactions, VerifyLedger
from tests.flows.test_faults_at_every_step import (
    RETRIES,
    SCHEDULES,
    Fault,
    Simulator,
    describe,
    plan,
    single_faults,
)

USER = "carol"


@pytest.fixture
def ledger() -> MemoryLedger:
    books = MemoryLedger()
    books.add_user(USER, credits=100)
    return books


def assert_taken(ledger: MemoryLedger, *taken: int) -> None:
    page = ledger.execute(ListTransactions(user_id=USER, transaction_type="service"))
    assert [-each.amount for each in page.items] == [Decimal(credits) for credits in taken]
    balance = ledger.execute(GetBalance(user_id=USER))
    assert (balance.credits, balance.held_credits) == (100 - sum(taken), 0)
    assert ledger.execute(VerifyLedger()).ok


@pytest.mark.parametrize("schedule", SCHEDULES, ids=describe)
def test_a_success_is_charged_once_whatever_requests_are_lost(
    ledger: MemoryLedger, schedule: dict[int, Fault]
) -> None:
    simulator = Simulator(ledger, schedule)
    simulator.run(charging(replace(plan(), org_id=None, user_id=USER), RETRIES, HoldSupport()))
    assert simulator.fired
    assert_taken(ledger, 40)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=describe)
def test_a_failure_costs_nothing_and_leaves_no_hold(ledger: MemoryLedger, schedule: dict[int, Fault]) -> None:
    wanted = replace(plan(), org_id=None, user_id=USER)
    Simulator(ledger, schedule).run(charging(wanted, RETRIES, HoldSupport()), failure=ValueError("jam"))
    assert_taken(ledger)


@pytest.mark.parametrize("schedule", list(single_faults()), ids=describe)
def test_check_perform_deduct_is_charged_once_too(ledger: MemoryLedger, schedule: dict[int, Fault]) -> None:
    simulator = Simulator(ledger, schedule)
    simulator.run(deducting_afterwards(replace(plan(), org_id=None, user_id=USER), RETRIES))
    assert simulator.fired
    assert_taken(ledger, 40)
