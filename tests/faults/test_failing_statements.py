"""PostgreSQL gives a statement up: what was undone is sent again, and charged once or not at all."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    CreditDeductionService,
    CreditError,
    OutcomeUnknownError,
    Retries,
    UnavailableError,
)
from credit_sdk.backends import sql as sql_backend

ADA = Account(org_id="acme", user_id="ada")
ATTEMPTS = 3
QUICK = {"retries": Retries(attempts=ATTEMPTS, first_wait=0.001, longest_wait=0.005), "outbox": False}
Owner = psycopg.Connection[tuple[object, ...]]

UNDONE = {
    "serialization failure": "40001",
    "deadlock": "40P01",
    "lock time-out": "55P03",
    "statement time-out": "57014",
    "disk full": "53100",
    "out of memory": "53200",
    "too many connections": "53300",
}
UNKNOWN = {"session terminated": "57P01", "crash": "57P02", "disk error": "58030"}

FAILING = """
CREATE SEQUENCE failures;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A sequence is not undone with the transaction, so that it counts what failed.
    IF nextval('public.failures') <= {times} THEN
        RAISE EXCEPTION 'planned' USING ERRCODE = {state};
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail AFTER INSERT ON credit_usage_attribution FOR EACH ROW EXECUTE FUNCTION fail();
"""


@pytest.fixture
def owner(database_url: str) -> Iterator[Owner]:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES ('acme', 'ada')")
        owner.execute("SELECT add_credits_to_pool('acme', 100000)")
        owner.execute("SELECT allocate_credits_to_user('acme', 'ada', 100000)")
        yield owner


def fail(owner: Owner, state: str, times: int) -> None:
    """Let the first charges fail at the very end of their transaction's work."""
    owner.execute(sql.SQL(FAILING).format(times=sql.Literal(times), state=sql.Literal(state)))


def charged(owner: Owner) -> list[object]:
    owner.execute("SELECT ledger.verify_ledger('acme')")
    return [row[0] for row in owner.execute("SELECT credits_used FROM credit_usage_attribution").fetchall()]


def failures(owner: Owner) -> object:
    [row] = owner.execute("SELECT last_value FROM failures").fetchall()
    return row[0]


STATES = UNDONE | UNKNOWN
NEW_ID = "ledger.new_request_id()"


@pytest.mark.anyio
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
async def test_what_fails_in_passing_is_charged_once(database_url: str, owner: Owner, state: str) -> None:
    fail(owner, state, ATTEMPTS - 1)
    with CreditDeductionService(database_url, **QUICK) as billing:
        assert billing.deduct(ADA, 5, service_type="export").credits_used == 5
    assert (charged(owner), failures(owner)) == ([5_000], ATTEMPTS)
    owner.execute("SELECT setval('failures', 1, false)")
    async with AsyncCreditDeductionService(database_url, **QUICK) as awaiting:
        assert (await awaiting.deduct(ADA, 6, service_type="export")).credits_used == 6
    assert (charged(owner), failures(owner)) == ([5_000, 6_000], ATTEMPTS)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_what_fails_for_good_takes_nothing_and_is_named(database_url: str, owner: Owner, state: str) -> None:
    fail(owner, state, 1_000)
    # An outcome is only called definite after an error that undoes the transaction for certain.
    expected: type[CreditError] = UnavailableError if state in UNDONE.values() else OutcomeUnknownError
    with CreditDeductionService(database_url, **QUICK) as billing, pytest.raises(expected) as caught:
        billing.deduct(ADA, 5, service_type="export")
    assert type(caught.value) is expected
    assert (charged(owner), failures(owner)) == ([], ATTEMPTS)


def test_a_lock_that_is_let_go_is_waited_for(database_url: str, owner: Owner) -> None:
    impatient = make_url(database_url).update_query_dict({"options": "-c lock_timeout=50"})
    with psycopg.connect(database_url) as blocker:
        blocker.execute("SELECT FROM user_credit_allocations FOR UPDATE")
        with CreditDeductionService(impatient.render_as_string(hide_password=False), **QUICK) as billing:
            with pytest.raises(UnavailableError, match="55P03"):
                billing.deduct(ADA, 5, service_type="export", request_id="job-7")
            assert charged(owner) == []
            blocker.rollback()
            assert billing.deduct(ADA, 5, service_type="export", request_id="job-7").credits_used == 5
    assert charged(owner) == [5_000]


def test_a_pool_that_is_used_up_takes_nothing(
    database_url: str, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_backend, "POOL_TIMEOUT_SECONDS", 0.05)
    backend = sql_backend.SqlBackend(database_url, pool_size=1)
    with CreditDeductionService(database_url, **QUICK) as billing:
        billing._till.connections.lasting_backend = backend
        lender = backend._lenders.get()
        lent = lender.lend()
        with pytest.raises(UnavailableError, match="All connections"):
            billing.deduct(ADA, 5, service_type="export", request_id="job-7")
        assert charged(owner) == []
        lender.take_back(lent)
        assert billing.deduct(ADA, 5, service_type="export", request_id="job-7").credits_used == 5
    assert charged(owner) == [5_000]


def test_a_database_that_forgets_request_ids_is_noticed(database_url: str, owner: Owner) -> None:
    """The control of this file: what makes a charge one is taken out of the function."""
    [[definition]] = owner.execute("SELECT pg_get_functiondef('ledger.deduct'::regproc)").fetchall()
    forgetful = str(definition).replace("coalesce(deduct.request_id, ledger.new_request_id())", NEW_ID)
    assert forgetful != definition
    with CreditDeductionService(database_url, **QUICK) as billing:
        for planted, expected in ((str(definition), [5_000]), (forgetful, [5_000, 5_000, 5_000])):
            owner.execute(planted.encode())
            for _ in range(2):
                billing.deduct(ADA, 5, service_type="export", request_id="job-7")
            assert charged(owner) == expected
