"""A task is cancelled at every point where it waits for a real database or a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from itertools import count
from uuid import uuid4

import pytest

from credit_sdk import Account, AsyncCreditDeductionService
from credit_sdk._runners import AsyncRun
from credit_sdk.backends.http import AsyncHttpBackend, Credential
from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.operations import Deduct
from tests.faults.cancelling import CancelledAt, outcome_of
from tests.faults.rig import Rig, Transport
from tests.faults.running import USER, look, open_books

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("transport", ["sql", "http"])]
SHAPES = ["function", "block", "stream"]


@pytest.fixture
def org_id(rig: Rig) -> str:
    org_id = str(uuid4())
    open_books(rig, org_id, 10_000)
    return org_id


class Work:
    """The same billable work in three shapes; `done` are the ids under which it ended well."""

    def __init__(self, billing: AsyncCreditDeductionService, org_id: str) -> None:
        self.billing = billing
        self.account = Account(org_id=org_id, user_id=USER)
        self.done: list[str] = []

    async def function(self, request_id: str) -> None:
        async def work() -> None:
            await asyncio.sleep(0)
            self.done.append(request_id)

        await self.billing.billable("export", cost=5, account=self.account, request_id=request_id)(work)()

    async def block(self, request_id: str) -> None:
        async with self.billing.charge(self.account, 5, service_type="export", request_id=request_id):
            await asyncio.sleep(0)
            self.done.append(request_id)

    async def stream(self, request_id: str) -> None:
        async def records() -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(0)
            yield 2
            self.done.append(request_id)

        billable = self.billing.billable("export", cost=5, account=self.account, request_id=request_id)
        async with aclosing(billable(records)()) as stream:  # type: ignore[type-var]  # a generator, typed as an iterator
            async for _ in stream:
                await asyncio.sleep(0)


async def sweep(rig: Rig, transport: Transport, org_id: str, shape: str, times: int) -> Work:
    """Run the work once for each point at which it waits, and cancel it there."""
    api_key = rig.api_key if transport == "http" else None
    url = rig.client_url(transport)
    async with AsyncCreditDeductionService(url, api_key=api_key, outbox=False) as billing:
        work = Work(billing, org_id)
        operation: Callable[[str], Awaitable[None]] = getattr(work, shape)
        for nth in count(1):
            stepping = CancelledAt(operation(f"{shape}-{nth}"), nth, times)  # type: ignore[arg-type]  # a coroutine
            outcome = await outcome_of(stepping)
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
            if stepping.hits == 0:
                assert outcome is None
                assert nth > 3, "it waits for the hold, the work and the capture"
                return work
    raise AssertionError


def judge(rig: Rig, work: Work) -> None:
    books = look(rig, work.account.org_id or "")
    assert sorted(request_id for request_id, _ in books.charges) == sorted(work.done)
    assert books.held == []
    assert books.differences == []
    assert books.idle_in_transaction == 0


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
async def test_exactly_what_was_done_is_charged(
    rig: Rig, transport: Transport, org_id: str, shape: str, times: int
) -> None:
    work = await sweep(rig, transport, org_id, shape, times)
    assert len(work.done) > 1, "all was cancelled before it was done: nothing is shown"
    judge(rig, work)


async def test_a_driver_that_is_cancelled_anywhere_is_asked_again(
    rig: Rig, transport: Transport, org_id: str
) -> None:
    """Below the flows a cancellation ends the request itself; its id makes repeating it safe."""
    interrupted = 0
    for nth in count(1):
        # A new one each time, so that connecting is interrupted, too.
        backend = (
            AsyncSqlBackend(rig.client_url("sql"), pool_size=1)
            if transport == "sql"
            else AsyncHttpBackend(rig.client_url("http"), Credential(api_key=rig.api_key))
        )
        names = {"org_id": org_id, "user_id": USER, "service_type": "export", "request_id": str(nth)}
        deduct = Deduct.model_validate(names | {"credits": 1})
        stepping = CancelledAt(backend.execute(deduct), nth)
        interrupted += isinstance(await outcome_of(stepping), asyncio.CancelledError)
        await backend.execute(deduct)
        await backend.close()
        if stepping.hits == 0:
            break
    assert interrupted > 2
    books = look(rig, org_id)
    assert sorted(books.charges) == sorted((str(each), 1) for each in range(1, nth + 1))
    assert books.differences == []
    assert books.idle_in_transaction == 0


async def test_a_request_that_is_cancelled_with_its_caller_is_found(
    rig: Rig, transport: Transport, org_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug that the sweep is for, planted."""

    async def abandoning(_: AsyncRun[None], work: Awaitable[None]) -> asyncio.Future[None]:
        request = asyncio.ensure_future(work)
        await request
        return request

    monkeypatch.setattr(AsyncRun, "_see_through", abandoning)
    work = await sweep(rig, transport, org_id, "block", 1)
    with pytest.raises(AssertionError):
        judge(rig, work)
