"""Caps decide with the balance: per call, hour, day and month, for organisations, members and keys.

Each test has a database of its own, whose clock it sets.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.ledger.conftest import set_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ledger.conftest import Books, Call, Member

    Row = dict[str, Any]

START = datetime(2027, 1, 20, 12, 30, tzinfo=UTC)
KEY = "key-1"
SCOPES = ["organization", "member", "api_key"]
ENDS = {
    "hour": datetime(2027, 1, 20, 13, tzinfo=UTC),
    "day": datetime(2027, 1, 21, tzinfo=UTC),
    "month": datetime(2027, 2, 1, tzinfo=UTC),
}


@pytest.fixture
def books(own_books: Books) -> Iterator[Books]:
    """Books at half past noon of 20 January 2027 that are right in the end."""
    set_clock(own_books, START)
    yield own_books
    assert own_books.differences() == []


def subject_of(scope: str, member: Member) -> str | None:
    return {"organization": None, "member": member.user_id, "api_key": KEY}[scope]


def cap(books: Books, member: Member, scope: str, period: str, credits: int | None) -> Call:
    """Return what caps the member, the member's organisation, or the key."""
    return books.cap(scope, period, credits, subject_of(scope, member))


def used(books: Books) -> list[int]:
    return [row["used_credits"] for row in books.caps()]


@pytest.mark.parametrize("period", ENDS)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_cap_bounds_what_is_charged_and_held_in_its_period(
    books: Books, ann: Member, scope: str, period: str
) -> None:
    books.do(cap(books, ann, scope, period, 50_000))
    books.do(ann.deduct(20_000, api_key_id=KEY))
    books.do(ann.hold(15_000, api_key_id=KEY))
    books.do(books.batch(ann.item(10_000, api_key_id=KEY)))
    for call in ann.deduct(6_000, api_key_id=KEY), ann.hold(6_000, api_key_id=KEY):
        refusal = books.refusal(call)
        assert refusal.state == "CR402"
        resets_at = datetime.fromisoformat(refusal.figures.pop("resets_at"))
        assert resets_at == ENDS[period]
        assert refusal.figures == {
            "code": "insufficient_credits", "limit": "cap", "required": 6_000, "available": 5_000
        }  # fmt: skip
    [outcome] = books.do(books.batch(ann.item(6_000, api_key_id=KEY)))["outcomes"]
    assert (outcome["problem"]["limit"], outcome["problem"]["available"]) == ("cap", 5_000)
    books.do(ann.deduct(5_000, api_key_id=KEY))
    assert used(books) == [50_000]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_cap_of_a_call_bounds_each_charge_and_hold(books: Books, ann: Member, scope: str) -> None:
    books.do(cap(books, ann, scope, "call", 20_000))
    for _ in range(2):
        books.do(ann.deduct(20_000, api_key_id=KEY))
    books.do(ann.hold(20_000, api_key_id=KEY))
    for call in ann.deduct(20_001, api_key_id=KEY), ann.hold(20_001, api_key_id=KEY):
        assert books.refusal(call).figures == {
            "code": "insufficient_credits", "limit": "cap", "required": 20_001, "available": 20_000
        }  # fmt: skip
    [outcome] = books.do(books.batch(ann.item(20_001, api_key_id=KEY)))["outcomes"]
    assert outcome["problem"]["available"] == 20_000
    assert used(books) == [0]


@pytest.mark.parametrize(
    ("scope", "period", "words"),
    [
        ("organization", "call", "a call for organisation {org}"),
        ("organization", "hour", "an hour for organisation {org}"),
        ("member", "day", "a day for user {user} in organisation {org}"),
        ("api_key", "month", "a month for API key key-1 in organisation {org}"),
    ],
)
def test_a_refusal_says_which_cap(books: Books, ann: Member, scope: str, period: str, words: str) -> None:
    books.do(cap(books, ann, scope, period, 12_500))
    refusal = books.refusal(ann.deduct(50_000, api_key_id=KEY))
    named = words.format(org=books.org_id, user=ann.user_id)
    assert refusal.sentence == f"Insufficient credits: 50 required, 12.5 left of the cap of 12.5 {named}."


def test_others_are_not_bound(books: Books, ann: Member) -> None:
    bob = books.member()
    for scope in "member", "api_key":
        books.do(cap(books, ann, scope, "day", 1))
    books.do(bob.deduct(60_000, api_key_id="key-2"))
    books.do(bob.hold(20_000))
    books.do(books.batch(bob.item(20_000)))
    assert used(books) == [0, 0]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("period", ENDS)
def test_a_window_that_is_over_begins_anew(books: Books, ann: Member, period: str, scope: str) -> None:
    books.do(ann.allocate(100_000))
    books.do(cap(books, ann, scope, period, 50_000))
    books.do(ann.deduct(50_000, api_key_id=KEY))
    set_clock(books, ENDS[period] - timedelta(microseconds=1))
    books.refusal(ann.deduct(1, api_key_id=KEY))
    set_clock(books, ENDS[period])
    assert used(books) == [0]
    books.do(ann.deduct(30_000, api_key_id=KEY))
    books.do(books.batch(ann.item(20_000, api_key_id=KEY)))
    assert books.refusal(ann.hold(1, api_key_id=KEY)).figures["limit"] == "cap"
    assert used(books) == [50_000]


def test_the_cap_that_leaves_least_is_named(books: Books, ann: Member) -> None:
    books.do(books.cap("organization", "hour", 30_000))
    books.do(books.cap("member", "month", 20_000, ann.user_id))
    books.do(books.cap("api_key", "call", 25_000, KEY))
    books.do(ann.deduct(1_000))
    refusal = books.refusal(ann.deduct(40_000, api_key_id=KEY))
    assert (refusal.figures["available"], refusal.figures["resets_at"][:7]) == (19_000, "2027-02")


def test_the_balance_is_decided_before_caps(books: Books, ann: Member) -> None:
    books.do(books.cap("organization", "day", 10_000))
    for call in ann.deduct(100_001), ann.hold(100_001):
        assert books.refusal(call).figures["limit"] == "allocation"
    [outcome] = books.do(books.batch(ann.item(100_001)))["outcomes"]
    assert outcome["problem"]["limit"] == "allocation"


def test_a_replay_counts_once(books: Books, ann: Member) -> None:
    books.do(books.cap("member", "day", 50_000, ann.user_id))
    for replayed in False, True:
        assert books.do(ann.deduct(30_000, "job-1"))["replayed"] is replayed
        assert books.do(ann.hold(20_000, "job-2"))["replayed"] is replayed
    books.do(books.batch(ann.item(30_000, "job-1")))
    assert used(books) == [50_000]


def test_a_refund_gives_nothing_back(books: Books, ann: Member) -> None:
    books.do(books.cap("member", "day", 50_000, ann.user_id))
    books.do(books.refund(books.do(ann.deduct(50_000))))
    assert used(books) == [50_000]
    assert books.refusal(ann.deduct(1)).figures["limit"] == "cap"


def test_a_batch_is_decided_one_charge_after_the_other(books: Books, ann: Member) -> None:
    bob = books.member()
    books.do(books.cap("organization", "day", 60_000))
    books.do(books.cap("member", "hour", 30_000, ann.user_id))
    books.do(books.cap("api_key", "month", 15_000, KEY))
    outcomes = books.do(books.batch(
        ann.item(20_000),                     # member: 10 left
        ann.item(11_000),                     # refused by the member's
        bob.item(16_000, api_key_id=KEY),     # refused by the key's
        bob.item(15_000, api_key_id=KEY),     # key: none left
        ann.item(5_000, api_key_id=KEY),      # refused by the key's
        bob.item(20_000, api_key_id="key-2"), # organisation: 5 left
        ann.item(6_000),                      # refused by the organisation's
        ann.item(5_000),
    ))["outcomes"]  # fmt: skip
    assert [outcome.get("problem", {}).get("available") for outcome in outcomes] == [
        None, 10_000, 15_000, None, 0, None, 5_000, None
    ]  # fmt: skip
    assert used(books) == [15_000, 25_000, 60_000]


@pytest.mark.parametrize("status", ["voided", "expired"])
def test_a_hold_that_is_not_captured_gives_back(books: Books, ann: Member, status: str) -> None:
    books.do(books.cap("organization", "day", 50_000))
    books.do(books.cap("api_key", "day", 50_000, KEY))
    hold = books.do(ann.hold(50_000, api_key_id=KEY))
    if status == "voided":
        books.do(books.void(hold))
    else:
        books.make_overdue(hold)
        assert books.do(books.sweep()) == {"expired": 1}
    assert books.look(hold)["status"] == status
    assert used(books) == [0, 0]
    assert books.balance(ann) == (100_000, 0, 0)


def test_a_hold_of_a_window_that_is_over_gives_nothing_back(books: Books, ann: Member) -> None:
    for period in "hour", "month":
        books.do(books.cap("member", period, 50_000, ann.user_id))
    first, second, third = (books.do(ann.hold(10_000, ttl_seconds=86_400)) for _ in range(3))
    set_clock(books, ENDS["hour"])
    books.do(ann.deduct(20_000))
    books.do(books.void(first))
    books.do(books.capture(second, 4_000))
    books.make_overdue(third)
    books.do(books.sweep())
    assert used(books) == [20_000, 24_000]


def test_an_overdue_hold_of_the_member_stands_in_nobodys_way(books: Books, ann: Member) -> None:
    books.do(books.cap("organization", "day", 50_000))
    for call in ann.deduct(50_000), ann.hold(50_000), books.batch(ann.item(50_000)):
        books.make_overdue(books.do(ann.hold(50_000)))
        checked = books.do(ann.check(50_000))
        assert (checked["has_sufficient_credits"], checked["available_credits"]) == (True, 100_000)
        with books.connection.transaction(force_rollback=True):
            books.do(call)
            assert used(books) == [50_000]
        books.do(books.sweep())


def test_captured_for_less_gives_the_rest_back(books: Books, ann: Member) -> None:
    books.do(books.cap("member", "day", 50_000, ann.user_id))
    hold = books.do(ann.hold(50_000))
    books.do(books.capture(hold, 20_000))
    assert used(books) == [20_000]
    books.do(ann.deduct(30_000))


def test_captured_for_more_counts_what_is_beyond_the_hold(books: Books, ann: Member) -> None:
    books.do(books.cap("member", "day", 50_000, ann.user_id))
    hold = books.do(ann.hold(20_000))
    books.do(ann.deduct(10_000))
    refusal = books.refusal(books.capture(hold, 41_000))
    assert (refusal.figures["limit"], refusal.figures["required"]) == ("cap", 41_000)
    assert refusal.figures["available"] == 40_000
    assert books.look(hold)["status"] == "held"
    books.do(books.capture(hold, 40_000))
    assert used(books) == [50_000]


def test_captured_for_more_is_one_call(books: Books, ann: Member) -> None:
    hold = books.do(ann.hold(20_000))
    books.do(books.cap("organization", "call", 30_000))
    assert books.refusal(books.capture(hold, 30_001)).figures["available"] == 30_000
    books.do(books.capture(hold, 30_000))


def test_what_is_held_can_be_captured_whatever_caps_were_lowered_to(books: Books, ann: Member) -> None:
    hold, part = (books.do(ann.hold(20_000)) for _ in range(2))
    for period in "call", "hour":
        books.do(books.cap("organization", period, 1_000))
    books.do(books.capture(hold))
    books.do(books.capture(part, 5_000))
    assert books.balance(ann) == (100_000, 25_000, 0)
    assert used(books) == [0, 25_000]


@pytest.mark.parametrize("swept", [False, True], ids=["before", "after"])
def test_a_late_capture_counts_when_it_is_captured(books: Books, ann: Member, *, swept: bool) -> None:
    """Before it was given back as well as after."""
    bob = books.member()
    books.do(books.cap("organization", "hour", 50_000))
    hold = books.do(ann.hold(30_000))
    set_clock(books, ENDS["hour"])
    assert used(books) == [0]
    if swept:
        books.do(books.sweep())
    busy = books.do(bob.hold(20_001, ttl_seconds=86_400))
    refusal = books.refusal(books.capture(hold))
    assert (refusal.figures["code"], refusal.figures["limit"], refusal.figures["available"]) == (
        "hold_expired" if swept else "insufficient_credits", "cap", 29_999
    )  # fmt: skip
    books.do(books.void(busy))
    books.do(bob.deduct(20_000))
    books.do(books.capture(hold))
    assert used(books) == [50_000]


def test_a_capture_counts_for_the_key_of_the_hold(books: Books, ann: Member) -> None:
    books.do(books.cap("api_key", "day", 50_000, KEY))
    hold = books.do(ann.hold(30_000, api_key_id=KEY))
    books.do(books.capture(hold, 40_000))
    assert used(books) == [40_000]
    [charge] = books.execute("SELECT api_key_id FROM credit_usage_attribution")
    assert charge == {"api_key_id": KEY}


def test_a_check_counts_caps(books: Books, ann: Member) -> None:
    books.do(books.cap("organization", "day", 50_000))
    books.do(books.cap("member", "call", 30_000, ann.user_id))
    books.do(ann.deduct(30_000))
    for credits, sufficient in (20_000, True), (20_001, False):
        assert books.do(ann.check(credits))["has_sufficient_credits"] is sufficient
        [row] = books.execute(
            "SELECT has_sufficient_credits(%s, %s, %s) AS value", books.org_id, ann.user_id, credits
        )
        assert row["value"] is sufficient
    books.do(books.cap("organization", "day", None))
    assert books.do(ann.check(30_000))["has_sufficient_credits"] is True
    assert books.do(ann.check(30_001))["has_sufficient_credits"] is False


def test_the_documents_deduct_counts_caps(books: Books, ann: Member) -> None:
    books.do(books.cap("organization", "day", 50_000))
    deduct = "SELECT deduct_credits(%s, %s, %s, 'valuation')"
    books.execute(deduct, books.org_id, ann.user_id, 50_000)
    with pytest.raises(psycopg.errors.RaiseException, match=r"Insufficient credits: 0\.001 required, 0 left"):
        books.execute(deduct, books.org_id, ann.user_id, 1)
