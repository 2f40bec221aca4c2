"""Users with balances of their own, and everything that moves them: functions, and SQL by hand."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.ledger.conftest import Books, Call, Connection, Row

    OpenPurse = Callable[..., "Purse"]

# As the integration guide writes it.
BY_HAND = """
INSERT INTO credits_transactions
(user_id, amount, description, transaction_type, created_at)
VALUES (%(user_id)s, %(amount)s, %(description)s, 'service', NOW())
"""
BY_HAND_WITH_ID = """
INSERT INTO credits_transactions (user_id, amount, request_id)
VALUES (%(user_id)s, %(amount)s, %(request_id)s)
"""


@dataclass(frozen=True)
class Insert:
    """A row that somebody inserts by hand. The amount is credits."""

    user_id: int
    amount: str
    request_id: str | None = None
    on_conflict: str = ""

    def on(self, connection: Connection) -> Row:
        values = {"user_id": self.user_id, "amount": self.amount, "request_id": self.request_id}
        statement = (BY_HAND_WITH_ID if self.request_id else BY_HAND) + self.on_conflict
        connection.execute(statement.encode(), values | {"description": "by hand"})
        return {"amount": self.amount}


@dataclass(frozen=True)
class Purse:
    """A user with a balance, and what they may ask for. Amounts of functions are millicredits."""

    books: Books
    make_call: type[Call]
    id: int
    user_id: str

    def call(self, function: str, **arguments: Any) -> Call:
        return self.make_call(function, arguments)

    def spend(self, credits: int | None, request_id: str | None = None, **more: Any) -> Call:
        return self._operation("spend", credits, request_id, **more)

    def hold(self, credits: int | None, request_id: str | None = None, **more: Any) -> Call:
        return self._operation("place_balance_hold", credits, request_id, **more)

    def grant(self, credits: int | None, request_id: str | None = None, **more: Any) -> Call:
        return self._operation("grant_credits", credits, request_id, **more)

    def check(self, credits: int | None) -> Call:
        return self.call("check_balance", user_id=self.user_id, credits=credits)

    def capture(self, hold: Row, credits: int | None = None, **more: Any) -> Call:
        return self.call("capture_balance_hold", hold_id=hold["hold_id"], credits=credits, **more)

    def void(self, hold: Row, **more: Any) -> Call:
        return self.call("void_balance_hold", hold_id=hold["hold_id"], **more)

    def look(self, hold: Row, **more: Any) -> Row:
        return self.books.do(self.call("get_balance_hold", hold_id=hold["hold_id"], **more))

    def refund(self, charge: Row, credits: int | None = None, key: str | None = None) -> Call:
        named = {"transaction_id": charge["charge_id"], "idempotency_key": key or unique("refund")}
        return self.call("refund_spending", credits=credits, **named)

    def transactions(self, **filters: Any) -> Row:
        return self.books.do(self.call("list_transactions", user_id=self.user_id, **filters))

    def insert(self, amount: str, request_id: str | None = None, **more: Any) -> Insert:
        return Insert(self.id, amount, request_id, **more)

    def make_overdue(self, hold: Row) -> None:
        self.books.execute(
            "UPDATE user_credit_holds SET expires_at = ledger.now() - INTERVAL '1 second' WHERE id = %s",
            hold["hold_id"],
        )

    def switch_off(self) -> None:
        self.books.execute("UPDATE users SET is_active = FALSE WHERE id = %s", self.id)

    def balance(self) -> tuple[int, int]:
        """Return the balance and what of it is held."""
        [row] = self.books.execute(
            "SELECT (credits * 1000)::int8 AS credits, (held_credits * 1000)::int8 AS held"
            " FROM users WHERE id = %s",
            self.id,
        )
        return row["credits"], row["held"]

    def amounts(self) -> list[int]:
        """Return what every transaction moved, in the order in which the balance changed."""
        rows = self.books.execute(
            "SELECT (amount * 1000)::int8 AS amount FROM credits_transactions WHERE user_id = %s ORDER BY id",
            self.id,
        )
        return [row["amount"] for row in rows]

    def _operation(self, function: str, credits: int | None, request_id: str | None, **more: Any) -> Call:
        about = {"user_id": self.user_id, "credits": credits, "request_id": request_id or unique("job")}
        return self.call(function, **about | more)


def unique(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(6)}"


def differences_of_users(books: Books) -> list[Row]:
    """Return what users' balances and their append-only rows disagree about."""
    [row] = books.execute("SELECT ledger.verify_ledger() AS found")
    return [each for each in row["found"]["differences"] if each["org_id"] is None]


@pytest.fixture
def open_purse(make_call: type[Call]) -> OpenPurse:
    """Return a new user, known by a subject unless it is None, with 100 credits unless told."""

    def open_purse(books: Books, credits: str = "100", subject: str | None = "") -> Purse:
        name = unique("user") if subject == "" else subject
        [row] = books.execute(
            "INSERT INTO users (subject, email) VALUES (%s, %s) RETURNING id",
            name, f"{unique('user')}@example.com",
        )  # fmt: skip
        purse = Purse(books, make_call, row["id"], name or str(row["id"]))
        if float(credits):
            books.do(purse.insert(credits))
        return purse

    return open_purse


@pytest.fixture
def purse(books: Books, open_purse: OpenPurse) -> Purse:
    """A user with 100 credits."""
    return open_purse(books)


@pytest.fixture
def find_differences() -> Callable[[Books], list[Row]]:
    return differences_of_users


@pytest.fixture
def unguarded(own_books: Books) -> Iterator[Books]:
    """A database of its own, whose triggers can be made to look away."""
    try:
        own_books.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        pytest.skip("only a superuser can tamper with books")
    own_books.execute("RESET session_replication_role")
    yield own_books
    own_books.execute("RESET session_replication_role")
