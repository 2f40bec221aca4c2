"""Faults between an application and its books: each happens once, or as often as it is told."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from credit_sdk.backends.memory import MemoryBackend, MemoryLedger
from credit_sdk.errors import CreditError, OutcomeUnknownError, RateLimitedError, UnavailableError
from credit_sdk.operations import (
    CaptureBalanceHold,
    CaptureHold,
    CheckBalance,
    CheckCredits,
    Deduct,
    Operation,
    PlaceBalanceHold,
    PlaceHold,
    Refund,
    RefundSpending,
    ResultT_co,
    Spend,
    VoidBalanceHold,
    VoidHold,
)
from credit_sdk.testing._clock import FakeClock

Step: TypeAlias = Literal["check", "deduct", "hold", "capture", "void", "refund"]
"""A request on the path of a charge."""

_KINDS: dict[Step, tuple[type[Operation[Any]], ...]] = {
    "check": (CheckCredits, CheckBalance),
    "deduct": (Deduct, Spend),
    "hold": (PlaceHold, PlaceBalanceHold),
    "capture": (CaptureHold, CaptureBalanceHold),
    "void": (VoidHold, VoidBalanceHold),
    "refund": (Refund, RefundSpending),
}


class SimulatedCrash(BaseException):
    """The process dies here. Until `restart()` nothing of it reaches the books or the outbox."""


@dataclass
class _Fault:
    step: Step
    strike: Callable[[Callable[[], Any]], Any]
    times: int

    def takes(self, operation: Operation[Any]) -> bool:
        return self.times > 0 and isinstance(operation, _KINDS[self.step])


class Faults:
    """What goes wrong between the application and its books. A test whose fault never struck fails."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._planned: list[_Fault] = []
        self._lock = threading.Lock()
        self.is_crashed = False

    def unreachable(self, step: Step, *, times: int = 1) -> None:
        """Let the request not arrive."""
        self.fail(step, UnavailableError("The books cannot be reached (a planned fault)."), times=times)

    def lose_answer(self, step: Step, *, times: int = 1) -> None:
        """Let the request be carried out and its answer be lost: committed, then a time-out."""

        def strike(carry_out: Callable[[], Any]) -> Any:
            carry_out()
            raise OutcomeUnknownError("The answer was lost (a planned fault).")

        self._plan(step, strike, times)

    def refuse(self, step: Step, *, retry_after: float = 1, times: int = 1) -> None:
        """Answer 429: too many requests, come back in so many seconds."""
        self.fail(
            step, RateLimitedError("Too many requests (planned).", retry_after=retry_after), times=times
        )

    def fail(self, step: Step, error: CreditError, *, times: int = 1) -> None:
        """Answer with any error, and do nothing."""

        def strike(_: Callable[[], Any]) -> Any:
            raise error

        self._plan(step, strike, times)

    def duplicate(self, step: Step, *, times: int = 1) -> None:
        """Let the request arrive twice."""

        def strike(carry_out: Callable[[], Any]) -> Any:
            first = carry_out()
            carry_out()
            return first

        self._plan(step, strike, times)

    def slow(self, step: Step, *, seconds: float, times: int = 1) -> None:
        """Let so much time pass on the clock before the request arrives; nobody waits for it."""

        def strike(carry_out: Callable[[], Any]) -> Any:
            self._clock.advance(seconds=seconds)
            return carry_out()

        self._plan(step, strike, times)

    def crash(self, step: Step, *, after: bool = False) -> None:
        """Kill the process just before the request is sent, or after it was carried out."""

        def strike(carry_out: Callable[[], Any]) -> Any:
            if after:
                carry_out()
            self.crash_now()

        self._plan(step, strike, 1)

    def crash_now(self) -> None:
        """Kill the process here, such as in the middle of the work. Raises `SimulatedCrash`."""
        self.is_crashed = True
        raise SimulatedCrash

    def unstruck(self) -> list[str]:
        """Return the steps whose planned faults have not happened."""
        return [fault.step for fault in self._planned if fault.times]

    def clear(self) -> None:
        """Forget what is planned and has not happened."""
        self._planned.clear()

    def carry_out(self, operation: Operation[ResultT_co], deliver: Callable[[], ResultT_co]) -> ResultT_co:
        """Carry a request out, with the first fault that is planned for it."""
        if self.is_crashed:
            raise SimulatedCrash
        with self._lock:
            fault = next((each for each in self._planned if each.takes(operation)), None)
            if fault:
                fault.times -= 1
        result: ResultT_co = fault.strike(deliver) if fault else deliver()
        return result

    def _plan(self, step: Step, strike: Callable[[Callable[[], Any]], Any], times: int) -> None:
        if step not in _KINDS:
            raise ValueError(f"There is no step {step!r}; the steps are {', '.join(_KINDS)}.")
        if times < 1:
            raise ValueError(f"A fault happens at least once, not {times} times.")
        self._planned.append(_Fault(step, strike, times))


class FaultyBackend:
    """The books in memory, behind faults; blocking."""

    def __init__(self, ledger: MemoryLedger, faults: Faults, session_token: str | None = None) -> None:
        self._books = MemoryBackend(ledger, session_token)
        self._faults = faults

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError` or what is planned."""
        return self._faults.carry_out(operation, lambda: self._books.execute(operation))

    def as_caller(self, session_token: str) -> "FaultyBackend":
        """Return the same books on behalf of a session."""
        return FaultyBackend(self._books.ledger, self._faults, session_token)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


class AsyncFaultyBackend:
    """The books in memory, behind faults; awaiting."""

    def __init__(self, ledger: MemoryLedger, faults: Faults, session_token: str | None = None) -> None:
        self._blocking = FaultyBackend(ledger, faults, session_token)

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError` or what is planned."""
        return self._blocking.execute(operation)

    def as_caller(self, session_token: str) -> "AsyncFaultyBackend":
        """Return the same books on behalf of a session."""
        other = AsyncFaultyBackend.__new__(AsyncFaultyBackend)
        other._blocking = self._blocking.as_caller(session_token)  # noqa: SLF001 - its own class
        return other

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
