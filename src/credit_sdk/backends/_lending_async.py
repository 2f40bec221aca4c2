"""Connections, lent to one call at a time: awaiting, for one event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import psycopg
import sqlalchemy.exc
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from credit_sdk.backends._books import Reply
from credit_sdk.backends._exchanges import Exchanges, Prepared, is_idle
from credit_sdk.backends._lending import IN_TRANSACTION, IN_USE, prepared_on
from credit_sdk.backends._statements import Call

Connection = psycopg.AsyncConnection[Any]


class AsyncLine:
    """A connection that is in no transaction: what it is asked commits by itself."""

    __slots__ = ("_exchanges", "connection", "opened_at", "pooled")

    def __init__(
        self,
        connection: Connection,
        pooled: PoolProxiedConnection | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        """`pooled` is how the application's pool calls its connection."""
        self.connection = connection
        self.pooled = pooled
        self.opened_at = time.monotonic()
        self._exchanges = Exchanges(connection, prepared)

    async def ask(self, call: Call) -> Reply:
        """Carry one call out."""
        exchanges, reply = self._exchanges, None
        while reply is None:
            reply = exchanges.read(await self.connection.wait(exchanges.send(call)))
        return reply

    @property
    def is_reusable(self) -> bool:
        """Whether it may be lent again: not one that an interrupted call left waiting."""
        return is_idle(self.connection)


class AsyncLender(Protocol):
    """Lends lines to the tasks of a loop."""

    async def lend(self) -> AsyncLine:
        """Return a line, which has to be given back; raises what connecting raises."""

    async def take_back(self, line: AsyncLine) -> None:
        """Keep a line for the next one, if it can be used again."""

    def close(self) -> None:
        """Let go of connections."""

    def abandon(self) -> None:
        """Let go of connections when the loop has ended."""


class AsyncOwnLender:
    """Lends our own lines: `size` at most, the one that was used last first.

    A line older than `longest_life` is replaced; nobody waits longer than `patience`. Both in seconds.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], size: int, *, patience: float, longest_life: float
    ) -> None:
        self._connect = connect
        self._patience = patience
        self._longest_life = longest_life
        self._idle: deque[AsyncLine] = deque()
        self._lent: set[Connection] = set()
        self._closed = False
        # A loop that has ended stays until its connections are hung up.
        self._loop = asyncio.get_running_loop()
        # Whoever holds a permit may have a line.
        self._permits = asyncio.Semaphore(size)

    async def lend(self) -> AsyncLine:
        """Return a line, which has to be given back; raises what connecting raises."""
        await self._permit()
        try:
            line = self._idle_line() or AsyncLine(await self._connect())
        except BaseException:
            self._permits.release()
            raise
        self._lent.add(line.connection)
        return line

    async def take_back(self, line: AsyncLine) -> None:
        """Keep a line for the next one, if it can be used again."""
        self._lent.discard(line.connection)
        if line.is_reusable and not self._closed:
            self._idle.append(line)
        else:
            if line.connection.closed:
                # What ended it may have ended the others too: a database that was started anew.
                self._hang_up_idle()
            hang_up(line.connection)
        self._permits.release()

    def close(self) -> None:
        """Close what is not lent; what is, when it comes back."""
        self._closed = True
        self._hang_up_idle()

    def _hang_up_idle(self) -> None:
        while self._idle:
            hang_up(self._idle.pop().connection)

    def abandon(self) -> None:
        """Close everything: the loop has ended, and nothing comes back."""
        self.close()
        for connection in self._lent:
            hang_up(connection)

    async def _permit(self) -> None:
        if not self._permits.locked():
            # Nobody waits: this returns at once.
            await self._permits.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._permits.acquire()
        except TimeoutError:
            raise sqlalchemy.exc.TimeoutError(IN_USE) from None

    def _idle_line(self) -> AsyncLine | None:
        while self._idle:
            line = self._idle.pop()
            if time.monotonic() - line.opened_at < self._longest_life:
                return line
            hang_up(line.connection)
        return None


class AsyncGuestLender:
    """Lends the connections of an application's own engine, and gives each back as it was."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def lend(self) -> AsyncLine:
        """Return a line, which has to be given back; raises what connecting raises."""
        pooled = await self._engine.raw_connection()
        connection = cast("Connection", pooled.driver_connection)
        line = AsyncLine(connection, pooled, prepared_on(pooled))
        if not line.is_reusable:
            await self.take_back(line)
            raise psycopg.ProgrammingError(IN_TRANSACTION)
        return line

    async def take_back(self, line: AsyncLine) -> None:
        """Return the connection to the application's pool."""
        pooled = cast("PoolProxiedConnection", line.pooled)
        # The pool speaks SQLAlchemy's blocking protocol, which awaits through greenlets.
        if not line.is_reusable:
            await greenlet_spawn(pooled.invalidate)
        await greenlet_spawn(pooled.close)

    def close(self) -> None:
        """Leave the application's engine alone."""

    def abandon(self) -> None:
        """Leave the application's engine alone."""


def hang_up(connection: Connection) -> None:
    """Close a connection at once: to say goodbye waits for nothing."""
    connection.pgconn.finish()
