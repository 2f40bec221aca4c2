"""After every operation a balance follows from its rows, a mistake is found, and the rows tell the story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Books, Row
    from tests.ledger.users.conftest import OpenPurse, Purse

    Act = Callable[[Books, Purse], object]
    FindDifferences = Callable[[Books], list[Row]]

# Written anew from the specification, beside `ledger.verify_ledger`, which is under test as well.
IDENTITIES = """
SELECT
  credits = (SELECT coalesce(sum(amount), 0) FROM credits_transactions WHERE user_id = users.id) AS summed,
  held_credits = (
    SELECT coalesce(sum(credits), 0) FROM user_credit_holds WHERE user_id = users.id AND status = 'held'
  ) AS held,
  held_credits BETWEEN 0 AND credits AS covered,
  credits IS NOT DISTINCT FROM coalesce((
    SELECT balance_after FROM credits_transactions WHERE user_id = users.id ORDER BY id DESC LIMIT 1
  ), 0) AS last
FROM users WHERE id = %s
"""


def expire(books: Books, purse: Purse) -> None:
    purse.make_overdue(books.do(purse.hold(30_000)))
    assert books.do(purse.call("expire_holds"))["expired"] >= 1


def capture_late(books: Books, purse: Purse) -> None:
    hold = books.do(purse.hold(30_000))
    purse.make_overdue(hold)
    books.do(purse.call("expire_holds"))
    assert books.do(purse.capture(hold))["credits_used"] == 30_000


KINDS: dict[str, tuple[Act, tuple[int, int]]] = {
    "spend": (lambda books, purse: books.do(purse.spend(30_000)), (70_000, 0)),
    "replay": (lambda books, purse: [books.do(purse.spend(30_000, "job")) for _ in range(2)], (70_000, 0)),
    "row": (lambda books, purse: books.do(purse.insert("-30")), (70_000, 0)),
    "hold": (lambda books, purse: books.do(purse.hold(30_000)), (100_000, 30_000)),
    "replayed hold": (
        lambda books, purse: [books.do(purse.hold(30_000, "job")) for _ in range(2)], (100_000, 30_000)
    ),
    "capture": (lambda books, purse: books.do(purse.capture(books.do(purse.hold(30_000)))), (70_000, 0)),
    "capture less": (
        lambda books, purse: books.do(purse.capture(books.do(purse.hold(30_000)), 1)), (99_999, 0)
    ),
    "capture more": (
        lambda books, purse: books.do(purse.capture(books.do(purse.hold(30_000)), 100_000)), (0, 0)
    ),
    "late capture": (capture_late, (70_000, 0)),
    "void": (lambda books, purse: books.do(purse.void(books.do(purse.hold(30_000)))), (100_000, 0)),
    "expire": (expire, (100_000, 0)),
    "refund": (lambda books, purse: books.do(purse.refund(books.do(purse.spend(30_000)))), (100_000, 0)),
    "part refund": (
        lambda books, purse: books.do(purse.refund(books.do(purse.spend(30_000)), 1)), (70_001, 0)
    ),
    "grant": (lambda books, purse: books.do(purse.grant(5_000)), (105_000, 0)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_books_are_right_after(
    books: Books, purse: Purse, find_differences: FindDifferences, kind: str
) -> None:
    act, balance = KINDS[kind]
    act(books, purse)
    assert purse.balance() == balance
    [row] = books.execute(IDENTITIES, purse.id)
    assert [name for name, holds in row.items() if not holds] == []
    assert find_differences(books) == []


def test_a_refusal_leaves_no_trace(books: Books, purse: Purse) -> None:
    hold = books.do(purse.hold(60_000))
    for call in purse.spend(60_000), purse.hold(60_000), purse.capture(hold, 200_000), purse.insert("-60"):
        books.refusal(call)
    books.do(purse.void(hold))
    assert (purse.balance(), purse.amounts()) == ((100_000, 0), [100_000])


TAMPERING: dict[str, set[str]] = {
    "UPDATE users SET credits = credits - 0.001": {"credits"},
    "UPDATE users SET held_credits = held_credits + 1": {"held_credits"},
    "DELETE FROM credits_transactions WHERE hold_id IS NULL AND amount < 0": {"credits", "balance_after"},
    "DELETE FROM credits_transactions WHERE hold_id IS NOT NULL": {"credits", "captured_credits"},
    "UPDATE credits_transactions SET amount = amount - 1 WHERE hold_id IS NOT NULL": {
        "credits", "balance_after", "captured_credits"
    },
    "UPDATE credits_transactions SET balance_after = balance_after + 1 WHERE hold_id IS NOT NULL": {
        "balance_after"
    },
    "UPDATE user_credit_holds SET captured_credits = 1": {"captured_credits"},
    "UPDATE user_credit_holds SET status = 'held'": {"held_credits"},
    "DELETE FROM user_credit_holds": {"captured_credits"},
    "INSERT INTO credits_transactions (id, user_id, amount, balance_after, hold_id, created_at)"
    " SELECT 999, user_id, -1, balance_after - 1, hold_id, now()"
    " FROM credits_transactions WHERE hold_id IS NOT NULL": {"credits", "captured_credits", "charges"},
    "INSERT INTO credits_transactions"
    " (id, user_id, amount, balance_after, refund_of, transaction_type, created_at)"
    " SELECT 999, user_id, 31, balance_after + 11, id, 'refund', now()"
    " FROM credits_transactions WHERE hold_id IS NULL AND amount < 0": {"credits", "refunded credits"},
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERING)
def test_tampering_is_found(
    unguarded: Books, open_purse: OpenPurse, find_differences: FindDifferences, tampering: str
) -> None:
    purse = open_purse(unguarded)
    unguarded.do(purse.spend(30_000))
    unguarded.do(purse.capture(unguarded.do(purse.hold(20_000))))
    assert find_differences(unguarded) == []
    unguarded.execute("SET session_replication_role = replica")
    unguarded.execute(tampering)
    assert {difference["figure"] for difference in find_differences(unguarded)} == TAMPERING[tampering]


def test_a_difference_names_the_user_and_the_figures(
    unguarded: Books, open_purse: OpenPurse, find_differences: FindDifferences
) -> None:
    purse = open_purse(unguarded)
    unguarded.execute("SET session_replication_role = replica")
    unguarded.execute("UPDATE users SET credits = 99.5")
    assert find_differences(unguarded) == [
        {
            "org_id": None,
            "subject": f"balance of user {purse.user_id}",
            "figure": "credits",
            "recorded": 99_500,
            "recomputed": 100_000,
        }
    ]


def test_verifying_counts_users_and_leaves_them_out_for_an_organisation(
    own_books: Books, open_purse: OpenPurse
) -> None:
    own_books.do(open_purse(own_books).hold(5))
    [everything] = own_books.execute("SELECT ledger.verify_ledger() AS counts")
    [one] = own_books.execute("SELECT ledger.verify_ledger(%s) AS counts", own_books.org_id)
    names = "users", "transactions", "open_holds", "organizations"
    assert [everything["counts"][name] for name in names] == [1, 1, 1, 1]
    assert [one["counts"][name] for name in names] == [0, 0, 0, 1]


def test_a_sweep_gives_back_at_most_so_many_holds_of_both_ledgers(
    own_books: Books, open_purse: OpenPurse
) -> None:
    purse, member = open_purse(own_books), own_books.member()
    for _ in range(3):
        purse.make_overdue(own_books.do(purse.hold(5)))
        own_books.make_overdue(own_books.do(member.hold(5)))
    sweeps = [own_books.do(purse.call("expire_holds", limit=2))["expired"] for _ in range(4)]
    assert sweeps == [2, 2, 2, 0]
    assert purse.balance() == (100_000, 0)


def test_what_is_due_includes_users_holds(own_books: Books, open_purse: OpenPurse) -> None:
    purse = open_purse(own_books)
    purse.make_overdue(own_books.do(purse.hold(5)))
    assert own_books.do(purse.call("run_due"))["holds_expired"] == 1


def test_overdue_holds_count_as_available(purse: Purse) -> None:
    purse.make_overdue(purse.books.do(purse.hold(60_000)))
    purse.books.do(purse.hold(10_000))
    balance = purse.books.do(purse.call("get_balance", user_id=purse.user_id))
    assert balance == {
        "user_id": purse.user_id, "credits": 100_000, "held_credits": 70_000,
        "available_credits": 90_000, "is_active": True, "expiring_credits": 0, "expires_at": None,
    }  # fmt: skip
    for credits, sufficient in (90_000, True), (90_001, False):
        assert purse.books.do(purse.check(credits)) == {
            "has_sufficient_credits": sufficient, "remaining_credits": 100_000,
            "available_credits": 90_000, "required_credits": credits,
        }  # fmt: skip


def test_transactions_are_listed_newest_first_and_page_by_page(purse: Purse) -> None:
    books = purse.books
    charge = books.do(purse.spend(10_000, "job-1", description="Print", request_metadata={"pages": 2}))
    hold = books.do(purse.hold(5_000, "job-2", service_type="printing", service_name="A4"))
    books.do(purse.capture(hold, request_metadata={"pages": 1}))
    books.do(purse.refund(charge, 4_000, key="back"))
    books.do(purse.grant(1_000, "gift", admin_id="root", request_metadata={"why": "kind"}))
    pages: list[list[str]] = []
    cursor = None
    while not pages or cursor:
        page = purse.transactions(limit=2, cursor=cursor)
        pages.append([row["request_id"] for row in page["items"]])
        cursor = page["next_cursor"]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [each for page in pages for each in page][:4] == ["gift", "back", "job-2", "job-1"]

    gift, back, captured, spent, _ = purse.transactions()["items"]
    assert (gift["amount"], gift["balance_after"], gift["transaction_type"]) == (
        1_000,
        90_000,
        "credit_addition",
    )
    assert gift["request_metadata"] == {"why": "kind", "admin_id": "root"}
    assert (back["amount"], back["refund_of"], back["transaction_type"]) == (
        4_000,
        charge["charge_id"],
        "refund",
    )
    assert (captured["hold_id"], captured["service_name"]) == (str(hold["hold_id"]), "A4")
    assert captured["request_metadata"] == {"pages": 1}
    assert (spent["description"], spent["amount"]) == ("Print", -10_000)


def test_transactions_are_listed_by_type_and_time(purse: Purse) -> None:
    books = purse.books
    books.do(purse.spend(1_000, "job-1"))
    [row] = books.execute("SELECT ledger.now() AS at")
    books.do(purse.spend(1_000, "job-2", transaction_type="subscription"))

    def listed(**filters: Any) -> list[int]:
        return [row["amount"] for row in purse.transactions(**filters)["items"]]

    assert listed(transaction_type="service") == [-1_000, 100_000]
    assert listed(since=row["at"]) == [-1_000]
    assert listed(until=row["at"]) == [-1_000, 100_000]
    assert purse.books.refusal(
        purse.call("list_transactions", user_id=purse.user_id, cursor="nonsense")
    ).state == "CR422"  # fmt: skip


def test_a_statement_says_whether_anything_can_be_spent(purse: Purse) -> None:
    def statement() -> Row:
        return purse.books.do(purse.call("get_statement", user_id=purse.user_id))

    assert (statement()["credit_status"], len(statement()["transactions"])) == ("active", 1)
    purse.books.do(purse.hold(100_000))
    assert (statement()["credit_status"], statement()["credits"]) == ("empty", 100_000)
    purse.switch_off()
    assert statement()["credit_status"] == "inactive"
