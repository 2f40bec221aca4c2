"""`credits doctor` names what is wrong and how to mend it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from credit_sdk.cli._findings import clock_finding
from credit_sdk.cli._outbox import VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeDatabase
    from tests.server.conftest import Command, Running, StartServer


@pytest.fixture(autouse=True)
def outbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "outbox.sqlite"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def findings(command: Command, url: str, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code and the findings by the name of the check."""
    code, out, _ = command("doctor", "--url", url, "--json", **environment)
    return code, {finding["check"]: finding for finding in json.loads(out)}


def verdicts(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {check: finding["verdict"] for check, finding in found.items() if finding["verdict"] != "ok"}


def test_a_sound_database(command: Command, application_url: str) -> None:
    code, found = findings(command, application_url)
    assert (code, verdicts(found)) == (0, {})
    assert {"reachable", "clock", "server", "schema", "role", "connections", "outbox"} <= set(found)


def test_the_owner_of_the_books_is_told_that_no_rule_binds_a_superuser(
    command: Command, database_url: str
) -> None:
    code, found = findings(command, database_url)
    assert (code, verdicts(found)) == (0, {"role": "warning"})


def test_a_sound_server(command: Command, server: Running, demo: dict[str, Any]) -> None:
    code, found = findings(command, server.base_url, CREDIT_SDK_API_KEY=demo["service_api_key"])
    assert (code, verdicts(found)) == (0, {})
    assert {"reachable", "clock", "ready", "credential", "outbox"} == set(found)


def test_a_server_without_a_key_or_with_a_wrong_one(command: Command, server: Running) -> None:
    assert verdicts(findings(command, server.base_url)[1]) == {"credential": "warning"}
    code, found = findings(command, server.base_url, CREDIT_SDK_API_KEY="csk_wrong")
    assert (code, verdicts(found)) == (1, {"credential": "failure"})


def test_a_key_that_may_only_charge_is_known(command: Command, server: Running, organization: Any) -> None:
    _, found = findings(command, server.base_url, CREDIT_SDK_API_KEY=organization.keys["consume"])
    assert verdicts(found) == {}


def test_a_server_whose_database_is_away(command: Command, start_server: StartServer) -> None:
    alone = start_server(database_url="postgresql://user:hunter2@127.0.0.1:1/books")
    code, found = findings(command, alone.base_url)
    assert (code, found["ready"]["verdict"]) == (1, "failure")
    assert "Run `credits doctor` there" in found["ready"]["remedy"]


UNUSABLE = {
    "http://127.0.0.1:1": "cannot be reached",
    "postgresql://user:hunter2@127.0.0.1:1/books": "cannot be reached",
    "mysql://user:hunter2@host/books": "must start with https://, http://, postgresql:// or memory://",
    "": "but it is empty",
}


@pytest.mark.parametrize("url", UNUSABLE)
def test_an_address_that_leads_nowhere(command: Command, url: str) -> None:
    code, found = findings(command, url)
    assert (code, found["books"]["verdict"]) == (1, "failure")
    assert UNUSABLE[url] in found["books"]["detail"]
    assert "hunter2" not in json.dumps(found)


def test_a_web_page_that_is_no_server_of_credits(command: Command, server: Running) -> None:
    code, found = findings(command, f"{server.base_url}/docs")
    assert (code, found["reachable"]["verdict"]) == (1, "failure")


def test_a_database_without_the_schema(command: Command, make_database: MakeDatabase) -> None:
    code, found = findings(command, make_database())
    assert (code, found["books"]["verdict"]) == (1, "failure")
    assert "credits migrate" in found["books"]["detail"]


def test_an_older_and_a_newer_schema(command: Command, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("UPDATE credit_sdk_migrations SET version = -version WHERE version > 1")
        code, found = findings(command, database_url)
        assert (code, found["schema"]["verdict"]) == (1, "failure")
        assert "credits migrate" in found["schema"]["remedy"]
        owner.execute("INSERT INTO credit_sdk_migrations (version, name, checksum) VALUES (9999, 'x', 'x')")
        code, found = findings(command, database_url)
        assert (code, found["schema"]["verdict"]) == (0, "warning")


def test_holds_that_nobody_gives_back_and_that_nobody_captures(command: Command, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")  # only what is looked at
        owner.execute(
            "INSERT INTO credit_holds (org_id, user_id, credits, service_type, request_id,"
            " status, expires_at)"
            " SELECT 'acme', 'ada', 1, 'x', n::text,"
            " CASE WHEN n % 2 = 0 THEN 'held' ELSE 'expired' END, now() - interval '1 hour'"
            " FROM generate_series(1, 60) AS n"
        )
    code, found = findings(command, database_url)
    assert (code, verdicts(found)) == (
        0,
        {"role": "warning", "overdue holds": "warning", "captures": "warning"},
    )
    assert found["overdue holds"]["detail"].startswith("30 holds")
    assert "credits run-due" in found["overdue holds"]["remedy"]


def test_an_outbox_that_cannot_be_read(command: Command, outbox: Path) -> None:
    outbox.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    code, found = findings(command, "memory://")
    assert (code, found["outbox"]["verdict"]) == (1, "failure")


def test_an_outbox_at_home_is_found(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in VARIABLE, "XDG_STATE_HOME":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".local/state/credit-sdk").mkdir(parents=True)
    (tmp_path / ".local/state/credit-sdk/outbox.sqlite3").write_bytes(b"not a database at all " * 100)
    _, found = findings(command, "memory://")
    assert found["outbox"]["verdict"] == "failure"


def test_an_outbox_that_is_switched_off(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    code, found = findings(command, "memory://")
    assert (code, found["outbox"]["verdict"]) == (0, "warning")


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, "ok"), (4, "ok"), (-4, "ok"), (90, "warning"), (-90, "warning")]
)
def test_clocks_that_differ(seconds: int, verdict: str) -> None:
    now = datetime.now(UTC)
    assert clock_finding(now + timedelta(seconds=seconds), now, now).verdict == verdict


def test_people_read_it_line_by_line(command: Command) -> None:
    code, out, _ = command("doctor", "--url", "memory://")
    assert code == 0
    first, remedy, second = out.splitlines()
    assert first == "warning  books: memory:// forgets everything when the process ends."
    assert remedy == "         For tests only."
    assert second.startswith("ok       outbox: ")
