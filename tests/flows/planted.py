"""Bugs of the flows, to be planted on purpose: in a simulation, or in a real process."""

from importlib import import_module
from typing import Any

import pytest

from credit_sdk._flows import Failed, Flow, Forget
from credit_sdk._flows import settling as settling_module
from credit_sdk.errors import OutcomeUnknownError
from credit_sdk.identifiers import new_request_id
from credit_sdk.operations import Deduct

# The package has functions of these names, too.
charging_module: Any = import_module("credit_sdk._flows.charging")
retrying_module: Any = import_module("credit_sdk._flows.retrying")


def a_new_request_id_for_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def renewing(operation: Any, retries: Any) -> Flow[Any]:
        if isinstance(operation, Deduct):
            operation = operation.model_copy(update={"request_id": new_request_id()})
        return (yield from retrying(operation, retries))

    retrying = retrying_module.retrying
    monkeypatch.setattr(settling_module, "retrying", renewing)


def the_record_is_dropped_before_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(plan: Any, retries: Any) -> Flow[Any]:
        yield Forget(plan.entry_id)
        return (yield from taking(plan, retries))

    taking = settling_module.taking
    monkeypatch.setattr(settling_module, "taking", forgetful)


def the_success_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(plan: Any, outcome: Any, *, durable: bool = False) -> Flow[bool]:
        if outcome == "succeeded":
            return plan.is_kept
        return (yield from keeping(plan, outcome, durable=durable))

    keeping = settling_module._keeping
    monkeypatch.setattr(settling_module, "_keeping", careless)


def the_failure_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(plan: Any, outcome: Any, *, durable: bool = False) -> Flow[bool]:
        if outcome == "failed":
            return plan.is_kept
        return (yield from keeping(plan, outcome, durable=durable))

    keeping = settling_module._keeping
    monkeypatch.setattr(settling_module, "_keeping", careless)


def the_begin_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(plan: Any, retries: Any) -> Flow[None]:
        yield from ()

    monkeypatch.setattr(charging_module, "noting_begin", careless)


def the_hold_is_not_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def keeping_it(plan: Any, hold: Any, retries: Any) -> Flow[None]:
        yield from ()

    monkeypatch.setattr(settling_module, "_voiding", keeping_it)


def failed_work_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(plan: Any, retries: Any, failure: Failed | None) -> Flow[Any]:
        return (yield from settling(plan, retries, None))

    settling = charging_module._settling
    monkeypatch.setattr(charging_module, "_settling", greedy)


def an_unknown_outcome_passes_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = (*settling_module.REFUSALS, OutcomeUnknownError)
    monkeypatch.setattr(settling_module, "REFUSALS", everything)


def an_unknown_outcome_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(plan: Any, retries: Any) -> Flow[Any]:
        receipt = yield from confirming(plan, retries)
        yield Forget(plan.entry_id)
        return receipt

    confirming = charging_module.confirming
    monkeypatch.setattr(charging_module, "confirming", trusting)
