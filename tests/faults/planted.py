"""Bugs to be planted in a client's process, and in the one that delivers what it has left."""

from decimal import Decimal
from typing import Any

import pytest

from credit_sdk import _courier
from credit_sdk._courier import Courier
from credit_sdk._flows import Flow, Forget
from credit_sdk._flows import settling as settling_module
from credit_sdk.identifiers import new_request_id
from tests.flows.planted import (
    a_new_request_id_for_each_try,
    an_unknown_outcome_is_not_asked_again,
    an_unknown_outcome_passes_for_a_refusal,
    failed_work_is_charged,
    the_begin_is_not_written,
    the_hold_is_not_given_back,
    the_record_is_dropped_before_the_capture,
)


def the_estimate_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(plan: Any, retries: Any) -> Flow[Any]:
        plan.credits = plan.estimate
        return (yield from taking(plan, retries))

    taking = settling_module.taking
    monkeypatch.setattr(settling_module, "taking", generous)


def the_charge_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(plan: Any, _: Any) -> Flow[None]:
        yield Forget(plan.entry_id)

    monkeypatch.setattr(settling_module, "taking", forgetful)


def the_courier_charges_under_a_new_id(monkeypatch: pytest.MonkeyPatch) -> None:
    def renaming(pending: Any, verdict: Any, retries: Any) -> Flow[Any]:
        renamed = pending.model_copy(update={"request_id": new_request_id(), "hold_id": None})
        return (yield from delivering(renamed if verdict == "charge" else pending, verdict, retries))

    delivering = _courier.delivering
    monkeypatch.setattr(_courier, "delivering", renaming)


def the_courier_forgets_without_delivering(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(courier: Courier, pending: Any) -> Decimal:
        courier.forget(Forget(pending.entry_id))
        return Decimal(0)

    monkeypatch.setattr(Courier, "_settle", forget)


def the_courier_gives_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_courier, "verdict_on", lambda *_, **__: "release")


def the_courier_charges_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_courier, "verdict_on", lambda *_, **__: "charge")


__all__ = [
    "a_new_request_id_for_each_try",
    "an_unknown_outcome_is_not_asked_again",
    "an_unknown_outcome_passes_for_a_refusal",
    "failed_work_is_charged",
    "the_begin_is_not_written",
    "the_charge_is_never_sent",
    "the_courier_charges_everything",
    "the_courier_charges_under_a_new_id",
    "the_courier_forgets_without_delivering",
    "the_courier_gives_everything_back",
    "the_estimate_is_charged",
    "the_hold_is_not_given_back",
    "the_record_is_dropped_before_the_capture",
]
