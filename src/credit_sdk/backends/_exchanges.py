"""Calls on psycopg's protocol layer: what its cursors do for a call, without what they could do for others.

A cursor costs a call as much as all the rest of its way to the socket. What waits for the server are
psycopg's own generators, driven by a connection's `wait`: blocking or awaiting, interruptible, cancellable.
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
Arriving: TypeAlias = PQGen[list[PGresult]]
"""What waits until PostgreSQL has answered."""
_Types: TypeAlias = tuple[int, ...] | None
_Key: TypeAlias = tuple[bytes, _Types]

# Plain integers: to look a member of an enumeration up costs several times as much as to compare it.
_ROWS, _IDLE = int(ExecStatus.TUPLES_OK), int(TransactionStatus.IDLE)
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
    """The calls on a connection that is in no transaction: each commits by itself.

    A call is sent, waited for and read; once, but for a statement that is prepared before it is first used,
    and for one that PostgreSQL has forgotten and is sent again.
    """

    __slots__ = ("_connection", "_due", "_pgconn", "_prepared", "_read_last", "_statement", "_transformer")

    def __init__(self, connection: Connection, prepared: Prepared | None = None) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared = prepared or Prepared(connection.prepare_threshold)
        self._statement: Statement | None = None
        """What was sent last, if it was prepared."""
        self._due: tuple[_Key, bytes] | None = None
        """What was sent to be prepared, and under which name."""
        self._read_last: Statement | None = None
        """Whose columns the transformer is ready to read."""

    def send(self, call: Call) -> Arriving:
        """Send a call, or have its statement prepared; what arrives is for `read`."""
        pgconn, transformer = self._pgconn, self._transformer
        values = transformer.dump_sequence(call.parameters, _formats(len(call.parameters)))
        key = call.statement, transformer.types
        self._due = None
        statement = self._statement = self._prepared.find(key)
        if statement is not None:
            pgconn.send_query_prepared(statement.name, values, transformer.formats)
        elif self._prepared.is_due(key):
            self._due = key, self._prepared.new_name()
            pgconn.send_prepare(self._due[1], *key)
        else:
            pgconn.send_query_params(call.statement, values, key[1], transformer.formats)
        arriving: Arriving = generators.execute(pgconn)
        return arriving

    def read(self, results: list[PGresult]) -> Reply | None:
        """Return the reply; None when the call is still to be sent. Raises what a cursor raises."""
        result = results[-1]
        if result.status != _ROWS:
            self._read_other(result)
            return None
        transformer, statement = self._transformer, self._statement
        # A prepared statement answers the same columns each time.
        is_known = statement is not None and statement is self._read_last
        transformer.set_pgresult(result, set_loaders=not is_known)
        self._read_last = statement
        columns = (statement and statement.columns) or column_names(result)
        if statement is not None:
            statement.columns = columns
        return Reply(columns, transformer.load_row(0, tuple) if result.ntuples else None)

    def _read_other(self, result: PGresult) -> None:
        due, self._due = self._due, None
        if due is not None and result.status == ExecStatus.COMMAND_OK:
            self._prepared.note(*due)
        elif self._statement is not None and self._is_forgotten(result):
            # None of it was run.
            self._prepared.stop()
        else:
            raise error_from_result(result, encoding=self._connection.info.encoding)

    def _is_forgotten(self, result: PGresult) -> bool:
        return error_from_result(result).sqlstate in _FORGOTTEN and is_idle(self._connection)


def is_idle(connection: Connection) -> bool:
    """Whether a connection is in no transaction, waits for nothing, and is not closed."""
    return connection.pgconn.transaction_status == _IDLE


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
