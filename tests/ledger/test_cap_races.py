"""Many connections at once: no cap is exceeded, each counts exactly, nobody waits in a circle."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledger.conftest import Call, Refusal, outcome, set_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.ledger.conftest import Books, Connection, Member

    Row = dict[str, Any]

NOON = datetime(2027, 1, 20, 12, tzinfo=UTC)
KEYS = ["key-1", "key-2", "key-3", None]
REFUSED = {"CR402", "CR410", "CR411", "CR409"}  # lacking, closed, expired, id in use


def capped(refusals: Iterable[Row | Refusal]) -> list[Refusal]:
    return [each for each in refusals if isinstance(each, Refusal) and each.figures.get("limit") == "cap"]


def spent(books: Books) -> Counter[tuple[str, str]]:
    """Return what counts against caps in one and the same hour, told from the rows alone."""
    rows = books.execute(
        "SELECT user_id, api_key_id, credits_used AS credits FROM credit_usage_attribution"
        " WHERE org_id = %s AND refund_of IS NULL"
        " UNION ALL SELECT user_id, api_key_id, credits FROM credit_holds"
        " WHERE org_id = %s AND status = 'held'",
        books.org_id,
        books.org_id,
    )
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        found["organization", ""] += row["credits"]
        found["member", row["user_id"]] += row["credits"]
        found["api_key", row["api_key_id"] or ""] += row["credits"]
    return found


class Spender:
    """Somebody who does one thing after the other, whatever comes of it."""

    def __init__(self, books: Books, members: list[Member], seed: int) -> None:
        self.books, self.members, self.random = books, members, random.Random(seed)

    def __call__(self, connection: Connection) -> list[Row | Refusal]:
        return [found for _ in range(8) for found in self._act(connection)]

    def _act(self, connection: Connection) -> list[Row | Refusal]:
        act = self.random.choice([self._charge, self._batch, self._hold, self._hold, self._sweep])
        return act(connection)

    def _amount(self) -> int:
        return self.random.randint(1, 4_000)

    def _charge(self, connection: Connection) -> list[Row | Refusal]:
        member, key = self.random.choice(self.members), self.random.choice(KEYS)
        return [outcome(member.deduct(self._amount(), api_key_id=key), connection)]

    def _batch(self, connection: Connection) -> list[Row | Refusal]:
        members = self.random.sample(self.members, 5)
        items = (member.item(self._amount(), api_key_id=self.random.choice(KEYS)) for member in members)
        return [outcome(self.books.batch(*items), connection)]

    def _hold(self, connection: Connection) -> list[Row | Refusal]:
        member, key = self.random.choice(self.members), self.random.choice(KEYS)
        hold = outcome(member.hold(self._amount(), api_key_id=key), connection)
        if isinstance(hold, Refusal):
            return [hold]
        settled = self.random.choice(["whole", "less", "more", "late", "void", "leave", "overdue"])
        if settled in ("late", "overdue"):
            # A hold changes under the lock of its allocation only, as everywhere.
            connection.execute(
                "WITH locked AS MATERIALIZED (SELECT FROM user_credit_allocations"
                " WHERE org_id = %s AND user_id = %s FOR NO KEY UPDATE)"
                " UPDATE credit_holds SET expires_at = ledger.now() FROM locked WHERE id = %s",
                [hold["org_id"], hold["user_id"], hold["hold_id"]],
            )
        calls = {
            "whole": self.books.capture(hold),
            "late": self.books.capture(hold),
            "less": self.books.capture(hold, max(hold["credits"] // 2, 1)),
            "more": self.books.capture(hold, hold["credits"] + self._amount()),
            "void": self.books.void(hold),
        }
        return [hold, *(outcome(call, connection) for name, call in calls.items() if name == settled)]

    def _sweep(self, connection: Connection) -> list[Row | Refusal]:
        return [outcome(self.books.sweep(), connection)]


@pytest.mark.parametrize("seed", range(2))
def test_no_level_is_exceeded_by_fifty_who_spend_for_twenty_in_every_way(own_books: Books, seed: int) -> None:
    books = own_books
    set_clock(books, NOON)
    members = [books.member() for _ in range(20)]
    limits = {("organization", ""): 250_000}
    limits |= {("member", member.user_id): 13_000 for member in members[:15]}
    limits |= {("api_key", key): 55_000 for key in KEYS if key is not None}
    for ((scope, subject), credits), period in product(limits.items(), ["hour", "day", "month"]):
        books.do(books.cap(scope, period, credits, subject or None))
    books.do(books.cap("organization", "call", 3_500))

    work = [Spender(books, members, 100 * seed + n) for n in range(50)]
    outcomes = [found for one in books.in_threads(work) for found in one]

    assert {each.state for each in outcomes if isinstance(each, Refusal)} <= REFUSED
    sentences = " ".join(each.sentence for each in capped(outcomes))
    for words in "day for organisation", "day for user", "day for API key", "call for":
        assert words in sentences, "a level was never reached"
    counted = spent(books)
    for row in books.caps():
        if row["period"] != "call":
            place = row["scope"], row["subject"] or ""
            assert row["used_credits"] == counted[place] <= limits[place]
    assert books.differences() == []


@pytest.mark.parametrize(
    ("scope", "subject"), [("organization", None), ("api_key", "key-1")], ids=["organization", "api_key"]
)
def test_the_last_credits_of_a_cap_are_spent_once(books: Books, scope: str, subject: str | None) -> None:
    """Not an hour's, which could end meanwhile."""
    members = [books.member() for _ in range(6)]
    set_cap = books.cap(scope, "month", 50_000, subject)
    books.do(set_cap)
    outcomes = books.at_once(
        [member.deduct(5_000, api_key_id="key-1") for member in members for _ in range(3)]
        + [member.hold(5_000, api_key_id="key-1") for member in members]
    )
    assert len(capped(outcomes)) == 14
    [row] = books.caps()
    assert row["used_credits"] == 50_000
    assert books.differences() == []


SPENDING: dict[str, Callable[[Books, Member, Row], Call]] = {
    "charge": lambda _, member, __: member.deduct(6_000),
    "hold": lambda _, member, __: member.hold(6_000),
    "batch": lambda books, member, _: books.batch(member.item(6_000)),
    "capture for more": lambda books, _, hold: books.capture(hold, 7_000),
}


@pytest.mark.parametrize("kind", SPENDING)
def test_a_cap_waits_for_what_is_being_spent_and_counts_it(books: Books, ann: Member, kind: str) -> None:
    hold = books.do(ann.hold(1_000))
    books.meanwhile(SPENDING[kind](books, ann, hold), books.cap("organization", "month", 10_000))
    [row] = books.caps()
    assert row["used_credits"] == 7_000
    assert books.differences() == []


@pytest.mark.parametrize("kind", SPENDING)
def test_what_waits_while_the_first_cap_is_set_is_under_it(books: Books, ann: Member, kind: str) -> None:
    hold = books.do(ann.hold(1_000))
    found = books.meanwhile(books.cap("organization", "month", 6_500), SPENDING[kind](books, ann, hold))
    if isinstance(found, dict):
        [found] = [Refusal("", "", each["problem"]) for each in found["outcomes"]]
    assert len(capped([found])) == 1
    [row] = books.caps()
    assert row["used_credits"] == 1_000


@pytest.mark.parametrize("settle", ["capture for less", "void"])
def test_what_is_given_back_while_the_first_cap_is_set_is_given_back_to_it(
    books: Books, ann: Member, settle: str
) -> None:
    hold = books.do(ann.hold(5_000))
    call = books.void(hold) if settle == "void" else books.capture(hold, 1_000)
    books.meanwhile(books.cap("organization", "month", 10_000), call)
    [row] = books.caps()
    assert row["used_credits"] == (0 if settle == "void" else 1_000)
    assert books.differences() == []


def test_an_allocation_that_is_made_while_the_first_cap_is_set_is_under_it(books: Books) -> None:
    early, late = (books.member(allocated=None) for _ in range(2))
    set_cap = books.cap("organization", "month", 1_000)
    books.meanwhile(early.allocate(5_000), set_cap)
    books.do(books.cap("organization", "month", None))
    books.meanwhile(set_cap, late.allocate(5_000))
    for member in early, late:
        assert len(capped([books.refusal(member.deduct(1_001))])) == 1


def test_what_waits_while_the_last_cap_is_removed_is_not_under_it(books: Books, ann: Member) -> None:
    books.do(books.cap("organization", "month", 1_000))
    found = books.meanwhile(books.cap("organization", "month", None), ann.deduct(5_000))
    assert isinstance(found, dict)


def test_an_overdue_hold_is_captured_as_it_is_while_the_last_cap_is_removed(
    books: Books, ann: Member
) -> None:
    books.do(books.cap("organization", "month", 10_000))
    hold = books.do(ann.hold(5_000))
    books.execute("UPDATE credit_holds SET expires_at = ledger.now() WHERE id = %s", hold["hold_id"])
    found = books.meanwhile(books.cap("organization", "month", None), books.capture(hold))
    assert isinstance(found, dict)
    assert found["credits_used"] == 5_000


def test_caps_set_and_removed_among_charges_count_exactly(books: Books) -> None:
    members = [books.member() for _ in range(6)]
    calls = [member.deduct(100, api_key_id="key-1") for member in members for _ in range(4)]
    calls += [
        books.cap(scope, "month", credits, subject)
        for scope, subject in (("organization", None), ("member", members[0].user_id), ("api_key", "key-1"))
        for credits in (1_000_000, None, 2_000_000)
    ]
    calls += [member.allocate(500) for member in members] + [books.add(1_000)]
    random.Random(7).shuffle(calls)
    assert [each for each in books.at_once(calls) if isinstance(each, Refusal)] == []
    assert books.taken() == [100] * 24
    assert books.differences() == []


def test_batches_with_keys_in_opposite_order_never_wait_in_a_circle(books: Books) -> None:
    """They lock different allocations and meet at the keys: each has some and waits for the middle one."""
    keys = [f"key-{n}" for n in range(5)]
    for key in keys:
        books.do(books.cap("api_key", "month", 1_000_000, key))
    batches = (
        books.batch(*(books.member().item(10, api_key_id=key) for key in keys)),
        books.batch(*(books.member().item(10, api_key_id=key) for key in reversed(keys))),
    )
    outcomes = books.all_meanwhile(books.member().deduct(10, api_key_id=keys[2]), *batches)
    assert [each for each in outcomes if isinstance(each, Refusal)] == []
    assert [row["used_credits"] for row in books.caps()] == [20, 20, 30, 20, 20]
    assert books.differences() == []


def test_overdue_holds_of_other_keys_never_make_a_circle(books: Books) -> None:
    """Each gives back a hold of the other's key, and charges with its own."""
    pairs = [(books.member(), f"key-{n}", f"key-{9 - n}") for n in range(10)]
    for n in range(10):
        books.do(books.cap("api_key", "month", 1_000_000, f"key-{n}"))
    books.do(books.cap("organization", "month", 1_000_000))
    for member, _, other in pairs:
        books.make_overdue(books.do(member.hold(10, api_key_id=other)))
    calls = [member.deduct(10, api_key_id=own) for member, own, _ in pairs]
    outcomes = books.at_once(calls + [books.sweep()] * 3)
    assert [each for each in outcomes if isinstance(each, Refusal)] == []
    books.do(books.sweep())
    assert [row["used_credits"] for row in books.caps()] == [10] * 10 + [100]
    assert books.differences() == []


def test_members_with_caps_of_their_own_do_not_wait_for_each_other(books: Books, ann: Member) -> None:
    bob, busy = books.member(), books.connect()
    for member in ann, bob:
        books.do(books.cap("member", "month", 50_000, member.user_id))
    with busy.transaction():
        ann.deduct(5).on(busy)
        books.execute("SET lock_timeout = '2s'")
        hold = books.do(bob.hold(10))
        for call in bob.deduct(5), books.capture(hold, 20), books.batch(bob.item(5)), bob.check(5):
            books.do(call)


def test_a_capture_of_what_was_held_does_not_wait_for_caps(books: Books, ann: Member) -> None:
    bob, busy = books.member(), books.connect()
    books.do(books.cap("organization", "month", 50_000))
    hold = books.do(bob.hold(10))
    with busy.transaction():
        ann.deduct(5).on(busy)
        books.execute("SET lock_timeout = '2s'")
        books.do(books.capture(hold))


def test_a_sweep_passes_busy_caps_by(books: Books, ann: Member) -> None:
    bob, busy = books.member(), books.connect()
    books.do(books.cap("organization", "month", 50_000))
    hold = books.do(bob.hold(10))
    books.make_overdue(hold)
    with busy.transaction():
        ann.deduct(5).on(busy)
        books.execute("SET statement_timeout = '5s'")
        books.do(books.sweep())
        assert books.look(hold)["status"] == "held"
    books.do(books.sweep())
    assert books.look(hold)["status"] == "expired"
    assert books.differences() == []
