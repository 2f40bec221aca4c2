"""When an operation is sent again, after how long, and when not."""

from typing import Any

import pytest

from credit_sdk import Retries
from credit_sdk._flows import Flow, Sleep, retrying
from credit_sdk.errors import CreditError, InsufficientCreditsError, RateLimitedError, UnavailableError
from credit_sdk.operations import GetPool

POOL = GetPool(org_id="acme")


def failing_with(
    errors: list[CreditError], retries: Retries, *, interrupted: bool = False
) -> tuple[Any, list[float]]:
    """Run an operation that fails with each error in turn; return its answer and the waits."""
    flow: Flow[Any] = retrying(POOL, retries)
    waits: list[float] = []
    step = next(flow)
    try:
        while True:
            if isinstance(step, Sleep):
                waits.append(step.seconds)
                step = flow.send(interrupted)
            else:
                step = flow.throw(errors.pop(0)) if errors else flow.send("the answer")
    except StopIteration as end:
        return end.value, waits


def test_success_at_once_waits_for_nothing() -> None:
    assert failing_with([], Retries()) == ("the answer", [])


def test_waits_grow_and_stay_below_the_longest() -> None:
    retries = Retries(attempts=8, first_wait=0.1, longest_wait=0.5)
    answer, waits = failing_with([UnavailableError() for _ in range(7)], retries)
    assert answer == "the answer"
    bounds = [0.1, 0.2, 0.4, 0.5, 0.5, 0.5, 0.5]
    assert all(0 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_waits_are_jittered() -> None:
    runs = {tuple(failing_with([UnavailableError()], Retries())[1]) for _ in range(20)}
    assert len(runs) > 1


def test_the_server_says_how_long_to_wait() -> None:
    _, [wait] = failing_with([RateLimitedError(retry_after=7)], Retries(first_wait=0.1))
    assert 7 <= wait <= 7.1


def test_a_wait_that_does_not_fit_the_deadline_is_not_begun() -> None:
    with pytest.raises(RateLimitedError):
        failing_with([RateLimitedError(retry_after=60)], Retries(deadline=20))


def test_attempts_are_bounded() -> None:
    errors: list[CreditError] = [UnavailableError(str(attempt)) for attempt in range(9)]
    with pytest.raises(UnavailableError, match="2"):
        failing_with(errors, Retries(attempts=3))
    assert len(errors) == 6


def test_a_refusal_is_final() -> None:
    errors: list[CreditError] = [InsufficientCreditsError(), UnavailableError()]
    with pytest.raises(InsufficientCreditsError):
        failing_with(errors, Retries())
    assert len(errors) == 1


def test_a_refusal_after_an_unknown_outcome_is_final() -> None:
    with pytest.raises(InsufficientCreditsError):
        failing_with([UnavailableError(), InsufficientCreditsError()], Retries())


def test_a_cancelled_caller_is_not_kept_waiting_for_further_attempts() -> None:
    errors: list[CreditError] = [UnavailableError("first"), UnavailableError("second")]
    with pytest.raises(UnavailableError, match="first"):
        failing_with(errors, Retries(), interrupted=True)
