"""Operations within the caller's own transaction: work and charge commit together or not at all.

Each operation runs in a savepoint, so that a refusal leaves the caller's transaction usable.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, cast

import psycopg
import sqlalchemy.exc
import sqlalchemy.orm
from sqlalchemy.ext.asyncio import AsyncConnection as EngineAsyncConnection
from sqlalchemy.ext.asyncio import AsyncSession

from credit_sdk.backends._books import Books
from credit_sdk.backends._dialogues import asking, asking_async, hold_dialogue, hold_dialogue_async
from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import Operation, ResultT_co

Connection: TypeAlias = psycopg.Connection[Any] | sqlalchemy.Connection | sqlalchemy.orm.Session
AsyncConnection: TypeAlias = psycopg.AsyncConnection[Any] | EngineAsyncConnection | AsyncSession

# Any statement opens the caller's transaction if none is open yet; without one, psycopg would take
# the savepoint for the whole transaction and commit it.
BEGIN = "SELECT"


class JoinedBackend:
    """Carries operations out on the caller's connection; the caller commits."""

    def __init__(self, connection: Connection, books: Books) -> None:
        self._connection = connection
        self._books = books

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        try:
            with _savepoint(self._connection) as connection:
                return hold_dialogue(asking(connection), self._books.carrying_out(operation))
        except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise _unusable(error) from error

    def as_caller(self, session_token: str) -> "JoinedBackend":  # noqa: ARG002 - a database has no sessions
        """Return this backend: a database knows its role, not the caller."""
        return self

    def close(self) -> None:
        """Leave the caller's connection alone."""


class AsyncJoinedBackend:
    """Carries operations out on the caller's connection; the caller commits."""

    def __init__(self, connection: AsyncConnection, books: Books) -> None:
        self._connection = connection
        self._books = books

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        try:
            async with _savepoint_async(self._connection) as connection:
                return await hold_dialogue_async(
                    asking_async(connection), self._books.carrying_out(operation)
                )
        except (psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
            raise _unusable(error) from error

    def as_caller(self, session_token: str) -> "AsyncJoinedBackend":  # noqa: ARG002 - a database has no sessions
        """Return this backend: a database knows its role, not the caller."""
        return self

    async def close(self) -> None:
        """Leave the caller's connection alone."""


@contextmanager
def _savepoint(connection: Connection) -> Iterator[psycopg.Connection[Any]]:
    if isinstance(connection, psycopg.Connection):
        _require_transaction(connection)
        connection.execute(BEGIN)
        with connection.transaction():
            yield connection
        return
    if isinstance(connection, sqlalchemy.orm.Session):
        connection = connection.connection()
    with connection.begin_nested():
        yield _psycopg(connection.connection.driver_connection)


@asynccontextmanager
async def _savepoint_async(connection: AsyncConnection) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    if isinstance(connection, psycopg.AsyncConnection):
        _require_transaction(connection)
        await connection.execute(BEGIN)
        async with connection.transaction():
            yield connection
        return
    if isinstance(connection, AsyncSession):
        connection = await connection.connection()
    async with connection.begin_nested():
        raw = await connection.get_raw_connection()
        yield cast("psycopg.AsyncConnection[Any]", _psycopg(raw.driver_connection))


def _require_transaction(connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]") -> None:
    """Refuse a connection on which every statement commits by itself: there is nothing to join."""
    idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    if connection.autocommit and idle:
        raise ConfigurationError("within() needs an open transaction; this connection is in autocommit mode.")


def _unusable(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The transaction cannot be joined ({type(error).__name__}): it must be open and not have failed."
    )


def _psycopg(driver: Any) -> Any:
    if not isinstance(driver, psycopg.Connection | psycopg.AsyncConnection):
        raise ConfigurationError("within() needs an engine of psycopg: postgresql+psycopg://.")
    if driver.autocommit:
        raise ConfigurationError("within() needs a transaction; this engine is in autocommit mode.")
    return driver
