"""Calls on psycopg's protocol layer: prepared once each, and sent as they are where that is lost."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from credit_sdk import Account, ConfigurationError, CreditDeductionService, Retries, UnavailableError
from credit_sdk.backends._books import Reply
from credit_sdk.backends._exchanges import Exchanges
from credit_sdk.backends._postgres_errors import connection_error
from credit_sdk.backends._statements import Call
from credit_sdk.operations import Deduct

ADA = Account(org_id="acme", user_id="ada")
ONCE = Retries(attempts=1)
OFTEN = 8
"""More often than psycopg waits for before it prepares."""
PREPARED = b"SELECT count(*) FROM pg_prepared_statements WHERE starts_with(name, 'credit_sdk')"
ENDING = b"SELECT pg_terminate_backend(pg_backend_pid()) AND $1 = 0, pg_sleep(9)"
Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(postgres_url: str) -> Iterator[Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def engine(funded_url: str) -> Iterator[Engine]:
    address = funded_url.replace("postgresql:", "postgresql+psycopg:", 1)
    engine = create_engine(address, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def prepared(connection: Connection) -> int:
    [row] = connection.execute(PREPARED, prepare=False).fetchall()
    return int(row[0])


def ask(connection: Connection, exchanges: Exchanges, statement: bytes, *parameters: object) -> Any:
    return reply_of(connection, exchanges, statement, *parameters).row


def reply_of(connection: Connection, exchanges: Exchanges, statement: bytes, *parameters: object) -> Reply:
    reply = None
    while reply is None:
        reply = exchanges.read(connection.wait(exchanges.send(Call(statement, parameters))))
    return reply


def test_a_statement_is_prepared_once_it_is_used_often(connection: Connection) -> None:
    exchanges = Exchanges(connection)
    assert connection.prepare_threshold
    for number in range(OFTEN):
        assert ask(connection, exchanges, b"SELECT $1::int, 'one'", number) == (number, "one")
        assert prepared(connection) == (number >= connection.prepare_threshold)
    for number in range(OFTEN):
        assert ask(connection, exchanges, b"SELECT $1::text", str(number)) == (str(number),)
    assert prepared(connection) == 2


def test_nothing_is_prepared_where_the_connection_may_not(connection: Connection) -> None:
    connection.prepare_threshold = None
    exchanges = Exchanges(connection)
    for number in range(OFTEN):
        assert ask(connection, exchanges, b"SELECT $1::int", number) == (number,)
    assert prepared(connection) == 0


def test_what_was_prepared_and_forgotten_is_asked_as_it_is(connection: Connection) -> None:
    exchanges = Exchanges(connection)
    for number in range(2 * OFTEN):
        if number == OFTEN:
            connection.execute("DEALLOCATE ALL")
        assert ask(connection, exchanges, b"SELECT $1::int", number) == (number,)
    assert prepared(connection) == 0


def test_a_function_that_answers_more_than_before_is_asked_as_it_is(connection: Connection) -> None:
    exchanges = Exchanges(connection)
    connection.execute("CREATE TEMP TABLE answers AS SELECT 1 AS one")
    statement = b"SELECT * FROM answers"
    for _ in range(OFTEN):
        assert ask(connection, exchanges, statement) == (1,)
    connection.execute("ALTER TABLE answers ADD COLUMN two int DEFAULT 2")
    reply = reply_of(connection, exchanges, statement)
    assert (reply.columns, reply.row) == (("one", "two"), (1, 2))


def test_nothing_that_failed_within_a_transaction_is_sent_again(connection: Connection) -> None:
    exchanges = Exchanges(connection)
    for number in range(OFTEN):
        ask(connection, exchanges, b"SELECT $1::int", number)
    connection.execute("DEALLOCATE ALL")
    connection.execute("BEGIN")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        ask(connection, exchanges, b"SELECT $1::int", 1)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (b"SELECT 1 / $1::int", psycopg.errors.DivisionByZero),
        (b"SELECT nonsense($1)", psycopg.errors.UndefinedFunction),
        (ENDING, psycopg.errors.AdminShutdown),
    ],
)
def test_errors_are_those_of_a_cursor(
    connection: Connection, statement: bytes, error: type[psycopg.Error]
) -> None:
    with pytest.raises(error):
        ask(connection, Exchanges(connection), statement, 0)


def test_a_connection_that_is_closed_is_lost(connection: Connection) -> None:
    exchanges = Exchanges(connection)
    connection.close()
    with pytest.raises(psycopg.OperationalError) as caught:
        ask(connection, exchanges, b"SELECT 1")
    assert caught.value.sqlstate is None


def test_services_share_what_is_prepared_on_an_applications_connection(engine: Engine) -> None:
    for _ in range(2):
        with CreditDeductionService(engine, retries=ONCE, outbox=False) as billing:
            for _ in range(OFTEN):
                billing.deduct(ADA, 1, service_type="x")
    with engine.connect() as connection:
        assert connection.exec_driver_sql(PREPARED.decode()).scalar() == 1


def test_an_application_that_discards_its_sessions_is_charged_all_the_same(engine: Engine) -> None:
    @event.listens_for(engine, "reset")
    def discard(driver: Any, *_: object) -> None:
        driver.rollback()
        driver.autocommit = True
        driver.execute("DISCARD ALL")
        driver.autocommit = False

    with CreditDeductionService(engine, retries=ONCE, outbox=False) as billing:
        left = [billing.deduct(ADA, 1, service_type="x").remaining for _ in range(OFTEN)]
    assert left == [999 - number for number in range(OFTEN)]


def test_a_connection_that_is_lent_in_a_transaction_is_refused(engine: Engine) -> None:
    @event.listens_for(engine, "checkout")
    def begin(driver: Any, *_: object) -> None:
        driver.execute("SELECT 1")

    with CreditDeductionService(engine, retries=ONCE, outbox=False) as billing:
        with pytest.raises(ConfigurationError):
            billing.deduct(ADA, 1, service_type="x")
        event.remove(engine, "checkout", begin)
        assert billing.deduct(ADA, 1, service_type="x").remaining == 999


@pytest.mark.parametrize("note", ["plain", "é", "€"])
def test_a_batch_is_sent_in_whatever_encoding_a_connection_has(funded_url: str, note: str) -> None:
    address = funded_url.replace("postgresql:", "postgresql+psycopg:", 1)
    engine = create_engine(address, connect_args={"client_encoding": "latin1"})
    charge = Deduct(
        org_id="acme", user_id="ada", credits=Decimal(1), service_type="x", request_metadata={"note": note}
    )
    with CreditDeductionService(engine, retries=ONCE, outbox=False) as billing:
        [outcome] = billing.deduct_many([charge])
    engine.dispose()
    assert outcome.receipt is not None
    with CreditDeductionService(funded_url, outbox=False) as billing:
        [kept] = billing.charges("acme")
    assert kept.request_metadata == {"note": note}


def test_what_sqlalchemy_wraps_on_a_first_connection_is_unwrapped() -> None:
    """It asks a new database about itself, which may be lost as any connection."""
    lost = psycopg.OperationalError("server closed the connection unexpectedly")
    wrapped = DBAPIError.instance("SELECT 1", None, lost, psycopg.Error)
    assert isinstance(wrapped, DBAPIError)
    assert type(connection_error(wrapped, "host")) is UnavailableError
