"""P9: what a long history costs those who charge and look, beside a short one."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from benchmarks.measuring import Exhibit, Figure, Side, in_turn, ratio
from benchmarks.processes import spent_microseconds
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import CreditDeductionService
from credit_sdk.operations import VerifyLedger
from reference_server.migrate import migrate

Connection = psycopg.Connection[tuple[object, ...]]
SHORT = 10_000
LONG = 1_000_000
SQL = Path(__file__).with_name("sql")
CALLS = 20
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF)"
QUESTIONS = {
    "charge": (1.5, "SELECT * FROM ledger.deduct('org-1', 'user-1', 1000, 'bench')"),
    "check": (1.5, "SELECT * FROM ledger.check_credits('org-1', 'user-1', 1000)"),
    "balance": (1.5, "SELECT ledger.get_user_credits('user-1')"),
    "replay": (
        1.5,
        "SELECT * FROM ledger.deduct('org-1', 'user-0', 1101, 'contact_lookup', NULL, 'old_000000000101')",
    ),
    "last 50 of an organisation": (1.5, "SELECT ledger.list_charges('org-1', \"limit\" => 50)"),
    "last 50 of a member": (1.5, "SELECT ledger.list_charges('org-1', 'user-1', \"limit\" => 50)"),
    "usage over 30 days": (1.5, "SELECT ledger.get_usage('org-1', 30)"),
    "billing of an organisation": (1.5, "SELECT ledger.get_organization_billing('org-1')"),
    "billing of the system": (3.0, "SELECT ledger.get_system_billing()"),
}
"""What is asked, with how many times the short history's time it may take."""


def benchmark(long: int) -> Benchmark:
    """Return the benchmark with a long history of so many charges."""
    return Benchmark(
        compares=f"{long:,} charges of history beside {SHORT:,}: what PostgreSQL spends on each call",
        target="1.5 times for a charge, a check, a balance, a replay, the last 50, 30 days; 3 for the system",
        run=partial(run, long=long),
    )


def run(setting: Setting, rounds: int, *, long: int) -> Iterator[Figure | Exhibit]:
    """Yield the ratios, and the plans of the long history."""
    with ExitStack() as stack:
        histories = {
            rows: stack.enter_context(_history(setting, f"history_{rows}", rows)) for rows in (SHORT, long)
        }
        for name, (target, statement) in QUESTIONS.items():
            spent = in_turn(
                {str(rows): _side(connection, statement) for rows, connection in histories.items()}, rounds
            )
            few, many = spent[str(SHORT)], spent[str(long)]
            note = f"{min(many):.0f} against {min(few):.0f} us at best"
            yield ratio(f"{name}: {long:,} charges / {SHORT:,}", many, few, target=target, note=note)
        yield from _plans(histories[long])


def fill(connection: Connection, rows: int) -> None:
    """Give migrated, empty books a history of so many charges."""
    connection.execute("SELECT set_config('history.rows', %s, FALSE)", [str(rows)])
    connection.execute((SQL / "history.sql").read_bytes())
    connection.execute("VACUUM (ANALYZE)")


def _side(connection: Connection, statement: str) -> Side:
    """Return PostgreSQL's processor time for each of some calls."""
    pid, asked = connection.info.backend_pid, statement.encode()

    def side() -> float:
        before = spent_microseconds(pid)
        for _ in range(CALLS):
            connection.execute(asked, prepare=True)
        return (spent_microseconds(pid) - before) / CALLS

    return side


@contextmanager
def _history(setting: Setting, name: str, rows: int) -> Iterator[Connection]:
    """Make a database with a history; verify it at the end."""
    with psycopg.connect(setting.database_url, autocommit=True) as owner:
        owner.execute(f"CREATE DATABASE {name}".encode())
    url = urlsplit(setting.database_url)._replace(path=f"/{name}").geturl()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        fill(connection, rows)
        yield connection
    with CreditDeductionService(url) as billing:
        books = billing.execute(VerifyLedger())
    if not books.ok:
        raise RuntimeError(f"The books of {name} do not agree: {books.differences[:3]}")


def _plans(connection: Connection) -> Iterator[Exhibit]:
    named = re.findall(r"^-- ([^\n]+)\n(SELECT[^;]+);", (SQL / "plans.sql").read_text(), re.MULTILINE)
    for name, query in named:
        rows = connection.execute(f"{EXPLAIN} {query}".encode())
        yield Exhibit(name, "\n".join(str(row[0]) for row in rows))


BENCHMARK = benchmark(LONG)
