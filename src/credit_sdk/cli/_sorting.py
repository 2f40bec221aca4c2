"""Sort more than fits into memory, in a temporary file of SQLite's."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TypeVar

from credit_sdk.reconciliation import Booked, Recorded

ItemT = TypeVar("ItemT", Recorded, Booked)


class Sorted:
    """Items of one kind, by organisation and request id; of the same key in the order they came."""

    def __init__(self) -> None:
        # Without a name: a file that nobody else sees, which is gone with the connection.
        self._connection = sqlite3.connect("", isolation_level=None)
        self._connection.execute("create table items (org_id text, request_id text, body text)")

    def fill(self, items: Iterable[Recorded | Booked]) -> int:
        """Add the items and return how many there were."""
        rows = ((*item.key, item.model_dump_json()) for item in items)
        self._connection.execute("begin")
        cursor = self._connection.executemany("insert into items values (?, ?, ?)", rows)
        self._connection.execute("commit")
        return max(cursor.rowcount, 0)

    def read(self, kind: type[ItemT]) -> Iterator[ItemT]:
        """Return the items in order."""
        query = "select body from items order by org_id, request_id, rowid"
        with closing(self._connection.execute(query)) as rows:
            for (body,) in rows:
                yield kind.model_validate_json(body)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
