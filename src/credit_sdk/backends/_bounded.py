"""Connections that do not wait for ever: one driver blocks, one awaits."""

import math
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import psycopg
from sqlalchemy import Engine, event


class SilenceError(psycopg.OperationalError):
    """The server has said nothing for as long as anybody waits."""


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up on a server that says nothing at all: one that is stopped, or behind a broken network.

    `statement_timeout` is the server's, and TCP is content as long as the other kernel lives.
    """

    longest_wait: float = math.inf
    """In seconds, for each statement."""

    def wait(self, gen: Any, *arguments: Any, **more: Any) -> Any:
        """Drive one exchange with the server; hangs up and raises SilenceError when it takes too long."""
        try:
            return super().wait(_within(gen, time.monotonic() + self.longest_wait), *arguments, **more)
        except SilenceError:
            self.pgconn.finish()
            raise


class AsyncBoundedConnection(psycopg.AsyncConnection[Any]):
    """The same, awaiting.

    A cancellation would end the wait as well, but psycopg then first asks the server to stop the
    statement, and waits for that answer, too.
    """

    longest_wait: float = math.inf
    """In seconds, for each statement."""

    async def wait(self, gen: Any, *arguments: Any, **more: Any) -> Any:
        """Drive one exchange with the server; hangs up and raises SilenceError when it takes too long."""
        try:
            return await super().wait(_within(gen, time.monotonic() + self.longest_wait), *arguments, **more)
        except SilenceError:
            self.pgconn.finish()
            raise


def bounded(engine: Engine, longest_wait: float) -> Engine:
    """Return the engine, whose connections now wait no longer for an answer; in seconds."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, named: Any) -> BoundedConnection:
        connection = BoundedConnection.connect(*arguments, **named)
        connection.longest_wait = longest_wait
        return connection

    return engine


def connecting_bounded(longest_wait: float) -> Callable[..., Awaitable[AsyncBoundedConnection]]:
    """Return what makes the connections of an awaiting engine, as its `async_creator_fn`."""

    async def connect(*arguments: Any, **named: Any) -> AsyncBoundedConnection:
        connection = await AsyncBoundedConnection.connect(*arguments, **named)
        connection.longest_wait = longest_wait
        return connection

    return connect


def _within(exchange: Generator[Any, Any, Any], deadline: float) -> Generator[Any, Any, Any]:
    try:
        wanted = next(exchange)
        while True:
            # psycopg looks up now and then while nothing comes.
            is_ready = yield wanted
            if not is_ready and time.monotonic() > deadline:
                raise SilenceError("the server did not answer in time")
            wanted = exchange.send(is_ready)
    except StopIteration as end:
        return end.value
