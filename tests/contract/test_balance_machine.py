"""Random sequences of operations on users' own balances on each backend, beside a model.

As in `test_state_machine`: SQL and HTTP are held against memory, and memory against sums of what happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis.stateful import run_state_machine_as_test

from credit_sdk.contract.balance_machine import BalanceMachine, BalanceTrial, MemoryBalanceModel
from credit_sdk.contract.balance_sums import SumsOfUsers
from credit_sdk.operations import VerifyLedger
from tests.contract.test_state_machine import ends_of_open_holds, runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from credit_sdk.contract import Harness

MEANT_TO_HAPPEN = {
    "Spend": {"done", "done replayed", "insufficient_credits", "idempotency_conflict", "no_allocation"},
    "PlaceBalanceHold": {
        "done", "done replayed", "insufficient_credits", "idempotency_conflict", "no_allocation"
    },
    "CaptureBalanceHold": {
        "done", "done replayed", "insufficient_credits", "idempotency_conflict", "hold_closed", "hold_expired"
    },
    "ExtendBalanceHold": {
        "done", "done replayed", "insufficient_credits", "idempotency_conflict", "hold_closed", "hold_expired"
    },
    "VoidBalanceHold": {"done", "done replayed", "hold_closed"},
    "RefundSpending": {"done", "done replayed", "conflict", "idempotency_conflict", "not_found"},
    "GrantCredits": {"done", "done replayed", "idempotency_conflict"},
    "ExpireHolds": {"done"},
    "CheckBalance": {"done"},
    "GetStatement": {"done"},
}  # fmt: skip

# The colour, the model, how many runs, and how many of the outcomes that are meant to happen may not.
TRIALS = {
    "memory": ("blocking", SumsOfUsers, 150, 0),
    "sql": ("blocking", MemoryBalanceModel, 60, 4),
    "http": ("awaiting", MemoryBalanceModel, 20, 12),
}


@pytest.mark.parametrize("backend", TRIALS)
def test_every_outcome_is_the_models(harnesses: Callable[[str, str], Harness], backend: str) -> None:
    colour, model, examples, may_be_missed = TRIALS[backend]
    ledger = harnesses(backend, colour)

    def forget_other_holds() -> None:
        for end in ends_of_open_holds(ledger):
            ledger.execute(end)

    trial = BalanceTrial(ledger, model, forget_other_holds)
    run_state_machine_as_test(lambda: BalanceMachine(trial), settings=runs(examples))
    meant = {f"{kind} {outcome}" for kind, outcomes in MEANT_TO_HAPPEN.items() for outcome in outcomes}
    missed = meant - trial.seen.keys()
    assert len(missed) <= may_be_missed, f"never happened: {missed}"
    assert not any(name.endswith(" done") for name in missed)
    assert ledger.execute(VerifyLedger()).differences == ()
