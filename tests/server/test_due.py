"""What time brings, done by the server in the background and by `credits run-due`."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from credit_sdk.backends.sql import SqlBackend
from credit_sdk.cli import main
from credit_sdk.operations import AddCredits, Allocate, Deduct, GetPool, RunDue, VerifyChain, VerifyLedger
from reference_server.demo import load_demo
from reference_server.sweeping import do_all_due

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.conftest import StartServer

    Connection = psycopg.Connection[tuple[Any, ...]]

RUN_AHEAD = """
    create or replace function ledger.now() returns timestamptz language sql volatile
    return clock_timestamp() + interval '32 days'
"""
MEMBERS = 40
EVENTS = "select event_type, count(*) from org_billing_history where org_id = %s group by event_type"


@pytest.fixture
def own_database(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def ledger(database_url: str) -> Iterator[SqlBackend]:
    backend = SqlBackend(database_url, pool_size=8)
    yield backend
    backend.close()


@pytest.fixture
def due(own_database: Connection, ledger: SqlBackend) -> str:
    """An organisation with a pool and many allocations that are due."""
    org_id = "busy"
    own_database.execute("insert into organizations (id, name) values (%s, %s)", [org_id, org_id])
    ledger.execute(AddCredits(org_id=org_id, credits=Decimal(1_000)))
    for number in range(MEMBERS):
        user_id = f"user-{number}"
        own_database.execute(
            "insert into organization_members (org_id, user_id) values (%s, %s)", [org_id, user_id]
        )
        ledger.execute(
            Allocate(org_id=org_id, user_id=user_id, allocated_credits=Decimal(10), reset_period="daily")
        )
    own_database.execute("update credit_pools set monthly_refresh_amount = 50000 where org_id = %s", [org_id])
    own_database.execute(RUN_AHEAD)
    return org_id


def events(connection: Connection, org_id: str) -> dict[str, int]:
    return dict(connection.execute(EVENTS, [org_id]).fetchall())


def test_the_server_resets_and_refreshes(
    start_server: StartServer, database_url: str, own_database: Connection, due: str
) -> None:
    for _ in range(2):
        start_server(database_url=database_url, sweep_seconds=0.01)
    deadline = time.monotonic() + 30
    while events(own_database, due).get("allocation_reset") != MEMBERS:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    assert events(own_database, due)["allocation_reset"] == MEMBERS
    assert events(own_database, due)["pool_refresh"] == 1


def test_the_server_seals(start_server: StartServer, database_url: str, ledger: SqlBackend, due: str) -> None:
    for _ in range(2):
        start_server(database_url=database_url, sweep_seconds=0.01)
    deadline = time.monotonic() + 30
    while (found := ledger.execute(VerifyChain(org_id=due))).waiting or not found.entries:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert found.ok


def test_many_at_once_do_each_thing_once(own_database: Connection, ledger: SqlBackend, due: str) -> None:
    def run(_: int) -> dict[str, int]:
        return do_all_due(ledger.execute)

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(run, range(16)))
    done.append(run(0))
    assert sum(each["allocations_reset"] for each in done) == MEMBERS
    assert sum(each["pools_refreshed"] for each in done) == 1
    assert events(own_database, due)["allocation_reset"] == MEMBERS
    assert ledger.execute(VerifyLedger()).ok


def test_while_charges_are_in_flight(own_database: Connection, ledger: SqlBackend, due: str) -> None:
    def charge(number: int) -> None:
        user_id = f"user-{number % MEMBERS}"
        fields = {"org_id": due, "user_id": user_id, "service_type": "valuation"}
        ledger.execute(Deduct(credits=Decimal("0.5"), **fields))

    charges = 6 * MEMBERS
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(charge, number) for number in range(charges)]
        work += [pool.submit(do_all_due, ledger.execute) for _ in range(20)]
        for each in work:
            each.result()
    do_all_due(ledger.execute)
    assert events(own_database, due)["allocation_reset"] == MEMBERS
    assert ledger.execute(GetPool(org_id=due)).used_credits == charges * Decimal("0.5")
    assert ledger.execute(VerifyLedger()).ok


def test_in_small_bites(ledger: SqlBackend, due: str) -> None:
    assert due
    bites = 0
    while ledger.execute(RunDue(limit=7)).allocations_reset:
        bites += 1
    assert bites == -(-MEMBERS // 7)


def credits(*arguments: str) -> None:
    sys.argv = ["credits", *arguments]
    main()


def test_by_command(
    database_url: str, due: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert due
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit) as done:
        credits("run-due", "--database-url", database_url)
    assert done.value.code == 0
    # The rows are a grant, and an allocation and a reset for each member, and the refresh.
    rows = 1 + 2 * MEMBERS + 1
    assert capsys.readouterr().out == (
        f"Done: allocations reset {MEMBERS}, pools refreshed 1, entries sealed {rows}.\n"
    )
    monkeypatch.setenv("DATABASE_URL", database_url)
    with pytest.raises(SystemExit):
        credits("run-due")
    assert capsys.readouterr().out == "Nothing was due.\n"
    with pytest.raises(SystemExit):
        credits("run-due", "--json")
    assert set(json.loads(capsys.readouterr().out).values()) == {0}


def test_the_command_without_a_database_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as failed:
        credits("run-due")
    assert failed.value.code == 1
    assert "DATABASE_URL" in capsys.readouterr().err


def test_the_demonstration_data_has_nothing_due(database_url: str, ledger: SqlBackend) -> None:
    load_demo(database_url)
    done = do_all_due(ledger.execute)
    assert done.pop("entries_sealed") > 0
    assert set(done.values()) == {0}
