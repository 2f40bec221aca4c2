"""The schema moves on to a later version while callers charge, in SQL and through a server."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

import reference_server
from credit_sdk import AsyncCreditDeductionService, CreditDeductionService, Retries
from reference_server import migrate as migrating
from reference_server.credentials import create_api_key
from reference_server.migrate import migrate
from tests.scaling.conftest import ANN, OFTEN
from tests.scaling.judging import assert_nothing_lost_or_doubled
from tests.scaling.loading import asking, under_load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.test_serving import Serve

# What a later version may do to what every charge and hold uses.
LATER = """
    ALTER TYPE ledger.receipt ADD ATTRIBUTE region TEXT CASCADE;
    ALTER TYPE ledger.hold ADD ATTRIBUTE region TEXT CASCADE;
    ALTER TABLE user_credit_allocations ADD COLUMN region TEXT;
    ALTER TABLE credit_holds ADD COLUMN region TEXT NOT NULL DEFAULT 'eu';
    CREATE INDEX credit_usage_attribution_of_region ON credit_usage_attribution (org_id, service_name);
"""
OVERTAKEN = {"0A000", "42804", "42846", "XX000"}


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The SQL of a later version, whose functions answer one more field."""
    folder = tmp_path / "sql"
    shutil.copytree(Path(reference_server.__file__).parent / "sql", folder)
    (folder / "migrations" / "0999_region.sql").write_text(LATER)
    for function in (folder / "functions").glob("*.sql"):
        text = re.sub(r"\n *\)::ledger\.(receipt|hold)\b", r", 'eu')::ledger.\1", function.read_text())
        function.write_text(text)
    return folder


def test_no_charge_fails(
    serve: Serve,
    open_books: Callable[[str], None],
    later: Path,
    database_url: str,
    application_url: str,
) -> None:
    open_books(database_url)
    with psycopg.connect(database_url) as owner:
        key = create_api_key(owner, "load", ["consume_credits"])
    process = serve(DATABASE_URL=application_url)
    readiness: list[int] = []

    def ask_readiness() -> None:
        readiness.append(httpx.get(f"{process.base_url}/readyz", timeout=60).status_code)

    with (
        under_load(application_url) as in_sql,
        under_load(process.base_url, api_key=key) as over_http,
        asking(ask_readiness),
    ):
        loads = (in_sql, over_http)
        for load in loads:
            load.go_on(50)
        assert migrate(database_url, source=later).applied == ("0999_region.sql",)
        for load in loads:
            load.go_on(50)
    assert set(readiness) == {200}
    assert_nothing_lost_or_doubled(database_url, in_sql.receipts + over_http.receipts)
    with psycopg.connect(database_url) as owner:
        regions = owner.execute("SELECT DISTINCT region FROM credit_holds").fetchall()
    assert regions == [("eu",)]
    code, _, err = process.stop()
    assert code == 0
    # What was overtaken was sent again; nobody met two versions at once.
    assert set(re.findall(r"SQLSTATE (\w+)", err)) <= OVERTAKEN


def test_charges_wait_only_for_as_long_as_the_migration_waits(
    open_books: Callable[[str], None], later: Path, database_url: str, application_url: str
) -> None:
    """A transaction that stays open keeps the migration away, and the migration lets charges through."""
    open_books(database_url)
    (later / "migrations" / "0998_soon.sql").write_text("SET LOCAL lock_timeout = '50ms';")
    pauses: list[int] = []
    with (
        under_load(application_url) as load,
        psycopg.connect(database_url) as forgetful,
        pytest.MonkeyPatch.context() as patch,
    ):

        def let_through(_: float) -> None:
            load.go_on(20)
            pauses.append(len(load.receipts))
            if len(pauses) == 2:
                forgetful.rollback()

        forgetful.execute("SELECT FROM credit_holds LIMIT 1")
        patch.setattr(migrating.time, "sleep", let_through)
        migrate(database_url, source=later)
        load.go_on(20)
    assert len(pauses) == 2
    assert_nothing_lost_or_doubled(database_url, load.receipts)


def test_what_was_prepared_before_is_not_held_against_the_migration(
    open_books: Callable[[str], None], later: Path, database_url: str, application_url: str
) -> None:
    open_books(database_url)
    once: dict[str, Any] = {"outbox": False, "retries": Retries(attempts=1), "pool_size": 1}

    async def charge_on_both_sides() -> None:
        async with AsyncCreditDeductionService(application_url, **once) as billing:
            for number in range(OFTEN):
                await billing.deduct(ANN, 1, service_type="lookup", request_id=f"async-{number}")
            migrate(database_url, source=later)
            await billing.deduct(ANN, 1, service_type="lookup", request_id="async-after")

    with CreditDeductionService(application_url, **once) as billing:
        for number in range(OFTEN):
            billing.deduct(ANN, 1, service_type="lookup", request_id=f"sync-{number}")
        asyncio.run(charge_on_both_sides())
        billing.deduct(ANN, 1, service_type="lookup", request_id="sync-after")
