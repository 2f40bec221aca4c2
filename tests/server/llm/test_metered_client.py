"""`billing.llm`: an application's own client of a provider, whose calls are charged by the usage it sees."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ChargePolicy,
    ConfigurationError,
    CreditDeductionService,
    InsufficientCreditsError,
    InvalidAmountError,
    MemoryLedger,
    ModelPrice,
)
from credit_sdk.operations import GetUserCredits, ListCharges
from credit_sdk.token_counting import count_tokens
from tests.server.llm.conftest import BREAK, DONE, END, HANG, MESSAGES, completion, delta, event, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credit_sdk.models import Charge
    from tests.server.llm.conftest import Provider

PRICES = {
    "told": ModelPrice(prompt=1_000, cached=500, completion=2_000),
    "told-image": ModelPrice(image="0.02"),
}
ADA = Account(org_id="acme", user_id="ada")
WORDS = ("Credits", " are", " held.")
STREAM = [delta(word) for word in WORDS]
ASKED: dict[str, Any] = {"model": "told", "messages": MESSAGES, "max_tokens": 20}
PROMPT = 12
"""Tokens of MESSAGES, a credit each; a token of completion is two."""


@pytest.fixture
def ledger() -> MemoryLedger:
    books = MemoryLedger()
    books.add_organization("acme", credits=10_000)
    books.add_member("acme", "ada", allocated=100)
    return books


@pytest.fixture
def client(provider: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=provider.base_url, api_key="own", max_retries=0) as client:
        yield client


@pytest.fixture
def metered(ledger: MemoryLedger, client: openai.OpenAI) -> openai.OpenAI:
    return CreditDeductionService(ledger).llm(client, ADA, prices=PRICES, provider="scripted")


def charges(ledger: MemoryLedger) -> list[Charge]:
    """Return what was charged; a hold that was left open fails here."""
    [standing] = ledger.execute(GetUserCredits(user_id="ada")).organizations
    assert standing.held_credits == 0
    return list(ledger.execute(ListCharges(org_id="acme")).items)


def test_a_call_is_charged_by_its_usage(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger
) -> None:
    provider.answers(completion("Hello", usage=usage(7, 3)))
    answer = metered.chat.completions.create(**ASKED)
    assert answer.choices[0].message.content == "Hello"
    [charge] = charges(ledger)
    assert charge.credits_used == 7 + 3 * 2
    assert (charge.service_type, charge.service_name) == ("llm_inference", "told")
    assert charge.request_metadata == {
        "provider": "scripted",
        "model": "told",
        "task_type": "chat",
        "markup": 1,
        "tokens_used": 10,
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "cached_tokens": 0,
        "cost": 13,
    }


def test_a_markup(ledger: MemoryLedger, client: openai.OpenAI, provider: Provider) -> None:
    provider.answers(completion("Hello", usage=usage(10, 0)))
    metered = CreditDeductionService(ledger).llm(client, ADA, prices=PRICES, markup="1.5")
    metered.chat.completions.create(**ASKED)
    assert charges(ledger)[0].credits_used == 15


def test_a_call_without_usage_is_counted(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger
) -> None:
    provider.answers(completion("12345678"))
    metered.chat.completions.create(**ASKED)
    assert charges(ledger)[0].credits_used == PROMPT + 2 * 2


def test_images(metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger) -> None:
    provider.answers(json.dumps({"created": 1, "data": [{"url": "http://a"}]}).encode())
    metered.images.generate(model="told-image", prompt="A ledger", n=2)
    [charge] = charges(ledger)
    assert (charge.credits_used, charge.service_type) == (20, "image_generation")


def test_a_stream_is_charged_at_its_end(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger
) -> None:
    provider.streams(*STREAM, END, event({"choices": [], "usage": usage(7, 3)}), DONE)
    chunks = list(metered.chat.completions.create(**ASKED, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == [*WORDS, None]
    assert charges(ledger)[0].credits_used == 13


def test_a_usage_that_was_asked_for_is_shown(metered: openai.OpenAI, provider: Provider) -> None:
    provider.streams(*STREAM, END, event({"choices": [], "usage": usage(7, 3)}), DONE)
    *_, last = metered.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    assert last.usage
    assert last.usage.total_tokens == 10


@pytest.mark.parametrize("cut", range(len(WORDS) + 1))
def test_a_reader_that_leaves_pays_for_what_it_got(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger, cut: int
) -> None:
    provider.streams(*STREAM, HANG)
    with metered.chat.completions.create(**ASKED, stream=True) as stream:
        for _ in range(cut):
            next(stream)
    delivered = "".join(WORDS[:cut])
    expected = [Decimal(PROMPT + 2 * count_tokens(delivered))] if cut else []
    assert [charge.credits_used for charge in charges(ledger)] == expected


def test_a_policy_that_forgives(ledger: MemoryLedger, client: openai.OpenAI, provider: Provider) -> None:
    provider.streams(*STREAM, HANG)
    metered = CreditDeductionService(ledger).llm(
        client, ADA, prices=PRICES, policy=ChargePolicy(on_early_end="release")
    )
    with metered.chat.completions.create(**ASKED, stream=True) as stream:
        next(stream)
    assert charges(ledger) == []


@pytest.mark.parametrize("end", [BREAK, b'data: {"error": {"message": "overloaded"}}\n\n'])
def test_a_provider_that_breaks_off_costs_nothing(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger, end: bytes
) -> None:
    provider.streams(*STREAM, end)
    stream = metered.chat.completions.create(**ASKED, stream=True)
    with pytest.raises(Exception, match=r"overloaded|peer closed|Connection error"):
        list(stream)
    assert charges(ledger) == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_refuses_costs_nothing(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger, stream: bool
) -> None:
    provider.answers(b"{}", 500)
    with pytest.raises(openai.InternalServerError):
        metered.chat.completions.create(**ASKED, stream=stream)
    assert charges(ledger) == []


@pytest.mark.parametrize("stream", [False, True])
def test_too_few_credits_are_said_before_any_call(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger, stream: bool
) -> None:
    with pytest.raises(InsufficientCreditsError):
        metered.chat.completions.create(**ASKED | {"max_tokens": 500}, stream=stream)
    assert provider.requests == []
    assert charges(ledger) == []


def test_what_is_not_metered_is_refused(metered: openai.OpenAI, client: openai.OpenAI) -> None:
    assert metered.api_key == client.api_key
    for use in (
        lambda: metered.responses,
        lambda: metered.audio,
        lambda: metered.chat.completions.with_raw_response,
        lambda: metered.with_options(timeout=5).responses,
        lambda: metered.chat.completions.create(**ASKED | {"model": "unpriced"}),
        lambda: metered.images.generate(model="told-image", prompt="A ledger", stream=True),
    ):
        with pytest.raises(ConfigurationError):
            use()


@pytest.mark.parametrize("price", [-1, "much", "NaN", 0.1, True, None])
def test_prices_that_are_none(price: Any) -> None:
    with pytest.raises(InvalidAmountError):
        ModelPrice(prompt=price)


@pytest.mark.anyio
async def test_an_async_client(provider: Provider, ledger: MemoryLedger) -> None:
    async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="own", max_retries=0) as client:
        billing = AsyncCreditDeductionService(ledger)
        metered = billing.llm(client, ADA, prices=PRICES)
        provider.answers(completion("Hello", usage=usage(7, 3)))
        await metered.chat.completions.create(**ASKED)
        provider.streams(*STREAM, END, event({"choices": [], "usage": usage(8, 4)}), DONE)
        stream = await metered.chat.completions.create(**ASKED, stream=True)
        assert len([chunk async for chunk in stream]) == len(WORDS) + 1
        provider.streams(*STREAM, HANG)
        async with await metered.chat.completions.create(**ASKED, stream=True) as stream:
            await anext(stream)
        provider.answers(b"{}", 500)
        with pytest.raises(openai.InternalServerError):
            await metered.chat.completions.create(**ASKED, stream=True)
    assert [charge.credits_used for charge in charges(ledger)] == [PROMPT + 2 * 2, 16, 13]


@pytest.mark.anyio
async def test_a_cancelled_reader_pays_for_what_it_got(provider: Provider, ledger: MemoryLedger) -> None:
    async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="own", max_retries=0) as client:
        metered = AsyncCreditDeductionService(ledger).llm(client, ADA, prices=PRICES)
        provider.streams(STREAM[0], HANG)
        first = asyncio.Event()

        async def read() -> None:
            async for _ in await metered.chat.completions.create(**ASKED, stream=True):
                first.set()

        task = asyncio.create_task(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [charge.credits_used for charge in charges(ledger)] == [PROMPT + 2 * 2]


def test_an_answers_own_message_and_any_iterable_are_taken(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger
) -> None:
    provider.answers(completion("12345678", usage=usage(1, 0)))
    message = metered.chat.completions.create(**ASKED).choices[0].message
    provider.answers(completion("1234"))
    conversation: Any = [*MESSAGES, message]
    metered.chat.completions.create(**{**ASKED, "messages": iter(conversation)})
    assert [sent["content"] for sent in provider.requests[-1]["messages"]] == [
        MESSAGES[0]["content"],
        "12345678",
    ]
    latest, _ = charges(ledger)
    assert latest.credits_used == PROMPT + (8 // 4 + 4) + 2


@pytest.mark.parametrize("stream", [False, True])
def test_all_choices_are_charged(
    metered: openai.OpenAI, provider: Provider, ledger: MemoryLedger, *, stream: bool
) -> None:
    if stream:
        provider.streams(choice_of(0, "1234"), choice_of(1, "12345678"), END, DONE)
        list(metered.chat.completions.create(**ASKED, n=2, stream=True))
    else:
        choices = [{"message": {"content": text}, "index": 0} for text in ("1234", "12345678")]
        provider.answers(completion("", choices=choices))
        metered.chat.completions.create(**ASKED, n=2)
    assert charges(ledger)[0].credits_used == PROMPT + 3 * 2


def test_all_choices_are_held(metered: openai.OpenAI, provider: Provider) -> None:
    with pytest.raises(InsufficientCreditsError) as refusal:
        metered.chat.completions.create(**ASKED, n=3)
    assert refusal.value.required == PROMPT + 3 * 20 * 2
    assert provider.requests == []


def choice_of(index: int, text: str) -> bytes:
    """Return an event that delivers a text of one choice."""
    return event({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]})
