"""The stored functions on a real PostgreSQL. Amounts are millicredits, as the functions take them.

Tests share one database, each in an organisation of its own; `own_books` has a database to itself.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from tests.conftest import Admin

    Row = dict[str, Any]
    Connection = psycopg.Connection[Row]

T = TypeVar("T")

SERVICE = "contact_lookup"
PATIENCE_SECONDS = 20


class Doable(Protocol):
    """What can be done on a connection, such as a call."""

    def on(self, connection: Connection) -> Row: ...


@dataclass(frozen=True)
class Call:
    """One call of a stored function, by name."""

    function: str
    arguments: dict[str, Any]

    def on(self, connection: Connection) -> Row:
        """Return the row that the function answers, or the document in it."""
        named = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in self.arguments
        )
        statement = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier("ledger", self.function), named)
        values = {
            name: Jsonb(value) if isinstance(value, dict | list) else value
            for name, value in self.arguments.items()
        }
        row = connection.execute(statement, values).fetchone()
        assert row is not None
        document: Row = row.get("document", row)
        return document


@dataclass(frozen=True)
class Member:
    """Somebody who spends, and what they may ask for."""

    org_id: str
    user_id: str

    def deduct(self, credits: int | None, request_id: str | None = None, **more: Any) -> Call:
        return Call("deduct", self._spending(credits, request_id) | more)

    def hold(self, credits: int | None, request_id: str | None = None, **more: Any) -> Call:
        return Call("place_hold", self._spending(credits, request_id) | more)

    def check(self, credits: int | None) -> Call:
        return Call("check_credits", {"org_id": self.org_id, "user_id": self.user_id, "credits": credits})

    def allocate(self, credits: int | None, request_id: str | None = None, **more: Any) -> Call:
        about = {"org_id": self.org_id, "user_id": self.user_id, "allocated_credits": credits}
        return Call("allocate", about | {"request_id": request_id or _unique("grant")} | more)

    def item(self, credits: int | None, request_id: str | None = None, **more: Any) -> Row:
        """Return a charge of a batch."""
        fields = self._spending(credits, request_id) | more
        del fields["org_id"]
        return fields

    def _spending(self, credits: int | None, request_id: str | None) -> Row:
        return {
            "org_id": self.org_id,
            "user_id": self.user_id,
            "credits": credits,
            "service_type": SERVICE,
            "request_id": request_id or _unique("job"),
        }


@dataclass(frozen=True)
class Refusal:
    """How the ledger says no."""

    state: str
    sentence: str
    figures: Row


@dataclass(frozen=True)
class Books:
    """One organisation of a migrated database, as the database's owner sees it."""

    database_url: str
    org_id: str
    connection: Connection
    opened: ExitStack

    def connect(self) -> Connection:
        """Return a further connection."""
        return self.opened.enter_context(_connect(self.database_url))

    def do(self, call: Doable) -> Row:
        return call.on(self.connection)

    def execute(self, statement: str, *values: object) -> list[Row]:
        """Run plain SQL as the owner."""
        cursor = self.connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def refusal(self, call: Doable) -> Refusal:
        """Return why a call is refused; fail if it is not."""
        with pytest.raises(psycopg.Error) as caught:
            self.do(call)
        return refusal_of(caught.value)

    def member(self, allocated: int | None = 100_000) -> Member:
        """Return a new member, with an allocation unless that is None."""
        member = Member(self.org_id, _unique("user"))
        self.execute(
            "INSERT INTO organization_members (org_id, user_id) VALUES (%s, %s)", self.org_id, member.user_id
        )
        if allocated is not None:
            self.do(member.allocate(allocated))
        return member

    def stranger(self) -> Member:
        return Member(self.org_id, _unique("user"))

    def add(self, credits: int | None, request_id: str | None = None, **more: Any) -> Call:
        about = {"org_id": self.org_id, "credits": credits, "request_id": request_id or _unique("grant")}
        return Call("add_credits", about | more)

    def batch(self, *items: Row) -> Call:
        return Call("deduct_batch", {"org_id": self.org_id, "charges": list(items)})

    def capture(self, hold: Row, credits: int | None = None) -> Call:
        return Call("capture_hold", {"hold_id": hold["hold_id"], "credits": credits})

    def void(self, hold: Row) -> Call:
        return Call("void_hold", {"hold_id": hold["hold_id"]})

    def look(self, hold: Row) -> Row:
        return self.do(Call("get_hold", {"hold_id": hold["hold_id"]}))

    def refund(self, charge: Row, credits: int | None = None, key: str | None = None) -> Call:
        named = {"charge_id": charge["charge_id"], "idempotency_key": key or _unique("refund")}
        return Call("refund", named | {"credits": credits})

    def cap(self, scope: str, period: str, credits: int | None, subject: str | None = None) -> Call:
        """Return what sets a cap, or removes it."""
        about = {"org_id": self.org_id, "scope": scope, "subject": subject, "period": period}
        return Call("set_cap", about | {"credits": credits})

    def caps(self) -> list[Row]:
        found: list[Row] = self.do(Call("list_caps", {"org_id": self.org_id}))["caps"]
        return found

    def make_overdue(self, hold: Row) -> None:
        self.execute(
            "UPDATE credit_holds SET expires_at = ledger.now() - INTERVAL '1 second' WHERE id = %s",
            hold["hold_id"],
        )

    def sweep(self) -> Call:
        return Call("expire_holds", {})

    def balance(self, member: Member) -> tuple[int, int, int]:
        """Return what a member has allocated, used and held."""
        [row] = self.execute(
            "SELECT allocated_credits, used_credits, held_credits FROM user_credit_allocations"
            " WHERE org_id = %s AND user_id = %s",
            member.org_id, member.user_id,
        )  # fmt: skip
        return row["allocated_credits"], row["used_credits"], row["held_credits"]

    def taken(self) -> list[int]:
        """Return what every charge and refund took, in order."""
        rows = self.execute(
            "SELECT credits_used FROM credit_usage_attribution WHERE org_id = %s ORDER BY created_at, id",
            self.org_id,
        )
        return [row["credits_used"] for row in rows]

    def differences(self) -> list[Row]:
        """Return what the organisation's books and its append-only rows disagree about."""
        found: list[Row] = self.do(Call("verify_ledger", {"org_id": self.org_id}))["differences"]
        return found

    def at_once(self, calls: Sequence[Doable]) -> list[Row | Refusal]:
        """Carry calls out at the same moment, each on a connection of its own; return what came of each."""
        return self.in_threads([partial(outcome, call) for call in calls])

    def in_threads(self, work: Sequence[Callable[[Connection], T]]) -> list[T]:
        """Start everything at the same moment, each on a connection of its own; return what came of each."""
        start = threading.Barrier(len(work))

        def carry_out(task: Callable[[Connection], T]) -> T:
            with _connect(self.database_url) as connection:
                start.wait(PATIENCE_SECONDS)
                return task(connection)

        with ThreadPoolExecutor(len(work)) as threads:
            return list(threads.map(carry_out, work))

    def meanwhile(self, first: Doable, second: Doable) -> Row | Refusal:
        """Carry `first` out, and commit it only when `second` waits for it; return what comes of `second`."""
        return self.all_meanwhile(first, second)[0]

    def all_meanwhile(self, first: Doable, *others: Doable) -> list[Row | Refusal]:
        """Carry `first` out, and commit it only when all `others` wait; return what comes of them."""
        holding, waiting = self.connect(), [self.connect() for _ in others]
        with ThreadPoolExecutor(len(others)) as threads:
            with holding.transaction():
                first.on(holding)
                later = [threads.submit(outcome, *pair) for pair in zip(others, waiting, strict=True)]
                for connection in waiting:
                    self.until_blocked(connection.info.backend_pid)
            return [each.result(PATIENCE_SECONDS) for each in later]

    def until_blocked(self, process: int) -> None:
        """Wait until a process waits for another one."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            [row] = self.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0 AS blocked", process)
            if row["blocked"]:
                return
            time.sleep(0.002)
        pytest.fail("a call did not wait")


def set_clock(books: Books, moment: datetime) -> None:
    """Let the clock of a database stand still; only for `own_books`."""
    books.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE"
        f" RETURN TIMESTAMPTZ '{moment.isoformat()}'"
    )


def outcome(call: Doable, connection: Connection) -> Row | Refusal:
    try:
        return call.on(connection)
    except psycopg.Error as error:
        return refusal_of(error)


def refusal_of(error: psycopg.Error) -> Refusal:
    detail = error.diag.message_detail or ""
    figures = json.loads(detail) if detail.startswith("{") else {}
    return Refusal(error.sqlstate or "", error.diag.message_primary or "", figures)


def _unique(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(6)}"


def _connect(database_url: str) -> Connection:
    options = f"-c lock_timeout={PATIENCE_SECONDS}s"
    return psycopg.connect(database_url, autocommit=True, row_factory=dict_row, options=options)


@contextmanager
def _books(database_url: str) -> Iterator[Books]:
    """Open the books of a new organisation with a million credits in its pool."""
    with ExitStack() as opened:
        connection = opened.enter_context(_connect(database_url))
        books = Books(database_url, _unique("org"), connection, opened)
        books.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", books.org_id, books.org_id)
        books.do(books.add(1_000_000_000))
        yield books


@pytest.fixture(scope="session")
def shared_database(admin: Admin, postgres_url: str, migrated_template: str) -> Iterator[str]:
    name = f"credits_ledger_{secrets.token_hex(8)}"
    template = sql.Identifier(migrated_template)
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
    yield urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def books(shared_database: str) -> Iterator[Books]:
    with _books(shared_database) as books:
        yield books


@pytest.fixture
def own_books(database_url: str) -> Iterator[Books]:
    with _books(database_url) as books:
        yield books


@pytest.fixture
def make_call() -> type[Call]:
    return Call


@pytest.fixture
def ann(books: Books) -> Member:
    """A member with 100 credits."""
    return books.member()
