"""After every operation the books follow from the append-only rows, and a mistake in them is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.ledger.conftest import Books, Member

    Row = dict[str, Any]
    Act = Callable[[Books, Member], object]

# Written anew from the specification, beside `ledger.verify_ledger`, which is under test as well.
IDENTITIES = """
SELECT
  pool.available_credits = pool.total_credits - pool.settled_credits - pool.allocated_credits AS available,
  pool.available_credits >= 0 AS solvent,
  pool.allocated_credits = (SELECT sum(allocated_credits) FROM accounts) AS allocated,
  pool.used_credits = (SELECT sum(settled_credits + used_credits) FROM accounts) AS used,
  pool.used_credits = (SELECT coalesce(sum(credits_used), 0) FROM charges) AS charged,
  NOT EXISTS (
    SELECT FROM accounts WHERE used_credits + settled_credits <> (
      SELECT coalesce(sum(credits_used), 0) FROM charges WHERE charges.user_id = accounts.user_id
    )
  ) AS attributed,
  NOT EXISTS (
    SELECT FROM accounts WHERE held_credits <> (
      SELECT coalesce(sum(credits), 0) FROM holds
      WHERE holds.user_id = accounts.user_id AND status = 'held'
    )
  ) AS held,
  NOT EXISTS (SELECT FROM accounts WHERE remaining_credits <> allocated_credits - used_credits) AS remaining
FROM organization_credit_pools AS pool
WHERE pool.org_id = %(org_id)s
"""
OF_ORGANISATION = """
WITH accounts AS (SELECT * FROM user_credit_allocations WHERE org_id = %(org_id)s),
charges AS (SELECT * FROM credit_usage_attribution WHERE org_id = %(org_id)s),
holds AS (SELECT * FROM credit_holds WHERE org_id = %(org_id)s)
"""


def broken_identities(books: Books) -> list[str]:
    row = books.connection.execute(
        (OF_ORGANISATION + IDENTITIES).encode(), {"org_id": books.org_id}
    ).fetchone()
    assert row is not None
    return [name for name, holds in row.items() if not holds]


def expire(books: Books, member: Member) -> None:
    books.make_overdue(books.do(member.hold(30_000)))
    books.do(books.sweep())


def capture_late(books: Books, member: Member) -> None:
    hold = books.do(member.hold(30_000))
    books.make_overdue(hold)
    books.do(books.sweep())
    assert books.do(books.capture(hold))["credits_used"] == 30_000


def lower(books: Books, member: Member) -> None:
    books.do(member.deduct(70_000))
    books.execute(
        "UPDATE user_credit_allocations SET allocated_credits = 50000 WHERE org_id = %s", books.org_id
    )


KINDS: dict[str, Act] = {
    "deduct": lambda books, member: books.do(member.deduct(30_000)),
    "replay": lambda books, member: [books.do(member.deduct(30_000, "job")) for _ in range(2)],
    "hold": lambda books, member: books.do(member.hold(30_000)),
    "replayed hold": lambda books, member: [books.do(member.hold(30_000, "job")) for _ in range(2)],
    "capture": lambda books, member: books.do(books.capture(books.do(member.hold(30_000)))),
    "capture less": lambda books, member: books.do(books.capture(books.do(member.hold(30_000)), 10_000)),
    "capture more": lambda books, member: books.do(books.capture(books.do(member.hold(30_000)), 90_000)),
    "late capture": capture_late,
    "void": lambda books, member: books.do(books.void(books.do(member.hold(30_000)))),
    "expire": expire,
    "refund": lambda books, member: books.do(books.refund(books.do(member.deduct(30_000)))),
    "part refund": lambda books, member: books.do(books.refund(books.do(member.deduct(30_000)), 1)),
    "batch": lambda books, member: books.do(books.batch(*(member.item(30_000) for _ in range(4)))),
    "add": lambda books, _: books.do(books.add(5_000, purchase_amount=4)),
    "allocate": lambda _, member: member.allocate(5_000),
    "lower by hand": lower,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_books_are_right_after(books: Books, ann: Member, kind: str) -> None:
    KINDS[kind](books, ann)
    assert broken_identities(books) == []
    assert books.differences() == []


def test_a_refusal_leaves_no_trace(books: Books, ann: Member) -> None:
    before = books.balance(ann), books.taken()
    hold = books.do(ann.hold(60_000))
    for call in ann.deduct(60_000), ann.hold(60_000), books.capture(hold, 200_000), ann.allocate(10**12):
        books.refusal(call)
    books.do(books.void(hold))
    assert (books.balance(ann), books.taken()) == before


@pytest.fixture
def unguarded(books: Books) -> Iterator[Books]:
    """Books whose triggers look away."""
    try:
        books.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        pytest.skip("only a superuser can tamper with books")
    yield books
    books.execute("RESET session_replication_role")


USED = "settled_credits + used_credits"
CHARGE_AGAIN = """
INSERT INTO credit_usage_attribution (org_id, user_id, allocation_id, credits_used, service_type, hold_id)
SELECT org_id, user_id, allocation_id, 1, 'again', hold_id FROM credit_usage_attribution
WHERE hold_id IS NOT NULL
"""
REFUND_TOO_MUCH = """
INSERT INTO credit_usage_attribution (org_id, user_id, allocation_id, credits_used, service_type, refund_of)
SELECT org_id, user_id, allocation_id, -credits_used - 1, 'refund', id FROM credit_usage_attribution
WHERE hold_id IS NULL
"""
BALANCES = {
    "used_credits = used_credits - 1": USED,
    "settled_credits = settled_credits + 1": USED,
    "held_credits = held_credits + 1": "held_credits",
}


@pytest.mark.parametrize("change", BALANCES)
def test_a_changed_balance_is_found(unguarded: Books, ann: Member, change: str) -> None:
    unguarded.do(ann.deduct(30_000))
    unguarded.execute(f"UPDATE user_credit_allocations SET {change} WHERE user_id = %s", ann.user_id)  # noqa: S608
    [difference] = unguarded.differences()
    assert difference["subject"] == f"allocation of user {ann.user_id}"
    assert difference["figure"] == BALANCES[change]
    assert abs(difference["recorded"] - difference["recomputed"]) == 1


@pytest.mark.parametrize(
    ("tampering", "figures"),
    [
        ("DELETE FROM credit_usage_attribution WHERE hold_id IS NULL", {USED}),
        ("DELETE FROM credit_usage_attribution WHERE hold_id IS NOT NULL", {USED, "captured_credits"}),
        (CHARGE_AGAIN, {USED, "captured_credits", "credits"}),
        (REFUND_TOO_MUCH, {USED, "refunded credits"}),
        ("DELETE FROM credit_holds", {"captured_credits"}),
        ("DELETE FROM org_billing_history WHERE event_type = 'credit_grant'", {"total_credits"}),
        ("UPDATE credit_pools SET total_credits = 1", {"total_credits", "available_credits"}),
        ("DELETE FROM user_credit_allocations", {USED}),
    ],
)
def test_tampering_is_found(unguarded: Books, ann: Member, tampering: str, figures: set[str]) -> None:
    unguarded.do(ann.deduct(30_000))
    unguarded.do(unguarded.capture(unguarded.do(ann.hold(20_000))))
    assert unguarded.differences() == []
    joined = " AND " if "WHERE" in tampering else " WHERE "
    unguarded.execute(f"{tampering}{joined}org_id = %s", unguarded.org_id)
    assert {difference["figure"] for difference in unguarded.differences()} == figures


def test_verifying_counts_what_it_looked_at(own_books: Books) -> None:
    member = own_books.member()
    for call in member.deduct(10), member.deduct(10), member.hold(10):
        own_books.do(call)
    [row] = own_books.execute("SELECT * FROM ledger.verify_ledger()")
    assert row["document"] == {
        "organizations": 1, "allocations": 1, "charges": 2, "open_holds": 1, "differences": [],
        "users": 0, "transactions": 0,
    }  # fmt: skip


def test_a_period_that_was_closed_still_adds_up(books: Books, ann: Member) -> None:
    """What a reset does: used credits are settled, and a refund afterwards makes them negative."""
    charge = books.do(ann.deduct(30_000))
    books.execute(
        "UPDATE user_credit_allocations"
        " SET settled_credits = settled_credits + used_credits, used_credits = 0 WHERE org_id = %s",
        books.org_id,
    )
    receipt = books.do(books.refund(charge))
    assert receipt["remaining_credits"] == 130_000
    assert books.balance(ann) == (100_000, -30_000, 0)
    assert broken_identities(books) == []
    assert books.differences() == []
