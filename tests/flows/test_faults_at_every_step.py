"""Every step of a charge fails in every way, without I/O: one charge for each success, none for a failure."""

from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any, Literal

import pytest

from credit_sdk import ChargePolicy, MemoryLedger, Retries
from credit_sdk._flows import (
    ChargePlan,
    Failed,
    Flow,
    Forget,
    HandOver,
    HoldSupport,
    Keep,
    Perform,
    Sleep,
    charging,
    deducting_afterwards,
    delivering,
    verdict_on,
)
from credit_sdk.errors import CreditError, OutcomeUnknownError, RateLimitedError, UnavailableError
from credit_sdk.models import PendingCharge
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
    """Steps a flow over a ledger in memory and fails the requests that the schedule names.

    With an `outbox`, what flows keep is found there; without one nothing is kept.
    """

    def __init__(
        self,
        ledger: MemoryLedger,
        schedule: dict[int, Fault],
        outbox: dict[str, PendingCharge] | None = None,
    ) -> None:
        self.ledger = ledger
        self.schedule = schedule
        self.outbox = outbox
        self.requests = 0
        self.fired: list[str] = []
        self.work: Callable[[], None] = lambda: None

    def run(self, flow: Flow[Any], failure: BaseException | None = None, *, began: bool = True) -> Any:
        failed = Failed(failure, began) if failure else None
        answer, error = None, None
        try:
            while True:
                step = flow.throw(error) if error else flow.send(answer)
                answer, error = self._answer(step, failed)
        except StopIteration as end:
            return end.value

    def run_steps(self, flow: Flow[Any], steps: int, failure: BaseException | None = None) -> None:
        """Carry out so many steps and then never another: the process has died."""
        failed = Failed(failure) if failure else None
        answer = None
        for _ in range(steps):
            answer, error = self._answer(flow.send(answer), failed)
            assert error is None

    def _answer(self, step: Any, failed: Failed | None) -> tuple[Any, CreditError | None]:
        match step:
            case Perform():
                self.work()
                return failed, None
            case Sleep():
                return False, None
            case Keep() | Forget() | HandOver():
                return self._use_outbox(step), None
            case _:
                return self._request(step)

    def _use_outbox(self, step: Keep | Forget | HandOver) -> bool:
        if self.outbox is None:
            return False
        match step:
            case Keep(charge):
                self.outbox[charge.entry_id] = charge
            case Forget(entry_id):
                del self.outbox[entry_id]
            case HandOver(entry_id):
                assert entry_id in self.outbox
        return True

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


def deliver(ledger: MemoryLedger, outbox: dict[str, PendingCharge]) -> None:
    """Settle what is left, as the next start of the application does, over books that answer again."""
    for pending in list(outbox.values()):
        verdict = verdict_on(pending, done=None, probed=False, now=datetime.now(UTC))
        if verdict != "wait":
            Simulator(ledger, {}).run(delivering(pending, verdict, RETRIES))
            del outbox[pending.entry_id]


def single_faults() -> Iterator[dict[int, Fault]]:
    yield from ({at: fault} for at, fault in product(range(2), FAULTS))


def double_faults() -> Iterator[dict[int, Fault]]:
    for (first, second), one, other in product([(0, 1), (0, 2), (1, 2)], FAULTS, FAULTS):
        yield {first: one, second: other}


SCHEDULES = [*single_faults(), *double_faults()]


def describe(schedule: dict[int, Fault]) -> str:
    return ", ".join(f"{fault.name} at {at}" for at, fault in schedule.items())


def describe_first(schedule: dict[int, Fault]) -> str:
    first = describe(dict(list(schedule.items())[:2]))
    return first if len(schedule) <= 2 else f"{first} and on"


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


@pytest.mark.parametrize("failure", [None, ValueError("printer on fire")], ids=["success", "failure"])
def test_what_no_outbox_keeps_is_not_written_down(
    ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch, failure: Exception | None
) -> None:
    monkeypatch.delattr(ChargePlan, "pending")
    unkept = plan()
    unkept.can_be_kept = False
    Simulator(ledger, {}).run(charging(unkept, RETRIES, HoldSupport()), failure)
    assert taken(ledger) == ([] if failure else [40])
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


def outages() -> Iterator[dict[int, Fault]]:
    """The books answer the first request and then not for a long time."""
    for fault in FAULTS:
        yield dict.fromkeys(range(1, 1 + RETRIES.attempts), fault)


@pytest.mark.parametrize("schedule", [*SCHEDULES, *outages()], ids=describe_first)
def test_with_an_outbox_a_success_is_charged_once_however_long_the_books_are_away(
    ledger: MemoryLedger, schedule: dict[int, Fault]
) -> None:
    outbox: dict[str, PendingCharge] = {}
    wanted = plan()
    receipt = Simulator(ledger, schedule, outbox).run(charging(wanted, RETRIES, HoldSupport()))
    assert wanted.is_pending == (receipt is None) == bool(outbox)
    deliver(ledger, outbox)
    assert taken(ledger) == [40]
    assert held(ledger) == 0
    assert not outbox


@pytest.mark.parametrize("schedule", [*SCHEDULES, *outages()], ids=describe_first)
def test_with_an_outbox_a_failure_leaves_no_hold_however_long_the_books_are_away(
    ledger: MemoryLedger, schedule: dict[int, Fault]
) -> None:
    outbox: dict[str, PendingCharge] = {}
    flow = charging(plan(), RETRIES, HoldSupport())
    assert Simulator(ledger, schedule, outbox).run(flow, failure=ValueError("printer on fire")) is None
    deliver(ledger, outbox)
    assert taken(ledger) == []
    assert held(ledger) == 0
    assert not outbox


def crashes() -> Iterator[tuple[int, int]]:
    """Every number of steps after which a process may die; the second figure is what it must have cost."""
    # Hold, keep, perform: that it has ended was not noted. Keep, capture, forget: it has succeeded.
    yield from ((steps, 0) for steps in range(1, 4))
    yield from ((steps, 40) for steps in range(4, 7))


@pytest.mark.parametrize(("steps", "cost"), list(crashes()))
def test_a_process_that_dies_at_any_step_is_settled_by_the_next(
    ledger: MemoryLedger, steps: int, cost: int
) -> None:
    outbox: dict[str, PendingCharge] = {}
    Simulator(ledger, {}, outbox).run_steps(charging(plan(), RETRIES, HoldSupport()), steps)
    deliver(ledger, outbox)
    assert taken(ledger) == ([Decimal(cost)] if cost else [])
    assert not outbox


@pytest.mark.parametrize("on_crash", ["release", "charge"])
def test_the_policy_decides_what_a_crash_during_the_work_costs(
    ledger: MemoryLedger, on_crash: Literal["release", "charge"]
) -> None:
    outbox: dict[str, PendingCharge] = {}
    wanted = plan()
    wanted.policy = ChargePolicy(on_crash=on_crash)
    # Hold, keep, and the work begins.
    Simulator(ledger, {}, outbox).run_steps(charging(wanted, RETRIES, HoldSupport()), 3)
    deliver(ledger, outbox)
    assert taken(ledger) == ([40] if on_crash == "charge" else [])
    assert held(ledger) == 0


@pytest.mark.parametrize("steps", range(4, 8))
def test_work_that_has_failed_is_not_charged_whenever_its_process_dies(
    ledger: MemoryLedger, steps: int
) -> None:
    outbox: dict[str, PendingCharge] = {}
    wanted = plan()
    wanted.policy = ChargePolicy(on_crash="charge")
    # Hold, keep, perform; keep that it has failed, void, forget.
    simulator = Simulator(ledger, {}, outbox)
    with suppress(StopIteration):
        simulator.run_steps(charging(wanted, RETRIES, HoldSupport()), steps, failure=ValueError())
    deliver(ledger, outbox)
    assert taken(ledger) == []
    assert held(ledger) == 0


def test_work_that_never_began_is_not_uncertain(ledger: MemoryLedger) -> None:
    outbox: dict[str, PendingCharge] = {}
    wanted = plan()
    wanted.policy = ChargePolicy(uncertain=(BaseException,), on_unknown="charge")
    flow = charging(wanted, RETRIES, HoldSupport())
    assert Simulator(ledger, {}, outbox).run(flow, failure=CancelledError(), began=False) is None
    assert not outbox
    assert held(ledger) == 0


def test_work_is_performed_unpaid_only_when_the_policy_says_so(ledger: MemoryLedger) -> None:
    away = dict.fromkeys(range(20), FAULTS[0])
    outbox: dict[str, PendingCharge] = {}
    trusting = plan()
    trusting.policy = ChargePolicy(when_unavailable="perform")
    assert Simulator(ledger, away, outbox).run(charging(trusting, RETRIES, HoldSupport())) is None
    assert trusting.is_pending
    deliver(ledger, outbox)
    assert taken(ledger) == [40]
    with pytest.raises(UnavailableError):
        Simulator(ledger, away, outbox).run(charging(plan(), RETRIES, HoldSupport()))
    with pytest.raises(UnavailableError, match="no outbox"):
        Simulator(ledger, away).run(charging(trusting, RETRIES, HoldSupport()))


def test_a_hold_whose_answer_was_lost_is_found_again_when_it_is_charged(ledger: MemoryLedger) -> None:
    lost = dict.fromkeys(range(RETRIES.attempts), FAULTS[2])
    outbox: dict[str, PendingCharge] = {}
    wanted = plan()
    wanted.policy = ChargePolicy(when_unavailable="perform")
    receipt = Simulator(ledger, lost, outbox).run(charging(wanted, RETRIES, HoldSupport()))
    assert receipt.credits_used == 40
    assert held(ledger) == 0
    assert not outbox


@pytest.mark.parametrize(
    ("done", "after", "on_unknown", "verdict"),
    [
        (True, 0, "release", "charge"),
        (False, 0, "charge", "release"),
        (None, 0, "charge", "wait"),
        (None, 901, "charge", "charge"),
        (None, 901, "release", "release"),
    ],
)
def test_of_uncertain_work_the_probe_is_asked_then_the_time_then_the_policy(
    ledger: MemoryLedger,
    done: bool | None,
    after: int,
    on_unknown: Literal["release", "charge"],
    verdict: str,
) -> None:
    outbox: dict[str, PendingCharge] = {}
    wanted = plan()
    wanted.policy = ChargePolicy(uncertain=(TimeoutError,), on_unknown=on_unknown)
    flow = charging(wanted, RETRIES, HoldSupport())
    assert Simulator(ledger, {}, outbox).run(flow, failure=TimeoutError()) is None
    [pending] = outbox.values()
    assert pending.outcome == "uncertain"
    assert held(ledger) == 60
    now = datetime.now(UTC) + timedelta(seconds=after)
    assert verdict_on(pending, done=done, probed=True, now=now) == verdict


def test_a_hold_voided_by_someone_else_does_not_give_the_work_away(ledger: MemoryLedger) -> None:
    def void_while_the_work_runs() -> None:
        ledger.execute(VoidHold(hold_id=wanted.hold.hold_id))

    wanted = plan()
    simulator = Simulator(ledger, {})
    simulator.work = void_while_the_work_runs
    assert simulator.run(charging(wanted, RETRIES, HoldSupport())).credits_used == 40
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
