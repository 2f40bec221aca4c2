"""Setting, lowering and removing caps; what they count from their first moment on.

Each test has a database of its own, whose clock it sets.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.ledger.conftest import Call, set_clock

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Member

    Row = dict[str, Any]

START = datetime(2027, 1, 20, 12, 30, tzinfo=UTC)


@pytest.fixture
def books(own_books: Books) -> Books:
    """Books at half past noon of 20 January 2027."""
    set_clock(own_books, START)
    return own_books


def test_caps_are_listed_by_scope_subject_and_period(books: Books) -> None:
    for scope, period, subject in (
        ("organization", "month", None), ("organization", "call", None), ("member", "day", "ann"),
        ("member", "hour", "Bob"), ("api_key", "hour", "key"),
    ):  # fmt: skip
        answer = books.do(books.cap(scope, period, 5_000, subject))
    assert answer["caps"] == books.caps()
    assert [(row["scope"], row["subject"], row["period"]) for row in answer["caps"]] == [
        ("api_key", "key", "hour"), ("member", "Bob", "hour"), ("member", "ann", "day"),
        ("organization", None, "call"), ("organization", None, "month"),
    ]  # fmt: skip
    moments = [row["resets_at"] and datetime.fromisoformat(row["resets_at"]) for row in answer["caps"]]
    hour = datetime(2027, 1, 20, 13, tzinfo=UTC)
    assert moments == [
        hour, hour, datetime(2027, 1, 21, tzinfo=UTC), None, datetime(2027, 2, 1, tzinfo=UTC)
    ]  # fmt: skip


def test_windows_are_of_utc_whatever_the_session_says(books: Books, ann: Member) -> None:
    books.execute("SET timezone = 'Asia/Kathmandu'")
    set_clock(books, datetime(2027, 12, 31, 23, 59, tzinfo=UTC))
    for period in "hour", "day", "month":
        books.do(books.cap("organization", period, 5_000))
    books.do(ann.deduct(5_000))
    assert {datetime.fromisoformat(row["resets_at"]) for row in books.caps()} == {
        datetime(2028, 1, 1, tzinfo=UTC)
    }
    rows = books.execute("SELECT window_start FROM credit_caps ORDER BY period")
    assert [row["window_start"] for row in rows] == [
        datetime(2027, 12, 31, tzinfo=UTC),
        datetime(2027, 12, 31, 23, tzinfo=UTC),
        datetime(2027, 12, 1, tzinfo=UTC),
    ]


def test_setting_a_cap_again_changes_nothing(books: Books) -> None:
    books.do(books.cap("organization", "day", 5_000))
    before = books.execute("SELECT xmin, * FROM credit_caps")
    set_clock(books, START + timedelta(minutes=1))
    books.do(books.cap("organization", "day", 5_000))
    assert books.execute("SELECT xmin, * FROM credit_caps") == before
    [row] = books.do(books.cap("organization", "day", 6_000))["caps"]
    assert row["credits"] == 6_000
    assert datetime.fromisoformat(row["updated_at"]) == START + timedelta(minutes=1)


def test_who_set_a_cap_is_kept(books: Books) -> None:
    call = books.cap("organization", "day", 5_000)
    books.do(Call(call.function, call.arguments | {"updated_by": "the-owner"}))
    [row] = books.execute("SELECT updated_by FROM credit_caps")
    assert row == {"updated_by": "the-owner"}


def test_lowered_below_what_is_used_nothing_more_is_taken(books: Books, ann: Member) -> None:
    books.do(books.cap("member", "day", 50_000, ann.user_id))
    books.do(ann.deduct(40_000))
    books.do(books.cap("member", "day", 10_000, ann.user_id))
    assert books.refusal(ann.deduct(1)).figures["available"] == 0
    books.do(books.cap("member", "day", 41_000, ann.user_id))
    books.do(ann.deduct(1_000))
    assert books.refusal(ann.deduct(1)).figures["available"] == 0
    assert books.differences() == []


def test_a_cap_that_is_removed_binds_no_more(books: Books, ann: Member) -> None:
    for period in "day", "month":
        books.do(books.cap("member", period, 1_000, ann.user_id))
    books.do(books.cap("member", "day", None, ann.user_id))
    assert books.refusal(ann.deduct(1_001)).figures["limit"] == "cap"
    assert books.do(books.cap("member", "month", None, ann.user_id)) == {"caps": []}
    assert books.do(books.cap("member", "month", None, ann.user_id)) == {"caps": []}
    books.do(ann.deduct(1_001))
    assert books.execute("SELECT capped FROM user_credit_allocations") == [{"capped": False}]


def test_allocations_made_later_are_under_the_caps(books: Books) -> None:
    books.do(books.cap("organization", "day", 1_000))
    assert books.refusal(books.member().deduct(1_001)).figures["limit"] == "cap"


def spend_in_every_way(books: Books, member: Member) -> None:
    """Spend in the hours from 12 to 14, of each kind 1, 10, 100 and so on, on behalf of two keys."""
    for n in range(2):
        books.do(member.deduct(1, api_key_id="key-1"))
        books.do(books.batch(member.item(10, api_key_id="key-1"), member.item(10)))
        less, more, late, dead, void, held, beyond = (
            books.do(member.hold(credits, api_key_id="key-1", ttl_seconds=ttl))
            for credits, ttl in (
                (900, 86_400), (1_000, 86_400), (10_000, 60), (7, 60), (7, 86_400), (20_000, 86_400),
                (1_000, 86_400),
            )
        )  # fmt: skip
        books.do(books.capture(less, 100))
        books.do(books.void(void))
        books.do(books.refund(books.do(member.deduct(1))))
        set_clock(books, START + timedelta(hours=n, minutes=2))
        books.do(books.sweep())
        assert books.look(dead)["status"] == "expired"
        books.do(books.capture(late))
        books.do(books.capture(more, 3_000))
        set_clock(books, START + timedelta(hours=n + 1))
        books.do(books.capture(beyond, 2_000))
        assert books.look(held)["status"] == "held"


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        # What is captured beyond a hold at 14:30.
        (("organization", None, "hour"), 1_000),
        (("api_key", "key-1", "hour"), 1_000),
        (("organization", None, "day"), 2 * (1 + 20 + 100 + 1 + 10_000 + 3_000 + 20_000 + 2_000)),
        (("api_key", "key-1", "month"), 2 * (1 + 10 + 100 + 10_000 + 3_000 + 20_000 + 2_000)),
        (("api_key", "key-2", "day"), 0),
    ],
)
def test_a_cap_starts_with_what_the_books_say(
    books: Books, ann: Member, terms: tuple[str, str | None, str], expected: int
) -> None:
    scope, subject, period = terms
    spend_in_every_way(books, ann)
    [row] = books.do(books.cap(scope, period, 10**9, subject))["caps"]
    assert row["used_credits"] == expected
    assert books.differences() == []


@pytest.mark.parametrize("period", ["hour", "day", "month"])
def test_a_cap_counts_like_one_that_is_set_later(books: Books, ann: Member, period: str) -> None:
    books.member()
    terms = [("organization", None), ("member", ann.user_id), ("api_key", "key-1")]
    for scope, subject in terms:
        books.do(books.cap(scope, period, 10**9, subject))
    spend_in_every_way(books, ann)
    counted = books.caps()
    assert books.differences() == []
    for scope, subject in terms:
        books.do(books.cap(scope, period, None, subject))
        books.do(books.cap(scope, period, 10**9, subject))
    assert [row["used_credits"] for row in books.caps()] == [row["used_credits"] for row in counted]


def test_a_cap_counts_its_own_member_only(books: Books, ann: Member) -> None:
    bob = books.member()
    books.do(ann.deduct(7))
    books.do(bob.deduct(20))
    [row] = books.do(books.cap("member", "day", 50, bob.user_id))["caps"]
    assert row["used_credits"] == 20


@pytest.mark.parametrize("by", [-1, 1])
def test_a_changed_count_is_found(books: Books, ann: Member, by: int) -> None:
    books.do(books.cap("member", "day", 50_000, ann.user_id))
    books.do(books.cap("organization", "call", 50_000))
    books.do(ann.deduct(10))
    books.execute("UPDATE credit_caps SET used_credits = used_credits + %s WHERE period = 'day'", by)
    assert books.differences() == [{
        "org_id": books.org_id, "subject": f"cap per day of user {ann.user_id}", "figure": "used_credits",
        "recorded": 10 + by, "recomputed": 10,
    }]  # fmt: skip


@pytest.mark.parametrize(
    ("terms", "credits", "state"),
    [
        (("organization", "somebody", "day"), 5, "CR422"),
        (("organization", "", "day"), 5, "CR422"),
        (("member", None, "day"), 5, "CR422"),
        (("member", "", "day"), 5, "CR422"),
        (("api_key", "k" * 256, "day"), 5, "CR422"),
        (("team", "somebody", "day"), 5, "CR422"),
        (("organization", None, "week"), 5, "CR422"),
        ((None, None, "day"), 5, "CR422"),
        (("organization", None, None), 5, "CR422"),
        (("organization", None, "day"), 0, "CR400"),
        (("organization", None, "day"), 10**15 + 1, "CR400"),
    ],
)
def test_terms_that_make_no_cap(
    books: Books, terms: tuple[str, str | None, str], credits: int, state: str
) -> None:
    scope, subject, period = terms
    assert books.refusal(books.cap(scope, period, credits, subject)).state == state
    assert books.caps() == []


def test_an_organisation_that_does_not_exist_has_no_caps(books: Books) -> None:
    unknown = {"org_id": "no-such-organisation"}
    assert books.refusal(Call("list_caps", unknown)).state == "CR413"
    terms = unknown | {"scope": "organization", "subject": None, "period": "day", "credits": 5}
    assert books.refusal(Call("set_cap", terms)).state == "CR413"


def test_caps_of_a_deleted_organisation_stay_as_they_are(books: Books) -> None:
    books.do(books.cap("organization", "day", 5))
    books.execute("UPDATE organizations SET status = 'deleted'")
    assert books.refusal(books.cap("organization", "day", None)).figures["limit"] == "inactive"
    assert len(books.caps()) == 1


@pytest.mark.parametrize(
    "change", ["subject = 'somebody'", "credits = 0", "used_credits = -1", "window_start = NULL"]
)
def test_caps_that_make_no_sense_cannot_be_written(books: Books, change: str) -> None:
    books.do(books.cap("organization", "day", 5))
    with pytest.raises(psycopg.errors.CheckViolation):
        books.execute(f"UPDATE credit_caps SET {change}")  # noqa: S608


def test_the_key_of_a_hold_does_not_change(books: Books, ann: Member) -> None:
    books.do(ann.hold(10, api_key_id="key-1"))
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        books.execute("UPDATE credit_holds SET api_key_id = 'key-2'")


def test_a_charge_without_caps_writes_its_two_rows_only(books: Books, ann: Member) -> None:
    def written() -> set[tuple[str, int]]:
        rows = books.execute(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS count FROM pg_stat_xact_user_tables"
        )
        return {(row["relname"], row["count"]) for row in rows}

    for call, table in (
        (ann.deduct(5), "credit_usage_attribution"),
        (ann.hold(5), "credit_holds"),
        (books.batch(ann.item(5)), "credit_usage_attribution"),
    ):
        with books.connection.transaction():
            before = dict(written())
            books.do(call)
            after = written()
        added = {name: count - before[name] for name, count in after if count != before[name]}
        assert added == {table: 1, "user_credit_allocations": 1}
