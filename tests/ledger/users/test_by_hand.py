"""What plain SQL on the user ledger may do, as the integration guide writes it, and what not."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.errors import (
    CheckViolation,
    ForeignKeyViolation,
    IntegrityConstraintViolation,
    NotNullViolation,
    RestrictViolation,
    UniqueViolation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Books, Row
    from tests.ledger.users.conftest import OpenPurse, Purse

    FindDifferences = Callable[[Books], list[Row]]

STAYS = (IntegrityConstraintViolation, ForeignKeyViolation, RestrictViolation)


def last_row(books: Books, purse: Purse) -> Row:
    [row] = books.execute(
        "SELECT * FROM credits_transactions WHERE user_id = %s ORDER BY id DESC LIMIT 1", purse.id
    )
    return row


def test_the_guides_insert_takes_credits(books: Books, purse: Purse) -> None:
    books.do(purse.insert("-5"))
    assert purse.balance() == (95_000, 0)
    row = last_row(books, purse)
    assert (row["amount"], row["balance_after"], row["transaction_type"]) == (-5, 95, "service")
    assert row["request_id"].startswith("req_")
    assert row["transaction_metadata"] == {}


def test_the_guides_insert_cannot_overdraw(books: Books, purse: Purse) -> None:
    refusal = books.refusal(purse.insert("-100.001"))
    assert (refusal.state, refusal.figures) == ("P0001", {})
    assert refusal.sentence == (
        f"Insufficient credits: 100.001 required, 100 available in the balance of user {purse.user_id}."
    )
    assert purse.balance() == (100_000, 0)
    assert purse.amounts() == [100_000]


def test_an_insert_cannot_take_what_is_held(books: Books, purse: Purse) -> None:
    books.do(purse.hold(60_000))
    assert books.refusal(purse.insert("-40.001")).state == "P0001"
    books.do(purse.insert("-40"))
    assert purse.balance() == (60_000, 60_000)


def test_an_insert_takes_what_an_overdue_hold_held(books: Books, purse: Purse) -> None:
    hold = books.do(purse.hold(60_000))
    purse.make_overdue(hold)
    books.do(purse.insert("-100"))
    assert purse.balance() == (0, 0)
    assert purse.look(hold)["status"] == "expired"


def test_rows_of_one_statement_do_not_overdraw_together(books: Books, purse: Purse) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="Insufficient credits"):
        books.execute(
            "INSERT INTO credits_transactions (user_id, amount)"
            " SELECT %s, -30 FROM generate_series(1, 4)", purse.id,
        )  # fmt: skip
    assert purse.balance() == (100_000, 0)
    books.execute(
        "INSERT INTO credits_transactions (user_id, amount) SELECT %s, -30 FROM generate_series(1, 3)",
        purse.id,
    )
    assert purse.balance() == (10_000, 0)


def test_rows_of_one_statement_follow_each_other(books: Books, purse: Purse) -> None:
    books.execute(
        "INSERT INTO credits_transactions (user_id, amount) VALUES (%(id)s, -100), (%(id)s, 7)".replace(
            "%(id)s", str(purse.id)
        )
    )
    rows = books.execute(
        "SELECT balance_after FROM credits_transactions WHERE user_id = %s ORDER BY id", purse.id
    )
    assert [row["balance_after"] for row in rows] == [100, 0, 7]


def test_copied_rows_count_as_well(books: Books, purse: Purse) -> None:
    with (
        books.connection.cursor() as cursor,
        cursor.copy("COPY credits_transactions (user_id, amount) FROM STDIN") as copy,
    ):
        for amount in "-10", "-20.5", "3":
            copy.write_row((purse.id, amount))
    assert purse.balance() == (72_500, 0)


def test_what_is_rolled_back_moved_nothing(books: Books, purse: Purse) -> None:
    with books.connection.transaction(force_rollback=True):
        books.do(purse.insert("-60"))
        books.do(purse.hold(40_000))
    assert purse.balance() == (100_000, 0)


@pytest.mark.parametrize("on_conflict", ["", "ON CONFLICT DO NOTHING"])
def test_a_request_id_moves_the_balance_once(books: Books, purse: Purse, on_conflict: str) -> None:
    books.do(purse.spend(10_000, "job-7"))
    again = purse.insert("-10", "job-7", on_conflict=on_conflict)
    if on_conflict:
        books.do(again)
    else:
        with pytest.raises(UniqueViolation):
            books.do(again)
    assert purse.balance() == (90_000, 0)
    assert purse.amounts() == [100_000, -10_000]


def test_a_request_id_twice_in_one_statement_moves_the_balance_once(books: Books, purse: Purse) -> None:
    books.execute(
        "INSERT INTO credits_transactions (user_id, amount, request_id)"
        " SELECT %s, -10, 'job-7' FROM generate_series(1, 3) ON CONFLICT DO NOTHING", purse.id,
    )  # fmt: skip
    assert purse.balance() == (90_000, 0)


def test_an_open_holds_id_is_for_capturing(books: Books, purse: Purse) -> None:
    hold = books.do(purse.hold(10_000, "job-7"))
    refusal = books.refusal(purse.insert("-1", "job-7"))
    assert refusal.state == "P0001"
    assert refusal.sentence.startswith("The request id job-7 holds credits; capture or void the hold ")
    books.do(purse.capture(hold))
    assert purse.balance() == (90_000, 0)


@pytest.mark.parametrize("amount", ["-10", "-100"])
def test_an_overdue_hold_does_not_keep_its_id(books: Books, purse: Purse, amount: str) -> None:
    hold = books.do(purse.hold(10_000, "job-7"))
    purse.make_overdue(hold)
    books.do(purse.insert(amount, "job-7"))
    assert purse.look(hold)["status"] == "expired"
    assert sum(purse.amounts()) == purse.balance()[0] == 100_000 + int(amount) * 1_000


def test_a_user_who_was_switched_off_spends_nothing(books: Books, purse: Purse) -> None:
    purse.switch_off()
    refusal = books.refusal(purse.insert("-1"))
    assert refusal.state == "P0001"
    assert refusal.sentence == f"No credit allocation: user {purse.user_id} is not active."
    books.do(purse.insert("1"))
    assert purse.balance() == (101_000, 0)


@pytest.mark.parametrize(
    ("columns", "values", "error"),
    [
        ("amount", "0", CheckViolation),
        ("amount", "0.0004", CheckViolation),
        ("amount", "NULL", NotNullViolation),
        ("amount", "'NaN'", psycopg.errors.RaiseException),
        ("amount, transaction_type", "5, 'gift'", CheckViolation),
        ("amount, refund_of", "-5, NULL::int8", None),
        ("amount, refund_of, transaction_type", "5, 0, 'refund'", ForeignKeyViolation),
        ("amount, refund_of", "5, 0", CheckViolation),
        ("amount, hold_id", "5, gen_random_uuid()", CheckViolation),
        ("amount", "1000000000000", psycopg.errors.RaiseException),
    ],
)
def test_what_a_row_may_say(
    books: Books, purse: Purse, columns: str, values: str, error: type[psycopg.Error] | None
) -> None:
    statement = f"INSERT INTO credits_transactions (user_id, {columns}) VALUES ({purse.id}, {values})"  # noqa: S608
    if error is None:
        books.execute(statement)
        return
    with pytest.raises(error):
        books.execute(statement)
    assert purse.balance() == (100_000, 0)


def test_a_row_for_nobody_is_refused(books: Books) -> None:
    with pytest.raises(ForeignKeyViolation):
        books.execute("INSERT INTO credits_transactions (user_id, amount) VALUES (-1, 5)")
    with pytest.raises(NotNullViolation):
        books.execute("INSERT INTO credits_transactions (user_id, amount) VALUES (NULL, 5)")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credits_transactions SET amount = 1000 WHERE user_id = %s",
        "UPDATE credits_transactions SET description = 'something else' WHERE user_id = %s",
        "DELETE FROM credits_transactions WHERE user_id = %s",
        "DELETE FROM user_credit_holds WHERE user_id = %s",
        "UPDATE user_credit_holds SET credits = 1 WHERE user_id = %s",
        "UPDATE users SET credits = 1000 WHERE id = %s",
        "UPDATE users SET credits = 0 WHERE id = %s",
        "DELETE FROM users WHERE id = %s",
    ],
)
def test_what_happened_stays(books: Books, purse: Purse, statement: str) -> None:
    books.do(purse.hold(5_000))
    with pytest.raises(STAYS):
        books.execute(statement, purse.id)
    assert purse.balance() == (100_000, 5_000)


@pytest.mark.parametrize("table", ["credits_transactions", "user_credit_holds"])
def test_no_table_is_emptied(books: Books, table: str) -> None:
    with pytest.raises(STAYS):
        books.execute(f"TRUNCATE {table} CASCADE")


def test_held_credits_never_exceed_the_balance(books: Books, purse: Purse) -> None:
    for held in "100.001", "-1":
        with pytest.raises(CheckViolation):
            books.execute("UPDATE users SET held_credits = %s WHERE id = %s", held, purse.id)


def test_other_columns_of_a_user_can_be_written(books: Books, purse: Purse) -> None:
    books.execute("UPDATE users SET name = 'Ann', credits = credits WHERE id = %s", purse.id)
    assert purse.balance() == (100_000, 0)


def test_a_user_who_is_inserted_with_credits_has_a_transaction(
    books: Books, find_differences: FindDifferences
) -> None:
    [row] = books.execute("INSERT INTO users (email, credits) VALUES ('rich@example.com', 12.5) RETURNING id")
    [transaction] = books.execute("SELECT * FROM credits_transactions WHERE user_id = %s", row["id"])
    assert transaction["amount"] == transaction["balance_after"] == Decimal("12.5")
    assert transaction["transaction_type"] == "credit_addition"
    assert find_differences(books) == []


@pytest.mark.parametrize("subject", ["7", "0", "999999999999999999", "000000000000000007"])
def test_no_subject_is_a_number_that_another_user_may_have(books: Books, subject: str) -> None:
    with pytest.raises(CheckViolation):
        books.execute(
            "INSERT INTO users (id, subject, email) VALUES (DEFAULT, %s, %s)", subject, f"{subject}@x.com"
        )
    newcomer = books.execute("SELECT identity.recognise(%s, NULL, NULL) AS caller", subject)
    assert newcomer == [{"caller": None}]


def test_a_long_number_is_a_subject(books: Books, open_purse: OpenPurse) -> None:
    purse = open_purse(books, subject="1234567890123456789")
    assert books.do(purse.spend(1_000))["user_id"] == "1234567890123456789"


def test_a_user_may_be_called_by_the_number_that_is_theirs(books: Books, make_call: Any) -> None:
    books.execute(
        "INSERT INTO users (id, subject, email, credits) VALUES (123123, '123123', 'n@example.com', 5)"
    )
    balance = books.do(make_call("get_balance", {"user_id": "123123"}))
    assert (balance["user_id"], balance["credits"]) == ("123123", 5_000)


def test_a_user_is_found_by_number_and_by_subject(books: Books, purse: Purse) -> None:
    for user_id in str(purse.id), f"00{purse.id}", purse.user_id:
        balance = books.do(purse.call("get_balance", user_id=user_id))
        assert (balance["user_id"], balance["credits"]) == (purse.user_id, 100_000)
