"""Direct SQL: each operation is one call of a stored function on a psycopg connection that is kept.

SQLAlchemy reads URLs and knows the caller's engine; the charge itself goes through the driver's connection,
in one statement that commits by itself: one round trip.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any

import psycopg
import sqlalchemy.exc
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from credit_sdk._resources import PerLoop, PerProcess
from credit_sdk.amounts import MILLICREDITS_PER_CREDIT
from credit_sdk.backends._books import Books
from credit_sdk.backends._bounded import Bounds, bounded, connecting_bounded
from credit_sdk.backends._dialogues import hold_dialogue, hold_dialogue_async
from credit_sdk.backends._joined import AsyncConnection, AsyncJoinedBackend, Connection, JoinedBackend
from credit_sdk.backends._lending import GuestLender, Lender, Line, OwnLender
from credit_sdk.backends._lending_async import AsyncGuestLender, AsyncLender, AsyncLine, AsyncOwnLender
from credit_sdk.backends._outcomes import outcome_error
from credit_sdk.backends._postgres_errors import connection_error, unexplained
from credit_sdk.backends._statements import Actor, Call
from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import Operation, ResultT_co

DRIVER = "postgresql+psycopg"
CONNECT_TIMEOUT_SECONDS = 10
POOL_TIMEOUT_SECONDS = 10
RECYCLE_SECONDS = 1_800
DEFAULT_POOL_SIZE = 10
DEFAULT_TIMEOUT_SECONDS = 10.0
GRACE_SECONDS = 5.0
"""How much longer than PostgreSQL itself we wait for it to give up."""
_CANCELLING_SECONDS = 1.0
"""How much later an awaiting call is cancelled, whatever it waits for."""


class SqlBackend:
    """Carries operations out on PostgreSQL, blocking.

    `source` is a database URL, or an `Engine` of the application's own (psycopg), which stays the
    application's to dispose. `scale` is how many units of the database's integers make one credit;
    `timeout` is in seconds, for each statement, and set on connections of our own.
    """

    def __init__(
        self,
        source: str | URL | Engine,
        *,
        scale: int = MILLICREDITS_PER_CREDIT,
        pool_size: int = DEFAULT_POOL_SIZE,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._lenders: PerProcess[Lender]
        if isinstance(source, Engine):
            self._books = Books(host_of(source.url), scale)
            self._lenders = PerProcess(lambda: GuestLender(source), lambda lender: lender.close())
        else:
            url = database_url(source)
            self._books = Books(host_of(url), scale)
            self._lenders = PerProcess(
                lambda: OwnLender(
                    make_engine(url, timeout),
                    pool_size,
                    patience=POOL_TIMEOUT_SECONDS,
                    longest_life=RECYCLE_SECONDS,
                ),
                lambda lender: lender.close(),
            )

    @property
    def peer(self) -> dict[str, str]:
        """The other end, in OpenTelemetry's words."""
        return {"db.system.name": "postgresql", "server.address": self._books.host}

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        lender, line = self._lend()
        try:
            return hold_dialogue(line.ask, self._books.carrying_out(operation))
        finally:
            lender.take_back(line)

    def ask(self, statement: str, *parameters: object) -> Any:
        """Return the first value that a statement answers, which commits by itself; None without a row.

        `$1` is the first of the parameters. Raises `CreditError` as an operation does.
        """
        lender, line = self._lend()
        try:
            reply = line.ask(Call(statement.encode(), parameters))
        except psycopg.Error as error:
            raise self._books.error(error) from unexplained(error)
        finally:
            lender.take_back(line)
        return reply.row[0] if reply.row else None

    def within(self, connection: Connection) -> JoinedBackend:
        """Return a backend whose operations are part of the caller's own transaction."""
        return JoinedBackend(connection, self._books)

    def on_behalf_of(self, actor: Actor) -> "SqlBackend":
        """Return the same backend, whose changes the audit puts down to `actor`. Not for charges."""
        acting = copy(self)
        acting._books = self._books.on_behalf_of(actor)  # noqa: SLF001 - its own class
        return acting

    def as_caller(self, session_token: str) -> "SqlBackend":  # noqa: ARG002 - a database has no sessions
        """Return this backend: a database knows its role, not the caller."""
        return self

    def close(self) -> None:
        """Close the connections, unless the engine is the application's own."""
        self._lenders.close()

    def _lend(self) -> tuple[Lender, Line]:
        lender = self._lenders.get()
        try:
            return lender, lender.lend()
        except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise connection_error(error, self._books.host) from None


class AsyncSqlBackend:
    """Carries operations out on PostgreSQL, awaiting; connections of its own for each event loop."""

    def __init__(
        self,
        source: str | URL | AsyncEngine,
        *,
        scale: int = MILLICREDITS_PER_CREDIT,
        pool_size: int = DEFAULT_POOL_SIZE,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._longest = timeout + GRACE_SECONDS + _CANCELLING_SECONDS
        self._lenders: PerLoop[AsyncLender]
        if isinstance(source, AsyncEngine):
            self._books = Books(host_of(source.url), scale)
            self._lenders = PerLoop(lambda: AsyncGuestLender(source), _close)
        else:
            url = database_url(source)
            self._books = Books(host_of(url), scale)
            connect = _connector(url, timeout)
            self._lenders = PerLoop(
                lambda: AsyncOwnLender(
                    connect, pool_size, patience=POOL_TIMEOUT_SECONDS, longest_life=RECYCLE_SECONDS
                ),
                _close,
                abandon=lambda lender: lender.abandon(),
            )

    @property
    def peer(self) -> dict[str, str]:
        """The other end, in OpenTelemetry's words."""
        return {"db.system.name": "postgresql", "server.address": self._books.host}

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        try:
            async with asyncio.timeout(self._longest):
                lender, line = await self._lend()
                try:
                    return await hold_dialogue_async(line.ask, self._books.carrying_out(operation))
                finally:
                    await lender.take_back(line)
        except TimeoutError:
            raise outcome_error(self._books.silence(), operation) from None

    async def ask(self, statement: str, *parameters: object) -> Any:
        """Return the first value that a statement answers, which commits by itself; None without a row.

        `$1` is the first of the parameters. Raises `CreditError` as an operation does.
        """
        try:
            async with asyncio.timeout(self._longest):
                lender, line = await self._lend()
                try:
                    reply = await line.ask(Call(statement.encode(), parameters))
                finally:
                    await lender.take_back(line)
        except TimeoutError:
            raise self._books.silence() from None
        except psycopg.Error as error:
            raise self._books.error(error) from unexplained(error)
        return reply.row[0] if reply.row else None

    def within(self, connection: AsyncConnection) -> AsyncJoinedBackend:
        """Return a backend whose operations are part of the caller's own transaction."""
        return AsyncJoinedBackend(connection, self._books)

    def on_behalf_of(self, actor: Actor) -> "AsyncSqlBackend":
        """Return the same backend, whose changes the audit puts down to `actor`. Not for charges."""
        acting = copy(self)
        acting._books = self._books.on_behalf_of(actor)  # noqa: SLF001 - its own class
        return acting

    def as_caller(self, session_token: str) -> "AsyncSqlBackend":  # noqa: ARG002 - a database has no sessions
        """Return this backend: a database knows its role, not the caller."""
        return self

    async def close(self) -> None:
        """Close the running loop's connections, unless the engine is the application's own."""
        await self._lenders.close()

    async def _lend(self) -> tuple[AsyncLender, AsyncLine]:
        lender = self._lenders.get()
        try:
            return lender, await lender.lend()
        except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise connection_error(error, self._books.host) from None


def database_url(source: str | URL) -> URL:
    """Return the URL for psycopg; raise `ConfigurationError` for one that is not PostgreSQL's."""
    try:
        url = make_url(source)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigurationError(
            "The database URL cannot be read; it looks like postgresql://user:password@host:5432/database."
        ) from None
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigurationError(f"The ledger lives in PostgreSQL; {url.drivername}:// is another database.")
    return url.set(drivername=DRIVER)


def engines_or_urls(source: str | URL | Engine | AsyncEngine) -> "tuple[URL | Engine, URL | AsyncEngine]":
    """Return what the blocking and the awaiting backend connect with.

    An application's own engine serves its own colour; the other one connects by the engine's URL.
    """
    if isinstance(source, Engine):
        require_psycopg(source.dialect.driver)
        return source, database_url(source.url)
    if isinstance(source, AsyncEngine):
        require_psycopg(source.dialect.driver)
        return database_url(source.url), source
    url = database_url(source)
    return url, url


def host_of(url: URL) -> str:
    """Return where a database is, for error messages: host, port and name, never a password."""
    host = url.host or str(url.query.get("host", "localhost"))
    return f"{host}:{url.port or 5432}/{url.database or ''}"


def destination_of(source: URL | Engine) -> str:
    """Return the database that a charge is meant for, as the outbox notes it."""
    return f"postgresql://{host_of(source.url if isinstance(source, Engine) else source)}"


def require_psycopg(driver: str) -> None:
    """Raise `ConfigurationError` for an engine of another driver."""
    if driver not in {"psycopg", "psycopg_async"}:
        raise ConfigurationError(f"The engine uses the driver {driver!r}; make it with {DRIVER}://.")


def make_engine(url: URL, timeout: float) -> Engine:
    """Return a blocking engine of our own, without a pool; statements take at most `timeout` seconds."""
    engine = create_engine(url, poolclass=NullPool, **_connecting_options(timeout))
    return bounded(engine, _bounds(timeout))


def _bounds(timeout: float) -> Bounds:
    # The server gives up first; a host that is gone is noticed by TCP.
    return Bounds(_milliseconds(timeout), timeout + GRACE_SECONDS)


def _milliseconds(timeout: float) -> int:
    return max(1, round(timeout * 1_000))


def _connecting_options(timeout: float) -> dict[str, Any]:
    """Return how our own engines connect; `timeout` is in seconds."""
    return {
        "isolation_level": "AUTOCOMMIT",
        "connect_args": {
            # In whole seconds, and libpq takes one for two.
            "connect_timeout": min(math.ceil(timeout), CONNECT_TIMEOUT_SECONDS),
            "application_name": "credit-sdk",
            "tcp_user_timeout": _milliseconds(timeout) + 1_000,
        },
    }


def _connector(url: URL, timeout: float) -> Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]:
    """Return what opens an awaiting connection of our own; statements take at most `timeout` seconds."""
    arguments, named = url.get_dialect()().create_connect_args(url)
    named |= _connecting_options(timeout)["connect_args"]
    connect = connecting_bounded(_bounds(timeout))
    return lambda: connect(*arguments, **named)


async def _close(lender: AsyncLender) -> None:
    lender.close()


__all__ = ["Actor", "AsyncSqlBackend", "SqlBackend", "database_url", "engines_or_urls", "host_of"]
