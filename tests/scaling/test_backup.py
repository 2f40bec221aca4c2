"""A dump that was taken while everybody charged restores to books that balance."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from credit_sdk import CreditDeductionService
from credit_sdk.operations import Seal
from reference_server.embedded import EmbeddedPostgresError
from reference_server.embedded.binaries import find_binaries
from tests.scaling.conftest import ANN
from tests.scaling.judging import charged
from tests.scaling.loading import asking, under_load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeDatabase
    from tests.server.conftest import Command


@pytest.fixture
def programs() -> Path:
    """Where `pg_dump` and `pg_restore` are."""
    try:
        folder = find_binaries()
    except EmbeddedPostgresError:
        folder = None
    if folder is None or not (folder / "pg_dump").exists() or not (folder / "pg_restore").exists():
        pytest.skip("pg_dump and pg_restore are missing here: these tests dump and restore")
    return folder


@pytest.fixture
def restored_url(
    *,
    programs: Path,
    open_books: Callable[[str], None],
    make_database: MakeDatabase,
    database_url: str,
    application_url: str,
    tmp_path: Path,
) -> str:
    """A database restored from a dump of one that was charged and sealed all the time."""
    open_books(database_url)
    dump = tmp_path / "books.dump"
    with CreditDeductionService(database_url, outbox=False) as owner, under_load(application_url) as load:

        def seal() -> None:
            owner.execute(Seal())

        owner.deduct(ANN, 1, service_type="lookup", request_id="before")
        with asking(seal):
            load.go_on(100)
            command = [programs / "pg_dump", "--format=custom", f"--file={dump}", database_url]
            subprocess.run(command, check=True)
            load.go_on(100)
    restored = make_database()
    command = [programs / "pg_restore", f"--dbname={restored}", "--exit-on-error", dump]
    subprocess.run(command, check=True)
    return restored


def test_a_dump_taken_under_load_restores_to_books_that_balance(
    restored_url: str, database_url: str, command: Command
) -> None:
    code, out, _ = command("verify", "--database-url", restored_url)
    assert (code, out.count("the books agree."), out.count("the chains fit.")) == (0, 1, 1)
    before, kept = charged(database_url), charged(restored_url)
    assert 100 <= kept.total() < before.total()
    assert kept <= before
    with psycopg.connect(restored_url) as owner:
        [[sealed]] = owner.execute("SELECT sequence FROM ledger_heads").fetchall()
    assert sealed > 0

    # It is no picture: replays are replays, charges go on, and the chain grows.
    with CreditDeductionService(restored_url, outbox=False) as billing:
        assert billing.deduct(ANN, 1, service_type="lookup", request_id="before").replayed
        assert not billing.deduct(ANN, 1, service_type="lookup", request_id="after").replayed
        billing.execute(Seal(org_id=ANN.org_id))
    assert command("verify", "--database-url", restored_url)[0] == 0
