"""`with billing.batch(...)`: many records of one job, each charged once as it succeeds."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar, cast

from credit_sdk._flows import Flow, Retries
from credit_sdk._flows.batching import (
    BatchPlan,
    closing_batch,
    covering,
    finding_remaining,
    keeping_done,
    opening_batch,
    sending,
)
from credit_sdk._runners import AsyncBackend, AsyncRun, Backend, Keeper, Run
from credit_sdk.models import BatchReceipt

RecordT = TypeVar("RecordT")
ReturnT = TypeVar("ReturnT")
GROUP = 50
"""How many records are sent at once."""
QUESTION = 500
"""How many records are asked for at once, whether they were charged before."""


class Batching:
    """A job under way: how far it is, and when its hold needs more time."""

    def __init__(self, plan: BatchPlan, retries: Retries) -> None:
        self._plan = plan
        self._retries = retries
        self._held_since = 0.0

    @property
    def request_id(self) -> str:
        """The id of the job; that of a record is this, a slash and the record's key."""
        return self._plan.request_id

    @property
    def receipt(self) -> BatchReceipt:
        """What was charged so far: in all when the block has ended."""
        plan = self._plan
        return BatchReceipt(
            request_id=plan.request_id,
            records_charged=plan.charged,
            credits_charged=plan.charged * plan.cost_each,
            records_pending=plan.pending + len(plan.done),
            records_skipped=plan.skipped,
            records_failed=plan.failed,
        )

    def _is_ageing(self) -> bool:
        return time.monotonic() - self._held_since > self._plan.ttl_seconds / 2

    def _covering(self) -> Flow[None]:
        is_ageing = self._is_ageing()
        if is_ageing:
            self._held_since = time.monotonic()
        return covering(self._plan, self._retries, is_ageing=is_ageing)

    def _opening(self) -> Flow[None]:
        self._held_since = time.monotonic()
        return opening_batch(self._plan, self._retries)

    def _left_of(self, records: list[RecordT], keys: list[object], left: frozenset[str]) -> list[RecordT]:
        remaining = [
            record for record, key in zip(records, keys, strict=True) if self._plan.id_of(key) in left
        ]
        self._plan.skipped += len(records) - len(remaining)
        return remaining


class Batch(Batching):
    """A job to be entered with `with`; for one thread."""

    def __init__(self, plan: BatchPlan, retries: Retries, backend: Backend, keeper: Keeper | None) -> None:
        super().__init__(plan, retries)
        self._backend = backend
        self._keeper = keeper

    def remaining(self, records: Iterable[RecordT], *, key: Callable[[RecordT], object]) -> Iterator[RecordT]:
        """Iterate over the records that this job has not charged yet, nor kept as done."""
        source = iter(records)
        while chunk := list(islice(source, QUESTION)):
            keys = list(map(key, chunk))
            left = self._run(finding_remaining(self._plan, keys, self._retries))
            yield from self._left_of(chunk, keys, left)

    @contextmanager
    def record(self, key: object) -> Iterator[None]:
        """Charge one record if the block succeeds; an exception in it takes nothing.

        Raises `InsufficientCreditsError` before the block when the books do not cover it.
        """
        self._run(self._covering())
        try:
            yield
        except BaseException:
            self._plan.failed += 1
            raise
        self._run(keeping_done(self._plan, key))
        if len(self._plan.done) >= GROUP:
            self._run(sending(self._plan, self._retries))

    def __enter__(self) -> Self:
        """Hold the estimate; raises what the refusal says, and then the block does not run."""
        self._run(self._opening())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Charge what was done, whatever ended the block, and give the rest back."""
        self._run(closing_batch(self._plan, self._retries))

    def _run(self, flow: Flow[ReturnT]) -> ReturnT:
        return cast("ReturnT", Run(flow, self._backend, self._keeper).start())


class AsyncBatch(Batching):
    """A job to be entered with `async with`; for one task."""

    def __init__(
        self, plan: BatchPlan, retries: Retries, backend: AsyncBackend, keeper: Keeper | None
    ) -> None:
        super().__init__(plan, retries)
        self._backend = backend
        self._keeper = keeper

    async def remaining(
        self, records: Iterable[RecordT], *, key: Callable[[RecordT], object]
    ) -> AsyncIterator[RecordT]:
        """Iterate over the records that this job has not charged yet, nor kept as done."""
        source = iter(records)
        while chunk := list(islice(source, QUESTION)):
            keys = list(map(key, chunk))
            left = await self._run(finding_remaining(self._plan, keys, self._retries))
            for record in self._left_of(chunk, keys, left):
                yield record

    @asynccontextmanager
    async def record(self, key: object) -> AsyncIterator[None]:
        """Charge one record if the block succeeds; an exception in it takes nothing.

        Raises `InsufficientCreditsError` before the block when the books do not cover it.
        """
        await self._run(self._covering())
        try:
            yield
        except BaseException:
            self._plan.failed += 1
            raise
        await self._run(keeping_done(self._plan, key))
        if len(self._plan.done) >= GROUP:
            await self._run(sending(self._plan, self._retries))

    async def __aenter__(self) -> Self:
        """Hold the estimate; raises what the refusal says, and then the block does not run."""
        await self._run(self._opening())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Charge what was done, whatever ended the block, and give the rest back."""
        await self._run(closing_batch(self._plan, self._retries))

    async def _run(self, flow: Flow[ReturnT]) -> ReturnT:
        return cast("ReturnT", await AsyncRun(flow, self._backend, self._keeper).start())
