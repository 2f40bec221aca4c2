"""What cannot be carried out is refused in OpenAI's words, holds nothing and costs nothing."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest

from credit_sdk.operations import Deduct
from tests.server.llm.conftest import BREAK, HANG, LLM, MESSAGES, completion, usage

if TYPE_CHECKING:
    from tests.server.conftest import Connection
    from tests.server.llm.conftest import Person, Provider

GOOD = {"model": "told", "messages": MESSAGES}
JSON = {"Content-Type": "application/json"}


def assert_free(person: Person, database: Connection) -> None:
    assert person.charges() == []
    assert person.held(database) == 0


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found", "model"),
        ({"model": "gpt-4"}, 404, "model_not_found", "model"),
        ({"model": "told-image"}, 404, "model_not_found", "model"),
        ({"model": None}, 400, "invalid_request", "model"),
        ({"model": ["told"]}, 400, "invalid_request", "model"),
        ({"max_tokens": 10**9}, 400, "invalid_request", "max_tokens"),
        ({"max_completion_tokens": 50_001}, 400, "invalid_request", "max_completion_tokens"),
        ({"max_tokens": 0}, 400, "invalid_request", "max_tokens"),
        ({"max_tokens": -5}, 400, "invalid_request", "max_tokens"),
        ({"max_tokens": "many"}, 400, "invalid_request", "max_tokens"),
        ({"max_tokens": True}, 400, "invalid_request", "max_tokens"),
        ({"n": 1_000}, 400, "invalid_request", "n"),
        ({"messages": []}, 400, "invalid_request", "messages"),
        ({"messages": "hello"}, 400, "invalid_request", "messages"),
        ({"messages": ["hello"]}, 400, "invalid_request", "messages"),
        ({"stream": "yes"}, 400, "invalid_request", "stream"),
        ({"stream": ""}, 400, "invalid_request", "stream"),
        ({"stream": True, "stream_options": []}, 400, "invalid_request", "stream_options"),
        ({"stream": True, "stream_options": [1]}, 400, "invalid_request", "stream_options"),
        ({"power_level": "turbo"}, 400, "invalid_request", "power_level"),
        ({"task_type": "x" * 101}, 400, "invalid_request", "task_type"),
        ({"max_tokens": 40_000}, 402, "insufficient_credits", None),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_members_of_a_chat(
    *,
    person: Person,
    provider: Provider,
    database: Connection,
    change: dict[str, Any],
    status: int,
    code: str,
    param: str | None,
) -> None:
    provider.streams()
    answer = person.post("/chat/completions", GOOD | {"max_tokens": 5} | change)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"]
    assert answer.headers["x-cost-incurred"] == "0"
    assert provider.requests == []
    assert_free(person, database)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/images/generations", {"model": "told-image"}),
        ("/images/generations", {"model": "told-image", "prompt": 5}),
        ("/images/generations", {"model": "told-image", "prompt": "a", "n": 100}),
        ("/images/generations", {"model": "told-image", "prompt": "a", "stream": True}),
        ("/embeddings", {"model": "told-embedding"}),
        ("/embeddings", {"model": "told-embedding", "input": {}}),
    ],
    ids=json.dumps,
)
def test_members_of_images_and_embeddings(
    person: Person, provider: Provider, path: str, body: dict[str, Any]
) -> None:
    answer = person.post(path, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert provider.requests == []


def nested(opening: bytes, closing: bytes, levels: int) -> bytes:
    """Return a chat whose content is nested so deep."""
    content = opening * levels + b'"x"' + closing * levels
    return b'{"model": "told", "max_tokens": 1, "messages": [{"role": "user", "content": %b}]}' % content


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "malformed_json"),
        (b"", JSON, 400, "malformed_json"),
        (b"[]", JSON, 400, "invalid_request"),
        (b'{"temperature": NaN}', JSON, 400, "malformed_json"),
        (b"\xff", JSON, 400, "malformed_json"),
        (b"[" * 100_000, JSON, 400, "malformed_json"),
        (nested(b'{"a":', b"}", 2_000), JSON, 400, "malformed_json"),
        (b'{"seed": ' + b"9" * 10_000 + b"}", JSON, 400, "malformed_json"),
        (b" " * (16 * 1024 * 1024 + 1), JSON, 413, "body_too_large"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
    ],
    ids=[
        "cut",
        "empty",
        "a list",
        "NaN",
        "no UTF-8",
        "deep",
        "deep objects",
        "long number",
        "too large",
        "text",
    ],
)
def test_bodies(person: Person, content: bytes, headers: dict[str, str], status: int, code: str) -> None:
    answer = person.gateway.request(
        "POST", f"{LLM}/chat/completions", bearer=person.token, content=content, headers=headers
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("body", [b"{", b"[]", b"<html>", b"{}", b'{"choices": 5}', b'{"error": {}}', b""])
def test_a_provider_that_answers_nonsense(
    person: Person, provider: Provider, database: Connection, body: bytes
) -> None:
    provider.answers(body)
    answer = person.chat(max_tokens=5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert answer.headers["x-cost-incurred"] == "0"
    assert answer.headers["x-credits-remaining"] == "100"
    assert_free(person, database)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        (400, 400, "context_length_exceeded"),
        (429, 429, "context_length_exceeded"),
        (401, 502, "upstream_error"),
        (402, 502, "upstream_error"),
        (403, 502, "upstream_error"),
        (500, 502, "upstream_error"),
        (302, 502, "upstream_error"),
    ],
)
def test_a_provider_that_refuses(
    *,
    person: Person,
    provider: Provider,
    database: Connection,
    stream: bool,
    given: int,
    status: int,
    code: str,
) -> None:
    words = {"message": "No, sk-live-abcdefghijklmnopqrstuv.", "code": "context_length_exceeded"}
    provider.answers(json.dumps({"error": words}).encode(), given, retry_after="7", location="/elsewhere")
    answer = person.chat(max_tokens=5, stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "abcdefghijklmnopqrstuv" not in answer.text
    assert answer.headers.get("retry-after") == ("7" if status == given else None)
    assert_free(person, database)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("end", "status"), [(HANG, 504), (BREAK, 502)], ids=["hangs", "breaks off"])
def test_a_provider_that_does_not_answer(
    *,
    start_server: Any,
    person: Person,
    provider: Provider,
    database: Connection,
    stream: bool,
    end: bytes,
    status: int,
) -> None:
    provider.streams(end) if stream else provider.answers(end)
    person.gateway = start_server(llm_upstreams=f"scripted={provider.base_url}", llm_seconds=0.3)
    answer = person.chat(max_tokens=5, stream=stream)
    assert answer.status_code == status
    assert_free(person, database)


def test_a_provider_that_is_not_there(start_server: Any, person: Person, database: Connection) -> None:
    person.gateway = start_server(llm_upstreams="scripted=http://127.0.0.1:9/v1")
    answer = person.chat(max_tokens=5)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    assert "127.0.0.1" not in answer.text
    assert_free(person, database)


def test_nobody_is_told_anything(person: Person) -> None:
    for path in ("/chat/completions", "/models", "/nothing"):
        answer = person.gateway.request("POST", LLM + path, content=b"{", headers=JSON)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    with pytest.raises(openai.AuthenticationError):
        person.client(api_key="wrong").models.list()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/nothing", 404), ("GET", "/chat/completions", 405)]
)
def test_addresses(person: Person, method: str, path: str, status: int) -> None:
    answer = person.gateway.request(method, LLM + path, bearer=person.token)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_who_has_too_little_is_refused_before_any_call(person: Person, provider: Provider) -> None:
    organization = person.organization
    person.ledger.execute(
        Deduct(
            org_id=organization.org_id, user_id=organization.member, credits=Decimal(99), service_type="other"
        )
    )
    with pytest.raises(openai.APIStatusError) as refusal:
        person.client().chat.completions.create(model="told", messages=MESSAGES, max_tokens=1)
    assert refusal.value.status_code == 402
    assert refusal.value.code == "insufficient_credits"
    assert refusal.value.type == "insufficient_quota"
    assert isinstance(refusal.value.body, dict)
    assert (refusal.value.body["required"], refusal.value.body["available"]) == (21, 1)
    assert provider.requests == []


def test_a_key_of_idempotency_pays_for_one_call(person: Person, provider: Provider) -> None:
    provider.answers(b"{", 500)
    headers = {"Idempotency-Key": "call-1"}
    body = GOOD | {"max_tokens": 5}
    assert person.post("/chat/completions", body, headers=headers).status_code == 502
    provider.answers(completion("Hello", usage=usage(1, 1)))
    assert person.post("/chat/completions", body, headers=headers).status_code == 200
    again = person.post("/chat/completions", body, headers=headers)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "request_used")
    assert again.headers["x-should-retry"] == "false"
    assert len(provider.requests) == 2
    [charge] = person.charges()
    assert charge.request_id == "call-1"


def test_a_free_model_needs_no_credits_and_costs_none(person: Person, provider: Provider) -> None:
    provider.answers(completion("Hello", usage=usage(10, 10)))
    answer = person.chat(model="free")
    assert (answer.status_code, answer.headers["x-cost-incurred"]) == (200, "0")
    assert person.charges() == []


def test_without_usage_a_whole_answer_is_counted(person: Person, provider: Provider) -> None:
    provider.answers(completion("12345678"))
    answer = person.chat(max_tokens=5)
    assert Decimal(answer.headers["x-cost-incurred"]) == 12 * Decimal("1.5") + math.ceil(8 / 4) * 3


@pytest.mark.parametrize("levels", [300, 600, 900, 960, 980])
@pytest.mark.parametrize(("opening", "closing"), [(b'{"a":', b"}"), (b"[", b"]")], ids=["objects", "lists"])
def test_content_that_is_nested_is_served_or_refused(
    person: Person, provider: Provider, opening: bytes, closing: bytes, levels: int
) -> None:
    provider.answers(completion("Hello", usage=usage(1, 1)))
    answer = person.gateway.request(
        "POST",
        f"{LLM}/chat/completions",
        bearer=person.token,
        content=nested(opening, closing, levels),
        headers=JSON,
    )
    assert answer.status_code in {200, 400}
    assert len(provider.requests) == (answer.status_code == 200)


@pytest.mark.parametrize("given", [[""], [{"text": ""}], [None], [[]], [1.5]], ids=repr)
def test_no_input_is_embedded_without_a_hold(person: Person, provider: Provider, given: Any) -> None:
    spend_all(person)
    answer = person.post("/embeddings", {"model": "told-embedding", "input": given})
    assert (answer.status_code, provider.requests) == (402, [])


def test_the_larger_bound_is_held(person: Person, provider: Provider) -> None:
    bounds = {"max_completion_tokens": 1, "max_tokens": 1_000}
    for body in (bounds, dict(reversed(bounds.items())), {"max_completion_tokens": 1_000, "max_tokens": 1}):
        refusal = person.chat(**body)
        assert refusal.status_code == 402
        assert refusal.json()["error"]["required"] == 12 * Decimal("1.5") + 1_000 * 3
    assert provider.requests == []


def spend_all(person: Person) -> None:
    organization = person.organization
    order = {"org_id": organization.org_id, "user_id": organization.member, "credits": Decimal(100)}
    person.ledger.execute(Deduct(**order, service_type="other"))
