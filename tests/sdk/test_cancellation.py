"""A task is cancelled at every point where it waits: what was performed is charged once, nothing else is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from decimal import Decimal

import anyio
import pytest

from credit_sdk import Account, AsyncCreditDeductionService, MemoryLedger
from credit_sdk.backends.memory import AsyncMemoryBackend
from credit_sdk.operations import Operation, ResultT_co

pytestmark = pytest.mark.anyio
Taken = Callable[[], list[Decimal]]
STEPS = range(1, 40)


class SlowBackend(AsyncMemoryBackend):
    """Waits before and after each request, like a network: a cancellation may come at either point."""

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        for _ in range(3):
            await asyncio.sleep(0)
        result = await super().execute(operation)
        for _ in range(3):
            await asyncio.sleep(0)
        return result


@pytest.fixture
def slow_billing(ledger: MemoryLedger) -> AsyncCreditDeductionService:
    billing = AsyncCreditDeductionService(ledger)
    # The backend is made when it is first used; this one is there before.
    billing._till.connections.lasting_async_backend = SlowBackend(ledger)
    return billing


class Operations:
    """The same billable work in three shapes; `completed` counts how often it ended well."""

    def __init__(self, billing: AsyncCreditDeductionService, account: Account) -> None:
        self.completed = 0
        self.billing = billing
        self.account = account
        self.decorated = billing.billable("contact_lookup", cost=10, account=account)(self.work)
        self.stream = billing.billable("bulk_export", cost=10, account=account)(self.records)

    async def work(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self.completed += 1

    async def records(self) -> AsyncIterator[int]:
        for record in range(3):
            await asyncio.sleep(0)
            yield record
        self.completed += 1

    async def call_decorated(self) -> None:
        await self.decorated()

    async def enter_block(self) -> None:
        async with self.billing.charge(self.account, 10, service_type="contact_lookup"):
            await self.work()

    async def consume_stream(self) -> None:
        async with aclosing(self.stream()) as stream:  # type: ignore[type-var]  # a generator, typed as an iterator
            async for _ in stream:
                await asyncio.sleep(0)


SHAPES = ["call_decorated", "enter_block", "consume_stream"]


@pytest.mark.parametrize("cancellations", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_cancellation_at_any_step_charges_exactly_what_was_performed(
    slow_billing: AsyncCreditDeductionService, ada: Account, taken: Taken, shape: str, cancellations: int
) -> None:
    interrupted = 0
    operations = Operations(slow_billing, ada)
    for steps in STEPS:
        task = asyncio.ensure_future(getattr(operations, shape)())
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0)
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        interrupted += isinstance(outcome, asyncio.CancelledError)
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        assert len(taken()) == operations.completed
    assert 0 < interrupted < len(STEPS)
    assert 0 < operations.completed < len(STEPS)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_cancelled_scope_charges_exactly_what_was_performed(
    slow_billing: AsyncCreditDeductionService, ada: Account, taken: Taken, shape: str
) -> None:
    interrupted = 0
    operations = Operations(slow_billing, ada)
    for steps in STEPS:
        async with anyio.create_task_group() as group:
            group.start_soon(getattr(operations, shape))
            for _ in range(steps):
                await asyncio.sleep(0)
            group.cancel_scope.cancel()
        interrupted += group.cancel_scope.cancelled_caught
        assert len(taken()) == operations.completed
    assert interrupted
    assert operations.completed


async def test_a_cancellation_is_not_lost_when_the_hold_is_refused(
    slow_billing: AsyncCreditDeductionService, ada: Account
) -> None:
    async def charge_too_much() -> None:
        async with slow_billing.charge(ada, 1_000_000, service_type="contact_lookup"):
            pytest.fail("the block ran")

    task = asyncio.ensure_future(charge_too_much())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)


async def test_a_charge_whose_capture_was_cancelled_knows_its_receipt(
    slow_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    charge = slow_billing.charge(ada, 10, service_type="contact_lookup")
    finished = asyncio.Event()

    async def work() -> None:
        async with charge:
            finished.set()

    task = asyncio.ensure_future(work())
    await finished.wait()
    task.cancel()
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    assert charge.receipt.credits_used == 10
    assert taken() == [10]


def test_a_loop_that_shuts_down_sees_the_capture_through(
    ledger: MemoryLedger, ada: Account, taken: Taken
) -> None:
    async def main() -> None:
        finished = asyncio.Event()
        billing = AsyncCreditDeductionService(ledger)
        billing._till.connections.lasting_async_backend = SlowBackend(ledger)

        async def work() -> None:
            async with billing.charge(ada, 10, service_type="contact_lookup"):
                finished.set()

        background = asyncio.create_task(work())
        await finished.wait()
        assert not background.done()

    asyncio.run(main())
    assert taken() == [10]
