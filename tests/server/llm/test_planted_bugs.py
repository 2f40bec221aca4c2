"""Bugs that are planted in the gateway and in metered clients: a look at one call's books must find each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from credit_sdk import Account, CreditDeductionService, MemoryLedger, ModelPrice
from credit_sdk.operations import Deduct, GetUserCredits, ListCharges
from tests.server.llm import planted
from tests.server.llm.conftest import (
    BREAK,
    COMPLETION_PRICE,
    DONE,
    END,
    HANG,
    LLM,
    MESSAGES,
    PROMPT_PRICE,
    PROMPT_TOKENS,
    completion,
    delta,
    event,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.conftest import Connection
    from tests.server.llm.conftest import Person, Provider

OWN_KEY = "sk-own-0123456789abcdef"
ATTRIBUTED = {"provider", "model", "power_level", "task_type", "tokens_used", "cost", "plan", "markup"}
FIGURES = ("x-cost-incurred", "x-credits-remaining")
COST, CALLED = "is charged", "the provider was called"
HELD, SAID, NOTED = "stays held", "the client is told", "is attributed"
KEY = "the provider was called with"


@dataclass(frozen=True)
class Place:
    """Where a call is made and looked at."""

    person: Person
    provider: Provider
    database: Connection

    def judge(self, cost: Decimal, said: dict[str, str]) -> None:
        """Look at the books of a member who has made one call that costs so much."""
        charged = self.person.charged()
        assert charged == cost, f"of {cost}, {charged} {COST}"
        held = self.person.held(self.database)
        assert held == 0, f"{held} {HELD}"
        figures = {name.lower(): Decimal(value) for name, value in said.items()}
        assert figures == dict(zip(FIGURES, (cost, 100 - cost), strict=True)), f"{SAID} {figures}"
        for charge in self.person.charges():
            noted = charge.request_metadata.keys()
            assert noted >= ATTRIBUTED, f"{sorted(noted)} {NOTED}"

    def ask(self, cost: Decimal, **body: Any) -> None:
        headers = self.person.chat(**body).headers
        self.judge(cost, {name: headers[name] for name in FIGURES if name in headers})

    def stream(self, cost: Decimal, **body: Any) -> None:
        text = self.person.chat(stream=True, **body).text
        comments = [line.removeprefix(": ") for line in text.splitlines() if line.startswith(": ")]
        pairs = (pair.partition(": ") for comment in comments for pair in comment.split(", "))
        self.judge(cost, {name: value for name, _, value in pairs})

    def subscribe(self, plan: str) -> None:
        organization = self.person.organization
        self.database.execute(
            "INSERT INTO organization_subscriptions (org_id, subscription_plan, monthly_price)"
            " VALUES (%s, %s, 30)",
            [organization.org_id, plan],
        )
        address = f"{LLM}/organizations/{organization.org_id}/keys/scripted"
        owner = organization.sessions["owner"]
        self.person.gateway.request("PUT", address, bearer=owner, json={"api_key": OWN_KEY})


def cost_of(prompt: int, tokens: int) -> Decimal:
    return prompt * PROMPT_PRICE + tokens * COMPLETION_PRICE


def a_plain_call(place: Place) -> None:
    place.provider.answers(completion("Hello", usage=usage(10, 2)))
    place.ask(cost_of(10, 2), max_tokens=20)


def a_cached_prompt(place: Place) -> None:
    report = usage(10, 2) | {"prompt_tokens_details": {"cached_tokens": 10}}
    place.provider.answers(completion("Hello", usage=report))
    place.ask(cost_of(10, 2) - 10 * PROMPT_PRICE / 2, max_tokens=20)


def zero(place: Place) -> None:
    place.provider.answers(completion("Hello", usage=usage(0, 0)))
    place.ask(Decimal(0), max_tokens=20)


def a_failing_call(place: Place) -> None:
    place.provider.answers(b"{}", 500)
    place.ask(Decimal(0), max_tokens=20)


def a_stream(place: Place) -> None:
    place.provider.streams(delta("12345678"), END, event({"choices": [], "usage": usage(10, 5)}), DONE)
    place.stream(cost_of(10, 5), max_tokens=20)


def a_stream_without_usage(place: Place) -> None:
    place.provider.streams(delta("12345678"), END, DONE)
    place.stream(cost_of(PROMPT_TOKENS, 2), max_tokens=20)


def a_long_stream(place: Place) -> None:
    place.provider.streams(*[delta("1234")] * 40, END, DONE)
    text = place.person.chat(stream=True, max_tokens=1).text
    delivered = text.count("1234")
    charged = place.person.charged()
    assert charged == cost_of(PROMPT_TOKENS, delivered), f"of {delivered} tokens, {charged} {COST}"


def a_broken_stream(place: Place) -> None:
    place.provider.streams(delta("12345678"), BREAK)
    place.stream(Decimal(0), max_tokens=20)


def a_client_that_leaves(place: Place) -> None:
    place.provider.streams(delta("12345678"), HANG)
    body = {"model": "told", "messages": MESSAGES, "stream": True, "max_tokens": 20}
    address = f"{place.person.gateway.base_url}{LLM}/chat/completions"
    known = {"Authorization": f"Bearer {place.person.token}"}
    with httpx.Client() as http, http.stream("POST", address, json=body, headers=known) as answer:
        next(answer.iter_raw())
    deadline = time.monotonic() + 30
    while place.person.held(place.database) and time.monotonic() < deadline:
        time.sleep(0.01)
    charged, cost = place.person.charged(), cost_of(PROMPT_TOKENS, 2)
    assert charged == cost, f"of {cost}, {charged} {COST}"


def two_choices(place: Place) -> None:
    message = {"role": "assistant", "content": "12345678"}
    choices = [{"index": index, "message": message, "finish_reason": "stop"} for index in range(2)]
    place.provider.answers(completion("", choices=choices))
    place.ask(cost_of(PROMPT_TOKENS, 4), max_tokens=10, n=2)


def two_choices_in_a_stream(place: Place) -> None:
    choices = [{"index": index, "delta": {"content": "12345678"}} for index in range(2)]
    place.provider.streams(*(event({"choices": [choice]}) for choice in choices), END, DONE)
    place.stream(cost_of(PROMPT_TOKENS, 4), max_tokens=10, n=2)


def too_many_choices(place: Place) -> None:
    place.provider.answers(completion("Hello", usage=usage(10, 2)))
    place.person.chat(max_tokens=10, n=3)
    assert place.provider.requests == [], CALLED


def too_few_credits(place: Place) -> None:
    organization = place.person.organization
    order = {"org_id": organization.org_id, "user_id": organization.member, "credits": Decimal(99)}
    place.person.ledger.execute(Deduct(**order, service_type="other"))
    place.provider.answers(completion("Hello", usage=usage(10, 2)))
    place.person.chat(max_tokens=1)
    assert place.provider.requests == [], CALLED


def an_own_key(place: Place) -> None:
    place.subscribe("hybrid")
    place.provider.answers(completion("Hello", usage=usage(10, 2)))
    place.ask(cost_of(10, 2) / Decimal("1.5"), max_tokens=20)
    assert place.provider.keys == [OWN_KEY], f"{KEY} another key"


@dataclass(frozen=True)
class Control:
    """A planted bug, the call that shows it, and what is found then."""

    plant: str
    call: Callable[[Any], None]
    verdict: str


CONTROLS = [
    Control("a_broken_stream_is_charged", a_broken_stream, COST),
    Control("a_reported_usage_is_ignored", a_plain_call, COST),
    Control("a_reported_usage_is_ignored", a_stream, COST),
    Control("cached_tokens_are_at_full_price", a_cached_prompt, COST),
    Control("nothing_is_attributed", a_plain_call, NOTED),
    Control("one_choice_is_counted", two_choices, COST),
    Control("one_choice_is_counted", two_choices_in_a_stream, COST),
    Control("one_choice_is_held", too_many_choices, CALLED),
    Control("the_headers_do_not_say_what_is_left", a_plain_call, SAID),
    Control("the_headers_do_not_say_what_is_left", a_stream, SAID),
    Control("the_headers_say_another_cost", a_plain_call, SAID),
    Control("the_headers_say_another_cost", a_stream, SAID),
    Control("the_hold_does_not_grow", a_long_stream, COST),
    Control("the_hold_is_charged", a_plain_call, COST),
    Control("the_hold_is_not_given_back", a_failing_call, HELD),
    Control("the_hold_is_not_given_back", a_broken_stream, HELD),
    Control("the_hold_is_not_given_back", zero, HELD),
    Control("the_own_key_is_not_used", an_own_key, COST),
    Control("the_own_key_is_with_a_markup", an_own_key, COST),
    Control("the_platforms_key_is_at_cost", a_plain_call, COST),
    Control("the_prompt_is_free", a_stream_without_usage, COST),
    Control("the_provider_is_called_before_anything_is_held", too_few_credits, CALLED),
    Control("the_stream_is_over_at_its_finish", a_stream, COST),
    Control("who_leaves_pays_nothing", a_client_that_leaves, COST),
    Control("zero_is_not_believed", zero, COST),
]


@pytest.fixture
def place(person: Person, provider: Provider, database: Connection) -> Place:
    return Place(person, provider, database)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda each: f"{each.plant}-{each.call.__name__}")
def test_a_planted_bug_is_found(place: Place, monkeypatch: pytest.MonkeyPatch, control: Control) -> None:
    getattr(planted, control.plant)(monkeypatch)
    with pytest.raises(AssertionError, match=control.verdict):
        control.call(place)


@pytest.mark.parametrize(
    "call", dict.fromkeys(each.call for each in CONTROLS), ids=lambda each: each.__name__
)
def test_nothing_is_found_where_nothing_is_planted(place: Place, call: Callable[[Place], None]) -> None:
    call(place)


@dataclass(frozen=True)
class Client:
    """A metered client with a markup of 2, and its books."""

    provider: Provider
    ledger: MemoryLedger
    metered: openai.OpenAI

    def judge(self, cost: int) -> None:
        [standing] = self.ledger.execute(GetUserCredits(user_id="ada")).organizations
        assert standing.held_credits == 0, f"{standing.held_credits} {HELD}"
        charged = sum(charge.credits_used for charge in self.ledger.execute(ListCharges(org_id="acme")).items)
        assert charged == cost, f"of {cost}, {charged} {COST}"

    def create(self, **more: Any) -> Any:
        return self.metered.chat.completions.create(model="told", messages=MESSAGES, max_tokens=20, **more)


def a_metered_call(client: Client) -> None:
    client.provider.answers(completion("Hello", usage=usage(10, 2)))
    client.create()
    client.judge((10 + 2 * 2) * 2)


def a_metered_call_for_nothing(client: Client) -> None:
    client.provider.answers(completion("Hello", usage=usage(0, 0)))
    client.create()
    client.judge(0)


def a_metered_stream_that_is_left(client: Client) -> None:
    client.provider.streams(delta("12345678"), HANG)
    with client.create(stream=True) as chunks:
        next(chunks)
    client.judge((PROMPT_TOKENS + 2 * 2) * 2)


def a_metered_stream_that_breaks(client: Client) -> None:
    client.provider.streams(delta("12345678"), BREAK)
    with pytest.raises((httpx.HTTPError, openai.OpenAIError)):
        list(client.create(stream=True))
    client.judge(0)


METERED = [
    Control("a_metered_call_costs_its_estimate", a_metered_call, COST),
    Control("a_metered_call_has_no_markup", a_metered_call, COST),
    Control("a_metered_stream_is_free_for_who_leaves", a_metered_stream_that_is_left, COST),
    Control("a_metered_stream_that_fails_is_charged", a_metered_stream_that_breaks, COST),
    Control("zero_is_not_believed", a_metered_call_for_nothing, COST),
]


@pytest.fixture
def client(provider: Provider) -> Client:
    ledger = MemoryLedger()
    ledger.add_organization("acme", credits=10_000)
    ledger.add_member("acme", "ada", allocated=1_000)
    prices = {"told": ModelPrice(prompt=1_000, completion=2_000)}
    own = openai.OpenAI(base_url=provider.base_url, api_key="own", max_retries=0)
    payer = Account(org_id="acme", user_id="ada")
    return Client(provider, ledger, CreditDeductionService(ledger).llm(own, payer, prices=prices, markup=2))


@pytest.mark.parametrize("control", METERED, ids=lambda each: each.plant)
def test_a_bug_planted_in_a_metered_client_is_found(
    client: Client, monkeypatch: pytest.MonkeyPatch, control: Control
) -> None:
    getattr(planted, control.plant)(monkeypatch)
    with pytest.raises(AssertionError, match=control.verdict):
        control.call(client)


@pytest.mark.parametrize("call", dict.fromkeys(each.call for each in METERED), ids=lambda each: each.__name__)
def test_nothing_is_found_in_a_metered_client_where_nothing_is_planted(
    client: Client, call: Callable[[Client], None]
) -> None:
    call(client)
