"""Calls on psycopg's protocol layer: what its cursors do for a call, without what they could do for others.

A cursor costs a call as much as all the rest of its way to the socket. The steps are generators, as psycopg's
own are, so that a connection's `wait` drives them: blocking or awaiting, interruptible, cancellable.
"""

import os
from functools import cache
from typing import Any, TypeAlias

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from credit_sdk.backends._books import Reply
from credit_sdk.backends._statements import Call

Connection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
_Types: TypeAlias = tuple[int, ...] | None
_Key: TypeAlias = tuple[bytes, _Types]

_FORGOTTEN = frozenset({"0A000", "26000"})
"""PostgreSQL refuses what was prepared: a function answers more than then, or somebody forgot it."""


class Statement:
    """A prepared statement: what PostgreSQL knows it by, and the columns that it answers, once it has."""

    __slots__ = ("columns", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.columns: tuple[str, ...] | None = None


class Prepared:
    """What one connection has prepared: each statement that was used as often as psycopg waits for.

    There are as many statements as the SDK has operations, so that none is ever let go.
    """

    __slots__ = ("_prefix", "_statements", "_threshold", "_uses", "find")

    def __init__(self, threshold: int | None) -> None:
        """`threshold` is the connection's own; with None nothing is prepared."""
        self._threshold = threshold
        self._statements: dict[_Key, Statement] = {}
        self._uses: dict[_Key, int] = {}
        # Behind a pooler, sessions are shared with others who prepare.
        self._prefix = f"credit_sdk_{os.urandom(6).hex()}_"
        self.find = self._statements.get

    def is_due(self, key: _Key) -> bool:
        """Count a use; return whether it is time to prepare the statement."""
        if self._threshold is None:
            return False
        uses = self._uses[key] = self._uses.get(key, 0) + 1
        return uses > self._threshold

    def new_name(self) -> bytes:
        """Return a name that nobody else gives."""
        return f"{self._prefix}{len(self._statements)}".encode()

    def note(self, key: _Key, name: bytes) -> Statement:
        """Remember that a statement is prepared."""
        statement = self._statements[key] = Statement(name)
        return statement

    def stop(self) -> None:
        """Forget everything and prepare no more; whoever lends the connection replaces it in time."""
        self._statements.clear()
        self._threshold = None


class Exchanges:
    """The calls on a connection that is in no transaction: each commits by itself."""

    __slots__ = ("_connection", "_pgconn", "_prepared", "_transformer")

    def __init__(self, connection: Connection, prepared: Prepared | None = None) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared = prepared or Prepared(connection.prepare_threshold)

    def answering(self, call: Call) -> PQGen[Reply]:
        """Send a call, and return what it answers. Raises the errors that a cursor raises."""
        pgconn, transformer = self._pgconn, self._transformer
        values = transformer.dump_sequence(call.parameters, _formats(len(call.parameters)))
        key = call.statement, transformer.types
        statement = self._prepared.find(key)
        if statement is None:
            statement = yield from self._prepare_in_time(key)
        if statement is None:
            pgconn.send_query_params(call.statement, values, key[1], transformer.formats)
        else:
            pgconn.send_query_prepared(statement.name, values, transformer.formats)
        result = (yield from generators.execute(pgconn))[-1]
        if statement is not None and self._is_forgotten(result):
            # None of it was run.
            self._prepared.stop()
            statement = None
            pgconn.send_query_params(call.statement, values, key[1], transformer.formats)
            result = (yield from generators.execute(pgconn))[-1]
        self._check(result, ExecStatus.TUPLES_OK)
        columns = (statement and statement.columns) or column_names(result)
        if statement is not None:
            statement.columns = columns
        transformer.set_pgresult(result)
        return Reply(columns, transformer.load_row(0, tuple) if result.ntuples else None)

    def _prepare_in_time(self, key: _Key) -> PQGen[Statement | None]:
        if not self._prepared.is_due(key):
            return None
        name = self._prepared.new_name()
        self._pgconn.send_prepare(name, *key)
        [result] = yield from generators.execute(self._pgconn)
        self._check(result, ExecStatus.COMMAND_OK)
        return self._prepared.note(key, name)

    def _is_forgotten(self, result: PGresult) -> bool:
        if result.status == ExecStatus.TUPLES_OK:
            return False
        return error_from_result(result).sqlstate in _FORGOTTEN and is_idle(self._connection)

    def _check(self, result: PGresult, wanted: ExecStatus) -> None:
        if result.status != wanted:
            raise error_from_result(result, encoding=self._connection.info.encoding)


def is_idle(connection: Connection) -> bool:
    """Whether a connection is in no transaction, waits for nothing, and is not closed."""
    return connection.pgconn.transaction_status == TransactionStatus.IDLE


def column_names(result: PGresult) -> tuple[str, ...]:
    """Return the names of a result's columns."""
    # A cursor's description looks every type up, which costs more than the rest of the reply.
    return _decoded(tuple([result.fname(index) for index in range(result.nfields)]))


@cache
def _decoded(names: tuple[bytes | None, ...]) -> tuple[str, ...]:
    return tuple((name or b"").decode() for name in names)


@cache
def _formats(count: int) -> tuple[PyFormat, ...]:
    return (PyFormat.AUTO,) * count
