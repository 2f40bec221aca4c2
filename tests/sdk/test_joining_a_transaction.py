"""Work and charge in one transaction of the application's own: both are kept, or neither."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ChargePolicy,
    ConfigurationError,
    CreditDeductionService,
    InsufficientCreditsError,
    MemoryLedger,
)

pytestmark = pytest.mark.anyio
ADA = Account(org_id="acme", user_id="ada")
WORK = "INSERT INTO work VALUES ('done')"


@pytest.fixture
def url(funded_url: str) -> str:
    with psycopg.connect(funded_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE work (state text)")
    return funded_url


@pytest.fixture
def billing(url: str) -> Iterator[CreditDeductionService]:
    with CreditDeductionService(url) as service:
        yield service


def books(billing: CreditDeductionService, url: str) -> tuple[int, int]:
    """Return what is left, and how much work was kept."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM work").fetchone()
    assert row is not None
    return int(billing.check(ADA, 1).remaining_credits), row[0]


def charge_and_work(billing: CreditDeductionService, url: str, way: str, *, commit: bool) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    match way:
        case "psycopg":
            with psycopg.connect(url) as connection:
                with billing.within(connection).charge(ADA, 50, service_type="x"):
                    connection.execute(WORK)
                connection.commit() if commit else connection.rollback()
        case "sqlalchemy connection":
            with engine.connect() as joined:
                with billing.within(joined).charge(ADA, 50, service_type="x"):
                    joined.execute(text(WORK))
                joined.commit() if commit else joined.rollback()
        case _:
            with Session(engine) as session:
                with billing.within(session).charge(ADA, 50, service_type="x"):
                    session.execute(text(WORK))
                session.commit() if commit else session.rollback()
    engine.dispose()


@pytest.mark.parametrize("way", ["psycopg", "sqlalchemy connection", "sqlalchemy session"])
def test_work_and_charge_are_kept_or_undone_together(
    billing: CreditDeductionService, url: str, way: str
) -> None:
    charge_and_work(billing, url, way, commit=False)
    assert books(billing, url) == (1_000, 0)
    charge_and_work(billing, url, way, commit=True)
    assert books(billing, url) == (950, 1)


def test_a_refusal_leaves_the_transaction_usable(billing: CreditDeductionService, url: str) -> None:
    with psycopg.connect(url) as connection:
        with pytest.raises(InsufficientCreditsError):
            billing.within(connection).deduct(ADA, 1_001, service_type="x")
        billing.within(connection).deduct(ADA, 10, service_type="x")
        connection.execute(WORK)
    assert books(billing, url) == (990, 1)


def test_a_service_that_joins_keeps_its_policy(url: str) -> None:
    policy = ChargePolicy(on_early_end="charge")
    with CreditDeductionService(url, policy=policy) as billing:
        with psycopg.connect(url) as connection:

            @billing.within(connection).billable("bulk_export", cost=lambda records: 5 * records, estimate=50)
            def records(account: Account) -> Iterator[int]:
                yield 1
                yield 2

            stream = records(ADA)
            assert next(stream) == 1
            stream.close()  # type: ignore[attr-defined]  # a generator, typed as an iterator
        assert books(billing, url) == (995, 0)


async def test_the_async_service_joins_too(billing: CreditDeductionService, url: str) -> None:
    engine = create_async_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    async with AsyncCreditDeductionService(url) as service:
        async with (
            await psycopg.AsyncConnection.connect(url) as connection,
            service.within(connection).charge(ADA, 50, service_type="x"),
        ):
            await connection.execute(WORK)
        async with AsyncSession(engine) as session:
            async with service.within(session).charge(ADA, 50, service_type="x"):
                await session.execute(text(WORK))
            await session.commit()
        async with engine.connect() as joined:
            async with service.within(joined).charge(ADA, 50, service_type="x"):
                await joined.execute(text(WORK))
            await joined.rollback()
    await engine.dispose()
    assert books(billing, url) == (900, 2)


def test_there_must_be_a_transaction_to_join(billing: CreditDeductionService, url: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(ConfigurationError, match="autocommit"),
    ):
        billing.within(connection).deduct(ADA, 1, service_type="x")


def test_only_a_database_can_be_joined(url: str) -> None:
    with psycopg.connect(url) as connection, pytest.raises(ConfigurationError, match="database URL"):
        CreditDeductionService(MemoryLedger()).within(connection).deduct(ADA, 1, service_type="x")


def test_a_transaction_that_has_failed_cannot_be_joined(billing: CreditDeductionService, url: str) -> None:
    with psycopg.connect(url) as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1 / 0")
        with pytest.raises(ConfigurationError, match="cannot be joined"):
            billing.within(connection).deduct(ADA, 1, service_type="x")


def test_an_engine_in_autocommit_mode_cannot_be_joined(billing: CreditDeductionService, url: str) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, pytest.raises(ConfigurationError):
        billing.within(connection).deduct(ADA, 1, service_type="x")
    engine.dispose()
