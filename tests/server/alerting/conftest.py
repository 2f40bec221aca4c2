"""A receiver of webhooks on a real socket, and an organisation whose alerts go there."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from credit_sdk import BillingClient
from credit_sdk.backends.sql import AsyncSqlBackend
from reference_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from credit_sdk.models import NewWebhook


@dataclass
class Receiver:
    """Answers what the test says, 204 by default, and keeps what came."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    port: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/hook?of=acme"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"])).decode()
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.received.append((headers | {":path": handler.path}, body))
        handler.send_response(self.statuses.pop(0) if self.statuses else 204)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(self.body)))
        handler.end_headers()
        handler.wfile.write(self.body)
        self.arrived.set()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.answer(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield receiver
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Watched:
    """An organisation with one endpoint."""

    url: str
    org_id: str
    client: BillingClient
    connection: psycopg.Connection[dict[str, Any]]
    webhook: NewWebhook

    def execute(self, statement: str, *values: object) -> list[dict[str, Any]]:
        cursor = self.connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def test(self) -> str:
        """Put a test into the outbox; return its id."""
        return str(self.client.alerts.test_webhook(self.org_id, self.webhook.webhook_id).delivery_id)

    def delivery(self) -> Any:
        """Return the last delivery."""
        return next(self.client.alerts.deliveries(self.org_id))

    def hurry(self) -> None:
        """Let everything that waits be due."""
        self.execute("UPDATE webhook_deliveries SET next_attempt_at = ledger.now() WHERE status = 'pending'")


@pytest.fixture
def watched(database_url: str, receiver: Receiver) -> Iterator[Watched]:
    with (
        psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection,
        BillingClient(database_url) as client,
    ):
        connection.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        client.credits.add("acme", 1_000)
        webhook = client.alerts.create_webhook("acme", receiver.url, "pool.low")
        yield Watched(database_url, "acme", client, connection, webhook)


@pytest.fixture
def alert_settings(database_url: str) -> Callable[..., Settings]:
    """Settings that let webhooks go to this machine."""

    def make(**given: Any) -> Settings:
        return Settings(
            **{"database_url": database_url, "webhook_networks": ("127.0.0.0/8", "::1/128")} | given
        )

    return make


@pytest.fixture
async def backend(database_url: str) -> AsyncIterator[AsyncSqlBackend]:
    backend = AsyncSqlBackend(database_url)
    yield backend
    await backend.close()
