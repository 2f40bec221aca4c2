"""Many connections at one balance: plain rows, spends, holds and captures never overdraw it together."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.ledger.conftest import Books, Doable, Refusal, Row
    from tests.ledger.users.conftest import OpenPurse, Purse

    FindDifferences = Callable[[Books], list[Row]]
    Settle = Callable[[Purse, Row], Doable]

SETTLE: dict[str, Settle] = {
    "capture": lambda purse, hold: purse.capture(hold),
    "capture for less": lambda purse, hold: purse.capture(hold, 10_000),
    "capture for more": lambda purse, hold: purse.capture(hold, 40_000),
    "void": lambda purse, hold: purse.void(hold),
    "expire": lambda purse, hold: purse.call("expire_holds"),
}
CAPTURED = {"capture": 20_000, "capture for less": 10_000, "capture for more": 40_000}


def codes(outcomes: Iterable[Row | Refusal]) -> Counter[str]:
    """Count the outcomes by the code or state of the refusal, or `done`, or `replayed`."""
    return Counter(
        ("replayed" if outcome.get("replayed") else "done")
        if isinstance(outcome, dict)
        else outcome.figures.get("code", outcome.state)
        for outcome in outcomes
    )


@pytest.fixture
def check(find_differences: FindDifferences) -> Callable[[Purse], None]:
    """Fail unless the balance is what its rows say, in an order that never goes below zero."""

    def check(purse: Purse) -> None:
        assert find_differences(purse.books) == []
        credits, held = purse.balance()
        assert credits == sum(purse.amounts())
        assert 0 <= held <= credits
        rows = purse.books.execute(
            "SELECT balance_after, created_at FROM credits_transactions WHERE user_id = %s ORDER BY id",
            purse.id,
        )
        assert min(row["balance_after"] for row in rows) >= 0

    return check


def test_plain_rows_spend_the_last_credits_once(purse: Purse, check: Callable[[Purse], None]) -> None:
    outcomes = purse.books.at_once([purse.insert("-5") for _ in range(60)])
    assert codes(outcomes) == {"done": 20, "P0001": 40}
    assert purse.balance() == (0, 0)
    check(purse)


def test_spends_spend_the_last_credits_once(purse: Purse, check: Callable[[Purse], None]) -> None:
    outcomes = purse.books.at_once([purse.spend(5_000) for _ in range(60)])
    assert codes(outcomes) == {"done": 20, "insufficient_credits": 40}
    left = sorted(outcome["remaining_credits"] for outcome in outcomes if isinstance(outcome, dict))
    assert left == list(range(0, 100_000, 5_000))
    check(purse)


def test_rows_spends_holds_and_captures_share_the_last_credits(
    purse: Purse, check: Callable[[Purse], None]
) -> None:
    books = purse.books
    holds = [books.do(purse.hold(5_000)) for _ in range(6)]
    outcomes = books.at_once(
        [purse.insert("-5") for _ in range(10)]
        + [purse.spend(5_000) for _ in range(10)]
        + [purse.hold(5_000) for _ in range(10)]
        # Two of them ask for more than they hold.
        + [purse.capture(hold, 5_000 if n else 8_000) for n, hold in enumerate(holds)]
    )
    assert set(codes(outcomes)) <= {"done", "P0001", "insufficient_credits"}
    credits, held = purse.balance()
    # What is left is less than anybody asked for.
    assert credits - held < 5_000
    check(purse)


@pytest.mark.parametrize("seed", range(4))
def test_anything_at_once_leaves_the_books_right(
    purse: Purse, check: Callable[[Purse], None], seed: int
) -> None:
    books, dice = purse.books, random.Random(seed)
    holds = [books.do(purse.hold(6_000, f"held-{n}")) for n in range(6)]
    for hold in holds[:2]:
        purse.make_overdue(hold)
    charge = books.do(purse.spend(20_000))
    calls: list[Doable] = [
        *(purse.insert("-7") for _ in range(5)),
        *(purse.insert("3") for _ in range(3)),
        *(purse.spend(7_000, f"job-{n % 4}") for n in range(8)),
        *(purse.insert("-7", f"job-{n}", on_conflict="ON CONFLICT DO NOTHING") for n in range(4)),
        *(purse.hold(6_000, f"held-{n % 8}") for n in range(8)),
        *(purse.hold(6_000, f"job-{n}") for n in range(3)),
        *(settle(purse, hold) for hold, settle in product(holds[:3], SETTLE.values())),
        *(purse.capture(hold, 9_000) for hold in holds[3:]),
        *(purse.refund(charge, 8_000) for _ in range(4)),
        *(purse.grant(2_000, f"gift-{n % 2}") for n in range(4)),
    ]
    dice.shuffle(calls)
    outcomes = codes(books.at_once(calls))
    assert set(outcomes) <= {
        "done", "replayed", "P0001", "insufficient_credits", "idempotency_conflict", "hold_closed",
        "hold_expired", "conflict",
    }  # fmt: skip
    check(purse)


def test_the_same_id_thirty_times_is_one_charge(purse: Purse) -> None:
    outcomes = purse.books.at_once([purse.spend(1_000, "job-7")] * 30)
    assert codes(outcomes) == {"done": 1, "replayed": 29}
    receipts = [outcome for outcome in outcomes if isinstance(outcome, dict)]
    assert len({(each["charge_id"], each["remaining_credits"]) for each in receipts}) == 1
    assert purse.balance() == (99_000, 0)


def test_plain_rows_and_spends_of_the_same_id_are_one_charge(purse: Purse) -> None:
    calls: list[Doable] = [purse.spend(1_000, "job-7"), purse.insert("-1", "job-7")] * 10
    outcomes = codes(purse.books.at_once(calls))
    assert outcomes["done"] == 1
    assert set(outcomes) <= {"done", "replayed", "idempotency_conflict", "23505"}
    assert purse.amounts() == [100_000, -1_000]
    assert purse.balance() == (99_000, 0)


def test_the_same_hold_twenty_times_is_one_hold(purse: Purse) -> None:
    outcomes = purse.books.at_once([purse.hold(5_000, "job-7")] * 20)
    assert codes(outcomes) == {"done": 1, "replayed": 19}
    assert purse.balance() == (100_000, 5_000)


def test_an_id_is_held_or_charged_not_both(purse: Purse, check: Callable[[Purse], None]) -> None:
    calls = [
        call for n in range(10) for call in (purse.hold(5_000, f"job-{n}"), purse.spend(5_000, f"job-{n}"))
    ]
    outcomes = codes(purse.books.at_once(calls))
    assert outcomes == {"done": 10, "idempotency_conflict": 10}
    credits, held = purse.balance()
    assert credits - held == 50_000
    check(purse)


@pytest.mark.parametrize(("first", "second"), [("hold", "spend"), ("spend", "hold")])
def test_a_hold_and_a_charge_of_one_id_wait_for_each_other(purse: Purse, first: str, second: str) -> None:
    calls = {"hold": purse.hold(5_000, "job-7"), "spend": purse.spend(5_000, "job-7")}
    later = purse.books.meanwhile(calls[first], calls[second])
    assert codes([later]) == {"idempotency_conflict": 1}
    assert purse.balance() == ((100_000, 5_000) if first == "hold" else (95_000, 0))


def test_a_hold_captured_twenty_times_is_one_charge(purse: Purse) -> None:
    hold = purse.books.do(purse.hold(5_000))
    purse.books.do(purse.hold(50_000))
    assert codes(purse.books.at_once([purse.capture(hold)] * 20)) == {"done": 1, "replayed": 19}
    assert purse.balance() == (95_000, 50_000)


def test_refunds_at_once_give_back_no_more_than_was_taken(purse: Purse) -> None:
    charge = purse.books.do(purse.spend(10_000))
    outcomes = purse.books.at_once([purse.refund(charge, 3_000) for _ in range(10)])
    assert codes(outcomes) == {"done": 3, "conflict": 7}
    assert purse.balance() == (99_000, 0)


def test_grants_at_once_all_count_and_each_once(purse: Purse) -> None:
    outcomes = purse.books.at_once([purse.grant(1_000, f"grant-{n % 5}") for n in range(20)])
    assert codes(outcomes) == {"done": 5, "replayed": 15}
    assert purse.balance() == (105_000, 0)


@pytest.mark.parametrize("other_holds", [False, True], ids=["alone", "beside another hold"])
@pytest.mark.parametrize("second", SETTLE)
@pytest.mark.parametrize("first", SETTLE)
def test_a_hold_is_settled_once_whoever_waits(
    purse: Purse, first: str, second: str, *, other_holds: bool
) -> None:
    books = purse.books
    hold = books.do(purse.hold(20_000))
    purse.make_overdue(hold)
    if other_holds:
        books.do(purse.hold(30_000))
    calls = SETTLE[first](purse, hold), SETTLE[second](purse, hold)
    # A sweep waits for nobody, so it comes after what it would have to wait for.
    later = [books.do(call) for call in calls][1] if second == "expire" else books.meanwhile(*calls)
    # An expired hold is charged all the same while the balance covers it.
    taken = CAPTURED.get(first, CAPTURED.get(second, 0) if first == "expire" else 0)
    if first == "expire" and second in CAPTURED:
        assert codes([later]) == {"done": 1}
    assert purse.balance() == (100_000 - taken, 30_000 if other_holds else 0)
    assert sum(purse.amounts()) == 100_000 - taken


def test_a_spend_that_waits_for_the_last_credits_is_refused(purse: Purse) -> None:
    refused = purse.books.meanwhile(purse.insert("-90"), purse.spend(20_000))
    assert not isinstance(refused, dict)
    assert refused.figures["available"] == 10_000


def test_a_row_that_waits_for_the_last_credits_is_refused(purse: Purse) -> None:
    refused = purse.books.meanwhile(purse.hold(90_000), purse.insert("-20"))
    assert not isinstance(refused, dict)
    assert (refused.state, "10 available" in refused.sentence) == ("P0001", True)


def test_a_spend_that_waits_for_a_grant_has_it(purse: Purse) -> None:
    """It was refused by what it saw first, and is decided again by what it finds under the lock."""
    late = purse.books.meanwhile(purse.grant(50_000), purse.spend(120_000))
    assert codes([late]) == {"done": 1}
    late = purse.books.meanwhile(purse.grant(50_000), purse.hold(70_000))
    assert codes([late]) == {"done": 1}


@pytest.mark.parametrize("order", ["id", "created_at"])
def test_transactions_have_the_order_of_their_balances(purse: Purse, order: str) -> None:
    """Also one that began to wait before another one that it waited for was written."""
    books = purse.books
    first, waiting = books.connect(), books.connect()
    with ThreadPoolExecutor(1) as threads:
        with first.transaction():
            purse.spend(1_000).on(first)
            later = threads.submit(purse.spend(1_000).on, waiting)
            books.until_blocked(waiting.info.backend_pid)
            purse.spend(1_000).on(first)
        later.result()
    rows = books.execute("SELECT * FROM credits_transactions WHERE user_id = %s", purse.id)
    rows.sort(key=itemgetter(order))
    assert [row["balance_after"] for row in rows] == [100, 99, 98, 97]


def test_users_do_not_wait_for_each_other(books: Books, purse: Purse, open_purse: OpenPurse) -> None:
    other, busy = open_purse(books), books.connect()
    with busy.transaction():
        purse.spend(5_000).on(busy)
        books.execute("SET lock_timeout = '2s'")
        hold = books.do(other.hold(10_000))
        charge = books.do(other.capture(hold))
        for call in other.spend(5_000), other.insert("-5"), other.refund(charge):
            books.do(call)


def test_sweeps_share_the_work(books: Books, open_purse: OpenPurse) -> None:
    purses = [open_purse(books) for _ in range(6)]
    for purse in purses:
        purse.make_overdue(books.do(purse.hold(10)))
    books.at_once([purses[0].call("expire_holds")] * 4)
    books.do(purses[0].call("expire_holds"))
    assert [purse.balance() for purse in purses] == [(100_000, 0)] * 6


def test_a_sweep_passes_a_busy_user_by(books: Books, purse: Purse) -> None:
    hold = books.do(purse.hold(10))
    purse.make_overdue(hold)
    busy = books.connect()
    with busy.transaction():
        purse.spend(5).on(busy)
        books.do(purse.call("expire_holds"))
        assert purse.look(hold)["status"] == "held"
    books.do(purse.call("expire_holds"))
    assert purse.look(hold)["status"] == "expired"


def test_charges_and_holds_change_no_indexed_column_of_a_user(books: Books) -> None:
    """So that a new version of the row stays on its page and touches no index (HOT)."""
    rows = books.execute(
        "SELECT DISTINCT attname::text AS name FROM pg_index"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)"
        " WHERE indrelid = 'users'::regclass"
    )
    assert {row["name"] for row in rows} == {"id", "subject", "email", "lots_due_at"}
