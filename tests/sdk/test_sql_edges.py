"""A database that is away, closed, empty or not a database at all: one clear error each, never a secret."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ConfigurationError,
    CreditDeductionService,
    CreditError,
    OutcomeUnknownError,
    Retries,
    SchemaMissingError,
    UnavailableError,
    UnexpectedResponseError,
)
from credit_sdk.backends import sql

pytestmark = pytest.mark.anyio
ONCE = Retries(attempts=1)
ADA = Account(org_id="acme", user_id="ada")


def error_of(url: str) -> CreditError:
    with CreditDeductionService(url, retries=ONCE) as billing, pytest.raises(CreditError) as caught:
        billing.check(ADA, 1)
    return caught.value


async def async_error_of(url: str) -> CreditError:
    async with AsyncCreditDeductionService(url, retries=ONCE) as billing:
        with pytest.raises(CreditError) as caught:
            await billing.check(ADA, 1)
    return caught.value


@pytest.fixture
def speaks_http() -> Iterator[int]:
    """A server that answers whatever it is told with HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.recv(1024)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

    threading.Thread(target=answer, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture
def nobody_listens() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def with_part(url: str, **parts: str) -> str:
    return urlsplit(url)._replace(**parts).geturl()


async def test_an_unreachable_host_is_unavailable(nobody_listens: int) -> None:
    url = f"postgresql://user:hunter2@127.0.0.1:{nobody_listens}/books"
    for error in (error_of(url), await async_error_of(url)):
        assert type(error) is UnavailableError
        assert str(nobody_listens) in error.detail
        assert "hunter2" not in repr(error)


async def test_a_server_that_is_not_postgresql_is_called_so(speaks_http: int) -> None:
    url = f"postgresql://user:hunter2@127.0.0.1:{speaks_http}/books"
    for error in (error_of(url), await async_error_of(url)):
        assert type(error) is UnexpectedResponseError
        assert "is not PostgreSQL" in error.detail


async def test_a_wrong_password_is_called_so(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    wrong = with_part(postgres_url, netloc=f"{parts.username}:hunter2@{parts.hostname}:{parts.port}")
    for error in (error_of(wrong), await async_error_of(wrong)):
        assert type(error) is ConfigurationError
        assert "user or password" in error.detail
        assert "hunter2" not in repr(error)


async def test_a_missing_database_is_called_so(postgres_url: str) -> None:
    url = with_part(postgres_url, path="/there_is_none")
    for error in (error_of(url), await async_error_of(url)):
        assert type(error) is ConfigurationError
        assert "no such database" in error.detail


async def test_a_database_without_the_schema_says_how_to_make_it(make_database: Callable[[], str]) -> None:
    url = make_database()
    for error in (error_of(url), await async_error_of(url)):
        assert type(error) is SchemaMissingError
        assert "credits migrate" in error.detail


@pytest.mark.parametrize(
    "url", ["mysql://host/db", "sqlite:///books.db", "postgresql://host:port/db", "books"]
)
def test_an_address_of_something_else_is_refused_before_anything_is_opened(url: str) -> None:
    with pytest.raises(ConfigurationError):
        CreditDeductionService(url)


def test_an_engine_of_another_driver_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="asyncpg"):
        AsyncCreditDeductionService(create_async_engine("postgresql+asyncpg://host/db"))


def test_an_engine_of_the_applications_own_is_used_and_left_open(funded_url: str) -> None:
    engine = create_engine(funded_url.replace("postgresql:", "postgresql+psycopg:", 1), pool_size=1)
    with CreditDeductionService(engine) as billing:
        assert billing.deduct(ADA, 10, service_type="x").remaining == 990
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.autocommit is False
    engine.dispose()


async def test_an_async_engine_of_the_applications_own_is_used_and_left_open(funded_url: str) -> None:
    engine = create_async_engine(funded_url.replace("postgresql:", "postgresql+psycopg:", 1), pool_size=1)
    async with AsyncCreditDeductionService(engine) as billing:
        assert (await billing.deduct(ADA, 10, service_type="x")).remaining == 990
    async with engine.connect() as connection:
        assert (await connection.get_raw_connection()).driver_connection is not None
    await engine.dispose()


def test_a_session_that_was_ended_is_replaced_and_the_charge_taken_once(funded_url: str) -> None:
    with CreditDeductionService(funded_url, retries=Retries(first_wait=0.001)) as billing:
        billing.check(ADA, 1)
        with psycopg.connect(funded_url, autocommit=True) as owner:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'credit-sdk' AND datname = current_database()"
            )
        assert billing.deduct(ADA, 10, service_type="x", request_id="r-1").remaining == 990
        assert billing.deduct(ADA, 10, service_type="x", request_id="r-1").replayed


def test_a_session_ended_in_mid_statement_leaves_an_unknown_outcome(funded_url: str) -> None:
    with (
        psycopg.connect(funded_url) as blocker,
        psycopg.connect(funded_url, autocommit=True) as owner,
        CreditDeductionService(funded_url, retries=ONCE) as billing,
    ):
        blocker.execute("SELECT FROM user_credit_allocations FOR UPDATE")
        errors: list[CreditError] = []

        def deduct() -> None:
            try:
                billing.deduct(ADA, 10, service_type="x", request_id="r-1")
            except CreditError as error:
                errors.append(error)

        thread = threading.Thread(target=deduct)
        thread.start()
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while (row := owner.execute(waiting).fetchone()) is None:
            """Wait until the charge waits for the blocker."""
        owner.execute("SELECT pg_terminate_backend(%s)", row)
        thread.join()
    assert [type(error) for error in errors] == [OutcomeUnknownError]


def test_a_forked_child_makes_connections_of_its_own(funded_url: str) -> None:
    with CreditDeductionService(funded_url) as billing:
        billing.deduct(ADA, 1, service_type="x")
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    for _ in range(10):
                        billing.deduct(ADA, 1, service_type="x")
                    status = 0
                finally:
                    os._exit(status)
            children.append(child)
        for _ in range(10):
            billing.deduct(ADA, 1, service_type="x")
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
        assert billing.check(ADA, 1).remaining_credits == 1_000 - 41


def test_threads_share_one_pool(funded_url: str) -> None:
    with CreditDeductionService(funded_url, pool_size=4) as billing:
        threads = [
            threading.Thread(target=lambda: [billing.deduct(ADA, 1, service_type="x") for _ in range(5)])
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert billing.check(ADA, 1).remaining_credits == 900


class Interrupted(BaseException):
    """What a signal handler raises, as time limits of task queues do."""


def test_an_interrupted_charge_does_not_spoil_the_pool(funded_url: str) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with (
            psycopg.connect(funded_url) as blocker,
            CreditDeductionService(funded_url, pool_size=1) as billing,
        ):
            blocker.execute("SELECT FROM user_credit_allocations FOR UPDATE")
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted):
                billing.deduct(ADA, 10, service_type="x", request_id="r-1")
            blocker.rollback()
            # The interrupted charge may have been taken; asking again under its id finds out.
            assert billing.deduct(ADA, 10, service_type="x", request_id="r-1").remaining == 990
            assert billing.check(ADA, 1).remaining_credits == 990
    finally:
        signal.signal(signal.SIGALRM, before)


async def test_a_statement_that_takes_too_long_is_given_up(funded_url: str) -> None:
    with psycopg.connect(funded_url) as blocker:
        blocker.execute("SELECT FROM user_credit_allocations FOR UPDATE")
        billing = CreditDeductionService(funded_url, timeout=0.2, retries=ONCE)
        with billing, pytest.raises(UnavailableError, match="57014"):
            billing.deduct(ADA, 10, service_type="x")
        service = AsyncCreditDeductionService(funded_url, timeout=0.2, retries=ONCE)
        with pytest.raises(UnavailableError, match="57014"):
            await service.deduct(ADA, 10, service_type="x")
        await service.close()


class Proxy:
    """Stands between clients and PostgreSQL, whose answers it keeps back while `speaking` is clear.

    It hangs up in the end, lest a client that waits for ever makes a test that does.
    """

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self.speaking = threading.Event()
        self.speaking.set()
        self._listener = listener
        self._target = target
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        always = threading.Event()
        always.set()
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for way in ((client, server, always), (server, client, self.speaking)):
                    threading.Thread(target=self._pass_on, args=way, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, speaking: threading.Event) -> None:
        with contextlib.suppress(OSError), source, sink:
            while (data := source.recv(65_536)) and speaking.wait(20):
                sink.sendall(data)
            # To close it would not wake the thread that reads it.
            for each in (source, sink):
                each.shutdown(socket.SHUT_RDWR)


async def test_a_database_that_falls_silent_is_given_up(
    funded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PostgreSQL's own time-out cannot be heard either.
    monkeypatch.setattr(sql, "GRACE_SECONDS", 0.2)
    parts = urlsplit(funded_url)
    assert parts.hostname
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener, (parts.hostname, parts.port or 5432))
        credentials, at, _ = parts.netloc.rpartition("@")
        url = with_part(funded_url, netloc=f"{credentials}{at}127.0.0.1:{listener.getsockname()[1]}")
        service = AsyncCreditDeductionService(url, timeout=0.3, retries=ONCE)
        await service.check(ADA, 1)
        proxy.speaking.clear()
        with pytest.raises(OutcomeUnknownError, match="did not answer in time"):
            await service.deduct(ADA, 10, service_type="x", request_id="r-1")
        proxy.speaking.set()
        assert (await service.deduct(ADA, 10, service_type="x", request_id="r-1")).replayed
        await service.close()


def test_loops_that_ended_leave_no_connections_behind(funded_url: str) -> None:
    billing = AsyncCreditDeductionService(funded_url)

    async def charges() -> None:
        await asyncio.gather(*(billing.deduct(ADA, 1, service_type="x") for _ in range(4)))

    for _ in range(4):
        asyncio.run(charges())

    async def close() -> None:
        await billing.check(ADA, 1)
        await billing.close()

    asyncio.run(close())
    with psycopg.connect(funded_url, autocommit=True) as owner:
        ours = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'credit-sdk' AND datname = current_database()"
        )
        # The server notices a connection that was hung up a moment later.
        while (row := owner.execute(ours).fetchone()) and row[0]:
            pass
