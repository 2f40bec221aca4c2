"""Direct SQL and the server through PgBouncer in transaction mode: every transaction on any session."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
import sqlalchemy
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from credit_sdk import AsyncCreditDeductionService, CreditDeductionService, Retries
from credit_sdk.backends.sql import Actor, SqlBackend
from credit_sdk.errors import (
    ConfigurationError,
    InsufficientCreditsError,
    UnavailableError,
)
from credit_sdk.operations import AddMember, Deduct, GetPool
from reference_server.credentials import create_api_key
from reference_server.migrate import MigrationError, migrate
from tests.scaling.conftest import ANN, OFTEN
from tests.scaling.judging import assert_nothing_lost_or_doubled
from tests.scaling.pgbouncer import SERVER_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import MakeDatabase
    from tests.scaling.conftest import MakePgBouncer
    from tests.scaling.pgbouncer import PgBouncer
    from tests.server.conftest import Command, Connection
    from tests.server.test_serving import Serve

API = "/api/v1/org-billing"
PATIENT = Retries(attempts=50, deadline=60, first_wait=0.01, longest_wait=0.2)


REFUSES = pytest.param("", id="refuses settings")
SWALLOWS = pytest.param("extra_float_digits, options", id="swallows settings")


@pytest.fixture(params=[REFUSES, SWALLOWS])
def pgbouncer(
    request: pytest.FixtureRequest,
    make_pgbouncer: MakePgBouncer,
    open_books: Callable[[str], None],
    application_url: str,
    database_url: str,
) -> PgBouncer:
    """A PgBouncer before a database with credits, set up in either way."""
    open_books(database_url)
    return make_pgbouncer(application_url, database_url, ignored=request.param)


@pytest.fixture
def url(pgbouncer: PgBouncer, application_url: str) -> str:
    """The address through it, with the rights of an application."""
    return pgbouncer.url(application_url)


def sessions(admin: Connection, url: str) -> int:
    """How many sessions a database has of a URL's role."""
    known = conninfo_to_dict(url)
    [[count]] = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
        [known["dbname"], known["user"]],
    ).fetchall()
    return int(count)


def test_everything_that_charges(url: str, database_url: str) -> None:
    told = []
    with CreditDeductionService(url, outbox=False) as one, CreditDeductionService(url, outbox=False) as two:
        for number in range(OFTEN):
            for name, billing in (("one", one), ("two", two)):
                receipt = billing.deduct(ANN, 1, service_type="lookup", request_id=f"{name}-{number}")
                again = billing.deduct(ANN, 1, service_type="lookup", request_id=f"{name}-{number}")
                assert (receipt.replayed, again.replayed) == (False, True)
                assert again.charge_id == receipt.charge_id
                hold = billing.hold(ANN, 3, service_type="lookup", request_id=f"{name}-held-{number}")
                told += [receipt.request_id, billing.capture(hold, 2).request_id]
        one.void(one.hold(ANN, 5, service_type="lookup"))
        with pytest.raises(InsufficientCreditsError):
            two.deduct(ANN, 10_000, service_type="lookup")
        payer: dict[str, Any] = {"org_id": ANN.org_id, "user_id": ANN.user_id, "service_type": "bulk"}
        outcomes = one.deduct_many(
            Deduct(**payer, credits=credits, request_id=f"bulk-{credits}") for credits in (1, 2, 5_000)
        )
        told += [outcome.receipt.request_id for outcome in outcomes if outcome.receipt]
        assert one.execute(GetPool(org_id="acme")).used_credits == OFTEN * 2 * (1 + 2) + 3
    assert_nothing_lost_or_doubled(database_url, told)


def test_hundreds_at_once_on_a_few_sessions(url: str, admin: Connection, database_url: str) -> None:
    told: list[str] = []
    most = 0

    async def charge_all() -> None:
        nonlocal most
        async with (
            AsyncCreditDeductionService(url, outbox=False, pool_size=40, timeout=60) as one,
            AsyncCreditDeductionService(url, outbox=False, pool_size=40, timeout=60) as two,
        ):

            async def charge(number: int) -> None:
                nonlocal most
                billing = one if number % 2 else two
                told.append((await billing.deduct(ANN, 1, service_type="load")).request_id)
                most = max(most, sessions(admin, url))

            await asyncio.gather(*map(charge, range(400)))

    asyncio.run(charge_all())
    assert len(told) == 400
    assert 1 <= most <= SERVER_CONNECTIONS
    assert_nothing_lost_or_doubled(database_url, told)


def test_a_restart_in_mid_load_loses_and_doubles_nothing(
    url: str, pgbouncer: PgBouncer, database_url: str
) -> None:
    going_on = threading.Semaphore(0)

    def charge(worker: int) -> list[str]:
        with CreditDeductionService(url, outbox=False, retries=PATIENT) as billing:
            told = []
            for number in range(40):
                receipt = billing.deduct(ANN, 1, service_type="load", request_id=f"{worker}-{number}")
                told.append(receipt.request_id)
                going_on.release()
            return told

    with ThreadPoolExecutor(8) as workers:
        charging = [workers.submit(charge, worker) for worker in range(8)]
        for _ in range(2):
            for _ in range(60):
                assert going_on.acquire(timeout=60)
            pgbouncer.kill()
            pgbouncer.start()
        told = [request_id for each in charging for request_id in each.result()]
    assert len(told) == 320
    assert_nothing_lost_or_doubled(database_url, told)


def test_who_acts_is_forgotten_when_the_session_is_lent_to_others(url: str, database_url: str) -> None:
    ledger = SqlBackend(url)
    for user_id in ("bob", "cid"):
        ada = ledger.on_behalf_of(Actor("ada", "user"))
        ada.execute(AddMember(org_id="acme", user_id=f"{user_id}-of-ada", role="member"))
        ledger.execute(AddMember(org_id="acme", user_id=user_id, role="member"))
    ledger.close()
    with psycopg.connect(database_url) as owner:
        actors = owner.execute(
            "SELECT subject, actor = 'ada', actor = 'ada' OR actor_kind = 'database' FROM audit_log"
            " WHERE action = 'member.created' AND subject ~ '^(bob|cid)' ORDER BY subject"
        ).fetchall()
    assert actors == [
        (name, name.endswith("ada"), True) for name in ("bob", "bob-of-ada", "cid", "cid-of-ada")
    ]


def limit(admin: Connection, url: str, statement_timeout: str) -> None:
    """Give the role of a URL a time-out, which new sessions have."""
    user = str(conninfo_to_dict(url)["user"])
    statement = sql.SQL("ALTER ROLE {} SET statement_timeout = {}")
    admin.execute(statement.format(sql.Identifier(user), sql.Literal(statement_timeout)))
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [user])


def test_time_outs_are_the_roles(
    url: str, admin: Connection, application_url: str, database_url: str
) -> None:
    limit(admin, application_url, "100ms")
    with psycopg.connect(database_url) as locking:
        locking.execute("SELECT FROM user_credit_allocations FOR UPDATE")
        with (
            CreditDeductionService(url, outbox=False, retries=Retries(attempts=1)) as billing,
            pytest.raises(UnavailableError, match="57014"),
        ):
            billing.deduct(ANN, 1, service_type="lookup")
    assert_nothing_lost_or_doubled(database_url, [])


def test_settings_of_the_url_that_would_be_lost_are_refused(url: str) -> None:
    with (
        CreditDeductionService(f"{url}?options=-c%20role%3Dcredits_app", outbox=False) as billing,
        pytest.raises(ConfigurationError, match=r"role=credits_app.*does not pass on"),
    ):
        billing.check(ANN, 1)

    async def check() -> None:
        asked = AsyncCreditDeductionService(f"{url}?options=-c%20role%3Dcredits_app", outbox=False)
        async with asked as billing:
            await billing.check(ANN, 1)

    with pytest.raises(ConfigurationError, match=r"role=credits_app.*does not pass on"):
        asyncio.run(check())


def test_an_engine_of_ones_own_must_not_prepare(url: str, database_url: str) -> None:
    address = url.replace("postgresql://", "postgresql+psycopg://")
    careful = sqlalchemy.create_engine(address, connect_args={"prepare_threshold": None})
    told = []
    with CreditDeductionService(careful, outbox=False) as billing:
        for _ in range(OFTEN):
            told.append(billing.deduct(ANN, 1, service_type="lookup").request_id)
            with careful.begin() as connection:
                charged = billing.within(connection).deduct(ANN, 1, service_type="lookup")
            told.append(charged.request_id)
    careful.dispose()

    careless = sqlalchemy.create_engine(address)
    with (
        careless.connect() as one,
        careless.connect() as two,
        CreditDeductionService(careless, outbox=False) as billing,
    ):

        def check(connection: sqlalchemy.Connection) -> None:
            billing.within(connection).check(ANN, 1)
            connection.commit()

        with pytest.raises(ConfigurationError, match="prepare_threshold"):
            # Each numbers what it prepares from one, and both meet in one session.
            deque(map(check, [one, two] * OFTEN), maxlen=0)
    careless.dispose()
    assert_nothing_lost_or_doubled(database_url, told)


@pytest.mark.parametrize("pgbouncer", [SWALLOWS], indirect=True)
def test_the_server(
    url: str, serve: Serve, admin: Connection, database_url: str, application_url: str
) -> None:
    with psycopg.connect(database_url) as owner:
        key = create_api_key(owner, "load", ["consume_credits"])
    process = serve("--workers", "2", DATABASE_URL=url)
    assert httpx.get(f"{process.base_url}/readyz").status_code == 200

    def charge(worker: int) -> list[str]:
        with CreditDeductionService(process.base_url, api_key=key, outbox=False, retries=PATIENT) as billing:
            return [
                billing.deduct(ANN, 1, service_type="load", request_id=f"{worker}-{number}").request_id
                for number in range(30)
            ]

    with ThreadPoolExecutor(8) as workers:
        told = [request_id for each in workers.map(charge, range(8)) for request_id in each]
    assert 1 <= sessions(admin, application_url) <= SERVER_CONNECTIONS
    code, _, err = process.stop()
    assert (code, err) == (0, "")
    assert_nothing_lost_or_doubled(database_url, told)


@pytest.fixture
def owner_url(make_pgbouncer: MakePgBouncer, database_url: str) -> str:
    """The owner's address through PgBouncer."""
    return make_pgbouncer(database_url).url(database_url)


def test_what_would_lose_its_lock_is_not_begun(
    make_database: MakeDatabase, make_pgbouncer: MakePgBouncer, owner_url: str, tmp_path: Path
) -> None:
    assert migrate(owner_url).applied == ()
    empty = make_database()
    through = make_pgbouncer(empty).url(empty)
    assert migrate(through, dry_run=True).applied
    with pytest.raises(MigrationError, match="the URL of PostgreSQL itself"):
        migrate(through)
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "one.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="the URL of PostgreSQL itself"):
        migrate(through, source=tmp_path)


def test_the_server_does_not_keep_the_owners_rights(
    url: str, application_url: str, database_url: str, admin: Connection, command: Command
) -> None:
    user = sql.Identifier(str(conninfo_to_dict(application_url)["user"]))
    owning = sql.SQL("ALTER TABLE credit_holds OWNER TO {}")
    [[before]] = admin.execute("SELECT current_user").fetchall()
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(owning.format(user))
        code, _, err = command("serve", "--port", "0", DATABASE_URL=url)
        owner.execute(owning.format(sql.Identifier(before)))
    assert (code, len(err.splitlines())) == (1, 1)
    assert "cannot leave those rights behind" in err


def test_the_doctor_sees_it(
    url: str, command: Command, admin: Connection, application_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDIT_SDK_OUTBOX", "off")
    assert "warning  pooler: a pooler is in between" in command("doctor", "--url", url)[1]
    limit(admin, application_url, "10s")
    code, out, _ = command("doctor", "--url", url)
    assert "ok       pooler: one is in between; statements end after 10s." in out
    assert code == 0
