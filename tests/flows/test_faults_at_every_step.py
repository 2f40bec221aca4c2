"""Every step of a charge fails in every way, without I/O: one charge for each success, none for a failure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from credit_sdk import MemoryLedger, Retries
from credit_sdk._flows import (
    ChargePlan,
    Failed,
    Flow,
    HoldSupport,
    Perform,
    Sleep,
    charging,
    deducting_afterwards,
)
from credit_sdk.errors import CreditError, OutcomeUnknownError, RateLimitedError, UnavailableError
from credit_sdk.operations import ExpireHolds, GetUserCredits, ListCharges, Operation, VerifyLedger, VoidHold

ORG, USER = "acme", "ada"
RETRIES = Retries(attempts=3, deadline=60)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request: before it is carried out, or after."""

    name: str
    carried_out: bool
    error: Callable[[], CreditError]


FAULTS = (
    Fault("refused connection", carried_out=False, error=UnavailableError),
    Fault("lost request", carried_out=False, error=OutcomeUnknownError),
    Fault("lost reply", carried_out=True, error=OutcomeUnknownError),
    Fault("rate limited", carried_out=False, error=lambda: RateLimitedError(retry_after=1)),
)


@pytest.fixture
def ledger() -> MemoryLedger:
    books = MemoryLedger()
    books.add_organization(ORG, credits=1_000)
    books.add_member(ORG, USER, allocated=100)
    return books


def plan(cost: int = 40, estimate: int = 60) -> ChargePlan:
    return ChargePlan(
        org_id=ORG, user_id=USER, service_type="export", credits=Decimal(cost), estimate=Decimal(estimate)
    )


class Simulator:
    """Steps a flow over a ledger in memory and fails the requests that the schedule names."""

    def __init__(self, ledger: MemoryLedger, schedule: dict[int, Fault]) -> None:
        self.ledger = ledger
        self.schedule = schedule
        self.requests = 0
        self.fired: list[str] = []

    def run(self, flow: Flow[Any], failure: BaseException | None = None) -> Any:
        answer, error = None, None
        try:
            while True:
                step = flow.throw(error) if error else flow.send(answer)
                answer, error = self._answer(step, failure)
        except StopIteration as end:
            return end.value

    def _answer(self, step: Any, failure: BaseException | None) -> tuple[Any, CreditError | None]:
        match step:
            case Perform():
                return (Failed(failure) if failure else None), None
            case Sleep():
                return False, None
            case _:
                return self._request(step)

    def _request(self, operation: Operation[Any]) -> tuple[Any, CreditError | None]:
        fault = self.schedule.get(self.requests)
        self.requests += 1
        if fault is not None:
            self.fired.append(fault.name)
        try:
            result = self.ledger.execute(operation) if fault is None or fault.carried_out else None
        except CreditError as error:
            return None, error
        return (None, fault.error()) if fault else (result, None)


def taken(ledger: MemoryLedger) -> list[Decimal]:
    return [charge.credits_used for charge in ledger.execute(ListCharges(org_id=ORG)).items]


def held(ledger: MemoryLedger) -> Decimal:
    [standing] = ledger.execute(GetUserCredits(user_id=USER)).organizations
    return standing.held_credits


def single_faults() -> Iterator[dict[int, Fault]]:
    yield from ({at: fault} for at, fault in product(range(2), FAULTS))


def double_faults() -> Iterator[dict[int, Fault]]:
    for (first, second), one, other in product([(0, 1), (0, 2), (1, 2)], FAULTS, FAULTS):
        yield {first: one, second: other}


SCHEDULES = [*single_faults(), *double_faults()]


def describe(schedule: dict[int, Fault]) -> str:
    return ", ".join(f"{fault.name} at {at}" for at, fault in schedule.items())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=describe)
def test_a_success_is_charged_once_whatever_requests_are_lost(
    ledger: MemoryLedger, schedule: dict[int, Fault]
) -> None:
    simulator = Simulator(ledger, schedule)
    receipt = simulator.run(charging(plan(), RETRIES, HoldSupport()))
    assert simulator.fired
    assert receipt.credits_used == 40
    assert taken(ledger) == [40]
    assert held(ledger) == 0
    assert ledger.execute(VerifyLedger()).ok


@pytest.mark.parametrize("schedule", SCHEDULES, ids=describe)
def test_a_failure_costs_nothing_and_leaves_no_hold(ledger: MemoryLedger, schedule: dict[int, Fault]) -> None:
    simulator = Simulator(ledger, schedule)
    assert (
        simulator.run(charging(plan(), RETRIES, HoldSupport()), failure=ValueError("printer on fire")) is None
    )
    assert taken(ledger) == []
    assert held(ledger) == 0


@pytest.mark.parametrize("schedule", list(single_faults()), ids=describe)
def test_check_perform_deduct_is_charged_once_too(ledger: MemoryLedger, schedule: dict[int, Fault]) -> None:
    simulator = Simulator(ledger, schedule)
    simulator.run(deducting_afterwards(plan(), RETRIES))
    assert simulator.fired
    assert taken(ledger) == [40]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_work_never_starts_when_the_hold_cannot_be_placed(ledger: MemoryLedger, fault: Fault) -> None:
    simulator = Simulator(ledger, dict.fromkeys(range(RETRIES.attempts), fault))
    with pytest.raises((UnavailableError, RateLimitedError)):
        simulator.run(charging(plan(), RETRIES, HoldSupport()))
    assert simulator.requests == RETRIES.attempts
    assert taken(ledger) == []


def test_a_hold_that_cannot_be_given_back_ends_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    books = MemoryLedger(now=lambda: now)
    books.add_organization(ORG, credits=1_000)
    books.add_member(ORG, USER, allocated=100)
    simulator = Simulator(books, dict.fromkeys(range(1, 1 + RETRIES.attempts), FAULTS[0]))
    simulator.run(charging(plan(), RETRIES, HoldSupport()), failure=ValueError("printer on fire"))
    assert "was not given back" in caplog.text
    assert held(books) == 60
    now += timedelta(seconds=901)
    assert books.execute(ExpireHolds()).expired == 1
    assert held(books) == 0


def test_a_cost_of_zero_takes_nothing(ledger: MemoryLedger) -> None:
    simulator = Simulator(ledger, {})
    assert simulator.run(charging(plan(cost=0), RETRIES, HoldSupport())) is None
    assert taken(ledger) == []
    assert held(ledger) == 0


def test_a_cost_beyond_hold_and_balance_takes_nothing_and_says_so(ledger: MemoryLedger) -> None:
    simulator = Simulator(ledger, {})
    with pytest.raises(CreditError) as caught:
        simulator.run(charging(plan(cost=101, estimate=60), RETRIES, HoldSupport()))
    assert caught.value.code == "insufficient_credits"
    assert taken(ledger) == []
    assert held(ledger) == 0


def test_a_hold_voided_by_someone_else_does_not_give_the_work_away(ledger: MemoryLedger) -> None:
    wanted = plan()
    flow = charging(wanted, RETRIES, HoldSupport())
    hold = ledger.execute(next(flow))  # type: ignore[arg-type]  # the first step is the hold
    assert isinstance(flow.send(hold), Perform)
    ledger.execute(VoidHold(hold_id=hold.hold_id))
    capture = flow.send(None)
    with pytest.raises(CreditError) as closed:
        ledger.execute(capture)  # type: ignore[arg-type]
    deduct = flow.throw(closed.value)
    receipt = ledger.execute(deduct)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        flow.send(receipt)
    assert taken(ledger) == [40]


def test_an_operation_that_runs_again_under_its_own_id_is_charged_once(ledger: MemoryLedger) -> None:
    first, again = plan(), plan()
    again.request_id = first.request_id
    assert Simulator(ledger, {}).run(charging(first, RETRIES, HoldSupport())).replayed is False
    assert Simulator(ledger, {}).run(charging(again, RETRIES, HoldSupport())).replayed is True
    assert taken(ledger) == [40]


def test_an_operation_that_failed_is_charged_when_it_succeeds_later(ledger: MemoryLedger) -> None:
    first, again = plan(), plan()
    again.request_id = first.request_id
    Simulator(ledger, {}).run(charging(first, RETRIES, HoldSupport()), failure=TimeoutError())
    Simulator(ledger, {}).run(charging(again, RETRIES, HoldSupport()))
    assert taken(ledger) == [40]
