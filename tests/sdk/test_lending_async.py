"""The connections of the awaiting SQL backend: kept, bounded in number, replaced when they are no good."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import create_async_engine

from credit_sdk.backends._lending_async import AsyncGuestLender, AsyncOwnLender, Connection, hang_up
from credit_sdk.backends._statements import Call

pytestmark = pytest.mark.anyio
SIZE = 2
Connect = Callable[[], Awaitable[Connection]]


@pytest.fixture
def connect(postgres_url: str) -> Connect:
    return lambda: psycopg.AsyncConnection.connect(postgres_url, autocommit=True)


@pytest.fixture
async def lender(connect: Connect) -> AsyncIterator[AsyncOwnLender]:
    lender = lender_of(connect)
    yield lender
    lender.abandon()


def lender_of(connect: Connect, longest_life: float = 1_000) -> AsyncOwnLender:
    return AsyncOwnLender(connect, SIZE, patience=0.01, longest_life=longest_life)


async def test_the_line_that_was_used_last_is_lent_first(lender: AsyncOwnLender) -> None:
    first, second = await lender.lend(), await lender.lend()
    await lender.take_back(first)
    await lender.take_back(second)
    assert await lender.lend() is second
    assert await lender.lend() is first


async def test_no_more_lines_are_lent_than_there_may_be(lender: AsyncOwnLender) -> None:
    lines = [await lender.lend() for _ in range(SIZE)]
    with pytest.raises(sqlalchemy.exc.TimeoutError):
        await lender.lend()
    waiting = asyncio.ensure_future(lender.lend())
    await asyncio.sleep(0)
    await lender.take_back(lines[0])
    assert await waiting is lines[0]


async def test_who_is_cancelled_while_waiting_takes_no_place(lender: AsyncOwnLender) -> None:
    lines = [await lender.lend() for _ in range(SIZE)]
    waiting = asyncio.ensure_future(lender.lend())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await lender.take_back(lines[0])
    assert await lender.lend() is lines[0]


async def test_a_line_left_in_a_transaction_is_hung_up_and_its_place_is_free(lender: AsyncOwnLender) -> None:
    for _ in range(SIZE + 1):
        line = await lender.lend()
        line.connection.pgconn.exec_(b"BEGIN")
        await lender.take_back(line)
        assert line.connection.closed
    assert not (await lender.lend()).connection.closed


async def test_lines_that_idle_beside_a_lost_one_are_not_trusted(lender: AsyncOwnLender) -> None:
    """A database that was started anew has lost them all; each would cost a call its answer."""
    lines = [await lender.lend() for _ in range(SIZE)]
    for line in lines:
        await lender.take_back(line)
    lost = await lender.lend()
    hang_up(lost.connection)
    await lender.take_back(lost)
    assert [line.connection.closed for line in lines] == [True, True]


async def test_who_cannot_connect_takes_no_place(connect: Connect) -> None:
    refused = SIZE + 1

    async def connect_at_last() -> Connection:
        nonlocal refused
        if refused:
            refused -= 1
            raise psycopg.OperationalError("no")
        return await connect()

    lender = lender_of(connect_at_last)
    for _ in range(SIZE + 1):
        with pytest.raises(psycopg.OperationalError):
            await lender.lend()
    line = await lender.lend()
    assert (await line.ask(Call(b"SELECT 1", ()))).row == (1,)
    await lender.take_back(line)
    lender.close()


async def test_an_old_line_is_replaced(connect: Connect) -> None:
    lender = lender_of(connect, longest_life=0)
    old = await lender.lend()
    await lender.take_back(old)
    new = await lender.lend()
    assert new is not old
    assert old.connection.closed
    await lender.take_back(new)
    lender.close()


async def test_a_line_that_comes_back_after_the_end_is_closed(connect: Connect) -> None:
    lender = lender_of(connect)
    kept, lent = await lender.lend(), await lender.lend()
    await lender.take_back(kept)
    lender.close()
    assert (kept.connection.closed, lent.connection.closed) == (True, False)
    await lender.take_back(lent)
    assert lent.connection.closed


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "READ COMMITTED"])
async def test_an_applications_connection_goes_back_as_it_was(postgres_url: str, level: str) -> None:
    address = postgres_url.replace("postgresql:", "postgresql+psycopg:", 1)
    engine = create_async_engine(address, pool_size=1, max_overflow=0, isolation_level=level)
    lender = AsyncGuestLender(engine)
    line = await lender.lend()
    await line.ask(Call(b"SELECT 1", ()))
    assert line.is_reusable
    await lender.take_back(line)
    assert line.connection.autocommit == (level == "AUTOCOMMIT")
    again = await lender.lend()
    assert again.connection is line.connection
    await lender.take_back(again)
    await engine.dispose()
