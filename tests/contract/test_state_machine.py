"""Random sequences of operations on each backend, beside a model.

The model of SQL and HTTP is the ledger in memory, and the model of that one sums every balance anew from
what happened. The runs are the same each time; with `CREDITS_TEST_PROFILE=soak` (or
`HYPOTHESIS_PROFILE=soak`) they are many, long and random.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from credit_sdk import MemoryLedger
from credit_sdk.contract.machine import LedgerMachine, MemoryModel, Trial
from credit_sdk.contract.sums import Sums
from credit_sdk.operations import VoidBalanceHold, VoidHold

if TYPE_CHECKING:
    from collections.abc import Callable

    from credit_sdk.contract import Harness
    from credit_sdk.models import Hold
    from credit_sdk.operations import Operation

SOAK = "soak" in {os.environ.get("HYPOTHESIS_PROFILE"), os.environ.get("CREDITS_TEST_PROFILE")}

MEANT_TO_HAPPEN = {
    "Deduct": {
        "done", "done replayed", "insufficient_credits", "insufficient_credits cap", "idempotency_conflict",
        "no_allocation",
    },
    "DeductBatch": {"done"},
    "PlaceHold": {
        "done", "done replayed", "insufficient_credits", "insufficient_credits cap", "idempotency_conflict",
        "no_allocation",
    },
    "CaptureHold": {
        "done", "done replayed", "insufficient_credits", "insufficient_credits cap", "idempotency_conflict",
        "hold_closed", "hold_expired",
    },
    "ChargeHold": {
        "done", "insufficient_credits", "idempotency_conflict", "hold_closed", "hold_expired",
    },
    "ExtendHold": {
        "done", "done replayed", "insufficient_credits", "insufficient_credits cap", "idempotency_conflict",
        "hold_closed", "hold_expired",
    },
    "VoidHold": {"done", "done replayed", "hold_closed"},
    "Refund": {"done", "done replayed", "conflict", "idempotency_conflict", "not_found"},
    "Allocate": {"done", "done replayed", "insufficient_credits", "idempotency_conflict"},
    "AddCredits": {"done", "done replayed", "idempotency_conflict"},
    "ExpireHolds": {"done"},
    "CheckCredits": {"done"},
    "SetCap": {"done"},
    "ListCaps": {"done"},
}  # fmt: skip


def runs(examples: int) -> settings:
    return settings(
        max_examples=5_000 if SOAK else examples,
        stateful_step_count=100 if SOAK else 40,
        derandomize=not SOAK,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        report_multiple_bugs=False,
    )


# The colour, the model, how many runs, and how many of the outcomes that are meant to happen may not.
TRIALS = {
    "memory": ("blocking", Sums, 450, 1),
    "sql": ("blocking", MemoryModel, 150, 5),
    "http": ("awaiting", MemoryModel, 40, 8),
}


@pytest.mark.parametrize("backend", TRIALS)
def test_every_outcome_is_the_models(harnesses: Callable[[str, str], Harness], backend: str) -> None:
    colour, model, examples, may_be_missed = TRIALS[backend]
    ledger = harnesses(backend, colour)

    def forget_other_holds() -> None:
        for end in ends_of_open_holds(ledger):
            ledger.execute(end)

    trial = Trial(ledger, model, forget_other_holds)
    run_state_machine_as_test(lambda: LedgerMachine(trial), settings=runs(examples))
    missed = _missed(trial)
    assert len(missed) <= may_be_missed, f"never happened: {missed}"
    assert not any(name.endswith(" done") for name in missed)


def ends_of_open_holds(ledger: Harness) -> list[Operation[Hold]]:
    """Return what gives back all that anybody has set aside, members and users."""
    books = ledger.administrator
    if isinstance(books, MemoryLedger):
        members = [hold.id for hold in books.live_holds.values()]
        users = [hold.id for hold in books.live_balance_holds.values()]
    else:
        members, users = books.open_holds(), books.open_balance_holds()
    return [VoidHold(hold_id=each) for each in members] + [VoidBalanceHold(hold_id=each) for each in users]


def _missed(trial: Trial) -> set[str]:
    meant = {f"{kind} {outcome}" for kind, outcomes in MEANT_TO_HAPPEN.items() for outcome in outcomes}
    return meant - trial.seen.keys()
