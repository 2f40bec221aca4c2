"""What another process spends, and what the database counts."""

from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks.measuring import Side
from benchmarks.setting import Setting, query

FSYNCS = "SELECT sum(fsyncs)::float8 FROM pg_stat_io WHERE object = 'wal'"
WAL_BYTES = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8"

# Each writer takes a number, and a savepoint that writes another one: looking at it takes one as well.
TRANSACTIONS = "SELECT pg_current_xact_id()::text::float8"


def spent_microseconds(pid: int) -> float:
    """Return the processor time of a process of one thread, which Linux counts in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1_000


def spent_by_threads(pid: int) -> float:
    """Return the processor time of all threads of a process, in microseconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1_000


def backend_microseconds(connection: "psycopg.Connection[tuple[object, ...]]", work: str, calls: int) -> Side:
    """Return a side: the processor time that PostgreSQL spends on each of the `calls` of some work."""
    pid, statement = connection.info.backend_pid, work.encode()

    def side() -> float:
        before = spent_microseconds(pid)
        connection.execute(statement)
        return (spent_microseconds(pid) - before) / calls

    return side


def counted(setting: Setting, what: str, work: Callable[[], object], calls: int) -> float:
    """Return by how much a counter of the database grows with each of the `calls` of some work."""
    before = query(setting, what)
    work()
    return float(query(setting, what) - before) / calls
