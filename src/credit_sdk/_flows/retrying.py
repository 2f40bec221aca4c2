"""Send an operation again while that is safe and worth while."""

import random
from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from credit_sdk._flows.steps import Flow, Sleep
from credit_sdk.errors import CreditError
from credit_sdk.operations import Operation, ResultT_co


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long an operation is sent again; times are seconds.

    Waits grow exponentially from `first_wait` up to `longest_wait`, with full jitter. A `Retry-After`
    from the server is waited for instead, unless it does not fit into `deadline`.
    """

    attempts: int = 5
    deadline: float = 20.0
    first_wait: float = 0.1
    longest_wait: float = 4.0

    def policy(self, sleeps: list[float]) -> Retrying:
        """Return the retry loop, which leaves in `sleeps` how long to wait before each attempt."""
        return Retrying(
            sleep=sleeps.append,
            stop=stop_after_attempt(self.attempts) | stop_before_delay(self.deadline),
            wait=self._wait,
            retry=retry_if_exception(is_worth_retrying),
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        retry_after = getattr(error, "retry_after", None)
        if retry_after is not None:
            # Callers told the same second should not come back in the same instant.
            return float(retry_after) + random.uniform(0, self.first_wait)  # noqa: S311 - jitter, not a secret
        return wait_random_exponential(multiplier=self.first_wait, max=self.longest_wait)(state)


def is_worth_retrying(error: BaseException) -> bool:
    """Whether the same operation may succeed, or tell what became of it, when sent again."""
    return isinstance(error, CreditError) and error.retryable


def retrying(operation: Operation[ResultT_co], retries: Retries) -> Flow[ResultT_co]:
    """Carry out an operation. Every operation is safe to repeat: what moves credits has a request id."""
    try:
        result: ResultT_co = yield operation
    except CreditError as error:
        if not error.retryable:
            raise
        failure = error
    else:
        # The retry loop costs several times as much as all the rest, so success never enters it.
        return result
    again: ResultT_co = yield from sending_again(operation, retries, failure)
    return again


def sending_again(
    operation: Operation[ResultT_co], retries: Retries, failure: CreditError
) -> Flow[ResultT_co]:
    """Carry out an operation that has failed once, after a wait, as often as it is worth it."""
    sleeps: list[float] = []
    first: CreditError | None = failure
    for attempt in retries.policy(sleeps):
        if sleeps:
            interrupted = yield Sleep(sleeps.pop())
            if interrupted:
                raise failure
        with attempt:
            if first is not None:
                known, first = first, None
                raise known
            try:
                result: ResultT_co = yield operation
            except CreditError as error:
                failure = error
                raise
            return result
    raise failure  # pragma: no cover - the loop returns or raises; this tells the type checker so
