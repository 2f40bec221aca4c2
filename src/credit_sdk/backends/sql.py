"""Direct SQL: each operation is one call of a stored function on a pooled psycopg connection.

SQLAlchemy keeps the pool and knows the caller's engine; the charge itself goes through the driver's
connection, in one autocommitted statement: one round trip.
"""

import asyncio
import math
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from typing import Any, cast

import psycopg
import sqlalchemy.exc
from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from credit_sdk._resources import PerLoop, PerProcess
from credit_sdk.amounts import MILLICREDITS_PER_CREDIT
from credit_sdk.backends._books import Books
from credit_sdk.backends._bounded import Bounds, bounded, connecting_bounded
from credit_sdk.backends._dialogues import hold_dialogue, hold_dialogue_async
from credit_sdk.backends._joined import AsyncConnection, AsyncJoinedBackend, Connection, JoinedBackend
from credit_sdk.backends._lending import GuestLender, Lender, OwnLender
from credit_sdk.backends._outcomes import outcome_error
from credit_sdk.backends._postgres_errors import connection_error
from credit_sdk.backends._statements import Actor
from credit_sdk.errors import ConfigurationError, OutcomeUnknownError
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

    @property
    def engine(self) -> Engine:
        """This process's engine, which opens the connections."""
        return self._lenders.get().engine

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        lender = self._lenders.get()
        try:
            line = lender.lend()
        except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise connection_error(error, self._books.host) from None
        try:
            return hold_dialogue(line.cursor, self._books.carrying_out(operation))
        finally:
            lender.take_back(line)

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


class AsyncSqlBackend:
    """Carries operations out on PostgreSQL, awaiting; one pool for each event loop."""

    def __init__(
        self,
        source: str | URL | AsyncEngine,
        *,
        scale: int = MILLICREDITS_PER_CREDIT,
        pool_size: int = DEFAULT_POOL_SIZE,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._longest = timeout + GRACE_SECONDS + _CANCELLING_SECONDS
        if isinstance(source, AsyncEngine):
            self._books = Books(host_of(source.url), scale)
            self._engines = PerLoop(lambda: source, _leave_open)
        else:
            url = database_url(source)
            self._books = Books(host_of(url), scale)
            options = _pooling_options(pool_size, timeout)
            options["connect_args"]["async_creator_fn"] = connecting_bounded(_bounds(timeout))
            self._engines = PerLoop(
                lambda: _tracked(create_async_engine(url, **options)),
                lambda engine: engine.dispose(),
                abandon=_hang_up,
            )

    @property
    def peer(self) -> dict[str, str]:
        """The other end, in OpenTelemetry's words."""
        return {"db.system.name": "postgresql", "server.address": self._books.host}

    @property
    def engine(self) -> AsyncEngine:
        """The running loop's engine."""
        return self._engines.get()

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        try:
            lending = _lent(self.engine, self._books.host)
            async with asyncio.timeout(self._longest), lending as connection:
                return await hold_dialogue_async(connection, self._books.carrying_out(operation))
        except TimeoutError:
            late = OutcomeUnknownError(f"PostgreSQL at {self._books.host} did not answer in time.")
            raise outcome_error(late, operation) from None

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
        """Close the running loop's pool, unless the engine is the application's own."""
        await self._engines.close()


@asynccontextmanager
async def _lent(engine: AsyncEngine, host: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """Lend a pooled connection whose statements commit by themselves."""
    try:
        pooled = await engine.raw_connection()
    except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        raise connection_error(error, host) from None
    connection = cast("psycopg.AsyncConnection[Any]", pooled.driver_connection)
    autocommit = connection.autocommit
    try:
        if not autocommit:
            await connection.set_autocommit(True)
        yield connection
    finally:
        # The pool speaks SQLAlchemy's blocking protocol, which awaits through greenlets.
        if not is_reusable(connection):
            await greenlet_spawn(pooled.invalidate)
        elif not autocommit:
            await connection.set_autocommit(False)
        await greenlet_spawn(pooled.close)


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


def _pooling_options(pool_size: int, timeout: float) -> dict[str, Any]:
    """Return how our own awaiting pools are made; `timeout` is in seconds.

    A connection is not tested before use, which would cost a third of the rate: every operation is
    safe to repeat, so a stale one costs a retry.
    """
    return _connecting_options(timeout) | {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT_SECONDS,
        "pool_recycle": RECYCLE_SECONDS,
        "pool_use_lifo": True,
        # Every statement commits by itself, so there is nothing to roll back on return.
        "pool_reset_on_return": None,
    }


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


def is_reusable(connection: "psycopg.AsyncConnection[Any]") -> bool:
    """Whether a connection may go back to the pool: not one that an interrupted call left waiting."""
    return connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE


_driver_connections: weakref.WeakKeyDictionary[AsyncEngine, weakref.WeakSet[Any]] = (
    weakref.WeakKeyDictionary()
)


def _tracked(engine: AsyncEngine) -> AsyncEngine:
    """Remember the driver's connections of an engine, so that they can be hung up without its loop."""
    connections = _driver_connections[engine] = weakref.WeakSet()

    @event.listens_for(engine.sync_engine, "connect")
    def remember(adapted: Any, _: object) -> None:
        connections.add(adapted.driver_connection)

    return engine


def _hang_up(engine: AsyncEngine) -> None:
    """Close the connections of an engine whose event loop has ended without closing them."""
    for connection in list(_driver_connections.get(engine, ())):
        connection.pgconn.finish()


async def _leave_open(_: AsyncEngine) -> None:
    """Leave the application's own engine alone."""


__all__ = ["Actor", "AsyncSqlBackend", "SqlBackend", "database_url", "engines_or_urls", "host_of"]
