"""Connections that do not wait for ever: one driver blocks, one awaits."""

import math
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Engine, event

from credit_sdk.backends._poolers import ASK_SESSION, is_between, lost_settings, refuses_settings


class SilenceError(psycopg.OperationalError):
    """The server has said nothing for as long as anybody waits."""


_INTERVAL = 0.1
"""How often psycopg looks up while nothing comes, in seconds: its own choice."""
_SILENCE = "the server did not answer in time"
# psycopg 3.3 came to bound a wait itself, in C. What it raises then has no public name yet: where there is no
# such thing, a generator of ours looks at the clock, which costs a charge as much as its validation.
_Expired: type[psycopg.OperationalError] = getattr(psycopg.errors, "_WaitTimeout", SilenceError)


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a server that says nothing at all: one that is stopped, or behind a broken network.

    `statement_timeout` is the server's, and TCP is content as long as the other kernel lives.
    """

    longest_wait: float = math.inf
    """In seconds, for each statement."""
    is_pooled: bool = False
    """Whether a pooler is between here and PostgreSQL."""

    def wait(self, gen: Any, interval: float = _INTERVAL, timeout: float | None = None) -> Any:
        """Drive one exchange with the server; hangs up and raises SilenceError when it takes too long."""
        if timeout is not None:
            # Whoever waits for a while only knows what it means that nothing came.
            return super().wait(gen, interval, timeout)
        try:
            if _Expired is SilenceError:
                return super().wait(_within(gen, self.longest_wait), interval)
            return super().wait(gen, interval, self.longest_wait)
        except _Expired:
            self.pgconn.finish()
            raise SilenceError(_SILENCE) from None


class AsyncBoundedConnection(psycopg.AsyncConnection[Any]):
    """The same, awaiting.

    A cancellation would end the wait as well, but psycopg then first asks the server to stop the
    statement, and waits for that answer, too.
    """

    longest_wait: float = math.inf
    """In seconds, for each statement."""
    is_pooled: bool = False
    """Whether a pooler is between here and PostgreSQL."""

    async def wait(
        self,
        gen: Any,
        interval: float = _INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own parameter
    ) -> Any:
        """Drive one exchange with the server; hangs up and raises SilenceError when it takes too long."""
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            if _Expired is SilenceError:
                return await super().wait(_within(gen, self.longest_wait), interval)
            return await super().wait(gen, interval, self.longest_wait)
        except _Expired:
            self.pgconn.finish()
            raise SilenceError(_SILENCE) from None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a statement may take: for PostgreSQL in milliseconds, and for whoever waits in seconds."""

    statement_timeout: int
    longest_wait: float


def bounded(engine: Engine, bounds: Bounds) -> Engine:
    """Return the engine, whose connections now wait no longer for an answer."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> BoundedConnection:
        try:
            connection = BoundedConnection.connect(*arguments, **_with_settings(named, bounds))
        except psycopg.OperationalError as error:
            if not refuses_settings(error):
                raise
            connection = BoundedConnection.connect(*arguments, **_without_settings(named))
        with _closing_on_errors(connection):
            connection.longest_wait = bounds.longest_wait
            _settle(connection, connection.execute(ASK_SESSION).fetchone(), named)
        return connection

    return engine


def connecting_bounded(bounds: Bounds) -> Callable[..., Awaitable[AsyncBoundedConnection]]:
    """Return what makes the connections of an awaiting engine, as its `async_creator_fn`."""

    async def connect(*arguments: Any, **named: Any) -> AsyncBoundedConnection:
        try:
            connection = await AsyncBoundedConnection.connect(*arguments, **_with_settings(named, bounds))
        except psycopg.OperationalError as error:
            if not refuses_settings(error):
                raise
            connection = await AsyncBoundedConnection.connect(*arguments, **_without_settings(named))
        with _closing_on_errors(connection):
            connection.longest_wait = bounds.longest_wait
            cursor = await connection.execute(ASK_SESSION)
            _settle(connection, await cursor.fetchone(), named)
        return connection

    return connect


def _with_settings(named: dict[str, Any], bounds: Bounds) -> dict[str, Any]:
    options = f"{named.get('options', '')} -c statement_timeout={bounds.statement_timeout}".strip()
    return named | {"options": options, "autocommit": True}


def _without_settings(named: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if name != "options"} | {"autocommit": True}


def _settle(connection: BoundedConnection | AsyncBoundedConnection, answer: Any, named: Any) -> None:
    """Do without what a pooler loses, if there is one; refuse to do without what the URL asks for."""
    connection.is_pooled = is_between(connection, answer)
    if not connection.is_pooled:
        return
    if named.get("options"):
        raise lost_settings(named["options"])
    connection.prepare_threshold = None


@contextmanager
def _closing_on_errors(connection: BoundedConnection | AsyncBoundedConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.pgconn.finish()
        raise


def _within(exchange: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    deadline = time.monotonic() + seconds
    try:
        wanted = next(exchange)
        while True:
            # psycopg looks up now and then while nothing comes.
            is_ready = yield wanted
            if not is_ready and time.monotonic() > deadline:
                raise SilenceError(_SILENCE)
            wanted = exchange.send(is_ready)
    except StopIteration as end:
        return end.value
