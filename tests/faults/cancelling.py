"""Cancels a coroutine at one of the points where it waits."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

ResultT = TypeVar("ResultT")


class CancelledAt(Generic[ResultT]):
    """Awaits a coroutine, whose task is cancelled at its nth wait, and so `times` in a row."""

    def __init__(self, work: Coroutine[Any, Any, ResultT], nth: int, times: int = 1) -> None:
        self._work = work
        self._moments = range(nth, nth + times)
        self.hits = 0

    def __await__(self) -> Generator[Any, None, ResultT]:
        inner = self._work.__await__()
        error: BaseException | None = None
        waits = 0
        while True:
            try:
                waited = next(inner) if error is None else inner.throw(error)
            except StopIteration as end:
                result: ResultT = end.value
                return result
            waits += 1
            task = asyncio.current_task()
            if waits in self._moments and task is not None:
                self.hits += 1
                task.cancel()
            error = None
            try:
                yield waited
            except BaseException as raised:  # noqa: BLE001 - it is the coroutine's
                error = raised


async def outcome_of(stepping: CancelledAt[ResultT]) -> ResultT | BaseException:
    """Await it in a task of its own; returns what it raises, a cancellation too."""

    async def wait() -> ResultT:
        return await stepping

    [outcome] = await asyncio.gather(asyncio.ensure_future(wait()), return_exceptions=True)
    return outcome
