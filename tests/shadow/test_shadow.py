"""A shadow tells where code that charges by hand and the ledger differ, and never disturbs either."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from credit_sdk import Account, CreditDeductionService, MemoryLedger
from credit_sdk.cli._app import application
from credit_sdk.shadow import ReportFile, Shadow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = Account(user_id="123")
PRINT = {"service_type": "print"}


@pytest.fixture
def books() -> MemoryLedger:
    ledger = MemoryLedger()
    ledger.add_user(123, credits=100)
    return ledger


@pytest.fixture
def shadow(books: MemoryLedger, tmp_path: Path) -> Iterator[Shadow]:
    with Shadow(books, report=tmp_path / "shadow.sqlite3") as made:
        yield made


def kinds(shadow: Shadow) -> dict[str, tuple[int, str, str]]:
    return {one.kind: (one.count, one.old, one.new) for one in shadow.report().differences}


def test_decisions_that_agree_are_counted_and_their_balances_follow(shadow: Shadow) -> None:
    for left in 95, 90, 85:
        shadow.compare(USER, 5, **PRINT, allowed=True, balance=left)
    shadow.compare(USER, 86, **PRINT, allowed=False, balance=85)
    report = shadow.report()
    assert (report.compared, report.agreed, report.differences) == (4, 4, ())


def test_what_only_the_old_code_allows(shadow: Shadow) -> None:
    shadow.compare(USER, 101, **PRINT, allowed=True, balance=-1)
    assert kinds(shadow) == {"old_allowed": (1, "allowed", "insufficient_credits")}


def test_what_only_the_ledger_allows(shadow: Shadow) -> None:
    shadow.compare(USER, 100, **PRINT, allowed=False)
    assert kinds(shadow) == {"new_allowed": (1, "refused", "allowed")}


def test_a_user_whom_the_books_do_not_know(shadow: Shadow) -> None:
    shadow.compare(Account(user_id="7"), 1, **PRINT, allowed=True)
    assert kinds(shadow) == {"old_allowed": (1, "allowed", "not_found")}


@pytest.mark.parametrize("again", [5, 6])
def test_an_operation_that_the_old_code_charges_twice(shadow: Shadow, again: int) -> None:
    for credits in 5, again:
        shadow.compare(USER, credits, **PRINT, allowed=True, request_id="job-1")
    [(kind, (count, old, _))] = kinds(shadow).items()
    assert (kind, count, old) == ("repeated", 1, "charged again")


def test_an_amount_that_is_no_multiple_of_the_price(shadow: Shadow) -> None:
    """The trap of plain credits in a table of millicredits."""
    shadow.compare(USER, "0.05", service_type="company_enrichment", allowed=True)
    shadow.compare(USER, 15, service_type="bulk_export", allowed=True)
    assert kinds(shadow) == {"amount": (1, "0.05", "50")}


def test_a_gap_between_the_balances_is_told_when_it_changes(shadow: Shadow) -> None:
    for left in 95, 89, 84, 79:
        shadow.compare(USER, 5, **PRINT, allowed=True, balance=left)
    assert kinds(shadow) == {"balance": (1, "89", "90")}


def test_each_kind_is_logged_once(shadow: Shadow, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        shadow.compare(USER, 1_000, **PRINT, allowed=True)
    assert kinds(shadow)["old_allowed"][0] == 5
    assert caplog.text.count("old_allowed at print") == 1


def test_nothing_that_goes_wrong_reaches_the_caller(shadow: Shadow, caplog: pytest.LogCaptureFixture) -> None:
    """Not even what is no decision at all."""
    broken: Any = object()
    for account, credits in (USER, "five"), (USER, -5), (broken, 5), (USER, broken):
        shadow.compare(account, credits, **PRINT, allowed=True)
    report = shadow.report()
    assert (report.compared, report.failed, report.differences) == (4, 4, ())
    assert "had no answer" in caplog.text


def test_a_report_that_cannot_be_written_is_logged(
    books: MemoryLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with Shadow(books, report=tmp_path / "file" / "shadow.sqlite3") as shadow:
        shadow.compare(USER, 5, **PRINT, allowed=True)
    assert "report cannot be written" in caplog.text


class _Slow(CreditDeductionService):
    """Books that answer when they are told to."""

    answering = threading.Event()
    asked = threading.Event()

    def deduct(self, *arguments: Any, **named: Any) -> Any:
        self.asked.set()
        assert self.answering.wait(60)
        return super().deduct(*arguments, **named)


def test_slow_books_are_not_waited_for_and_what_they_miss_is_counted(
    books: MemoryLedger, tmp_path: Path
) -> None:
    slow = _Slow(books)
    with Shadow(slow, report=tmp_path / "shadow.sqlite3", capacity=2) as shadow:
        shadow.compare(USER, 1, **PRINT, allowed=True)
        assert slow.asked.wait(60)
        for _ in range(5):
            shadow.compare(USER, 1, **PRINT, allowed=True)
        slow.answering.set()
        report = shadow.report()
    assert (report.compared, report.dropped) == (3, 3)


def test_processes_add_to_one_report(books: MemoryLedger, tmp_path: Path) -> None:
    for _ in range(2):
        with Shadow(books, report=tmp_path / "shadow.sqlite3") as shadow:
            shadow.compare(USER, 1_000, **PRINT, allowed=True)
    [found] = ReportFile(tmp_path / "shadow.sqlite3").read().differences
    assert found.count == 2


def ask(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchone()


@pytest.fixture
def copy(database_url: str) -> str:
    """A migrated copy of the old code's books."""
    ask(
        database_url, "INSERT INTO users (id, email, credits) VALUES (123, 'u@example.com', 100) RETURNING id"
    )
    return database_url


def test_books_in_a_database_are_charged_only_once_they_are_marked(copy: str, tmp_path: Path) -> None:
    runner = CliRunner()
    balance = "SELECT credits FROM users"
    with Shadow(copy, report=tmp_path / "a.sqlite3") as shadow:
        shadow.compare(USER, 5, **PRINT, allowed=True, balance=95)
        assert shadow.report().failed == 1
    assert ask(copy, balance) == (100,)
    assert runner.invoke(application(), ["shadow", "begin", "--url", copy]).exit_code == 0
    with Shadow(copy, report=tmp_path / "b.sqlite3") as shadow:
        shadow.compare(USER, 5, **PRINT, allowed=True, balance=95)
        assert shadow.report().agreed == 1
    assert ask(copy, balance) == (95,)
    assert runner.invoke(application(), ["shadow", "end", "--url", copy]).exit_code == 0
    with Shadow(copy, report=tmp_path / "c.sqlite3") as shadow:
        shadow.compare(USER, 5, **PRINT, allowed=True, balance=90)
        assert shadow.report().failed == 1
    assert ask(copy, balance) == (95,)


def test_books_behind_a_server_are_never_charged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Shadow("http://127.0.0.1:9", report=tmp_path / "shadow.sqlite3") as shadow:
        shadow.compare(USER, 5, **PRINT, allowed=True)
        assert shadow.report().failed == 1
    assert "not marked as a shadow's" in caplog.text


def test_the_report_as_a_command(shadow: Shadow, tmp_path: Path) -> None:
    command = ["shadow", "report", "--report", str(tmp_path / "shadow.sqlite3")]
    shadow.compare(USER, 5, **PRINT, allowed=True)
    shadow.report()
    assert CliRunner().invoke(application(), command).exit_code == 0
    shadow.compare(USER, 1_000, **PRINT, allowed=True, request_id="job-9")
    shadow.report()
    shown = CliRunner().invoke(application(), command)
    assert shown.exit_code == 1
    assert "job-9" in shown.stdout
    assert "2 compared, 1 agreed, 0 without an answer, 0 dropped." in shown.stdout
    document = json.loads(CliRunner().invoke(application(), [*command, "--json"]).stdout)
    assert document["differences"][0]["kind"] == "old_allowed"


def test_balances_of_two_databases_are_compared(copy: str, admin: Any, make_database: Any) -> None:
    other = make_database(copy.rpartition("/")[2].partition("?")[0])
    command = ["shadow", "compare", "--old", copy, "--new", other]
    same = CliRunner().invoke(application(), command)
    assert (same.exit_code, same.stdout) == (0, "1 balances compared, 0 differ.\n")
    ask(other, "INSERT INTO credits_transactions (user_id, amount) VALUES (123, -0.005) RETURNING id")
    ask(
        other,
        "WITH org AS (INSERT INTO organizations (id, name) VALUES ('acme', 'Acme') RETURNING id) "
        "SELECT id FROM org",
    )
    ask(other, "SELECT add_credits_to_pool('acme', 7000)")
    found = CliRunner().invoke(application(), [*command, "--json"])
    assert found.exit_code == 1
    assert json.loads(found.stdout)["differences"] == [
        {"kind": "pool", "owner": "acme", "old": None, "new": 7},
        {"kind": "user", "owner": "123", "old": 100, "new": 99.995},
    ]
