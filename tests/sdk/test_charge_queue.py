"""Charges of many tasks are sent together, and each task sees its own outcome only."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from credit_sdk import Account, AsyncCreditDeductionService, CreditDeductionService, MemoryLedger
from credit_sdk._flows import Retries
from credit_sdk.backends.memory import AsyncMemoryBackend, MemoryBackend
from credit_sdk.errors import (
    ConfigurationError,
    CreditError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ValidationFailedError,
)
from credit_sdk.models import Receipt
from credit_sdk.operations import LARGEST_BATCH, Deduct, DeductBatch, Operation, parse

ANN = Account(org_id="acme", user_id="ann")
NO_RETRIES = Retries(attempts=1)


class WatchedBackend(AsyncMemoryBackend):
    """Books in memory that note what is asked, and are let through by the test."""

    def __init__(self, ledger: MemoryLedger) -> None:
        super().__init__(ledger)
        self.sent: list[int] = []
        """How many charges each request had."""
        self.failures: deque[CreditError | None] = deque()
        self.gate = asyncio.Event()
        self.gate.set()

    async def execute(self, operation: Operation[Any]) -> Any:
        self.sent.append(len(operation.charges) if isinstance(operation, DeductBatch) else 1)
        await self.gate.wait()
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            raise failure
        return await super().execute(operation)


@pytest.fixture
def books() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.add_organization("acme", credits=10_000)
    ledger.add_member("acme", "ann", allocated=100)
    return ledger


@pytest.fixture
def backend(books: MemoryLedger) -> WatchedBackend:
    return WatchedBackend(books)


@pytest.fixture
def billing(books: MemoryLedger, backend: WatchedBackend) -> AsyncCreditDeductionService:
    service = AsyncCreditDeductionService(books, retries=NO_RETRIES)
    service._till.connections.lasting_async_backend = backend
    return service


async def settled() -> None:
    """Let every task go on until it waits for something that this test decides."""
    for _ in range(30):
        await asyncio.sleep(0)


Charge = Callable[..., "asyncio.Task[Receipt]"]


@pytest.fixture
def running(billing: AsyncCreditDeductionService) -> Charge:
    """Start a charge of a queue as a task of its own."""
    queues: list[Any] = []

    def charge(credits: float = 1, *, queue: Any = None, **more: Any) -> "asyncio.Task[Receipt]":
        if not queues:
            queues.append(billing.queue())
        chosen = queue or queues[0]
        return asyncio.ensure_future(chosen.deduct(ANN, credits, service_type="lookup", **more))

    return charge


@pytest.mark.anyio
async def test_what_comes_meanwhile_is_the_next_batch(backend: WatchedBackend, running: Charge) -> None:
    backend.gate.clear()
    tasks = [running()]
    await settled()
    tasks += [running() for _ in range(5)]
    await settled()
    backend.gate.set()
    receipts = await asyncio.gather(*tasks)
    assert [receipt.remaining_credits for receipt in receipts] == [99, 98, 97, 96, 95, 94]
    assert backend.sent == [1, 5]


@pytest.mark.anyio
async def test_each_task_sees_its_own_outcome(backend: WatchedBackend, running: Charge) -> None:
    tasks = [
        running(10, request_id="job-1"),
        running(10, request_id="job-1"),
        running(11, request_id="job-1"),
        running(95),
        running(90),
    ]
    first, replay, conflict, too_large, last = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, Receipt)
    assert replay == first.model_copy(update={"replayed": True})
    assert isinstance(conflict, IdempotencyConflictError)
    assert isinstance(too_large, InsufficientCreditsError)
    assert (too_large.required, too_large.available) == (95, 90)
    assert isinstance(last, Receipt)
    assert backend.sent == [5]


@pytest.mark.anyio
async def test_a_cancelled_task_leaves_the_others(backend: WatchedBackend, running: Charge) -> None:
    backend.gate.clear()
    first = running()
    await settled()
    unsent, kept = running(50), running()
    await settled()
    unsent.cancel()
    first.cancel()
    await settled()
    backend.gate.set()
    assert (await kept).remaining_credits == 98
    assert backend.sent == [1, 1]


@pytest.mark.anyio
async def test_the_end_of_the_block_sends_what_waits(
    billing: AsyncCreditDeductionService, backend: WatchedBackend, running: Charge
) -> None:
    backend.gate.clear()
    async with billing.queue() as queue:
        tasks = [running(queue=queue) for _ in range(3)]
        await settled()
        asyncio.get_running_loop().call_soon(backend.gate.set)
    await settled()
    assert all(task.done() for task in tasks)
    with pytest.raises(ConfigurationError, match="closed"):
        await queue.deduct(ANN, 1, service_type="lookup")


@pytest.mark.anyio
async def test_a_lost_batch_is_every_tasks_error_and_charges_once_when_repeated(
    backend: WatchedBackend, running: Charge, books: MemoryLedger
) -> None:
    backend.failures.append(OutcomeUnknownError("lost"))
    ids = ["job-1", "job-2"]
    lost = await asyncio.gather(*(running(10, request_id=each) for each in ids), return_exceptions=True)
    assert [type(error) for error in lost] == [OutcomeUnknownError] * 2
    assert lost[0] is not lost[1]
    await asyncio.gather(*(running(10, request_id=each) for each in ids * 2))
    assert (await running(1)).remaining_credits == 79


@pytest.mark.anyio
async def test_a_charge_that_is_not_allowed_does_not_stop_the_others(
    backend: WatchedBackend, running: Charge
) -> None:
    refusal = PermissionDeniedError("not yours")
    backend.failures.extend([refusal, refusal, None])
    refused, taken = await asyncio.gather(running(), running(), return_exceptions=True)
    assert isinstance(refused, PermissionDeniedError)
    assert isinstance(taken, Receipt)
    assert backend.sent == [2, 1, 1]


@pytest.mark.anyio
async def test_a_defect_of_the_backend_leaves_nobody_waiting(
    backend: WatchedBackend, running: Charge
) -> None:
    backend.failures.append(RuntimeError("a defect"))
    async with asyncio.timeout(5):
        broken = await asyncio.gather(running(), running(), return_exceptions=True)
    assert [type(error) for error in broken] == [RuntimeError] * 2
    assert isinstance(await running(), Receipt)


@pytest.mark.anyio
async def test_only_organisations_have_a_queue(billing: AsyncCreditDeductionService) -> None:
    async with billing.queue() as queue:
        with pytest.raises(ConfigurationError, match="No organisation"):
            await queue.deduct(Account(user_id="7"), 1, service_type="lookup")


def test_many_charges_are_sent_a_thousand_at_a_time(books: MemoryLedger) -> None:
    sizes: list[int] = []

    class Sizing(MemoryBackend):
        def execute(self, operation: Operation[Any]) -> Any:
            assert isinstance(operation, DeductBatch)
            sizes.append(len(operation.charges))
            return super().execute(operation)

    fields = {"org_id": "acme", "user_id": "ann", "credits": "0.01", "service_type": "lookup"}
    charges = [parse(Deduct, fields) for _ in range(2 * LARGEST_BATCH + 1)]
    with CreditDeductionService(books) as billing:
        billing._till.connections.lasting_backend = Sizing(books)
        result = billing.deduct_many(charges)
        assert [outcome.request_id for outcome in result] == [charge.request_id for charge in charges]
        again = billing.deduct_many(charges)
    assert sizes == [1000, 1000, 1] * 2
    assert all(outcome.receipt and outcome.receipt.replayed for outcome in again)


def test_no_charges_are_an_error(books: MemoryLedger) -> None:
    with CreditDeductionService(books) as billing, pytest.raises(ValidationFailedError):
        billing.deduct_many([])
