"""Connections, lent to one call at a time: blocking.

SQLAlchemy opens ours, as it knows how, but its pool, which serves every need, would cost a call as much as
the SDK's whole way to the driver.
"""

import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol, cast

import psycopg
import sqlalchemy.exc
from sqlalchemy import Engine, PoolProxiedConnection

from credit_sdk.backends._books import Reply
from credit_sdk.backends._exchanges import Exchanges, Prepared, is_idle
from credit_sdk.backends._statements import Call

IN_USE = "all connections are in use"
IN_TRANSACTION = "the engine's connections are in a transaction when they are lent"


class Line:
    """A connection that is in no transaction: what it is asked commits by itself."""

    __slots__ = ("_exchanges", "connection", "opened_at", "pooled")

    def __init__(self, pooled: PoolProxiedConnection, prepared: Prepared | None = None) -> None:
        self.pooled = pooled
        self.connection = cast("psycopg.Connection[Any]", pooled.driver_connection)
        self.opened_at = time.monotonic()
        self._exchanges = Exchanges(self.connection, prepared)

    def ask(self, call: Call) -> Reply:
        """Carry one call out."""
        exchanges, reply = self._exchanges, None
        while reply is None:
            reply = exchanges.read(self.connection.wait(exchanges.send(call)))
        return reply

    @property
    def is_reusable(self) -> bool:
        """Whether it may be lent again: not one that an interrupted call left waiting."""
        return is_idle(self.connection)

    def close(self) -> None:
        """Hang up."""
        self.pooled.invalidate()


class Lender(Protocol):
    """Lends lines to threads."""

    engine: Engine

    def lend(self) -> Line:
        """Return a line, which has to be given back; raises what connecting raises."""

    def take_back(self, line: Line) -> None:
        """Keep a line for the next one, if it can be used again."""

    def close(self) -> None:
        """Let go of connections."""


class OwnLender:
    """Lends our own lines to threads: `size` at most, the one that was used last first.

    A line older than `longest_life` is replaced; nobody waits longer than `patience`. Both in seconds.
    """

    def __init__(self, engine: Engine, size: int, *, patience: float, longest_life: float) -> None:
        self.engine = engine
        self._patience = patience
        self._longest_life = longest_life
        self._idle: deque[Line] = deque()
        self._closed = False
        # Whoever holds a permit may have a line. The queue waits without taking Python's lock.
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(size):
            self._permits.put(None)

    def lend(self) -> Line:
        """Return a line, which has to be given back; raises what connecting raises."""
        try:
            self._permits.get(timeout=self._patience)
        except Empty:
            raise sqlalchemy.exc.TimeoutError(IN_USE) from None
        try:
            return self._idle_line() or Line(self.engine.raw_connection())
        except BaseException:
            self._permits.put(None)
            raise

    def take_back(self, line: Line) -> None:
        """Keep a line for the next one, if it can be used again."""
        try:
            if line.is_reusable:
                self._idle.append(line)
            else:
                if line.connection.closed:
                    # What ended it may have ended the others too: a database that was started anew.
                    self._close_idle()
                line.close()
            if self._closed:
                self._close_idle()
        finally:
            self._permits.put(None)

    def close(self) -> None:
        """Close what is not lent; what is, when it comes back."""
        self._closed = True
        self._close_idle()
        self.engine.dispose()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _idle_line(self) -> Line | None:
        try:
            while True:
                line = self._idle.pop()
                if time.monotonic() - line.opened_at < self._longest_life:
                    return line
                line.close()
        except IndexError:
            # Not asked for before: another thread may take the last one at any moment.
            return None


class GuestLender:
    """Lends the connections of an application's own engine, and gives each back as it was."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def lend(self) -> Line:
        """Return a line, which has to be given back; raises what connecting raises."""
        pooled = self.engine.raw_connection()
        line = Line(pooled, prepared_on(pooled))
        if not line.is_reusable:
            line.close()
            raise psycopg.ProgrammingError(IN_TRANSACTION)
        return line

    def take_back(self, line: Line) -> None:
        """Return the connection to the application's pool."""
        if not line.is_reusable:
            line.close()
        line.pooled.close()

    def close(self) -> None:
        """Leave the application's engine alone."""


def prepared_on(pooled: PoolProxiedConnection) -> Prepared:
    """Return what the SDK has prepared on a connection of an application's pool, as long as that lives."""
    connection = cast("psycopg.Connection[Any] | psycopg.AsyncConnection[Any]", pooled.driver_connection)
    prepared = pooled.info.get(Prepared)
    if prepared is None:
        prepared = pooled.info[Prepared] = Prepared(connection.prepare_threshold)
    return cast("Prepared", prepared)
