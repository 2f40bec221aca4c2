"""Bugs that are planted on purpose: the simulated schedules must find every one of them."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from credit_sdk._flows import Failed, Flow, delivering
from credit_sdk.backends import memory
from credit_sdk.backends.memory import MemoryLedger
from credit_sdk.identifiers import new_request_id
from credit_sdk.operations import VoidHold
from tests.flows import simulation
from tests.flows.judging import judge
from tests.flows.planted import (
    a_new_request_id_for_each_try,
    an_unknown_outcome_is_not_asked_again,
    an_unknown_outcome_passes_for_a_refusal,
    charging_module,
    failed_work_is_charged,
    the_begin_is_not_written,
    the_failure_is_not_written,
    the_hold_is_not_given_back,
    the_record_is_dropped_before_the_capture,
    the_success_is_not_written,
)
from tests.flows.simulation import World, simulate

ENOUGH = 6_000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The product's warnings are many here, and meant."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


Plant = Callable[[pytest.MonkeyPatch], None]


def the_courier_takes_what_a_living_process_works_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "_is_owned", lambda *_: False)


def the_courier_forgets_before_it_delivers(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(world: World, process: Any, entry_id: str) -> None:
        deliver(world, process, entry_id)
        world.disk.pop(entry_id, None)

    deliver = World._deliver
    monkeypatch.setattr(World, "_deliver", hasty)


def the_courier_charges_under_a_new_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def renaming(pending: Any, verdict: Any, retries: Any) -> Flow[Any]:
        renamed = pending.model_copy(update={"request_id": new_request_id(), "hold_id": None})
        return (yield from delivering(renamed if verdict == "charge" else pending, verdict, retries))

    monkeypatch.setattr(simulation, "delivering", renaming)


def an_interrupted_operation_is_always_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(pending: Any, **known: Any) -> Any:
        return "charge" if pending.outcome == "performing" else verdict_on(pending, **known)

    verdict_on = simulation.verdict_on
    monkeypatch.setattr(simulation, "verdict_on", greedy)


def an_uncertain_operation_is_settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def hasty(pending: Any, **known: Any) -> Any:
        verdict = verdict_on(pending, **known)
        return "release" if verdict == "wait" else verdict

    verdict_on = simulation.verdict_on
    monkeypatch.setattr(simulation, "verdict_on", hasty)


def work_that_never_began_counts_as_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def confused(plan: Any, retries: Any, failure: Failed | None) -> Flow[Any]:
        return (yield from settling(plan, retries, Failed(failure.error) if failure else None))

    settling = charging_module._settling
    monkeypatch.setattr(charging_module, "_settling", confused)


def the_ledger_forgets_request_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryLedger, "charged", lambda *_: None)


def the_ledger_lets_a_void_leave_the_credits_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def void(ledger: MemoryLedger, operation: VoidHold) -> Any:
        hold = ledger.find_hold(operation.hold_id, operation.org_id)
        if hold.status == "held":
            hold.status = "voided"
            del ledger.live_holds[hold.org_id, hold.request_id]
        return ledger._hold(hold)

    monkeypatch.setitem(memory._RULES, VoidHold, void)


PLANTED: list[Plant] = [
    a_new_request_id_for_each_try,
    the_record_is_dropped_before_the_capture,
    the_success_is_not_written,
    the_failure_is_not_written,
    the_begin_is_not_written,
    the_hold_is_not_given_back,
    failed_work_is_charged,
    an_unknown_outcome_passes_for_a_refusal,
    an_unknown_outcome_is_not_asked_again,
    the_courier_takes_what_a_living_process_works_on,
    the_courier_forgets_before_it_delivers,
    the_courier_charges_under_a_new_id,
    an_interrupted_operation_is_always_charged,
    an_uncertain_operation_is_settled_at_once,
    work_that_never_began_counts_as_begun,
    the_ledger_forgets_request_ids,
    the_ledger_lets_a_void_leave_the_credits_held,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(monkeypatch: pytest.MonkeyPatch, plant: Plant) -> None:
    plant(monkeypatch)
    found = 0
    for seed in range(ENOUGH):
        try:
            judge(simulate(seed))
        except AssertionError:
            found += 1
            if found == 3:
                return
    pytest.fail(f"{ENOUGH} schedules have found it {found} times")
