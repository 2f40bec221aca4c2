"""Databases from before the user ledger: balances that had no history."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING

import psycopg
import pytest

import reference_server
from reference_server.migrate import MigrationError, migrate

if TYPE_CHECKING:
    from collections.abc import Callable

SQL = Path(reference_server.__file__).with_name("sql")
FIRST = "0006_user_ledger.sql"


@pytest.fixture
def earlier(make_database: Callable[[], str], tmp_path: Path) -> str:
    """The URL of a database as it was before the user ledger, without functions."""
    source = tmp_path / "sql"
    copytree(SQL / "migrations", source / "migrations")
    for migration in (source / "migrations").iterdir():
        if migration.name >= FIRST:
            migration.unlink()
    url = make_database()
    migrate(url, source=source)
    return url


def test_what_a_user_had_becomes_the_first_transaction(earlier: str) -> None:
    with psycopg.connect(earlier, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO users (id, subject, email, credits)"
            " VALUES (7, 'ann', 'ann@example.com', 12.5), (8, 'bob', 'bob@example.com', 0)"
        )
        migrate(earlier)
        rows = owner.execute("SELECT user_id, amount, balance_after FROM credits_transactions").fetchall()
        assert [tuple(map(float, row)) for row in rows] == [(7, 12.5, 12.5)]
        owner.execute("INSERT INTO credits_transactions (user_id, amount) VALUES (7, -12.5)")
        found = owner.execute("SELECT ledger.verify_ledger() -> 'differences'").fetchone()
        assert found == ([],)


def test_a_subject_that_is_another_users_number_stops_the_migration(earlier: str) -> None:
    with psycopg.connect(earlier, autocommit=True) as owner:
        owner.execute("INSERT INTO users (id, subject, email) VALUES (7, '8', 'ann@example.com')")
    with pytest.raises(MigrationError, match="users_subject_is_nobodys_id"):
        migrate(earlier)
