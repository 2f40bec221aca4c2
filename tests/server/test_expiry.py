"""Holds whose time is over, on a database whose clock runs ahead."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from reference_server.demo import LOOPNET_1, LOOPNET_ORG, load_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.conftest import Running, StartServer

    Connection = psycopg.Connection[tuple[Any, ...]]

RUN_AHEAD = """
    create or replace function ledger.now() returns timestamptz language sql volatile
    return clock_timestamp() + interval '2 minutes'
"""
CHARGE = {"org_id": LOOPNET_ORG, "user_id": LOOPNET_1, "service_type": "valuation"}


@pytest.fixture
def key(database_url: str) -> str:
    """A key that may spend the demonstration data of the test's own database."""
    service_key: str = load_demo(database_url)["service_api_key"]
    return service_key


@pytest.fixture
def serve(start_server: StartServer, database_url: str) -> StartServer:
    return partial(start_server, database_url=database_url)


@pytest.fixture
def own_database(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def place_overdue_hold(server: Running, key: str, connection: Connection) -> str:
    body = CHARGE | {"credits": 400, "ttl_seconds": 60}
    hold_id: str = server.post("credits/holds", body, key=key).json()["hold_id"]
    connection.execute(RUN_AHEAD)
    return hold_id


def test_the_server_gives_overdue_holds_back(serve: StartServer, key: str, own_database: Connection) -> None:
    server = serve(sweep_seconds=0.01)
    hold_id = place_overdue_hold(server, key, own_database)
    deadline = time.monotonic() + 30
    while own_database.execute("select status from credit_holds").fetchall() != [("expired",)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert server.get(f"credits/holds/{hold_id}", key=key).json()["status"] == "expired"


@pytest.mark.parametrize(
    ("spent", "outcome"), [(600, (200, None)), (700, (410, "hold_expired"))], ids=["covered", "not covered"]
)
def test_capture_after_expiry(
    serve: StartServer, key: str, own_database: Connection, spent: int, outcome: tuple[int, str | None]
) -> None:  # row 59
    server = serve(sweep_seconds=3600)
    hold_id = place_overdue_hold(server, key, own_database)
    taken = server.post("credits/deduct", CHARGE | {"credits": spent}, key=key)
    assert taken.status_code == 200
    answer = server.post(f"credits/holds/{hold_id}/capture", key=key)
    assert (answer.status_code, answer.json().get("code")) == outcome
