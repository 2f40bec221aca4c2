"""What goes through the gateway untouched, what frameworks send, and calls with several choices."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.llm.conftest import (
    COMPLETION_PRICE,
    DONE,
    END,
    LLM,
    MESSAGES,
    PROMPT_PRICE,
    PROMPT_TOKENS,
    completion,
    event,
    usage,
)

if TYPE_CHECKING:
    from tests.server.llm.conftest import Person, Provider

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look an account up.",
        "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
    },
}
FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "Answer", "strict": True, "schema": {"type": "object", "properties": {}}},
}
TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
CONVERSATION: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Who?"}]},
    {"role": "assistant", "content": None, "tool_calls": [TOOL_CALL]},
    {"role": "tool", "content": "Ada", "tool_call_id": "call_1"},
]
UNTOUCHED: dict[str, Any] = {
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "look_up"}},
    "parallel_tool_calls": False,
    "response_format": FORMAT,
    "temperature": 0.1,
    "top_p": 1e-07,
    "seed": 2**63,
    "stop": ["\u2028", "\ud800"],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "metadata": None,
    "user": "someone",
    "max_completion_tokens": 20,
    "guided_json": {"of": "a provider alone"},
}


def cost_of(prompt: int, tokens: int) -> Decimal:
    return prompt * PROMPT_PRICE + tokens * COMPLETION_PRICE


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_passed_on_as_it_is(person: Person, provider: Provider, *, stream: bool) -> None:
    answer_with(provider, stream=stream)
    body = {"model": "cheap", "messages": CONVERSATION, **UNTOUCHED}
    more: dict[str, Any] = (
        {"stream": True, "stream_options": {"include_obfuscation": False}} if stream else {}
    )
    answer = person.gateway.request(
        "POST",
        LLM + "/chat/completions",
        bearer=person.token,
        content=json.dumps(body | more | {"power_level": "eco", "task_type": "test"}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    [asked] = provider.requests
    added = {"stream_options": {"include_obfuscation": False, "include_usage": True}} if stream else {}
    assert asked == body | more | added | {"path": "/chat/completions"}
    assert person.charged() == cost_of(10, 2) / 10


@pytest.mark.parametrize(
    "odd",
    [b'"score": NaN', b'"text": "\\ud800"', b'"tiny": 1e-7, "big": 123456789012345678901234567890', b'"a":1'],
    ids=["NaN", "half a pair", "numbers", "space"],
)
def test_an_answer_is_passed_on_as_it_is(person: Person, provider: Provider, odd: bytes) -> None:
    body = completion("Hello", usage=usage(10, 2))[:-1] + b" ,\n" + odd + b"}"
    provider.answers(body)
    answer = person.chat(max_tokens=5)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == "application/json"
    assert person.charged() == cost_of(10, 2)


@pytest.mark.parametrize("levels", [400, 600, 900, 960])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_nested_is_passed_on_or_costs_nothing(
    person: Person, provider: Provider, levels: int, *, stream: bool
) -> None:
    content = b'{"a":' * levels + b'"x"' + b"}" * levels
    if stream:
        provider.streams(
            b'data: {"choices":[{"delta":{"content":%b}}],"usage":null}\n\n' % content, END, DONE
        )
    else:
        provider.answers(b'{"choices":[{"message":{"content":%b}}]}' % content)
    answer = person.chat(max_tokens=5, stream=stream)
    assert answer.status_code in {200, 502}
    assert person.charged() == (cost_of(PROMPT_TOKENS, 1) if answer.status_code == 200 else 0)


@pytest.mark.parametrize("stream", [False, True])
def test_all_choices_are_charged_as_reported(person: Person, provider: Provider, *, stream: bool) -> None:
    choices_with(provider, "1234", "12345678", stream=stream, report=usage(10, 9))
    answer = person.chat(n=2, max_tokens=10, stream=stream)
    assert answer.status_code == 200, answer.text
    assert provider.requests[0]["n"] == 2
    assert person.charged() == cost_of(10, 9)


@pytest.mark.parametrize("stream", [False, True])
def test_all_choices_are_counted_where_nothing_is_reported(
    person: Person, provider: Provider, *, stream: bool
) -> None:
    choices_with(provider, "1234", "12345678", stream=stream)
    assert person.chat(n=2, max_tokens=10, stream=stream).status_code == 200
    assert person.charged() == cost_of(PROMPT_TOKENS, 3)


@pytest.mark.parametrize("stream", [False, True])
def test_all_choices_are_held(person: Person, provider: Provider, *, stream: bool) -> None:
    refusal = person.chat(n=3, max_tokens=10, stream=stream)
    assert refusal.status_code == 402
    assert Decimal(str(refusal.json()["error"]["required"])) == cost_of(PROMPT_TOKENS, 30)
    assert provider.requests == []


def test_the_credits_end_for_all_choices(person: Person, provider: Provider) -> None:
    """27 tokens are what 100 credits pay for besides the prompt."""
    words = [choice_of(place % 2, "1234") for place in range(40)]
    provider.streams(*words, END, DONE)
    answer = person.chat(n=2, max_tokens=1, stream=True)
    assert answer.text.count("1234") == 27
    assert person.charged() == cost_of(PROMPT_TOKENS, 27)


def test_images_are_charged_as_delivered(person: Person, provider: Provider) -> None:
    """A provider that leaves one out, because of what it would show, is not paid for it."""
    provider.answers(json.dumps({"created": 1, "data": [{"url": "http://a"}] * 2}).encode())
    answer = person.post("/images/generations", {"model": "told-image", "prompt": "A ledger", "n": 3})
    assert answer.status_code == 200, answer.text
    assert person.charged() == 2 * Decimal(30)


def test_a_frameworks_plain_call(person: Person, provider: Provider) -> None:
    """As LangChain makes it: the raw answer, `max_completion_tokens`, tools, and any encoding accepted."""
    provider.answers(completion("Hello", usage=usage(10, 2)))
    client = person.client(default_headers={"Accept-Encoding": "gzip, deflate, br, zstd"})
    raw = client.chat.completions.with_raw_response.create(
        model="cheap",
        messages=CONVERSATION,
        max_completion_tokens=20,
        tools=[TOOL],  # type: ignore[list-item]  # as a framework builds it
        n=1,
        temperature=0.7,
        extra_body={"guided_json": {"a": 1}},
    )
    assert raw.parse().choices[0].message.content == "Hello"
    assert Decimal(raw.headers["x-cost-incurred"]) == cost_of(10, 2) / 10
    assert provider.requests[0]["guided_json"] == {"a": 1}


@pytest.mark.parametrize("report", [usage(10, 2), None], ids=["reported", "counted"])
def test_a_frameworks_stream(person: Person, provider: Provider, report: dict[str, int] | None) -> None:
    """As LangChain reads it: the usage comes last, with no choices."""
    told = [event({"choices": [], "usage": report})] if report else []
    provider.streams(choice_of(0, "1234"), END, *told, DONE)
    chunks = list(
        person.client().chat.completions.create(
            model="told", messages=MESSAGES, stream=True, stream_options={"include_usage": True}, max_tokens=9
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "1234"
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([12] if report else [])
    assert person.charged() == (cost_of(10, 2) if report else cost_of(PROMPT_TOKENS, 1))


def test_a_frameworks_structured_output(person: Person, provider: Provider) -> None:
    provider.answers(completion("{}", usage=usage(10, 2)))
    answer = person.client().chat.completions.parse(
        model="told",
        messages=MESSAGES,
        response_format=FORMAT,  # type: ignore[arg-type]  # as a framework hands its own schema over
        max_completion_tokens=9,
    )
    assert answer.choices[0].message.content == "{}"
    assert provider.requests[0]["response_format"] == FORMAT


def test_a_frameworks_embeddings(person: Person, provider: Provider) -> None:
    """Lists of tokens, and vectors in base64, which the client asks for and reads by itself."""
    vector = struct.pack("<2f", 0.5, -2.0)
    encoded = "AAAAPwAAAMA="
    assert struct.unpack("<2f", vector) == (0.5, -2.0)
    rows = [{"object": "embedding", "index": index, "embedding": encoded} for index in range(2)]
    provider.answers(json.dumps({"object": "list", "model": "told-embedding", "data": rows}).encode())
    answer = person.client().embeddings.create(model="told-embedding", input=[[1, 2, 3], [4, 5]])
    assert [row.embedding for row in answer.data] == [[0.5, -2.0]] * 2
    assert provider.requests[0]["encoding_format"] == "base64"
    assert provider.requests[0]["input"] == [[1, 2, 3], [4, 5]]
    assert person.charged() == 5 * PROMPT_PRICE


def test_a_provider_that_compresses_unasked_is_refused(person: Person, provider: Provider) -> None:
    provider.answers(completion("Hello", usage=usage(1, 1)), content_encoding="gzip")
    with httpx.Client() as http:
        answer = http.post(
            person.gateway.base_url + LLM + "/chat/completions",
            json={"model": "told", "messages": MESSAGES, "max_tokens": 1},
            headers={"Authorization": f"Bearer {person.token}", "Accept-Encoding": "gzip"},
        )
    assert (answer.status_code, person.charged()) == (502, 0)


def answer_with(provider: Provider, *, stream: bool) -> None:
    choices_with(provider, "Hello", stream=stream, report=usage(10, 2))


def choices_with(provider: Provider, *texts: str, stream: bool, report: dict[str, int] | None = None) -> None:
    """Let the provider answer with several choices."""
    if stream:
        told = [event({"choices": [], "usage": report})] if report else []
        deltas = [choice_of(index, text) for index, text in enumerate(texts)]
        provider.streams(*deltas, END, *told, DONE)
        return
    choices = [
        {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        for index, text in enumerate(texts)
    ]
    provider.answers(completion("", choices=choices, **({"usage": report} if report else {})))


def choice_of(index: int, text: str) -> bytes:
    """Return an event that delivers a text of one choice."""
    return event({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": None}]})
