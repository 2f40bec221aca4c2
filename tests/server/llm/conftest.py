"""A gateway in front of a provider that does as it is told, on real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import openai
import pytest
import uvicorn

from credit_sdk.operations import ListCharges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from credit_sdk.backends.sql import SqlBackend
    from credit_sdk.models import Charge
    from tests.server.conftest import Connection, MakeOrganization, Organization, Running, StartServer

    Send = Callable[[dict[str, Any]], Any]

LLM = "/api/v1/llm"
SEALING_KEY = base64.b64encode(bytes(range(32))).decode()
MODELS = """
    INSERT INTO llm_models
    (model, provider, kind, power_level,
     prompt_price, cached_price, completion_price, image_price, largest_output)
    VALUES
    ('told', 'scripted', 'chat', NULL, 1000, 500, 2000, 0, 50000),
    ('cheap', 'scripted', 'chat', NULL, 100, 50, 200, 0, 50000),
    ('free', 'scripted', 'chat', NULL, 0, 0, 0, 0, 50000),
    ('told-image', 'scripted', 'image', NULL, 0, 0, 0, 0.02, 1),
    ('told-embedding', 'scripted', 'embedding', NULL, 1000, 0, 0, 0, 1),
    ('nowhere', 'unheard_of', 'chat', NULL, 1, 1, 1, 0, 1000)
    ON CONFLICT DO NOTHING
"""
PROMPT_PRICE, COMPLETION_PRICE = Decimal("1.5"), Decimal(3)
"""Of `told` for the platform's customers, in credits for a token; of `cheap` a tenth."""
MESSAGES: list[Any] = [{"role": "user", "content": "Tell me something about ledgers."}]
PROMPT_TOKENS = 8 + 4
"""Of MESSAGES: 32 bytes of text, and what a message costs."""


def delta(text: str, **more: Any) -> bytes:
    """Return an event that delivers a text."""
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more})


def event(chunk: dict[str, Any]) -> bytes:
    envelope = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "told"}
    return b"data: " + json.dumps(envelope | chunk).encode() + b"\n\n"


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
DONE = b"data: [DONE]\n\n"
BREAK = b"break the connection"
HANG = b"say nothing more until the other side has gone"


def completion(text: str, **more: Any) -> bytes:
    """Return a whole answer."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    answer = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "told", "choices": [choice]}
    return json.dumps(answer | more).encode()


@dataclass
class Provider:
    """An upstream that answers with what the test has laid out."""

    base_url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the gateway has hung up on a provider that hangs."""
    wait_for: int = 0
    """How many calls are to be under way before any is answered."""
    under_way: int = 0
    _all_here: asyncio.Event = field(default_factory=asyncio.Event)

    def streams(self, *pieces: bytes) -> None:
        self.status, self.headers = 200, {"content-type": "text/event-stream"}
        self.pieces = list(pieces)

    def answers(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.status, self.pieces = status, [body]
        self.headers = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        self.requests.append(json.loads(body) | {"path": scope["path"]})
        self.keys.append(dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer "))
        await self._wait_for_the_others()
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for piece in self.pieces:
            if piece is BREAK:
                raise ConnectionAbortedError
            if piece is HANG:
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.left.set()
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _wait_for_the_others(self) -> None:
        self.under_way += 1
        if self.under_way >= self.wait_for:
            self._all_here.set()
        await self._all_here.wait()


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application on a socket of its own; give its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    with served(provider) as base_url:
        provider.base_url = base_url
        yield provider


@pytest.fixture
def gateway(start_server: StartServer, database: Connection, provider: Provider) -> Running:
    """A server whose models `told` and `free` are the provider's, with the built-in upstream besides."""
    database.execute(MODELS)
    return start_server(
        llm_upstreams=f"scripted={provider.base_url}",
        llm_keys="scripted=platform-key",
        llm_sealing_keys=SEALING_KEY,
        llm_catalogue_seconds=0,
        unsafe_per_minute=1_000_000,
    )


@pytest.fixture
def organization(make_organization: MakeOrganization) -> Organization:
    return make_organization()


@dataclass
class Person:
    """A member with 100 credits, and how they call the gateway."""

    gateway: Running
    organization: Organization
    ledger: SqlBackend
    open_clients: list[openai.OpenAI] = field(default_factory=list)

    @property
    def token(self) -> str:
        return self.organization.sessions["member"]

    def client(self, **more: Any) -> openai.OpenAI:
        given = {"api_key": self.token, "max_retries": 0, **more}
        self.open_clients.append(openai.OpenAI(base_url=self.gateway.base_url + LLM, **given))
        return self.open_clients[-1]

    def async_client(self, **more: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self.gateway.base_url + LLM, api_key=self.token, max_retries=0, **more
        )

    def post(self, path: str, body: Any, **more: Any) -> Any:
        return self.gateway.post(LLM + path, body, bearer=self.token, **more)

    def chat(self, **more: Any) -> Any:
        return self.post("/chat/completions", {"model": "told", "messages": MESSAGES} | more)

    def charges(self) -> list[Charge]:
        page = self.ledger.execute(
            ListCharges(org_id=self.organization.org_id, user_id=self.organization.member)
        )
        return list(page.items)

    def charged(self) -> Decimal:
        return sum((charge.credits_used for charge in self.charges()), Decimal(0))

    def held(self, database: Connection) -> int:
        row = database.execute(
            "SELECT held_credits FROM user_credit_allocations WHERE org_id = %s AND user_id = %s",
            [self.organization.org_id, self.organization.member],
        ).fetchone()
        assert row
        held: int = row[0]
        return held


@pytest.fixture
def person(gateway: Running, organization: Organization, owner_ledger: SqlBackend) -> Iterator[Person]:
    person = Person(gateway, organization, owner_ledger)
    yield person
    for client in person.open_clients:
        client.close()
