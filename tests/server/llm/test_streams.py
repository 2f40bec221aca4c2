"""What a stream delivers is what is charged, wherever it ends and whoever ends it."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import openai
import pytest

from credit_sdk.operations import Allocate
from reference_server.app import create_app
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
    delta,
    event,
    usage,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.server.conftest import Connection
    from tests.server.llm.conftest import Person, Provider

WORDS = ("Credits", " are", " held,", " then", " captured.")
STREAM = [delta(word) for word in WORDS]
BODY = {"model": "told", "messages": MESSAGES, "stream": True, "max_tokens": 20}


def tokens(text: str) -> int:
    return -(-len(text) // 4)


def price(completion: int, prompt: int = PROMPT_TOKENS) -> Decimal:
    return prompt * PROMPT_PRICE + completion * COMPLETION_PRICE


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that happens by itself after the answer."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def words_of(text: str) -> list[str]:
    """Return the pieces of text in a stream."""
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    return [choice["delta"]["content"] for choice in choices if "content" in choice["delta"]]


def error_of(text: str) -> dict[str, Any]:
    [error] = [
        json.loads(line[6:])["error"] for line in text.splitlines() if line.startswith('data: {"error"')
    ]
    found: dict[str, Any] = error
    return found


def last_comment(text: str) -> dict[str, str]:
    [line] = [line for line in text.splitlines() if line.startswith(":")]
    pairs = (pair.split(": ") for pair in line.removeprefix(": ").split(", "))
    return {name: value for name, value in pairs}  # noqa: C416 - two parts, or the test fails


def test_a_providers_usage_decides(person: Person, provider: Provider) -> None:
    provider.streams(*STREAM, END, event({"choices": [], "usage": usage(7, 3)}), DONE)
    answer = person.post("/chat/completions", BODY)
    assert answer.status_code == 200
    assert words_of(answer.text) == list(WORDS)
    assert "usage" not in answer.text
    assert answer.text.endswith(DONE.decode())
    assert person.charged() == price(3, prompt=7)
    assert last_comment(answer.text) == {"X-Cost-Incurred": "19.5", "X-Credits-Remaining": "80.5"}
    assert provider.requests[0]["stream_options"] == {"include_usage": True}


def test_cached_tokens_are_cheaper(person: Person, provider: Provider) -> None:
    block = usage(10, 0) | {"prompt_tokens_details": {"cached_tokens": 4}}
    provider.streams(*STREAM, END, event({"choices": [], "usage": block}), DONE)
    person.post("/chat/completions", BODY)
    assert person.charged() == 6 * PROMPT_PRICE + 4 * PROMPT_PRICE / 2


def test_a_provider_without_usage_is_counted(person: Person, provider: Provider) -> None:
    provider.streams(*STREAM, END, DONE)
    person.post("/chat/completions", BODY)
    assert person.charged() == price(tokens("".join(WORDS)))


@pytest.mark.parametrize("block", [usage(-1, 3), usage(10**12, 3), {"prompt_tokens": True}, {}, [], "much"])
def test_a_usage_that_cannot_be_is_counted(person: Person, provider: Provider, block: Any) -> None:
    provider.streams(*STREAM, END, event({"choices": [], "usage": block}), DONE)
    person.post("/chat/completions", BODY)
    assert person.charged() == price(tokens("".join(WORDS)))


def test_a_provider_that_reports_zero_is_believed(
    person: Person, provider: Provider, database: Connection
) -> None:
    provider.streams(*STREAM, END, event({"choices": [], "usage": usage(0, 0)}), DONE)
    answer = person.post("/chat/completions", BODY)
    assert last_comment(answer.text) == {"X-Cost-Incurred": "0", "X-Credits-Remaining": "100"}
    assert person.charges() == []
    assert person.held(database) == 0


@pytest.mark.parametrize("cut", range(len(WORDS) + 1))
def test_a_client_that_leaves_pays_for_what_it_got(
    person: Person, provider: Provider, database: Connection, cut: int
) -> None:
    provider.streams(*STREAM[:cut], HANG)
    headers = {"Authorization": f"Bearer {person.token}"}
    with httpx.Client() as client:
        if cut:
            with client.stream(
                "POST", f"{person.gateway.base_url}{LLM}/chat/completions", json=BODY, headers=headers
            ) as answer:
                text = ""
                for piece in answer.iter_text():
                    text += piece
                    if len(words_of(text)) == cut:
                        break
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(
                    f"{person.gateway.base_url}{LLM}/chat/completions",
                    json=BODY,
                    headers=headers,
                    timeout=httpx.Timeout(5, read=0.5),
                )
    assert provider.left.wait(30)
    eventually(lambda: person.held(database) == 0)
    delivered = "".join(WORDS[:cut])
    assert person.charged() == (price(tokens(delivered)) if cut else 0)


@pytest.mark.parametrize("cut", range(1, len(WORDS) + 1))
@pytest.mark.parametrize("end", ["breaks off", "ends", "says nonsense", "says an error"])
def test_a_provider_that_fails_in_mid_stream_costs_nothing(
    person: Person, provider: Provider, database: Connection, cut: int, end: str
) -> None:
    ends = {
        "breaks off": [BREAK],
        "ends": [],
        "says nonsense": [b"data: {nonsense\n\n", DONE],
        "says an error": [b'data: {"error": {"message": "overloaded"}}\n\n', DONE],
    }
    provider.streams(*STREAM[:cut], *ends[end])
    answer = person.post("/chat/completions", BODY)
    assert answer.status_code == 200
    assert words_of(answer.text) == list(WORDS[:cut])
    assert error_of(answer.text)["code"] == "upstream_error"
    assert "[DONE]" not in answer.text
    assert person.charges() == []
    assert person.held(database) == 0


def test_the_official_client_raises_for_an_error_in_mid_stream(person: Person, provider: Provider) -> None:
    provider.streams(*STREAM[:2], BREAK)
    stream = person.client().chat.completions.create(
        model="told", messages=MESSAGES, stream=True, max_tokens=5
    )
    with pytest.raises(openai.APIError, match="Nothing was charged"):
        list(stream)


@pytest.mark.parametrize("first", [BREAK, b"data: {nonsense\n\n", b"data: []\n\n"])
def test_a_stream_that_never_begins_has_an_errors_status(
    person: Person, provider: Provider, first: bytes
) -> None:
    provider.streams(first)
    answer = person.post("/chat/completions", BODY)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_error"
    assert answer.headers["x-cost-incurred"] == "0"
    assert answer.headers["x-credits-remaining"] == "100"


def test_a_hold_grows_with_the_stream(person: Person, provider: Provider, database: Connection) -> None:
    # The model costs 3 credits for a token: 100 credits are 27 tokens besides the prompt.
    person.ledger.execute(
        Allocate(
            org_id=person.organization.org_id,
            user_id=person.organization.member,
            allocated_credits=Decimal(400),
        )
    )
    provider.streams(*[delta("x" * 40)] * 8, END, DONE)
    answer = person.post("/chat/completions", BODY | {"max_tokens": 1})
    assert answer.text.endswith(DONE.decode())
    assert person.charged() == price(80)
    row = database.execute(
        "SELECT count(*) FROM credit_hold_extensions WHERE org_id = %s", [person.organization.org_id]
    ).fetchone()
    assert row
    assert row[0] > 0
    assert person.held(database) == 0


def test_a_stream_stops_where_the_credits_end(
    person: Person, provider: Provider, database: Connection
) -> None:
    provider.streams(*[delta("x" * 4)] * 100, END, DONE)
    answer = person.post("/chat/completions", BODY)
    delivered = len(words_of(answer.text))
    assert error_of(answer.text)["code"] == "insufficient_credits"
    assert delivered == 27  # 3 credits each, beside 18 for the prompt: 99 of 100
    assert person.charged() == price(delivered)
    assert person.held(database) == 0


def test_what_a_provider_reports_beyond_hold_and_balance_takes_the_hold(
    person: Person, provider: Provider, database: Connection
) -> None:
    provider.streams(*STREAM, END, event({"choices": [], "usage": usage(PROMPT_TOKENS, 5_000)}), DONE)
    answer = person.post("/chat/completions", BODY)
    assert words_of(answer.text) == list(WORDS)
    [charge] = person.charges()
    assert charge.credits_used == price(20)
    assert charge.request_metadata["uncovered"] == float(price(5_000) - price(20))
    assert person.held(database) == 0


def test_comments_and_odd_line_ends_are_passed_on(person: Person, provider: Provider) -> None:
    text = b"".join([*STREAM, END, DONE]).replace(b"\n\n", b"\r\n\r\n")
    provider.streams(b": warming up\r\n\r\n", *(text[start : start + 7] for start in range(0, len(text), 7)))
    answer = person.post("/chat/completions", BODY)
    assert answer.text.startswith(": warming up\n\n")
    assert words_of(answer.text) == list(WORDS)
    assert person.charged() == price(tokens("".join(WORDS)))


def test_text_in_tools_and_reasoning_is_counted(person: Person, provider: Provider) -> None:
    pieces = [
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]},
        {"reasoning_content": "hmm!"},
    ]
    provider.streams(*(event({"choices": [{"index": 0, "delta": piece}]}) for piece in pieces), END, DONE)
    person.post("/chat/completions", BODY)
    assert person.charged() == price(1 + 2 + 1)


@pytest.mark.anyio
@pytest.mark.parametrize("by", ["task", "scope"])
async def test_a_server_that_gives_a_stream_up_charges_what_was_sent(
    person: Person, provider: Provider, database: Connection, by: str
) -> None:
    provider.streams(*STREAM[:2], HANG)
    app = create_app(person.gateway.settings)
    sent: list[bytes] = []
    both_words = asyncio.Event()
    scope = anyio.CancelScope()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if len(words_of(b"".join(sent).decode())) == 2:
            both_words.set()

    async def serve() -> None:
        with scope:
            await app(asgi_scope(person.token), staying(BODY), send)

    async with app.router.lifespan_context(app):
        task = asyncio.create_task(serve())
        await both_words.wait()
        (task if by == "task" else scope).cancel()
        await asyncio.wait([task])
    assert task.cancelled() == (by == "task")
    assert person.charged() == price(tokens("".join(WORDS[:2])))
    assert person.held(database) == 0


def staying(body: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return how a client is heard that sends a body and stays."""
    messages = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        return await asyncio.Future[dict[str, Any]]()

    return receive


def asgi_scope(token: str) -> dict[str, Any]:
    path = f"{LLM}/chat/completions"
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "scheme": "http",
        "server": ("gateway.example", 80),
        "client": ("127.0.0.1", 5_000),
        "headers": [
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
        ],
    }


@pytest.mark.anyio
async def test_a_server_with_trailers_says_the_cost_there(person: Person, provider: Provider) -> None:
    provider.streams(*STREAM, END, event({"choices": [], "usage": usage(7, 3)}), DONE)
    app = create_app(person.gateway.settings)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app):
        extensions = {"extensions": {"http.response.trailers": {}}}
        await app(asgi_scope(person.token) | extensions, staying(BODY), send)
    assert sent[0]["trailers"] is True
    assert (b"trailer", b"X-Cost-Incurred, X-Credits-Remaining") in sent[0]["headers"]
    assert sent[-1] == {
        "type": "http.response.trailers",
        "headers": [(b"x-cost-incurred", b"19.5"), (b"x-credits-remaining", b"80.5")],
        "more_trailers": False,
    }
