"""Limits hold across server processes that count in one Redis, and the server outlives its Redis."""

from __future__ import annotations

import itertools
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from reference_server import shared_counting
from reference_server.credentials import create_api_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from httpx import Response

    from tests.server.conftest import Organization, RedisServer, Running, StartServer

LOST = "Redis does not answer"
FOUND = "Redis answers again"


def accepted(send: Callable[[], Response], times: int) -> int:
    """Send so many requests; return how many were not refused for coming too often, none for worse."""
    statuses = [send().status_code for _ in range(times)]
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that was away is asked again by the next request."""
    monkeypatch.setattr(shared_counting, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def read(organization: Organization) -> Callable[[Running], Response]:
    """Read the pool as the organisation's owner."""
    return lambda server: server.get(f"credits/{organization.org_id}", bearer=organization.sessions["owner"])


def test_servers_share_one_figure(
    start_server: StartServer, redis_server: RedisServer, read: Callable[[Running], Response]
) -> None:
    servers = [start_server(safe_per_minute=10, rate_limit_url=redis_server.url) for _ in range(2)]
    turns = itertools.cycle(servers)
    assert accepted(lambda: read(next(turns)), 30) == 10
    refusals = [read(server) for server in servers]
    assert [refusal.json()["code"] for refusal in refusals] == ["rate_limited"] * 2
    assert all(1 <= int(refusal.headers["retry-after"]) <= 60 for refusal in refusals)


def test_without_redis_each_server_counts_for_itself(
    start_server: StartServer, read: Callable[[Running], Response]
) -> None:
    servers = [start_server(safe_per_minute=10) for _ in range(2)]
    for server in servers:
        # A minute of the clock that begins in between leaves room for one more.
        assert accepted(lambda server=server: read(server), 15) in {10, 11}


def test_a_keys_own_figure_is_shared(
    start_server: StartServer, redis_server: RedisServer, organization: Organization, database: Any
) -> None:
    servers = [start_server(rate_limit_url=redis_server.url) for _ in range(2)]
    key = create_api_key(
        database, "slow", ["consume_credits"], org_id=organization.org_id, requests_per_minute=3
    )
    turns = itertools.cycle(servers)
    charge = organization.charge(credits=0.001)
    assert accepted(lambda: next(turns).post("credits/deduct", charge, key=key), 8) == 3


def test_strangers_are_counted_together(start_server: StartServer, redis_server: RedisServer) -> None:
    servers = [start_server(refused_per_minute=4, rate_limit_url=redis_server.url) for _ in range(2)]
    turns = itertools.cycle(servers)
    statuses = [next(turns).get("billing/user").status_code for _ in range(8)]
    assert statuses == [401] * 4 + [429] * 4


@pytest.mark.usefixtures("eager")
def test_redis_is_killed_and_comes_back(
    start_server: StartServer,
    redis_server: RedisServer,
    read: Callable[[Running], Response],
    caplog: pytest.LogCaptureFixture,
) -> None:
    servers = [start_server(safe_per_minute=10, rate_limit_url=redis_server.url) for _ in range(2)]
    turns = itertools.cycle(servers)
    assert accepted(lambda: read(next(turns)), 12) == 10
    redis_server.kill()
    for server in servers:
        # Not a request fails, and a flood is still refused.
        assert accepted(lambda server=server: read(server), 15) in {10, 11}
        assert server.get("/readyz").status_code == 200
    assert caplog.text.count(LOST) == len(servers)
    redis_server.start()
    assert accepted(lambda: read(next(turns)), 15) == 10
    assert caplog.text.count(FOUND) == len(servers)
    assert caplog.text.count(LOST) == len(servers)
    assert redis_server.password not in caplog.text


def test_a_redis_that_is_mute_makes_one_request_wait(
    start_server: StartServer,
    redis_server: RedisServer,
    read: Callable[[Running], Response],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_counting, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(shared_counting, "PAUSE_SECONDS", 3_600.0)
    server = start_server(safe_per_minute=10, rate_limit_url=redis_server.url)
    redis_server.suspend()
    try:
        assert accepted(lambda: read(server), 15) in {10, 11}
        assert server.get("/readyz").status_code == 200
    finally:
        redis_server.resume()
    assert caplog.text.count(LOST) == 1


@pytest.fixture
def speaks_http() -> Iterator[int]:
    """The port of a server that is no Redis."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                client, _ = listener.accept()
                with client:
                    if not client.recv(1024):
                        return
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        socket.create_connection(listener.getsockname()).close()
        thread.join()


@pytest.fixture(params=["nobody listens", "wrong password", "no database of that number", "HTTP"])
def useless_url(request: pytest.FixtureRequest, redis_server: RedisServer, speaks_http: int) -> str:
    """The URL of what is no Redis for us."""
    urls = {
        "nobody listens": redis_server.url,
        "wrong password": f"redis://:hunter2-wrong@127.0.0.1:{redis_server.port}/0",
        "no database of that number": redis_server.url.replace("/0", "/99"),
        "HTTP": f"redis://:hunter2-wrong@127.0.0.1:{speaks_http}/0",
    }
    if request.param == "nobody listens":
        redis_server.kill()
    return urls[request.param]


@pytest.mark.usefixtures("eager")
def test_a_redis_that_cannot_be_used_is_said_once_and_without_its_password(
    start_server: StartServer,
    useless_url: str,
    read: Callable[[Running], Response],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = start_server(safe_per_minute=3, rate_limit_url=useless_url)
    assert accepted(lambda: read(server), 6) in {3, 4}
    assert server.get("/readyz").status_code == 200
    assert caplog.text.count(LOST) == 1
    assert "hunter2" not in caplog.text
