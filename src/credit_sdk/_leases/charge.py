"""The block that is charged from a lease; where there is none it is charged as ever."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from credit_sdk._flows import ChargePlan
from credit_sdk._leases.lessee import Lessee, Promise
from credit_sdk._runners import see_through
from credit_sdk.charge import AsyncOpenCharge, OpenCharge, Terms

ReturnT = TypeVar("ReturnT")


class _Leasing(Terms):
    """What both kinds share: the promise, and how work that is done is paid without asking the books."""

    _promise: Promise | None = None

    def __init__(self, plan: ChargePlan, make_run: Callable[[], Any], lessee: Lessee) -> None:
        # As `Terms` does; to ask it through two classes would take longer than the rest of this.
        self._plan = plan
        self._make_run = make_run
        self._lessee = lessee

    @property
    def _kept_where(self) -> str:
        if self._promise is None:
            return super()._kept_where
        return "it was paid out of a lease, which is settled in the background; `settle_leases()` does so now"

    def _needs_books(self, promise: Promise, error: BaseException | None) -> bool:
        """Pay out of the lease, or take the promise back if there is nothing to pay; True if it cannot."""
        plan = self._plan
        if (error is not None and self._failure(error) is not None) or not plan.credits:
            self._lessee.give_up(promise)
            return False
        if plan.metadata:
            plan.drop_unkeepable_metadata()
        plan.is_pending = self._lessee.finish(promise, plan)
        return not plan.is_pending


class LeasedCharge(_Leasing, OpenCharge):
    """A charge to be entered with `with`."""

    def __enter__(self) -> Self:
        """Promise the credits; raises what the refusal says, and then the block does not run."""
        if self._make_run is not None:
            plan = self._plan
            promise = self._lessee.begin(plan) or self._lessee.begin_asking(plan)
            if promise is not None:
                self._promise, self._make_run = promise, None
                return self
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the credits, or give them back if the block ended in an exception."""
        promise = self._promise
        if promise is None:
            super().__exit__(kind, error, traceback)
            return
        if self._needs_books(promise, error):
            self._receipt = self._lessee.finish_asking(promise, self._plan)
        self._has_ended = True


class AsyncLeasedCharge(_Leasing, AsyncOpenCharge):
    """A charge to be entered with `async with`. The books are asked beside the loop."""

    async def __aenter__(self) -> Self:
        """Promise the credits; raises what the refusal says, and then the block does not run."""
        if self._make_run is not None:
            plan = self._plan
            promise = self._lessee.begin(plan)
            if promise is None:
                promise, cancellation = await _beside_the_loop(partial(self._lessee.begin_asking, plan))
                if cancellation is not None:
                    if promise is not None:
                        self._lessee.give_up(promise)
                    raise cancellation
            if promise is not None:
                self._promise, self._make_run = promise, None
                return self
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the credits, or give them back if the block ended in an exception."""
        promise = self._promise
        if promise is None:
            await super().__aexit__(kind, error, traceback)
            return
        cancellation = None
        if self._needs_books(promise, error):
            finish = partial(self._lessee.finish_asking, promise, self._plan)
            self._receipt, cancellation = await _beside_the_loop(finish)
        self._has_ended = True
        if cancellation is not None:
            raise cancellation


async def _beside_the_loop(
    work: Callable[[], ReturnT],
) -> tuple[ReturnT, asyncio.CancelledError | None]:
    """Do what blocks in a thread, to its end; answers also the cancellation that came meanwhile."""
    try:
        working = asyncio.get_running_loop().run_in_executor(None, work)
    except RuntimeError:
        # The loop is shutting down and starts no threads any more.
        return work(), None
    cancellation = await see_through(working)
    return working.result(), cancellation
