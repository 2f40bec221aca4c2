"""A server that stops answers whoever it has let in."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.app import create_app
from reference_server.serving import DrainingServer, server_config
from reference_server.settings import Settings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 20
REQUEST = b"GET /api/v1/org-billing/credits/acme HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Listener:
    """A listening socket of a server, at whose end something happens once."""

    def __init__(self, listener: asyncio.Server, at_its_end: Callable[[], object]) -> None:
        self._listener = listener
        self._at_its_end = [at_its_end]

    def close(self) -> None:
        self._listener.close()
        while self._at_its_end:
            self._at_its_end.pop()()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def server(server_database: str, listening: socket.socket) -> Iterator[DrainingServer]:
    settings = Settings(database_url=server_database)
    app = create_app(settings)
    server = DrainingServer(server_config(settings, app), app.state.traffic)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    eventually(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join()


def test_who_was_let_in_last_and_asks_when_nobody_is_let_in_any_more_is_answered(
    server: DrainingServer, listening: socket.socket
) -> None:
    with socket.create_connection(listening.getsockname(), PATIENCE_SECONDS) as client:
        eventually(lambda: server.server_state.connections)
        server.servers = [Listener(each, lambda: client.sendall(REQUEST)) for each in server.servers]
        server.should_exit = True
        answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 503 ")
