"""A metered stream's hold grows before the reader gets what it would not pay for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ChargePolicy,
    CreditDeductionService,
    InsufficientCreditsError,
    MemoryLedger,
    ModelPrice,
    UnavailableError,
)
from credit_sdk._flows import Growth
from credit_sdk._stream_meter import HOLD_SECONDS, StreamMeter
from credit_sdk.operations import ExtendHold, GetUserCredits, ListCharges
from tests.server.llm.conftest import MESSAGES, PROMPT_TOKENS, usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from credit_sdk.backends.sql import SqlBackend
    from credit_sdk.models import Charge
    from tests.server.conftest import Organization, Running

PRICES = {"told": ModelPrice(prompt=1_000, completion=2_000)}
MOST = (100 - PROMPT_TOKENS) // 2
"""How many tokens of completion 100 credits pay for, besides the prompt: one credit and two for a token."""
ASKED: dict[str, Any] = {"model": "told", "messages": MESSAGES, "max_tokens": 1, "stream": True}
ENDLESS = 10 * MOST


def word(**more: Any) -> dict[str, Any]:
    """Return a chunk of one token."""
    return {"choices": [{"index": 0, "delta": {"content": "word"}}]} | more


def reporting(prompt: int, completion: int) -> dict[str, Any]:
    return {"choices": [], "usage": usage(prompt, completion)}


def price(completion: int) -> Decimal:
    return Decimal(PROMPT_TOKENS + 2 * completion)


@dataclass
class Told:
    """A stream of chunks, to be read blocking or awaiting."""

    chunks: list[Any]
    given: list[Any] = field(default_factory=list)

    def __iter__(self) -> Iterator[Any]:
        for chunk in self.chunks:
            self.given.append(chunk)
            yield chunk

    async def __aiter__(self) -> AsyncIterator[Any]:
        for chunk in self:
            yield chunk


class BlockingTold(Told):
    def close(self) -> None:
        self.chunks = []


class AwaitingTold(Told):
    async def close(self) -> None:
        self.chunks = []


@dataclass
class Reading:
    """What a reader got, and how it ended for them."""

    chunks: list[Any] = field(default_factory=list)
    error: Exception | None = None


def read_blocking(books: Any, account: Account, told: list[Any], cut: int, **options: Any) -> Reading:
    reading, stream = Reading(), BlockingTold(told)
    completions = SimpleNamespace(create=lambda **_: stream)
    client = SimpleNamespace(chat=SimpleNamespace(completions=completions))
    try:
        with CreditDeductionService(books, outbox=False) as billing:
            metered = billing.llm(client, account, prices=PRICES, **options)
            with metered.chat.completions.create(**ASKED) as chunks:
                while len(reading.chunks) < cut:
                    reading.chunks.append(next(chunks))
    except StopIteration:
        pass
    except Exception as error:  # noqa: BLE001 - the test looks at it
        reading.error = error
    assert not stream.chunks
    return reading


def read_awaiting(books: Any, account: Account, told: list[Any], cut: int, **options: Any) -> Reading:
    reading, stream = Reading(), AwaitingTold(told)

    async def create(**_: Any) -> AwaitingTold:
        return stream

    async def read() -> None:
        client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
        async with AsyncCreditDeductionService(books, outbox=False) as billing:
            metered = billing.llm(client, account, prices=PRICES, **options)
            async with await metered.chat.completions.create(**ASKED) as chunks:
                while len(reading.chunks) < cut:
                    reading.chunks.append(await anext(chunks))

    try:
        asyncio.run(read())
    except StopAsyncIteration:
        pass
    except Exception as error:  # noqa: BLE001 - the test looks at it
        reading.error = error
    assert not stream.chunks
    return reading


@pytest.fixture(params=[read_blocking, read_awaiting])
def read(request: pytest.FixtureRequest) -> Callable[..., Reading]:
    chosen: Callable[..., Reading] = request.param
    return chosen


@dataclass
class Place:
    """Books, how they are looked into, and an account with 100 credits."""

    books: Any
    account: Account
    ledger: Any

    def charges(self) -> list[Charge]:
        """Return what was charged; a hold that was left open fails here."""
        [standing] = self.ledger.execute(GetUserCredits(user_id=self.account.user_id)).organizations
        assert standing.held_credits == 0
        return list(self.ledger.execute(ListCharges(org_id=self.account.org_id)).items)

    def charged(self) -> list[Decimal]:
        return [charge.credits_used for charge in self.charges()]


def in_memory(books: MemoryLedger) -> Place:
    books.add_organization("acme", credits=10_000)
    books.add_member("acme", "ada", allocated=100)
    return Place(books, Account(org_id="acme", user_id="ada"), books)


@pytest.fixture
def memory() -> Place:
    return in_memory(MemoryLedger())


@pytest.fixture(params=["memory", "database", "server"])
def place(
    request: pytest.FixtureRequest, server: Running, organization: Organization, owner_ledger: SqlBackend
) -> Place:
    if request.param == "memory":
        return in_memory(MemoryLedger())
    token = organization.sessions["member"] if request.param == "server" else None
    account = Account(org_id=organization.org_id, user_id=organization.member, session_token=token)
    books = server.settings.database_url if request.param == "database" else server.base_url
    return Place(books, account, owner_ledger)


def test_a_hold_grows_with_the_stream(place: Place, read: Callable[..., Reading]) -> None:
    reading = read(place.books, place.account, [word()] * MOST, ENDLESS)
    assert (len(reading.chunks), reading.error) == (MOST, None)
    assert place.charged() == [price(MOST)]


def test_a_stream_stops_where_the_credits_end(place: Place, read: Callable[..., Reading]) -> None:
    reading = read(place.books, place.account, [word()] * ENDLESS, ENDLESS)
    assert isinstance(reading.error, InsufficientCreditsError)
    assert len(reading.chunks) == MOST
    assert place.charged() == [price(MOST)]


@pytest.mark.parametrize("cut", range(1, MOST + 1))
def test_a_reader_that_leaves_pays_for_what_it_got(
    memory: Place, read: Callable[..., Reading], cut: int
) -> None:
    reading = read(memory.books, memory.account, [word()] * ENDLESS, cut)
    assert (len(reading.chunks), reading.error) == (cut, None)
    assert memory.charged() == [price(cut)]


def long(tokens: int) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": "x" * 4 * tokens}}]}


def test_a_chunk_may_take_all_the_credits(memory: Place, read: Callable[..., Reading]) -> None:
    reading = read(memory.books, memory.account, [long(MOST)], ENDLESS)
    assert reading.error is None
    assert memory.charged() == [price(MOST)]


def test_a_first_chunk_that_cannot_be_paid_costs_nothing(memory: Place, read: Callable[..., Reading]) -> None:
    reading = read(memory.books, memory.account, [long(MOST + 1)], ENDLESS)
    assert reading.chunks == []
    assert isinstance(reading.error, InsufficientCreditsError)
    assert memory.charges() == []


def test_the_end_of_the_credits_is_not_forgiven(memory: Place, read: Callable[..., Reading]) -> None:
    forgiving = ChargePolicy(on_early_end="release")
    read(memory.books, memory.account, [word()] * ENDLESS, ENDLESS, policy=forgiving)
    assert memory.charged() == [price(MOST)]


def test_a_usage_that_came_with_an_undelivered_chunk_is_not_charged(
    memory: Place, read: Callable[..., Reading]
) -> None:
    told = [word(usage=usage(PROMPT_TOKENS, count)) for count in range(1, ENDLESS)]
    reading = read(memory.books, memory.account, told, ENDLESS)
    assert len(reading.chunks) == MOST
    assert memory.charged() == [price(MOST)]


def test_a_provider_that_reports_zero_is_believed(place: Place, read: Callable[..., Reading]) -> None:
    reading = read(place.books, place.account, [*[word()] * MOST, reporting(0, 0)], ENDLESS)
    assert (len(reading.chunks), reading.error) == (MOST, None)
    assert place.charges() == []


def test_a_reported_usage_beyond_the_hold_is_taken(place: Place, read: Callable[..., Reading]) -> None:
    reading = read(place.books, place.account, [word(), reporting(PROMPT_TOKENS, MOST)], ENDLESS)
    assert reading.error is None
    assert place.charged() == [price(MOST)]


def test_a_reported_usage_beyond_hold_and_balance_takes_the_hold(
    place: Place, read: Callable[..., Reading]
) -> None:
    reading = read(place.books, place.account, [word(), reporting(PROMPT_TOKENS, ENDLESS)], ENDLESS)
    assert len(reading.chunks) == 1
    assert isinstance(reading.error, InsufficientCreditsError)
    [charge] = place.charges()
    assert charge.credits_used == price(1)
    assert charge.request_metadata["uncovered"] == float(price(ENDLESS) - price(1))


def test_books_that_are_away_end_the_stream_and_charge_what_was_delivered(
    read: Callable[..., Reading],
) -> None:
    books = AwayForExtensions()
    place = in_memory(books)
    reading = read(books, place.account, [word()] * 5, ENDLESS)
    assert len(reading.chunks) == 1
    assert isinstance(reading.error, UnavailableError)
    assert place.charged() == [price(1)]


def test_a_long_stream_keeps_its_hold_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    meter = StreamMeter(PRICES["told"], Decimal(1), PROMPT_TOKENS)
    held = price(100)
    assert meter.growth(4, held) is None
    now = HOLD_SECONDS / 2
    assert meter.growth(4, held) == Growth(Decimal(0), Decimal(0), HOLD_SECONDS)
    assert meter.growth(4, held) is None


class AwayForExtensions(MemoryLedger):
    """A ledger that cannot be reached when a hold is to be extended."""

    def execute(self, operation: Any) -> Any:
        if isinstance(operation, ExtendHold):
            raise UnavailableError
        return super().execute(operation)
