"""The two drivers of flows: one blocks, one awaits.

A flow's steps answer `Any`; this module is the only seam where types are taken on trust.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Generic, Protocol, TypeVar, cast

import anyio

from credit_sdk._flows.steps import Failed, Flow, Perform, Sleep, Step
from credit_sdk.operations import Operation, ResultT_co

ReturnT = TypeVar("ReturnT")


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


class Run(Generic[ReturnT]):
    """A flow under way on a blocking backend, which stops wherever the caller's work has to run."""

    def __init__(self, flow: Flow[ReturnT], backend: Backend) -> None:
        self._flow = flow
        self._backend = backend

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
            return cast("ReturnT", end.value)
        return step

    def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return False
        return self._backend.execute(cast("Operation[Any]", step))


def run(flow: Flow[ReturnT], backend: Backend) -> ReturnT:
    """Carry a flow out to its end."""
    return cast("ReturnT", Run(flow, backend).start())


class AsyncRun(Generic[ReturnT]):
    """A flow under way on an awaiting backend.

    A request that moves credits is always seen through: a cancellation that arrives meanwhile is
    delivered to the flow as a failure of the caller's work, and raised when the flow has ended.
    """

    def __init__(self, flow: Flow[ReturnT], backend: AsyncBackend) -> None:
        self._flow = flow
        self._backend = backend
        self._cancellation: asyncio.CancelledError | None = None

    async def start(self) -> ReturnT | Perform:
        """Carry out steps up to the caller's work, or to the end."""
        outcome = await self._drive(None)
        if self._cancellation is None:
            return outcome
        if isinstance(outcome, Perform):
            await self._drive(Failed(self._cancellation))
        raise self._cancellation

    async def resume(self, failure: Failed | None) -> ReturnT | Perform:
        """Go on after the caller's work."""
        outcome = await self._drive(failure)
        if self._cancellation is not None:
            raise self._cancellation
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
        return await self._see_through(self._backend.execute(cast("Operation[Any]", step)))

    async def _sleep(self, seconds: float) -> bool:
        if self._cancellation is None:
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError as cancellation:
                self._cancellation = cancellation
        return self._cancellation is not None

    async def _see_through(self, work: Awaitable[Any]) -> Any:
        task = asyncio.ensure_future(work)
        # asyncio.wait leaves the task running when the waiter is cancelled; the scope keeps anyio's
        # own cancellation, which is delivered again and again, out of the loop.
        with anyio.CancelScope(shield=True):
            while not task.done():
                try:
                    await asyncio.wait({task})
                except asyncio.CancelledError as cancellation:
                    self._cancellation = cancellation
        return task.result()


async def run_async(flow: Flow[ReturnT], backend: AsyncBackend) -> ReturnT:
    """Carry a flow out to its end."""
    return cast("ReturnT", await AsyncRun(flow, backend).start())
