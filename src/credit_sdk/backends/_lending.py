"""Connections, lent to one call at a time: blocking.

SQLAlchemy opens ours, as it knows how, but its pool, which serves every need, would cost a call as much as
the SDK's whole way to the driver.
"""

import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any, Protocol, cast

import psycopg
import sqlalchemy.exc
from sqlalchemy import Engine, PoolProxiedConnection


class Line:
    """A connection whose statements commit by themselves, with a cursor that is used again and again."""

    __slots__ = ("connection", "cursor", "opened_at", "pooled", "was_autocommit")

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self.pooled = pooled
        self.connection = cast("psycopg.Connection[Any]", pooled.driver_connection)
        self.cursor = psycopg.RawCursor(self.connection)
        self.opened_at = time.monotonic()
        self.was_autocommit = self.connection.autocommit

    @property
    def is_reusable(self) -> bool:
        """Whether it may be lent again: not one that an interrupted call left waiting."""
        return self.connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE

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
            raise sqlalchemy.exc.TimeoutError("all connections are in use") from None
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
        while line := self._pop():
            line.close()

    def _idle_line(self) -> Line | None:
        while line := self._pop():
            if time.monotonic() - line.opened_at < self._longest_life:
                return line
            line.close()
        return None

    def _pop(self) -> Line | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None


class GuestLender:
    """Lends the connections of an application's own engine, and gives each back as it was."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def lend(self) -> Line:
        """Return a line, which has to be given back; raises what connecting raises."""
        line = Line(self.engine.raw_connection())
        if not line.was_autocommit:
            try:
                line.connection.autocommit = True
            except BaseException:
                line.close()
                raise
        return line

    def take_back(self, line: Line) -> None:
        """Return the connection to the application's pool."""
        if not line.is_reusable:
            line.close()
        elif not line.was_autocommit:
            line.connection.autocommit = False
        line.pooled.close()

    def close(self) -> None:
        """Leave the application's engine alone."""
