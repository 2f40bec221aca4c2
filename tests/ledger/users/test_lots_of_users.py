"""Credits of users that expire: the rules of `test_lots.py`, on users' own balances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledger.conftest import Call, set_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Books, Row
    from tests.ledger.users.conftest import OpenPurse, Purse

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def purse(own_books: Books, open_purse: OpenPurse) -> Purse:
    """A user without credits, at noon."""
    set_clock(own_books, NOON)
    return open_purse(own_books, "0")


@pytest.fixture
def find_wrong(purse: Purse, find_differences: Callable[[Books], list[Row]]) -> Callable[[], list[Row]]:
    return lambda: find_differences(purse.books)


def give(purse: Purse, credits: int, days: int | None = None, **more: Any) -> Row:
    expiry = {} if days is None else {"expires_at": NOON + days * DAY}
    return purse.books.do(purse.grant(credits, **expiry, **more))


def at(purse: Purse, days: float) -> None:
    set_clock(purse.books, NOON + days * DAY)


def run_due(purse: Purse) -> int:
    expired: int = purse.books.do(Call("run_due", {}))["lots_expired"]
    return expired


def test_what_is_not_used_in_time_expires_once(purse: Purse, find_wrong: Callable[[], list[Row]]) -> None:
    give(purse, 9_000)
    give(purse, 5_000, days=10)
    purse.books.do(purse.spend(2_000))
    at(purse, 9.9)
    assert (run_due(purse), purse.balance()) == (0, (12_000, 0))
    at(purse, 10)
    assert [run_due(purse) for _ in range(2)] == [1, 0]
    assert purse.amounts() == [9_000, 5_000, -2_000, -3_000]
    [newest, *_] = purse.transactions()["items"]
    assert (newest["transaction_type"], newest["description"]) == ("expiry", "Credits expired")
    assert find_wrong() == []


def test_the_soonest_to_expire_is_used_first(purse: Purse) -> None:
    give(purse, 5_000, days=20)
    give(purse, 5_000, days=10)
    purse.books.do(purse.spend(6_000))
    at(purse, 20)
    run_due(purse)
    assert purse.amounts()[-1] == -4_000


@pytest.mark.parametrize("way", ["spend", "hold", "by hand", "extend", "capture"])
def test_every_way_to_take_lets_expire_first(
    purse: Purse, way: str, find_wrong: Callable[[], list[Row]]
) -> None:
    give(purse, 1_000)
    give(purse, 5_000, days=1)
    at(purse, 0.9)
    hold = purse.books.do(purse.hold(100, ttl_seconds=86_400))
    at(purse, 1)
    calls = {
        "spend": purse.spend(2_000),
        "hold": purse.hold(2_000),
        "by hand": purse.insert("-2"),
        "extend": purse.call("extend_balance_hold", hold_id=hold["hold_id"], credits=2_000),
        "capture": purse.capture(hold, 2_100),
    }
    # SQL written by hand is refused by the constraint, as it always was.
    assert purse.books.refusal(calls[way]).state in {"CR402", "23514", "P0001"}
    run_due(purse)
    assert purse.balance() == (1_100, 100)
    assert find_wrong() == []


def test_a_hold_keeps_its_credits_until_it_ends(purse: Purse, find_wrong: Callable[[], list[Row]]) -> None:
    give(purse, 5_000, days=1)
    at(purse, 0.9)
    kept, freed = (purse.books.do(purse.hold(credits, ttl_seconds=86_400)) for credits in (1_000, 2_000))
    at(purse, 1.1)
    assert run_due(purse) == 1
    assert purse.balance() == (3_000, 3_000)
    purse.books.do(purse.capture(kept))
    purse.books.do(purse.void(freed))
    assert purse.balance() == (0, 0)
    assert purse.amounts() == [5_000, -2_000, -1_000, -2_000]
    assert run_due(purse) == 0
    assert find_wrong() == []


@pytest.mark.parametrize("end", ["void", "capture less", "overdue"])
def test_what_a_hold_keeps_is_used_by_nothing_else(
    purse: Purse, end: str, find_wrong: Callable[[], list[Row]]
) -> None:
    give(purse, 5_000, days=1)
    at(purse, 0.9)
    hold = purse.books.do(purse.hold(2_000, ttl_seconds=86_400))
    at(purse, 1.1)
    run_due(purse)
    give(purse, 7_000)
    give(purse, 3_000, days=9)
    purse.books.do(purse.spend(2_000))
    assert find_wrong() == []
    left = 8_000
    if end == "void":
        purse.books.do(purse.void(hold))
    elif end == "capture less":
        purse.books.do(purse.capture(hold, 500))
    else:
        at(purse, 2)
        purse.books.do(Call("run_due", {}))
    assert purse.balance() == (left, 0)
    assert find_wrong() == []
    at(purse, 9)
    run_due(purse)
    # The spending of 2,000 was from the second lot, and the hold's from the first.
    assert purse.balance() == (7_000, 0)
    assert find_wrong() == []


def test_a_user_who_was_switched_off_loses_them_as_well(purse: Purse) -> None:
    give(purse, 5_000, days=1)
    purse.switch_off()
    at(purse, 1)
    assert run_due(purse) == 1
    assert purse.balance() == (0, 0)


def test_the_balance_says_what_expires_next(purse: Purse) -> None:
    give(purse, 1_000)
    give(purse, 5_000, days=10)
    purse.books.do(purse.spend(2_000))
    balance = purse.books.do(purse.call("get_balance", user_id=purse.user_id))
    assert (balance["expiring_credits"], balance["expires_at"]) == (3_000, NOON + 10 * DAY)


def test_the_same_request_gives_one_lot(purse: Purse) -> None:
    call = purse.grant(5_000, "gift", expires_in_days=10)
    first = purse.books.do(call)
    assert purse.books.do(call) == first | {"replayed": True}
    assert purse.books.refusal(purse.grant(5_000, "gift")).state == "CR409"
    [row] = purse.books.execute("SELECT count(*) AS lots FROM credit_lots")
    assert row["lots"] == 1


@pytest.mark.parametrize(
    ("plant", "figure"),
    [
        ("UPDATE credit_lots SET credits = credits + 1", "credits"),
        ("UPDATE credit_lots SET expired_credits = 1", "expired_credits"),
        ("UPDATE credit_lots SET used_credits = 1", "used_credits"),
        ("UPDATE users SET lots_due_at = NULL", "lots_due_at"),
    ],
)
def test_verify_finds_planted_errors(
    purse: Purse, plant: str, figure: str, find_wrong: Callable[[], list[Row]]
) -> None:
    give(purse, 5_000, days=10)
    assert find_wrong() == []
    purse.books.execute(plant)
    assert figure in {each["figure"] for each in find_wrong()}


def test_a_charge_writes_nothing_for_lots(purse: Purse) -> None:
    give(purse, 5_000, days=10)
    written = "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS rows FROM pg_stat_xact_user_tables"
    with purse.books.connection.transaction():
        before = purse.books.execute(written)
        purse.books.do(purse.spend(5))
        more = [row["relname"] for row in purse.books.execute(written) if row not in before]
    assert sorted(more) == ["credits_transactions", "users"]
