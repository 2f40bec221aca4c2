"""What the owner of the database may do with plain SQL, as the documents do, and what not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Member

REFUSED = psycopg.errors.IntegrityConstraintViolation
STAYS = (psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation)


def set_allocation(books: Books, credits: int) -> None:
    books.execute(
        "UPDATE user_credit_allocations SET allocated_credits = %s WHERE org_id = %s", credits, books.org_id
    )


def test_an_allocation_can_be_taken_away_and_given_back(books: Books, ann: Member) -> None:
    books.do(ann.deduct(30_000))
    set_allocation(books, 0)
    assert books.refusal(ann.deduct(1)).state == "CR402"
    set_allocation(books, 100_000)
    assert books.do(ann.deduct(70_000))["remaining_credits"] == 0
    assert books.differences() == []


def test_an_allocation_cannot_exceed_the_pool(books: Books, ann: Member) -> None:
    books.member(allocated=600_000_000)
    with pytest.raises(psycopg.Error, match="Insufficient credits") as caught:
        books.execute(
            "UPDATE user_credit_allocations SET allocated_credits = 400000001 WHERE user_id = %s", ann.user_id
        )
    assert caught.value.sqlstate == "CR402"
    assert books.balance(ann) == (100_000, 0, 0)


def test_a_new_allocation_cannot_exceed_the_pool(books: Books) -> None:
    insert = "INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits) VALUES (%s, 'new', %s)"
    with pytest.raises(psycopg.Error, match="Insufficient credits"):
        books.execute(insert, books.org_id, 1_000_000_001)
    books.execute(insert, books.org_id, 1_000_000_000)


def test_allocations_by_hand_at_once_do_not_exceed_the_pool(books: Books) -> None:
    members = [books.member() for _ in range(2)]
    raise_by_hand = "UPDATE user_credit_allocations SET allocated_credits = 600000000 WHERE user_id = %s"
    other = books.connect()
    with other.transaction():
        other.execute(raise_by_hand.encode(), [members[0].user_id])
        books.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            books.execute(raise_by_hand, members[1].user_id)
    with pytest.raises(psycopg.Error, match="Insufficient credits"):
        books.execute(raise_by_hand, members[1].user_id)


@pytest.mark.parametrize("column", ["allocated_credits", "held_credits"])
def test_balances_that_cannot_be_negative(books: Books, ann: Member, column: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        books.execute(f"UPDATE user_credit_allocations SET {column} = -1 WHERE user_id = %s", ann.user_id)  # noqa: S608


def test_a_pool_has_bounds(books: Books) -> None:
    for total in -1, 10**15 + 1:
        with pytest.raises(psycopg.errors.CheckViolation):
            books.execute("UPDATE credit_pools SET total_credits = %s WHERE org_id = %s", total, books.org_id)


@pytest.mark.parametrize("table", ["credit_usage_attribution", "org_billing_history"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET created_at = now() WHERE org_id = %s", "DELETE FROM {} WHERE org_id = %s"]
)
def test_history_is_only_added_to(books: Books, ann: Member, table: str, statement: str) -> None:
    books.do(ann.deduct(5))
    with pytest.raises(REFUSED, match="append-only"):
        books.execute(statement.format(table), books.org_id)


@pytest.mark.parametrize("table", ["credit_usage_attribution", "org_billing_history", "credit_holds"])
def test_history_is_not_truncated(books: Books, table: str) -> None:
    with pytest.raises(REFUSED, match="append-only"):
        books.execute(f"TRUNCATE {table}")


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("captured", "status = 'held', captured_credits = 0"),
        ("captured", "captured_credits = 1"),
        ("voided", "status = 'held'"),
        ("voided", "status = 'captured', captured_credits = 5"),
        ("expired", "status = 'held'"),
        ("expired", "status = 'voided'"),
        ("held", "credits = 1"),
        ("held", "user_id = 'somebody-else'"),
        ("held", "request_id = 'another'"),
    ],
)
def test_a_hold_that_is_settled_stays_so(books: Books, ann: Member, state: str, change: str) -> None:
    hold = books.do(ann.hold(10))
    if state == "captured":
        books.do(books.capture(hold))
    elif state == "voided":
        books.do(books.void(hold))
    elif state == "expired":
        books.make_overdue(hold)
        books.do(books.sweep())
    assert books.look(hold)["status"] == state
    with pytest.raises(REFUSED):
        books.execute(f"UPDATE credit_holds SET {change} WHERE id = %s", hold["hold_id"])  # noqa: S608


def test_a_hold_is_not_deleted(books: Books, ann: Member) -> None:
    hold = books.do(ann.hold(10))
    with pytest.raises(REFUSED):
        books.execute("DELETE FROM credit_holds WHERE id = %s", hold["hold_id"])


@pytest.mark.parametrize("what", ["charge", "hold"])
def test_an_allocation_with_a_history_stays(books: Books, ann: Member, what: str) -> None:
    books.do(ann.deduct(5) if what == "charge" else ann.hold(5))
    for statement in (
        "DELETE FROM user_credit_allocations WHERE user_id = %s",
        "UPDATE user_credit_allocations SET user_id = 'somebody-else' WHERE user_id = %s",
    ):
        with pytest.raises(STAYS):
            books.execute(statement, ann.user_id)


def test_an_organisation_with_books_stays(books: Books, ann: Member) -> None:
    books.do(ann.deduct(5))
    with pytest.raises(STAYS):
        books.execute("DELETE FROM organizations WHERE id = %s", books.org_id)


def test_foreign_keys_never_cascade(books: Books) -> None:
    rows = books.execute(
        "SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
        " WHERE contype = 'f'"
        " AND connamespace = 'public'::regnamespace"
    )
    assert rows
    assert [row for row in rows if "ON DELETE RESTRICT" not in row["definition"]] == []


OF_NO_ORGANISATION_TOO = (
    "api_keys", "audit_log", "stripe_customers",
    "credit_lots", "alert_rules", "credit_alerts", "webhook_endpoints", "webhook_deliveries",
)  # fmt: skip


def test_every_key_of_the_organisation_ledger_names_the_organisation(books: Books) -> None:
    """So that the tables can be distributed by it."""
    rows = books.execute(
        "SELECT conrelid::regclass::text AS table_name, conname, ARRAY("
        "  SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey)"
        ") AS columns FROM pg_constraint"
        " WHERE contype IN ('p', 'u', 'f') AND conrelid IN ("
        "  SELECT attrelid FROM pg_attribute WHERE attname = 'org_id' AND attnum > 0"
        ") AND conrelid <> ALL (%s::regclass[]) AND connamespace = 'public'::regnamespace",
        list(OF_NO_ORGANISATION_TOO),
    )
    assert rows
    assert [row for row in rows if "org_id" not in row["columns"]] == []


def test_at_most_one_active_subscription(books: Books) -> None:
    subscribe = (
        "INSERT INTO organization_subscriptions (org_id, subscription_plan, status) VALUES (%s, 'byok', %s)"
    )
    books.execute(subscribe, books.org_id, "canceled")
    books.execute(subscribe, books.org_id, "active")
    with pytest.raises(psycopg.errors.UniqueViolation):
        books.execute(subscribe, books.org_id, "active")


def test_time_comes_through_one_function(own_books: Books) -> None:
    member = own_books.member()
    hold = own_books.do(member.hold(10, ttl_seconds=60))
    own_books.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE"
        " RETURN TIMESTAMPTZ '2100-01-31 12:00+00'"
    )
    assert own_books.do(own_books.sweep()) == {"expired": 1}
    assert own_books.look(hold)["status"] == "expired"
    assert own_books.do(member.deduct(10))["created_at"].year == 2100
    own_books.do(member.allocate(10, reset_period="monthly"))
    [row] = own_books.execute("SELECT next_reset_date AS at FROM user_credit_allocations")
    assert row["at"] == datetime(2100, 2, 1, tzinfo=UTC)


def test_no_function_reads_another_clock(books: Books) -> None:
    rows = books.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace IN ('ledger'::regnamespace, 'public'::regnamespace)"
        " AND prosrc ~* 'clock_timestamp|current_timestamp|statement_timestamp|localtimestamp"
        "|transaction_timestamp|(?<!ledger\\.)\\mnow\\('"
    )
    assert rows == []
