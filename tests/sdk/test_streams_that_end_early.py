"""What a stream that ends before its end costs is the policy's choice."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from decimal import Decimal

import pytest

from credit_sdk import Account, AsyncCreditDeductionService, ChargePolicy, CreditDeductionService

Taken = Callable[[], list[Decimal]]
DELIVERED = ChargePolicy(on_early_end="charge")


class BrokenSourceError(Exception):
    """The source of the stream broke."""


@pytest.mark.parametrize("end", ["close", "collected", "raises"])
@pytest.mark.parametrize("policy", [ChargePolicy(), DELIVERED], ids=["nothing", "delivered"])
def test_a_stream_that_is_left_costs_what_the_policy_says(
    billing: CreditDeductionService,
    ada: Account,
    taken: Taken,
    policy: ChargePolicy,
    end: str,
) -> None:
    @billing.billable("bulk_export", cost=lambda records: 5 * records, estimate=50, policy=policy)
    def records(account: Account) -> Iterator[int]:
        yield 1
        yield 2
        raise BrokenSourceError

    stream = records(ada)
    assert [next(stream), next(stream)] == [1, 2]
    match end:
        case "close":
            stream.close()  # type: ignore[attr-defined]  # a generator, typed as an iterator
        case "collected":
            del stream
            gc.collect()
        case _:
            with pytest.raises(BrokenSourceError):
                next(stream)
    assert taken() == ([10] if policy is DELIVERED else [])


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["left", "raises", "cancelled"])
@pytest.mark.parametrize("policy", [ChargePolicy(), DELIVERED], ids=["nothing", "delivered"])
async def test_an_async_stream_that_is_left_costs_what_the_policy_says(
    async_billing: AsyncCreditDeductionService,
    ada: Account,
    taken: Taken,
    policy: ChargePolicy,
    end: str,
) -> None:
    @async_billing.billable("bulk_export", cost=lambda records: 5 * records, estimate=50, policy=policy)
    async def records(account: Account) -> AsyncIterator[int]:
        yield 1
        yield 2
        if end == "raises":
            raise BrokenSourceError
        await asyncio.Event().wait()

    second = asyncio.Event()

    async def consume() -> None:
        async with aclosing(records(ada)) as stream:  # type: ignore[type-var]  # a generator, typed as an iterator
            async for record in stream:
                if record == 2:
                    second.set()
                    if end == "left":
                        return

    consumer = asyncio.ensure_future(consume())
    await second.wait()
    if end == "cancelled":
        await asyncio.sleep(0)
        consumer.cancel()
    await asyncio.wait({consumer})
    assert consumer.cancelled() == (end == "cancelled")
    if end == "raises":
        assert isinstance(consumer.exception(), BrokenSourceError)
    assert taken() == ([10] if policy is DELIVERED else [])


def test_a_stream_that_delivered_nothing_costs_nothing(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("bulk_export", cost=lambda records: 5 * records, estimate=50, policy=DELIVERED)
    def records(account: Account) -> Iterator[int]:
        raise BrokenSourceError
        yield 1

    with pytest.raises(BrokenSourceError):
        next(records(ada))
    assert taken() == []
