"""The database is away: 503, honestly and discreetly."""

from __future__ import annotations

import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.demo import LOOPNET_1, LOOPNET_ORG, load_demo
from reference_server.embedded import EmbeddedPostgres
from reference_server.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server.conftest import Running, StartServer


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of which nobody answers: it is taken, and not listened to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def assert_unavailable(response: Any) -> None:
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert int(response.headers["retry-after"]) >= 1
    for secret in ("hunter2", "somebody", "postgres", "127.0.0.1", "psycopg", "Traceback"):
        assert secret not in response.text


def test_a_server_starts_without_its_database(start_server: StartServer, closed_port: int) -> None:
    # row 108
    url = f"postgresql://somebody:hunter2@127.0.0.1:{closed_port}/books"
    server = start_server(database_url=url, sweep_seconds=0.01)
    assert server.get("/healthz").status_code == 200
    assert_unavailable(server.get("/readyz"))
    assert_unavailable(server.post("credits/deduct", content=b"{", bearer="cst_" + "x" * 43))
    assert server.post("credits/deduct", content=b"{").status_code == 401
    assert server.get("/openapi.json").status_code == 200


def test_a_database_without_the_schema(start_server: StartServer, make_database: Any) -> None:
    server = start_server(database_url=make_database(), database_role="")
    assert server.get("/healthz").status_code == 200
    assert_unavailable(server.get("/readyz"))
    assert_unavailable(server.get("billing/user", bearer="cst_" + "x" * 43))


def test_a_role_that_does_not_exist(start_server: StartServer, server: Running) -> None:
    other = start_server(database_url=server.database_url, database_role="nobody_" + secrets.token_hex(4))
    assert_unavailable(other.get("/readyz"))


def test_the_database_goes_and_comes_back(start_server: StartServer) -> None:
    with EmbeddedPostgres() as postgres:
        migrate(postgres.url())
        credentials = load_demo(postgres.url())
        server = start_server(database_url=postgres.url(), key_cache_seconds=60)
        charge = {
            "org_id": LOOPNET_ORG,
            "user_id": LOOPNET_1,
            "credits": 5,
            "service_type": "contact_lookup",
            "request_id": "once",
        }

        def deduct() -> Any:
            return server.post("credits/deduct", charge, key=credentials["service_api_key"])

        assert deduct().status_code == 200
        postgres.kill()
        lost = deduct()
        assert lost.status_code == 503
        assert lost.headers["retry-after"]
        assert lost.json()["code"] in {"unavailable", "outcome_unknown"}
        assert_unavailable(server.get("/readyz"))
        assert_unavailable(server.get("billing/user", bearer=next(iter(credentials["sessions"].values()))))
        postgres.start()
        eventually(lambda: server.get("/readyz").status_code == 200)
        again = deduct()
        assert (again.status_code, again.json()["replayed"]) == (200, True)
