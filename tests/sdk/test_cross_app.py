"""`CrossApp` refreshes its token by itself, once, and repeats only what is safe to repeat."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from credit_sdk import (
    AsyncCrossApp,
    ConfigurationError,
    CrossApp,
    InvalidTokenError,
    NotAuthenticatedError,
    Retries,
    TokenExpiredError,
)

CHECK = {"user_id": 1, "current_balance": 5, "has_sufficient_credits": True}
USER = {"user_id": 1}
APP = {"app_id": "printer", "app_name": "Printer"}
IN_A_DAY = timedelta(hours=24)


class Server:
    """Answers as the addresses for applications do; `good` is the only token that it knows."""

    def __init__(self, lifetime: timedelta = IN_A_DAY) -> None:
        self.good = "token-1"
        self.lifetime = lifetime
        self.refreshes = 0
        self.failures = 0
        self.seen: list[tuple[str, dict[str, Any], httpx.Headers]] = []
        self.crowd = threading.Barrier(1)
        """So many requests with a token that has ended are answered together."""
        self._lock = threading.Lock()

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/cross-app/")
        body = json.loads(request.content) if request.content else {}
        if path == "credits/check" and request.headers["authorization"] != f"Bearer {self.good}":
            self.crowd.wait(30)
        with self._lock:
            self.seen.append((path, body, request.headers))
            return self._answer(path, request.headers.get("authorization"))

    def _answer(self, path: str, token: str | None) -> httpx.Response:
        ends = (datetime.now(UTC) + self.lifetime).isoformat()
        if path == "auth":
            answer = {"session_token": self.good, "user": USER, "app_info": APP, "permissions": []}
            return httpx.Response(200, json=answer | {"expires_at": ends})
        if path == "refresh-token":
            self.refreshes += 1
            self.lifetime, self.good = IN_A_DAY, f"token-{self.refreshes + 1}"
            ends = (datetime.now(UTC) + IN_A_DAY).isoformat()
            answer = {"new_session_token": self.good, "expires_at": ends, "permissions": []}
            return httpx.Response(200, json=answer)
        if token != f"Bearer {self.good}":
            return httpx.Response(401, json={"code": "token_expired", "detail": "The session has expired."})
        if self.failures:
            self.failures -= 1
            return httpx.Response(503, json={"code": "unavailable", "detail": "Away."})
        if path == "credits/consume":
            taken = {"credits_consumed": 1, "new_balance": 4, "transaction_id": 9, "request_id": "r"}
            return httpx.Response(200, json=taken)
        return httpx.Response(200, json={"success": True} if path == "logout" else CHECK)

    def app(self) -> CrossApp:
        client = httpx.Client(transport=httpx.MockTransport(self.answer))
        return CrossApp("https://ops.example", http_client=client, **SETTINGS)

    def async_app(self) -> AsyncCrossApp:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return AsyncCrossApp("https://ops.example", async_http_client=client, **SETTINGS)


SETTINGS: dict[str, Any] = {"app_id": "printer", "api_key": "key", "retries": Retries(first_wait=0.001)}


def test_key_and_session_travel_in_headers_and_not_in_addresses() -> None:
    server = Server()
    app = server.app()
    app.login("user@example.com", "secret")
    app.check(5)
    path, body, headers = server.seen[-1]
    assert (path, body) == ("credits/check", {"app_id": "printer", "required_credits": 5})
    assert (headers["x-api-key"], headers["authorization"]) == ("key", "Bearer token-1")
    assert "token-1" not in repr(app.login("user@example.com", "secret"))


def test_a_token_that_is_about_to_end_is_refreshed_first() -> None:
    server = Server(lifetime=timedelta(seconds=200))
    app = server.app()
    app.login("user@example.com", "secret")
    app.check()
    assert [path for path, _, _ in server.seen] == ["auth", "refresh-token", "credits/check"]


def test_an_expired_token_is_refreshed_once() -> None:
    server = Server()
    app = server.app()
    app.login("user@example.com", "secret")
    server.good = "another"
    assert app.check().can_consume
    paths = ["auth", "credits/check", "refresh-token", "credits/check"]
    assert [path for path, _, _ in server.seen] == paths
    assert app.session_token == "token-2"


def test_a_server_that_never_believes_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    app = server.app()
    app.login("user@example.com", "secret")
    believe = server._answer
    monkeypatch.setattr(server, "_answer", lambda path, _: believe(path, "Bearer nothing"))
    with pytest.raises(TokenExpiredError):
        app.check()
    assert server.refreshes == 1


def test_threads_wait_for_the_one_that_refreshes() -> None:
    server = Server()
    app = server.app()
    app.login("user@example.com", "secret")
    server.good = "another"
    server.crowd = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.check(), range(8)))
    assert {answer.user_id for answer in answers} == {1}
    assert server.refreshes == 1


@pytest.mark.anyio
async def test_tasks_wait_for_the_one_that_refreshes() -> None:
    server = Server()
    app = server.async_app()
    await app.login("user@example.com", "secret")
    server.good = "another"
    await asyncio.gather(*(app.check() for _ in range(16)))
    assert server.refreshes == 1


def test_a_consumption_is_repeated_under_one_request_id() -> None:
    server = Server()
    app = server.app()
    app.login("user@example.com", "secret")
    server.failures = 2
    assert app.consume(1, "print").remaining_credits == 4
    ids = {body["request_id"] for path, body, _ in server.seen if path == "credits/consume"}
    assert len(ids) == 1
    assert [path for path, _, _ in server.seen].count("credits/consume") == 3


def test_after_logging_out_there_is_no_session() -> None:
    server = Server()
    app = server.app()
    app.login("user@example.com", "secret")
    app.logout()
    app.logout()
    with pytest.raises(NotAuthenticatedError, match="call login"):
        app.check()


def test_a_wrong_password_is_told() -> None:
    problem = {"code": "invalid_token", "detail": "Email or password is wrong."}
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json=problem))
    app = CrossApp("https://ops.example", http_client=httpx.Client(transport=transport), **SETTINGS)
    with pytest.raises(InvalidTokenError, match=r"Email or password is wrong\.$"):
        app.login("user@example.com", "secret")


@pytest.mark.parametrize(
    ("url", "app_id", "words"), [("postgresql://x/y", "a", "needs a server"), ("https://x", None, "app_id")]
)
def test_what_is_missing_is_named(
    url: str, app_id: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APP_ID", raising=False)
    with pytest.raises(ConfigurationError, match=words):
        CrossApp(url, app_id=app_id)


def test_a_closed_object_asks_nothing_more() -> None:
    server = Server()
    app = server.app()
    app.login("user@example.com", "secret")
    app.close()
    with pytest.raises(ConfigurationError, match=r"close\(\) has ended this service"):
        app.check()
    assert [path for path, _, _ in server.seen] == ["auth"]


@pytest.mark.anyio
async def test_a_closed_object_asks_nothing_more_awaiting() -> None:
    server = Server()
    async with server.async_app() as app:
        await app.login("user@example.com", "secret")
    with pytest.raises(ConfigurationError, match=r"close\(\) has ended this service"):
        await app.check()
    assert [path for path, _, _ in server.seen] == ["auth"]
