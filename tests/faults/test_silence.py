"""A database that says nothing at all does not keep a caller for ever, and a later call finds it again."""

from collections.abc import Awaitable, Callable, Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    CreditDeductionService,
    OutcomeUnknownError,
    Retries,
    UnavailableError,
)
from credit_sdk.backends import _bounded, sql
from tests.faults.proxy import Mishap, Proxy

ADA = Account(org_id="acme", user_id="ada")
IMPATIENT = {"timeout": 0.3, "retries": Retries(attempts=1), "outbox": False}


@pytest.fixture(autouse=True, params=["psycopg's clock", "our own clock"])
def _impatient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Wait for no longer than the time-out, by the clock of this psycopg and as with one that has none."""
    monkeypatch.setattr(sql, "GRACE_SECONDS", 0.0)
    if request.param == "our own clock":
        monkeypatch.setattr(_bounded, "_Expired", _bounded.SilenceError)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES ('acme', 'ada')")
        owner.execute("SELECT add_credits_to_pool('acme', 1000000)")
        owner.execute("SELECT allocate_credits_to_user('acme', 'ada', 1000000)")
    port = make_url(database_url).port
    assert port is not None
    with Proxy(port, speaks="postgresql") as proxy:
        yield proxy


@pytest.fixture
def url(database_url: str, proxy: Proxy) -> str:
    return make_url(database_url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)


def silence(_: int) -> Mishap:
    return Mishap.SILENCE


BLOCKING: dict[type[Exception], Callable[[CreditDeductionService], object]] = {
    UnavailableError: lambda billing: billing.check(ADA, 5),
    OutcomeUnknownError: lambda billing: billing.deduct(ADA, 5, service_type="export"),
}
AWAITED: dict[type[Exception], Callable[[AsyncCreditDeductionService], Awaitable[object]]] = {
    UnavailableError: lambda billing: billing.check(ADA, 5),
    OutcomeUnknownError: lambda billing: billing.deduct(ADA, 5, service_type="export"),
}


@pytest.mark.parametrize("error", BLOCKING)
def test_a_blocking_call_ends_without_an_answer(url: str, proxy: Proxy, error: type[Exception]) -> None:
    with CreditDeductionService(url, **IMPATIENT) as billing:
        assert billing.check(ADA, 5)
        proxy.on_request = silence
        with pytest.raises(error):
            BLOCKING[error](billing)
        proxy.heal()
        assert billing.check(ADA, 5)


@pytest.mark.anyio
@pytest.mark.parametrize("error", AWAITED)
async def test_an_awaited_call_ends_without_an_answer(url: str, proxy: Proxy, error: type[Exception]) -> None:
    async with AsyncCreditDeductionService(url, **IMPATIENT) as billing:
        assert await billing.check(ADA, 5)
        proxy.on_request = silence
        with pytest.raises(error):
            await AWAITED[error](billing)
        proxy.heal()
        assert await billing.check(ADA, 5)


def test_a_statement_ends_without_an_answer(url: str, proxy: Proxy) -> None:
    backend = sql.SqlBackend(url, pool_size=1, timeout=0.3)
    assert backend.ask("SELECT $1::int + 1", 1) == 2
    proxy.on_request = silence
    with pytest.raises(OutcomeUnknownError, match="did not answer in time"):
        backend.ask("SELECT 1")
    proxy.heal()
    assert backend.ask("SELECT 1") == 1
    backend.close()


@pytest.mark.anyio
async def test_an_awaited_statement_ends_without_an_answer(url: str, proxy: Proxy) -> None:
    backend = sql.AsyncSqlBackend(url, pool_size=1, timeout=0.3)
    assert await backend.ask("SELECT $1::int + 1", 1) == 2
    proxy.on_request = silence
    with pytest.raises(OutcomeUnknownError, match="did not answer in time"):
        await backend.ask("SELECT 1")
    proxy.heal()
    assert await backend.ask("SELECT 1") == 1
    await backend.close()
