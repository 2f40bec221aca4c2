"""The two drivers of flows: one blocks, one awaits.

A flow's steps answer `Any`; this module is the only seam where types are taken on trust.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio

from credit_sdk import _telemetry
from credit_sdk._flows.retrying import Retries, retrying, sending_again
from credit_sdk._flows.steps import (
    Failed,
    Flow,
    Forget,
    HandOver,
    Keep,
    Perform,
    Recall,
    Safekeeping,
    Sleep,
    Step,
)
from credit_sdk.errors import CreditError
from credit_sdk.operations import Operation, ResultT_co

ReturnT = TypeVar("ReturnT")

_SAFEKEEPING = Keep, Forget, HandOver, Recall

pause: Callable[[float], None] = time.sleep
"""How a blocking run waits; `credit_sdk.testing` lets its clock run on instead."""
pause_async: Callable[[float], Awaitable[None]] = asyncio.sleep


class Backend(Protocol):
    """Carries operations out, blocking."""

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the result, or raise a `CreditError`."""

    def as_caller(self, session_token: str) -> "Backend":
        """Return the same backend on behalf of a session, where that makes a difference."""

    def close(self) -> None:
        """Let go of connections."""


class AsyncBackend(Protocol):
    """Carries operations out, awaiting."""

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the result, or raise a `CreditError`."""

    def as_caller(self, session_token: str) -> "AsyncBackend":
        """Return the same backend on behalf of a session, where that makes a difference."""

    async def close(self) -> None:
        """Let go of connections."""


class Keeper(Protocol):
    """Keeps what is owed until it is confirmed."""

    def carry_out(self, step: Safekeeping) -> bool | frozenset[str]:
        """Do what a flow asks of the outbox, and answer it. May raise `OutboxError`."""


class Run(Generic[ReturnT]):
    """A flow under way on a blocking backend, which stops wherever the caller's work has to run."""

    def __init__(self, flow: Flow[ReturnT], backend: Backend, keeper: Keeper | None = None) -> None:
        self.backend = backend
        self._flow = flow
        self._keeper = keeper

    def start(self) -> ReturnT | Perform:
        """Carry out steps up to the caller's work, or to the end."""
        return self._drive(None)

    def resume(self, failure: Failed | None) -> ReturnT | Perform:
        """Go on after the caller's work."""
        return self._drive(failure)

    def _drive(self, answer: Any) -> ReturnT | Perform:
        try:
            step = self._flow.send(answer)
            while not isinstance(step, Perform):
                try:
                    answer = self._carry_out(step)
                except BaseException as error:  # noqa: BLE001 - the flow decides what an error means
                    step = self._flow.throw(error)
                else:
                    step = self._flow.send(answer)
        except StopIteration as end:
            result: ReturnT = end.value
            return result
        return step

    def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Sleep):
            pause(step.seconds)
            return False
        if isinstance(step, _SAFEKEEPING):
            return self._keeper is not None and self._keeper.carry_out(step)
        operation: Any = step
        return _request(operation, self.backend)


def _request(operation: Operation[ResultT_co], backend: Backend) -> ResultT_co:
    if not _telemetry.is_on():
        return backend.execute(operation)
    with _telemetry.request(operation, _peer_of(backend)):
        return backend.execute(operation)


def _peer_of(backend: Any) -> Mapping[str, str]:
    """Return what a backend says about the other end; those of tests say nothing."""
    peer: Mapping[str, str] = getattr(backend, "peer", {})
    return peer


def run(flow: Flow[ReturnT], backend: Backend) -> ReturnT:
    """Carry a flow out to its end."""
    return cast("ReturnT", Run(flow, backend).start())


def ask(operation: Operation[ResultT_co], retries: Retries, backend: Backend) -> ResultT_co:
    """Carry one operation out, again if need be: a flow is begun only after a failure."""
    try:
        return _request(operation, backend)
    except CreditError as error:
        if not error.retryable:
            raise
        failure = error
    return run(sending_again(operation, retries, failure), backend)


class AsyncRun(Generic[ReturnT]):
    """A flow under way on an awaiting backend.

    A request is always seen through. A cancellation that arrives meanwhile is raised when the flow
    has ended; the caller's work does not begin any more, but what it has finished is charged.
    """

    def __init__(self, flow: Flow[ReturnT], backend: AsyncBackend, keeper: Keeper | None = None) -> None:
        self.backend = backend
        self._flow = flow
        self._keeper = keeper
        self._cancellation: asyncio.CancelledError | None = None
        self.result: ReturnT | None = None
        """What the flow answered, also when a cancellation is raised instead."""

    async def start(self) -> ReturnT | Perform:
        """Carry out steps up to the caller's work, or to the end."""
        outcome = await self._until_work(None)
        if self._cancellation is not None and isinstance(outcome, Perform):
            await self._until_work(Failed(self._cancellation, began=False))
        return self._unless_cancelled(outcome)

    async def resume(self, failure: Failed | None) -> ReturnT | Perform:
        """Go on after the caller's work."""
        return self._unless_cancelled(await self._until_work(failure))

    def _unless_cancelled(self, outcome: ReturnT | Perform) -> ReturnT | Perform:
        if self._cancellation is not None:
            raise self._cancellation
        return outcome

    async def _until_work(self, answer: Any) -> ReturnT | Perform:
        try:
            outcome = await self._drive(answer)
        except BaseException as error:
            if self._cancellation is not None:
                raise self._cancellation from error
            raise
        if not isinstance(outcome, Perform):
            self.result = outcome
        return outcome

    async def _drive(self, answer: Any) -> ReturnT | Perform:
        try:
            step = self._flow.send(answer)
            while not isinstance(step, Perform):
                try:
                    answer = await self._carry_out(step)
                except BaseException as error:  # noqa: BLE001 - the flow decides what an error means
                    step = self._flow.throw(error)
                else:
                    step = self._flow.send(answer)
        except StopIteration as end:
            return cast("ReturnT", end.value)
        return step

    async def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Sleep):
            return await self._sleep(step.seconds)
        if isinstance(step, _SAFEKEEPING):
            return self._keeper is not None and await self._in_thread(self._keeper, step)
        operation: Any = step
        if not _telemetry.is_on():
            return await self._request(operation)
        with _telemetry.request(operation, _peer_of(self.backend)):
            return await self._request(operation)

    async def _request(self, operation: Operation[Any]) -> Any:
        request = await self._see_through(self.backend.execute(operation))
        if request.cancelled():
            # The loop is shutting down and has cancelled every task it knew of, this request's too.
            # Repeating it tells what became of it; the loop does not know the new task.
            self._cancellation = self._cancellation or asyncio.CancelledError()
            request = await self._see_through(self.backend.execute(operation))
        return request.result()

    async def _in_thread(self, keeper: Keeper, step: Safekeeping) -> bool | frozenset[str]:
        """Use the outbox, whose disk may be slow, beside the loop."""
        try:
            writing = asyncio.get_running_loop().run_in_executor(None, keeper.carry_out, step)
        except RuntimeError:
            # The loop is shutting down and starts no threads any more.
            return keeper.carry_out(step)
        await self._see_through(writing)
        return writing.result()

    async def _sleep(self, seconds: float) -> bool:
        if self._cancellation is None:
            try:
                await pause_async(seconds)
            except asyncio.CancelledError as cancellation:
                self._cancellation = cancellation
        return self._cancellation is not None

    async def _see_through(self, work: Awaitable[Any]) -> asyncio.Future[Any]:
        request = asyncio.ensure_future(work)
        self._cancellation = await see_through(request) or self._cancellation
        return request


async def see_through(request: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait until a request is answered, and answer the cancellation that came meanwhile, if any."""
    latest = None
    # asyncio.wait leaves the request running when the waiter is cancelled; the scope keeps anyio's
    # own cancellation, which is delivered again and again, out of the loop.
    with anyio.CancelScope(shield=True):
        while not request.done():
            try:
                await asyncio.wait({request})
            except asyncio.CancelledError as cancellation:
                latest = cancellation
    return latest


async def ask_async(operation: Operation[ResultT_co], retries: Retries, backend: AsyncBackend) -> ResultT_co:
    """Carry one operation out, again if need be. A cancellation waits for it, as in every run."""
    return await run_async(retrying(operation, retries), backend)


async def run_async(flow: Flow[ReturnT], backend: AsyncBackend) -> ReturnT:
    """Carry a flow out to its end."""
    return cast("ReturnT", await AsyncRun(flow, backend).start())
