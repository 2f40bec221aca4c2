"""The official client works unchanged against the gateway, which charges what was used."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from tests.server.llm.conftest import MESSAGES

if TYPE_CHECKING:
    from tests.server.conftest import Connection, Organization, StartServer
    from tests.server.llm.conftest import Person

TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
]
ANSWER = "You said: Tell me something about ledgers."


def test_a_plain_call(person: Person, database: Connection) -> None:
    raw = person.client().chat.completions.with_raw_response.create(
        model="offline-precision", messages=MESSAGES, extra_body={"task_type": "summary"}
    )
    answer = raw.parse()
    assert answer.choices[0].message.content == ANSWER
    assert answer.usage
    [charge] = person.charges()
    cost = Decimal(raw.headers["x-cost-incurred"])
    # 10 USD for a million tokens of prompt, 40 of completion, half as much again for the platform.
    tokens = answer.usage.prompt_tokens * 10 + answer.usage.completion_tokens * 40
    assert charge.credits_used == cost == Decimal(tokens) / 1_000_000 * 1_000 * Decimal("1.5")
    assert Decimal(raw.headers["x-credits-remaining"]) == 100 - cost
    assert (charge.service_type, charge.service_name) == ("llm_inference", "offline-precision")
    metadata = charge.request_metadata
    assert metadata == {
        "provider": "offline",
        "model": "offline-precision",
        "tokens_used": answer.usage.total_tokens,
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "cached_tokens": 0,
        "power_level": "precision",
        "task_type": "summary",
        "cost": float(cost),
        "plan": "platform",
        "markup": 1.5,
    }
    assert person.held(database) == 0


def test_a_stream(person: Person) -> None:
    stream = person.client().chat.completions.create(model="offline-balanced", messages=MESSAGES, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert all(chunk.usage is None for chunk in chunks)
    [charge] = person.charges()
    assert charge.request_metadata["tokens_used"] > 10


def test_a_stream_whose_usage_was_asked_for(person: Person) -> None:
    stream = person.client().chat.completions.create(
        model="offline-balanced", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    assert last.choices == []
    assert last.usage
    [charge] = person.charges()
    assert charge.request_metadata["tokens_used"] == last.usage.total_tokens


def test_a_tool_is_called(person: Person) -> None:
    answer = person.client().chat.completions.create(
        model="offline-eco", messages=MESSAGES, tools=TOOLS, tool_choice="required"
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "look_up"


def test_a_tool_is_called_in_a_stream(person: Person) -> None:
    stream = person.client().chat.completions.create(
        model="offline-eco", messages=MESSAGES, tools=TOOLS, tool_choice="required", stream=True
    )
    calls = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert [call.function.name for call in calls if call.function] == ["look_up"]
    assert person.charged() > 0


@pytest.mark.anyio
async def test_an_async_call_and_an_async_stream(person: Person) -> None:
    async with person.async_client() as client:
        answer = await client.chat.completions.create(model="offline-eco", messages=MESSAGES)
        assert answer.choices[0].message.content == ANSWER
        stream = await client.chat.completions.create(model="offline-eco", messages=MESSAGES, stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words) == ANSWER
    assert len(person.charges()) == 2


def test_images_are_paid_by_the_piece(person: Person) -> None:
    answer = person.client().images.generate(model="offline-image", prompt="A ledger", n=2)
    assert answer.data
    assert len(answer.data) == 2
    [charge] = person.charges()
    assert charge.credits_used == 2 * 20 * Decimal("1.5")
    assert (charge.service_type, charge.request_metadata["task_type"]) == ("image_generation", "image")


def test_embeddings(person: Person) -> None:
    answer = person.client().embeddings.create(model="offline-embedding", input=["a" * 4_000, "b"])
    assert [each.index for each in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == 16
    [charge] = person.charges()
    # 1,001 tokens at 0.1 USD a million, rounded up to a thousandth of a credit.
    assert charge.credits_used == Decimal("0.151")


def test_the_models_on_offer(person: Person) -> None:
    models = {model.id: model.owned_by for model in person.client().models.list()}
    assert models["told"] == "scripted"
    assert models["offline-eco"] == "offline"
    assert "gpt-4" not in models  # its provider is not configured
    assert person.client().models.retrieve("told").id == "told"
    with pytest.raises(openai.NotFoundError):
        person.client().models.retrieve("gpt-4")


def test_a_demonstration_answers_for_every_provider(
    start_server: StartServer, organization: Organization
) -> None:
    server = start_server(llm_offline=True)
    address, token = f"{server.base_url}/api/v1/llm", organization.sessions["member"]
    with openai.OpenAI(base_url=address, api_key=token) as client:
        answer = client.chat.completions.create(model="gpt-3.5-turbo", messages=MESSAGES)
    assert answer.choices[0].message.content == ANSWER


def test_a_power_level_picks_the_model(person: Person) -> None:
    client = person.client()
    for level in ("eco", "balanced", "precision"):
        answer = client.chat.completions.create(
            model="auto", messages=MESSAGES, extra_body={"power_level": level}
        )
        assert answer.model == f"offline-{level}"
        assert person.charges()[0].request_metadata["power_level"] == level
    body = {"model": "auto", "messages": MESSAGES}
    by_header = person.post("/chat/completions", body, headers={"X-Power-Level": "eco"})
    assert by_header.json()["model"] == "offline-eco"
