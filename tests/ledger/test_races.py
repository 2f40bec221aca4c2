"""Many connections at once: nothing is charged twice, nothing overspent, nobody waits in a circle."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.ledger.conftest import Books, Call, Member, Refusal

    Row = dict[str, Any]
    Settle = Callable[[Books, Row], Call]

SETTLE: dict[str, Settle] = {
    "capture": lambda books, hold: books.capture(hold),
    "capture for less": lambda books, hold: books.capture(hold, 10_000),
    "void": lambda books, hold: books.void(hold),
    "expire": lambda books, hold: books.sweep(),
}


def receipts(outcomes: Iterable[Row | Refusal]) -> list[Row]:
    return [outcome for outcome in outcomes if isinstance(outcome, dict)]


def codes(outcomes: Iterable[Row | Refusal]) -> Counter[str]:
    """Count the outcomes by the code of the refusal, or `done`, or `replayed`."""
    names = (
        ("replayed" if outcome.get("replayed") else "done")
        if isinstance(outcome, dict)
        else outcome.figures.get("code", outcome.state)
        for outcome in outcomes
    )
    return Counter(names)


def test_the_same_id_thirty_times_is_one_charge(books: Books, ann: Member) -> None:
    outcomes = books.at_once([ann.deduct(1_000, "job-7")] * 30)
    assert codes(outcomes) == {"done": 1, "replayed": 29}
    assert len({receipt["charge_id"] for receipt in receipts(outcomes)}) == 1
    assert len({receipt["remaining_credits"] for receipt in receipts(outcomes)}) == 1
    assert books.balance(ann) == (100_000, 1_000, 0)


def test_the_same_id_of_different_members_is_one_charge(books: Books) -> None:
    members = [books.member() for _ in range(6)]
    outcomes = books.at_once([member.deduct(1_000, "job-7") for member in members])
    assert codes(outcomes) == {"done": 1, "idempotency_conflict": 5}
    assert books.taken() == [1_000]
    assert books.differences() == []


def test_the_last_credits_are_spent_once(books: Books, ann: Member) -> None:
    outcomes = books.at_once([ann.deduct(5_000) for _ in range(60)])
    assert codes(outcomes) == {"done": 20, "insufficient_credits": 40}
    assert sorted(receipt["remaining_credits"] for receipt in receipts(outcomes)) == list(
        range(0, 100_000, 5_000)
    )
    assert books.balance(ann) == (100_000, 100_000, 0)


def test_charges_holds_and_batches_share_the_last_credits(books: Books, ann: Member) -> None:
    outcomes = books.at_once(
        [ann.deduct(10_000) for _ in range(6)]
        + [ann.hold(10_000) for _ in range(6)]
        + [books.batch(ann.item(10_000)) for _ in range(6)]
    )
    _, used, held = books.balance(ann)
    assert used + held == 100_000
    assert (
        len(receipts(outcomes))
        - 6
        + sum("receipt" in each["outcomes"][0] for each in receipts(outcomes) if "outcomes" in each)
        == 10
    )
    assert books.differences() == []


def test_the_same_hold_twenty_times_is_one_hold(books: Books, ann: Member) -> None:
    outcomes = books.at_once([ann.hold(5_000, "job-7")] * 20)
    assert codes(outcomes) == {"done": 1, "replayed": 19}
    assert len({receipt["hold_id"] for receipt in receipts(outcomes)}) == 1
    assert books.balance(ann) == (100_000, 0, 5_000)


def test_a_hold_captured_twenty_times_is_one_charge(books: Books, ann: Member) -> None:
    hold = books.do(ann.hold(5_000))
    books.do(ann.hold(50_000))
    assert codes(books.at_once([books.capture(hold)] * 20)) == {"done": 1, "replayed": 19}
    assert books.balance(ann) == (100_000, 5_000, 50_000)


def test_refunds_at_once_give_back_no_more_than_was_taken(books: Books, ann: Member) -> None:
    charge = books.do(ann.deduct(10_000))
    outcomes = books.at_once([books.refund(charge, 3_000) for _ in range(10)])
    assert codes(outcomes) == {"done": 3, "conflict": 7}
    assert books.balance(ann) == (100_000, 1_000, 0)


@pytest.mark.parametrize("other_holds", [False, True], ids=["alone", "beside another hold"])
@pytest.mark.parametrize("second", SETTLE)
@pytest.mark.parametrize("first", SETTLE)
def test_a_hold_is_settled_once_whoever_waits(
    books: Books, ann: Member, first: str, second: str, *, other_holds: bool
) -> None:
    hold = books.do(ann.hold(20_000))
    books.make_overdue(hold)
    if other_holds:
        books.do(ann.hold(30_000))
    calls = SETTLE[first](books, hold), SETTLE[second](books, hold)
    if second == "expire":
        # A sweep waits for nobody.
        later: Row | Refusal = [books.do(call) for call in calls][1]
    else:
        later = books.meanwhile(*calls)
    captures = {"capture": 20_000, "capture for less": 10_000}
    expected = captures.get(first, 0)
    if first == "expire" and second in captures:
        # The balance still covers it, so that the work is charged all the same.
        expected = captures[second]
        assert codes([later]) == {"done": 1}
    assert books.balance(ann) == (100_000, expected, 30_000 if other_holds else 0)
    assert sum(books.taken()) == expected
    assert books.differences() == []


def test_everybody_settles_the_same_holds(books: Books, ann: Member) -> None:
    holds = [books.do(ann.hold(5_000)) for _ in range(6)]
    for hold in holds:
        books.make_overdue(hold)
    calls = [settle(books, hold) for hold in holds for settle in SETTLE.values()]
    outcomes = codes(books.at_once(calls))
    assert set(outcomes) <= {"done", "replayed", "hold_closed", "idempotency_conflict"}
    states = {books.look(hold)["status"] for hold in holds}
    assert states <= {"captured", "voided", "expired"}
    _, used, held = books.balance(ann)
    assert (used, held) == (sum(books.taken()), 0)
    assert books.differences() == []


def test_a_deduct_waits_for_a_charge_and_replays_it(books: Books, ann: Member) -> None:
    again = books.meanwhile(ann.deduct(100_000, "job-7"), ann.deduct(100_000, "job-7"))
    assert codes([again]) == {"replayed": 1}


def test_a_deduct_that_waits_for_the_last_credits_is_refused(books: Books, ann: Member) -> None:
    refused = books.meanwhile(ann.deduct(90_000), ann.deduct(20_000))
    assert not isinstance(refused, dict)
    assert refused.figures["available"] == 10_000


def test_a_charge_that_waits_takes_the_time_of_the_lock(books: Books, ann: Member) -> None:
    """So the charges of an allocation have the order of their balances."""
    first = ann.deduct(1_000)
    later = books.meanwhile(first, ann.deduct(1_000))
    assert isinstance(later, dict)
    rows = books.execute(
        "SELECT remaining_after FROM credit_usage_attribution WHERE org_id = %s ORDER BY created_at",
        books.org_id,
    )
    assert [row["remaining_after"] for row in rows] == [99_000, 98_000]


def test_allocations_at_once_share_out_no_more_than_the_pool_has(books: Books) -> None:
    members = [books.member(allocated=None) for _ in range(8)]
    outcomes = books.at_once([member.allocate(300_000_000) for member in members])
    assert codes(outcomes) == {"done": 3, "insufficient_credits": 5}
    assert books.differences() == []


def test_grants_at_once_all_count_and_each_once(books: Books) -> None:
    outcomes = books.at_once([books.add(1_000, f"grant-{n % 5}") for n in range(20)])
    assert codes(outcomes) == {"done": 5, "replayed": 15}
    assert books.differences() == []


def test_a_grant_waits_for_the_same_one_and_replays_it(books: Books) -> None:
    again = books.meanwhile(books.add(1_000, "grant-7"), books.add(1_000, "grant-7"))
    assert codes([again]) == {"replayed": 1}


def test_grants_and_allocations_share_ids(books: Books, ann: Member) -> None:
    for first, second in (
        (books.add(1_000, "grant-7"), ann.allocate(1_000, "grant-7")),
        (ann.allocate(1_000, "grant-8"), books.add(1_000, "grant-8")),
        (ann.allocate(1_000, "grant-9"), books.member().allocate(1_000, "grant-9")),
    ):
        assert codes([books.meanwhile(first, second)]) == {"idempotency_conflict": 1}
    assert books.differences() == []


def test_an_allocation_repeated_at_once_counts_once(books: Books) -> None:
    member = books.member(allocated=None)
    outcomes = books.at_once([member.allocate(1_000, "grant-7")] * 10)
    assert codes(outcomes) == {"done": 1, "replayed": 9}
    assert books.balance(member) == (1_000, 0, 0)


def test_grants_and_allocations_never_wait_in_a_circle(books: Books) -> None:
    members = [books.member() for _ in range(4)]
    calls = [member.allocate(1_000) for member in members] + [member.deduct(5) for member in members]
    calls += [books.add(1_000) for _ in members]
    assert codes(books.at_once(calls)) == {"done": len(calls)}
    assert books.differences() == []


def test_batches_in_opposite_order_never_wait_in_a_circle(books: Books) -> None:
    members = [books.member() for _ in range(5)]
    items = [member.item(10) for member in members]
    # Each batch has locked what comes before the member in the middle, and waits for that one.
    batches = books.batch(*items), books.batch(*reversed(items))
    outcomes = receipts(books.all_meanwhile(members[2].deduct(5), *batches))
    charged = [each["receipt"]["replayed"] for outcome in outcomes for each in outcome["outcomes"]]
    assert Counter(charged) == {False: 5, True: 5}
    assert books.differences() == []


def test_batches_of_the_same_ids_never_wait_in_a_circle(books: Books) -> None:
    """They lock different allocations and meet at the ids: each has some and waits for the middle one."""
    ann, bob, other = (books.member() for _ in range(3))
    jobs = ["job-1", "job-2", "job-3"]
    batches = (
        books.batch(*(ann.item(10, job) for job in jobs)),
        books.batch(*(bob.item(10, job) for job in reversed(jobs))),
    )
    outcomes = books.all_meanwhile(other.deduct(10, "job-2"), *batches)
    assert codes(outcomes) == {"done": 2}
    charges = [charge for outcome in receipts(outcomes) for charge in outcome["outcomes"]]
    taken = [charge["request_id"] for charge in charges if "receipt" in charge]
    assert sorted(taken) == ["job-1", "job-3"]
    assert books.taken() == [10] * 3
    assert books.differences() == []


def test_batches_and_single_charges_of_the_same_ids_charge_each_once(books: Books) -> None:
    members = [books.member() for _ in range(5)]
    items = [(member, f"job-{n}-{member.user_id}") for n in range(4) for member in members]
    orders = [items[turn:] + items[:turn] for turn in (0, 7)]
    batches = [books.batch(*(member.item(100, job) for member, job in order)) for order in orders]
    singles = [member.deduct(100, job) for member, job in items]
    outcomes = books.at_once([*batches, *singles])
    assert len(receipts(outcomes)) == len(outcomes)
    assert books.taken() == [100] * len(items)
    assert books.differences() == []


def test_a_batch_decides_again_when_another_member_takes_one_of_its_ids(books: Books, ann: Member) -> None:
    """The id was free when the batch decided, and is taken when it writes."""
    other = books.member()
    items = [ann.item(60_000, "job-1"), ann.item(50_000, "job-2"), ann.item(-1)]
    late = books.meanwhile(other.deduct(5, "job-1"), books.batch(*items))
    assert isinstance(late, dict)
    taken, fits, _ = late["outcomes"]
    assert taken["problem"]["code"] == "idempotency_conflict"
    assert fits["receipt"]["remaining_credits"] == 50_000
    assert books.differences() == []


def test_a_plain_batch_is_undone_when_another_member_takes_one_of_its_ids(books: Books, ann: Member) -> None:
    other = books.member()
    items = [ann.item(1_000, f"job-{n}") for n in range(3)]
    late = books.meanwhile(other.deduct(5, "job-1"), books.batch(*items))
    assert isinstance(late, dict)
    assert ["receipt" in outcome for outcome in late["outcomes"]] == [True, False, True]
    assert books.balance(ann) == (100_000, 2_000, 0)
    assert books.differences() == []


def test_sweeps_share_the_work(books: Books) -> None:
    members = [books.member() for _ in range(6)]
    for member in members:
        books.make_overdue(books.do(member.hold(10)))
    books.at_once([books.sweep()] * 4)
    books.do(books.sweep())
    assert [books.balance(member) for member in members] == [(100_000, 0, 0)] * 6


def test_a_sweep_passes_a_busy_allocation_by(books: Books, ann: Member) -> None:
    hold = books.do(ann.hold(10))
    books.make_overdue(hold)
    busy = books.connect()
    with busy.transaction():
        ann.deduct(5).on(busy)
        books.do(books.sweep())
        assert books.look(hold)["status"] == "held"
    books.do(books.sweep())
    assert books.look(hold)["status"] == "expired"


def test_members_of_an_organisation_do_not_wait_for_each_other(books: Books, ann: Member) -> None:
    bob, busy = books.member(), books.connect()
    with busy.transaction():
        ann.deduct(5).on(busy)
        books.execute("SET lock_timeout = '2s'")
        hold = books.do(bob.hold(10))
        for call in bob.deduct(5), books.capture(hold), books.batch(bob.item(5)):
            books.do(call)


def test_charges_write_no_row_that_members_share(books: Books, ann: Member) -> None:
    shared = (
        "SELECT xmin, ctid FROM organizations WHERE id = %s",
        "SELECT xmin, ctid FROM credit_pools WHERE org_id = %s",
        "SELECT xmin, ctid FROM organization_members WHERE org_id = %s",
    )

    def versions() -> list[Row]:
        return [row for statement in shared for row in books.execute(statement, books.org_id)]

    before = versions()
    charge = books.do(ann.deduct(5))
    first, second = (books.do(ann.hold(10)) for _ in range(2))
    for call in books.capture(first), books.void(second), books.refund(charge), books.batch(ann.item(5)):
        books.do(call)
    assert versions() == before


def test_charges_and_holds_change_no_indexed_column_of_an_allocation(books: Books) -> None:
    """So that a new version of the row stays on its page and touches no index (HOT)."""
    rows = books.execute(
        "SELECT DISTINCT attname::text AS name FROM pg_index"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)"
        " WHERE indrelid = 'user_credit_allocations'::regclass"
    )
    changed = {"used_credits", "held_credits", "remaining_credits", "updated_at"}
    assert rows
    assert changed.isdisjoint(row["name"] for row in rows)
