"""One process's connection to the file of an outbox.

SQLite remembers its locks in memory, and the kernel gives them to one process: a child that inherited
an open connection would believe in locks that it has not, and another process would then take the
write-ahead log away beneath it. So nothing is open while the process forks.
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from credit_sdk._presence import Presence
from credit_sdk._resources import PerProcess
from credit_sdk.errors import OutboxError

VERSION = 1
BUSY_SECONDS = 10.0
_SCHEMA = """
    create table if not exists charges (
        entry_id text primary key,
        destination text not null,
        body text not null,
        checksum text not null,
        unpaid integer not null,  -- millicredits that were let run while the books were away
        owner integer,            -- the process that works on it
        created_at real not null,
        attempts integer not null default 0,
        refused integer not null default 0,
        reason text
    ) without rowid
"""


class Store:
    """The connection, for one thread at a time, and the process's presence beside it."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is made with its folder; raises OSError, sqlite3.Error, `OutboxError`."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self.presence = _presences.setdefault(
            str(path), PerProcess(partial(_present, path), Presence.close)
        ).get()
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        with _registry:
            _stores.add(self)
        with self._connected():
            pass  # So that a file that cannot be used is found out now.

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Run a transaction; a durable one ends when the disk itself has it."""
        with self._connected() as connection:
            connection.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                # A full disk has ended the transaction already.
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    def reading(self, query: str, values: list[Any]) -> list[sqlite3.Row]:
        """Return the rows that a query finds."""
        with self._connected() as connection:
            return connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the connection; it is opened again when it is used."""
        with self._lock:
            self._disconnect()

    def prepare_fork(self) -> None:
        """Close the connection, and let nobody open it before `end_fork`."""
        self._lock.acquire()
        self._disconnect()

    def end_fork(self) -> None:
        """Let it be used again; for the parent, the child makes a store of its own."""
        self._lock.release()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                self._connection = _connect(self._path)
            yield self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    [version] = connection.execute("pragma user_version").fetchone()
    if version > VERSION:
        raise OutboxError(
            f"The outbox {path} was written by a newer version of credit-sdk: upgrade this one. "
            "Nothing was changed in it."
        )
    connection.execute("pragma journal_mode = wal")
    if version < VERSION:
        connection.execute(_SCHEMA)
        connection.execute(f"pragma user_version = {VERSION}")


def _present(path: Path) -> Presence:
    return Presence(path.with_name(path.name + ".lock"))


_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_registry = threading.Lock()
_forking: list[Store] = []
# Never closed: a process that has closed an outbox may still work on its charges.
_presences: dict[str, PerProcess[Presence]] = {}


def _before_fork() -> None:
    _registry.acquire()
    _forking.extend(_stores)
    for store in _forking:
        store.prepare_fork()


def _after_fork_in_parent() -> None:
    for store in _forking:
        store.end_fork()
    _forking.clear()
    _registry.release()


def _after_fork_in_child() -> None:
    # The child makes stores of its own: the locks of these belong to the parent's threads.
    _stores.clear()
    _forking.clear()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
