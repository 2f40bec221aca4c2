"""Requests that take long to read keep nobody else waiting, and count as small ones do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk.token_counting import tokens_of_input
from reference_server.llm import requests
from reference_server.llm.requests import LARGE_BODY
from tests.server.llm.conftest import LLM, MESSAGES, completion, usage
from tests.server.llm.test_bad_input import JSON, nested

if TYPE_CHECKING:
    from tests.server.llm.conftest import Person, Provider

PATIENCE_SECONDS = 20


@pytest.mark.parametrize(
    ("path", "body", "counting"),
    [
        ("/embeddings", {"model": "told-embedding", "input": [7] * LARGE_BODY}, "tokens_of_input"),
        ("/chat/completions", {"model": "told", "messages": MESSAGES * 10_000}, "tokens_of_chat"),
    ],
    ids=["embedding", "chat"],
)
def test_others_are_answered_while_a_large_request_is_counted(
    *,
    person: Person,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: dict[str, Any],
    counting: str,
) -> None:
    count, has_begun, is_answered = getattr(requests, counting), threading.Event(), threading.Event()
    waited = []

    def slowly(given: Any) -> int:
        has_begun.set()
        waited.append(is_answered.wait(PATIENCE_SECONDS))
        return int(count(given))

    monkeypatch.setattr(requests, counting, slowly)
    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(person.post, path, body)
        assert has_begun.wait(PATIENCE_SECONDS)
        assert person.gateway.get(f"{LLM}/models", bearer=person.token).status_code == 200
        is_answered.set()
        assert coming.result().status_code == 402
    assert waited == [True]
    assert provider.requests == []


@pytest.mark.parametrize("levels", [*range(830, 845, 3), 888, 960])
def test_large_content_that_is_nested_is_served_or_refused(
    person: Person, provider: Provider, levels: int
) -> None:
    """It is read near the ground of a stack, and passed on from further up."""
    provider.answers(completion("Hello", usage=usage(1, 1)))
    content = nested(b"[", b"]", levels) + b" " * LARGE_BODY
    address = f"{LLM}/chat/completions"
    answer = person.gateway.request("POST", address, bearer=person.token, content=content, headers=JSON)
    assert answer.status_code in {200, 400}
    assert len(provider.requests) == (answer.status_code == 200)


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        ([1, 2, 3], 3),
        ([[1, 2], [3], []], 4),
        ([1, "eight by", None, True, 1.5, {"text": "four"}, [2]], 8),
        (["", {}], 2),
        (5, 1),
    ],
    ids=repr,
)
def test_what_is_counted_of_an_input(given: Any, tokens: int) -> None:
    assert tokens_of_input(given) == tokens
