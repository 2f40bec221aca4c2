"""What time brings: holds expire, pools are refreshed, allocations reset, subscriptions end and go on.

Each test has a database of its own, whose clock it sets.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledger.conftest import Call, Refusal, set_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ledger.conftest import Books, Connection, Member

    Row = dict[str, Any]

NOTHING = {
    "holds_expired": 0,
    "allocations_reset": 0,
    "pools_refreshed": 0,
    "subscriptions_ended": 0,
    "subscriptions_renewed": 0,
    "lots_expired": 0,
}
RUN_DUE = Call("run_due", {})
START = datetime(2027, 1, 20, 12, tzinfo=UTC)


def on(year: int, month: int, day: int, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.fixture
def books(own_books: Books) -> Iterator[Books]:
    """Books at noon of 20 January 2027, a Wednesday, that are right in the end."""
    set_clock(own_books, START)
    yield own_books
    verified = own_books.do(Call("verify_ledger", {}))
    assert verified["differences"] == []
    assert invariants(own_books) == []


def invariants(books: Books) -> list[Row]:
    """Return the pools that are not what the specification says, computed anew."""
    return books.execute(
        "SELECT pool.* FROM organization_credit_pools AS pool LEFT JOIN LATERAL ("
        "  SELECT sum(allocated_credits) AS allocated, sum(settled_credits + used_credits) AS used"
        "  FROM user_credit_allocations WHERE org_id = pool.org_id"
        ") AS shares ON TRUE"
        " WHERE available_credits < 0"
        " OR available_credits <> total_credits - settled_credits - allocated_credits"
        " OR allocated_credits <> coalesce(allocated, 0) OR used_credits <> coalesce(used, 0)"
    )


def run(books: Books, moment: datetime | None = None, **expected: int) -> None:
    """Run what is due at a moment, and expect this much and no more, also when it runs again."""
    if moment:
        set_clock(books, moment)
    assert books.do(RUN_DUE) == NOTHING | expected
    assert books.do(RUN_DUE) == NOTHING


def pool(books: Books) -> Row:
    return books.do(Call("get_pool", {"org_id": books.org_id}))


def empty_pool(books: Books, left: int = 0) -> None:
    """Leave so much in the pool: the rest belongs to somebody."""
    books.member(pool(books)["available_credits"] - left)


def share(books: Books, member: Member) -> Row:
    [row] = books.execute(
        "SELECT * FROM user_credit_allocations WHERE org_id = %s AND user_id = %s",
        member.org_id, member.user_id,
    )  # fmt: skip
    return row


def figures(books: Books, member: Member) -> dict[str, int]:
    row = share(books, member)
    return {name: row[f"{name}_credits"] for name in ("allocated", "used", "settled", "held", "shortfall")}


def events(books: Books, event_type: str) -> list[Row]:
    return books.execute(
        "SELECT * FROM org_billing_history WHERE event_type = %s ORDER BY created_at, id", event_type
    )


def member_with(books: Books, allocated: int, period: str = "monthly") -> Member:
    member = books.member(None)
    books.do(member.allocate(allocated, reset_period=period))
    return member


def refresh_monthly(books: Books, amount: int) -> None:
    books.execute("UPDATE credit_pools SET monthly_refresh_amount = %s", amount)


@pytest.mark.parametrize(
    ("period", "due", "next_one"),
    [
        ("daily", on(2027, 1, 21), on(2027, 1, 22)),
        ("weekly", on(2027, 1, 25), on(2027, 2, 1)),
        ("monthly", on(2027, 2, 1), on(2027, 3, 1)),
    ],
)
def test_a_period_is_closed_at_its_boundary(
    books: Books, period: str, due: datetime, next_one: datetime
) -> None:
    member = member_with(books, 100_000, period)
    books.do(member.deduct(30_000))
    run(books, due - timedelta(microseconds=1))
    run(books, due, allocations_reset=1)
    row = share(books, member)
    assert figures(books, member) == {
        "allocated": 100_000, "used": 0, "settled": 30_000, "held": 0, "shortfall": 0,
    }  # fmt: skip
    assert (row["last_reset_date"], row["next_reset_date"]) == (due, next_one)
    now = pool(books)
    assert (now["settled_credits"], now["used_credits"]) == (30_000, 30_000)
    assert now["available_credits"] == 1_000_000_000 - 100_000 - 30_000
    [event] = events(books, "allocation_reset")
    assert event["credits"] == 30_000
    assert event["event_metadata"] == {
        "user_id": member.user_id,
        "settled_credits": 30_000,
        "refilled_credits": 30_000,
        "allocated_credits": 100_000,
        "shortfall_credits": 0,
        "reset_period": period,
    }
    assert (event["period_start"], event["period_end"]) == (START, due)


def test_a_late_reset_is_one_reset(books: Books) -> None:
    member = member_with(books, 100_000, "daily")
    books.do(member.deduct(30_000))
    run(books, on(2027, 6, 9, 15), allocations_reset=1)
    assert share(books, member)["next_reset_date"] == on(2027, 6, 10)
    assert share(books, member)["last_reset_date"] == on(2027, 6, 9, 15)
    assert figures(books, member)["allocated"] == 100_000
    run(books, on(2027, 6, 10), allocations_reset=1)
    assert figures(books, member)["settled"] == 30_000


def test_shares_without_a_period_stay(books: Books) -> None:
    member = books.member()
    books.do(member.deduct(1_000))
    run(books, on(2030, 1, 1))
    assert figures(books, member)["used"] == 1_000


def test_a_refill_is_as_large_as_the_pool_and_made_good_later(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(80_000))
    empty_pool(books, left=25_000)
    run(books, on(2027, 2, 1), allocations_reset=1)
    assert figures(books, member) == {
        "allocated": 45_000, "used": 0, "settled": 80_000, "held": 0, "shortfall": 55_000,
    }  # fmt: skip
    assert pool(books)["available_credits"] == 0
    assert events(books, "allocation_reset")[0]["credits"] == 25_000

    books.do(member.deduct(5_000))
    books.do(books.add(20_000))
    run(books, on(2027, 3, 1), allocations_reset=1)
    assert (figures(books, member)["allocated"], figures(books, member)["shortfall"]) == (60_000, 40_000)
    books.do(books.add(1_000_000))
    run(books, on(2027, 4, 1), allocations_reset=1)
    assert (figures(books, member)["allocated"], figures(books, member)["shortfall"]) == (100_000, 0)
    assert pool(books)["available_credits"] == 960_000


def test_an_empty_pool_refills_nothing(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(100_000))
    empty_pool(books)
    run(books, on(2027, 2, 1), allocations_reset=1)
    assert figures(books, member)["allocated"] == 0
    assert books.refusal(member.deduct(1)).state == "CR402"


def test_the_oldest_shares_are_refilled_first(books: Books) -> None:
    members = [member_with(books, 10_000) for _ in range(4)]
    for member in members:
        books.do(member.deduct(10_000))
    empty_pool(books, left=25_000)
    run(books, on(2027, 2, 1), allocations_reset=4)
    rows = books.execute(
        "SELECT allocated_credits FROM user_credit_allocations WHERE reset_period = 'monthly' ORDER BY id"
    )
    assert [row["allocated_credits"] for row in rows] == [10_000, 10_000, 5_000, 0]


def test_what_is_allocated_in_between_raises_the_share(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(100_000))
    empty_pool(books, left=40_000)
    run(books, on(2027, 2, 1), allocations_reset=1)
    books.do(books.add(1_000_000))
    books.do(member.allocate(10_000))
    run(books, on(2027, 3, 1), allocations_reset=1)
    assert figures(books, member)["allocated"] == 110_000


def test_who_is_lowered_by_hand_stays_lowered(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(100_000))
    empty_pool(books, left=40_000)
    run(books, on(2027, 2, 1), allocations_reset=1)
    assert figures(books, member)["shortfall"] == 60_000
    books.execute(
        "UPDATE user_credit_allocations SET allocated_credits = 30000 WHERE user_id = %s", member.user_id
    )
    books.do(books.add(1_000_000))
    run(books, on(2027, 3, 1), allocations_reset=1)
    assert figures(books, member)["allocated"] == 30_000


def test_lowered_below_what_is_used_is_refilled_to_what_it_is_now(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(80_000))
    books.execute(
        "UPDATE user_credit_allocations SET allocated_credits = 50000 WHERE user_id = %s", member.user_id
    )
    run(books, on(2027, 2, 1), allocations_reset=1)
    assert (figures(books, member)["allocated"], figures(books, member)["settled"]) == (50_000, 80_000)


def test_held_credits_stay_held(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(20_000))
    set_clock(books, on(2027, 1, 31, 23))
    hold = books.do(member.hold(70_000, ttl_seconds=86_400))
    run(books, on(2027, 2, 1), allocations_reset=1)
    assert figures(books, member)["held"] == 70_000
    assert books.refusal(member.deduct(30_001)).state == "CR402"
    books.do(books.capture(hold))
    assert books.balance(member) == (100_000, 70_000, 0)


def test_holds_that_are_over_are_given_back_first(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.hold(70_000))
    run(books, on(2027, 2, 1), allocations_reset=1, holds_expired=1)
    assert books.balance(member) == (100_000, 0, 0)


def test_a_hold_that_an_empty_pool_cannot_refill_stays_covered(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(40_000))
    empty_pool(books)
    set_clock(books, on(2027, 1, 31, 23))
    hold = books.do(member.hold(60_000, ttl_seconds=86_400))
    run(books, on(2027, 2, 1), allocations_reset=1)
    assert books.balance(member) == (60_000, 0, 60_000)
    books.do(books.capture(hold))


def test_a_refund_of_an_earlier_period_counts_in_this_one_and_then_goes_to_the_pool(books: Books) -> None:
    member = member_with(books, 100_000)
    charge = books.do(member.deduct(30_000))
    run(books, on(2027, 2, 1), allocations_reset=1)
    books.do(books.refund(charge))
    assert books.do(member.check(130_000))["has_sufficient_credits"]
    before = pool(books)["available_credits"]
    run(books, on(2027, 3, 1), allocations_reset=1)
    assert figures(books, member) == {
        "allocated": 100_000, "used": 0, "settled": 0, "held": 0, "shortfall": 0,
    }  # fmt: skip
    assert pool(books)["available_credits"] == before + 30_000
    assert events(books, "allocation_reset")[-1]["credits"] == -30_000


def test_what_one_gives_back_another_can_have(books: Books) -> None:
    giver, taker = member_with(books, 100_000), member_with(books, 100_000)
    charge = books.do(giver.deduct(30_000))
    run(books, on(2027, 2, 1), allocations_reset=2)
    books.do(books.refund(charge))
    books.do(taker.deduct(50_000))
    empty_pool(books)
    run(books, on(2027, 3, 1), allocations_reset=2)
    assert figures(books, giver)["allocated"] == 100_000
    assert (figures(books, taker)["allocated"], figures(books, taker)["shortfall"]) == (80_000, 20_000)


def test_what_a_refund_leaves_above_the_share_covers_a_hold_until_it_is_settled(books: Books) -> None:
    member = member_with(books, 100_000)
    charge = books.do(member.deduct(30_000))
    run(books, on(2027, 2, 1), allocations_reset=1)
    books.do(books.refund(charge))
    set_clock(books, on(2027, 2, 28, 23))
    hold = books.do(member.hold(120_000, ttl_seconds=86_400))
    run(books, on(2027, 3, 1), allocations_reset=1)
    assert (figures(books, member)["allocated"], figures(books, member)["shortfall"]) == (120_000, -20_000)
    books.do(books.void(hold))
    run(books, on(2027, 4, 1), allocations_reset=1)
    assert (figures(books, member)["allocated"], figures(books, member)["shortfall"]) == (100_000, 0)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (1_000_000, {"allocated": 100_000, "used": 0, "settled": 130_000, "held": 0, "shortfall": 0}),
        (50_000, {"allocated": 20_000, "used": 0, "settled": 130_000, "held": 0, "shortfall": 80_000}),
        (10_000, {"allocated": 0, "used": 20_000, "settled": 110_000, "held": 0, "shortfall": 100_000}),
        (0, {"allocated": 0, "used": 30_000, "settled": 100_000, "held": 0, "shortfall": 100_000}),
    ],
)
def test_an_overdraft_is_settled_as_far_as_the_pool_goes(
    books: Books, left: int, expected: dict[str, int]
) -> None:
    member = member_with(books, 100_000)
    books.execute("UPDATE credit_pools SET allow_overage = TRUE, overage_limit = 30000")
    books.do(member.deduct(130_000))
    empty_pool(books, left)
    run(books, on(2027, 2, 1), allocations_reset=1)
    assert figures(books, member) == expected


def test_who_is_not_active_waits(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(1_000))
    refresh_monthly(books, 5)
    books.execute("UPDATE organizations SET status = 'suspended'")
    run(books, on(2027, 2, 1))
    books.execute("UPDATE organizations SET status = 'active'")
    books.execute("UPDATE user_credit_allocations SET is_active = FALSE")
    run(books, pools_refreshed=1)
    books.execute("UPDATE user_credit_allocations SET is_active = TRUE")
    run(books, allocations_reset=1)


def test_a_period_that_is_set_by_hand_has_a_date(books: Books) -> None:
    member = books.member()
    books.execute("UPDATE user_credit_allocations SET reset_period = 'weekly'")
    assert share(books, member)["next_reset_date"] == on(2027, 1, 25)
    refresh_monthly(books, 5)
    assert pool(books)["next_refresh_date"] == on(2027, 2, 1)


def test_a_pool_is_refreshed_once_a_month(books: Books) -> None:
    refresh_monthly(books, 7_000)
    run(books)
    run(books, on(2027, 2, 1), pools_refreshed=1)
    assert pool(books)["total_credits"] == 1_000_007_000
    assert pool(books)["next_refresh_date"] == on(2027, 3, 1)
    assert pool(books)["lifetime_purchased_credits"] == 0
    run(books, on(2027, 7, 14, 9), pools_refreshed=1)
    assert pool(books)["total_credits"] == 1_000_014_000
    assert pool(books)["next_refresh_date"] == on(2027, 8, 1)
    first, second = events(books, "pool_refresh")
    assert first["credits"] == 7_000
    assert first["event_metadata"] == {"total_credits": 1_000_007_000, "available_credits": 1_000_007_000}
    assert (second["period_start"], second["period_end"]) == (on(2027, 7, 1), on(2027, 8, 1))


def test_a_date_that_is_set_back_refreshes_nothing_twice(books: Books) -> None:
    refresh_monthly(books, 7_000)
    run(books, on(2027, 2, 1), pools_refreshed=1)
    books.execute("UPDATE credit_pools SET next_refresh_date = ledger.now()")
    run(books)
    assert pool(books)["total_credits"] == 1_000_007_000
    assert pool(books)["next_refresh_date"] == on(2027, 3, 1)


def test_a_pool_takes_no_more_than_it_holds(books: Books) -> None:
    books.do(books.add(10**15 - 1_000_000_000 - 500))
    refresh_monthly(books, 7_000)
    run(books, on(2027, 2, 1), pools_refreshed=1)
    assert pool(books)["total_credits"] == 10**15


def test_resets_find_what_the_refresh_brought(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(60_000))
    empty_pool(books)
    refresh_monthly(books, 60_000)
    run(books, on(2027, 2, 1), pools_refreshed=1, allocations_reset=1)
    assert figures(books, member)["allocated"] == 100_000
    assert pool(books)["available_credits"] == 0


def test_the_limit_leaves_the_rest_to_the_next_run(books: Books) -> None:
    members = [member_with(books, 1_000) for _ in range(5)]
    for member in members:
        books.do(member.deduct(10))
    set_clock(books, on(2027, 2, 1))
    limited = Call("run_due", {"limit": 2})
    assert [books.do(limited)["allocations_reset"] for _ in range(4)] == [2, 2, 1, 0]


def test_parts_have_public_names(books: Books) -> None:
    member_with(books, 1_000)
    refresh_monthly(books, 5)
    set_clock(books, on(2027, 2, 1))
    application = books.connect()
    application.execute("SET ROLE credits_app")
    # Never before the pool, out of which they are refilled.
    for expected in (0, 1), (1, 0), (0, 0):
        row = application.execute(
            "SELECT reset_allocations() AS reset, refresh_pools() AS refreshed"
        ).fetchone()
        assert row is not None
        assert (row["reset"], row["refreshed"]) == expected


def test_a_charge_in_flight_leaves_the_reset_to_the_next_run(books: Books) -> None:
    member, other = member_with(books, 100_000), member_with(books, 100_000)
    set_clock(books, on(2027, 2, 1))
    busy = books.connect()
    with busy.transaction():
        member.deduct(40_000).on(busy)
        assert books.do(RUN_DUE)["allocations_reset"] == 1
        assert share(books, other)["last_reset_date"] is not None
    run(books, allocations_reset=1)
    assert figures(books, member)["settled"] == 40_000


def test_a_busy_pool_is_left_to_the_next_run(books: Books) -> None:
    refresh_monthly(books, 7_000)
    member_with(books, 100_000)
    set_clock(books, on(2027, 2, 1))
    busy = books.connect()
    with busy.transaction():
        books.add(1_000).on(busy)
        assert books.do(RUN_DUE) == NOTHING
    run(books, pools_refreshed=1, allocations_reset=1)


def test_a_charge_waits_for_a_reset_and_counts_in_the_new_period(books: Books) -> None:
    member = member_with(books, 100_000)
    books.do(member.deduct(30_000))
    set_clock(books, on(2027, 2, 1))
    receipt = books.meanwhile(RUN_DUE, member.deduct(60_000))
    assert isinstance(receipt, dict)
    assert receipt["remaining_credits"] == 40_000
    assert (figures(books, member)["settled"], figures(books, member)["used"]) == (30_000, 60_000)


def spend(books: Books, members: list[Member], connection: Connection) -> None:
    for turn in range(25):
        for member in members:
            member.deduct(100).on(connection)
            if turn % 5 == 0:
                books.capture(member.hold(200).on(connection), 150).on(connection)
                books.add(10).on(connection)
                member.allocate(10).on(connection)


def run_until(stopped: threading.Event, connection: Connection) -> None:
    while not stopped.is_set():
        RUN_DUE.on(connection)


def test_many_runs_reset_each_once_while_members_spend(books: Books) -> None:
    members = [member_with(books, 100_000, period) for period in ("daily", "weekly", "monthly") * 4]
    for member in members:
        books.do(member.deduct(25_000))
    refresh_monthly(books, 9_000)
    set_clock(books, on(2027, 2, 1))
    all_is_spent = threading.Event()

    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(run_until, all_is_spent, books.connect()) for _ in range(4)]
        spending = [threads.submit(spend, books, members, books.connect()) for _ in range(4)]
        for day in range(2, 8):
            wait(spending, timeout=0.3)
            set_clock(books, on(2027, 2, day))
        wait(spending)
        all_is_spent.set()
    for thread in spending + running:
        thread.result()
    books.do(RUN_DUE)

    assert len(events(books, "pool_refresh")) == 1
    resets = [
        (each["event_metadata"]["user_id"], each["created_at"]) for each in events(books, "allocation_reset")
    ]
    assert len(resets) == len(set(resets)), "each once at a boundary"
    assert {user_id for user_id, _ in resets} == {member.user_id for member in members}
    assert len(resets) <= 4 * 7 + 8
    used_by_each = 25_000 + 4 * (25 * 100 + 5 * 150)
    for member in members:
        now = figures(books, member)
        assert now["settled"] + now["used"] == used_by_each
        assert now["settled"] >= 25_000
        assert now["allocated"] == 100_000 + 4 * 5 * 10
        assert (now["held"], now["shortfall"]) == (0, 0)
    assert pool(books)["used_credits"] == used_by_each * len(members)
    run(books)


def test_many_runs_share_a_pool_that_is_too_small(books: Books) -> None:
    members = [member_with(books, 10_000) for _ in range(10)]
    for member in members:
        books.do(member.deduct(10_000))
    empty_pool(books, left=35_000)
    set_clock(books, on(2027, 2, 1))
    while any(share(books, member)["last_reset_date"] is None for member in members):
        outcomes = books.at_once([RUN_DUE] * 4)
        assert not any(isinstance(each, Refusal) for each in outcomes)
    assert sum(figures(books, member)["allocated"] for member in members) == 35_000
    assert len(events(books, "allocation_reset")) == 10


def subscribe(books: Books, **more: Any) -> Row:
    return books.do(Call(
        "create_subscription", {"org_id": books.org_id, "subscription_plan": "platform"} | more
    ))  # fmt: skip


def look(books: Books, row: Row) -> Row:
    return books.do(Call("get_subscription", {"subscription_id": str(row["subscription_id"])}))


def test_what_was_canceled_ends_with_its_period(books: Books) -> None:
    row = subscribe(books)
    canceled = {"subscription_id": str(row["subscription_id"]), "at_period_end": True}
    books.do(Call("cancel_subscription", canceled))
    run(books, on(2027, 2, 20, 11))
    assert look(books, row)["status"] == "active"
    run(books, on(2027, 2, 20, 12), subscriptions_ended=1)
    ended = look(books, row)
    assert (ended["status"], ended["canceled_at"]) == ("canceled", START)
    assert len(events(books, "subscription_canceled")) == 1
    subscribe(books)


def test_a_trial_becomes_active_and_its_first_period_begins(books: Books) -> None:
    row = subscribe(books, trial_days=14)
    run(books, on(2027, 2, 3, 11))
    assert look(books, row)["status"] == "trialing"
    run(books, on(2027, 2, 3, 13), subscriptions_renewed=1)
    active = look(books, row)
    assert active["status"] == "active"
    assert active["current_period_start"] == row["trial_ends_at"] == on(2027, 2, 3, 12)
    assert active["current_period_end"] == on(2027, 3, 3, 12)


def test_a_trial_that_is_canceled_ends_with_the_trial(books: Books) -> None:
    row = subscribe(books, trial_days=14, billing_cycle="yearly")
    canceled = {"subscription_id": str(row["subscription_id"]), "at_period_end": True}
    books.do(Call("cancel_subscription", canceled))
    run(books, on(2027, 2, 3, 12), subscriptions_ended=1)
    assert look(books, row)["status"] == "canceled"


def test_a_trial_of_a_custom_cycle_becomes_active_without_an_end(books: Books) -> None:
    row = subscribe(books, trial_days=1, billing_cycle="custom")
    run(books, on(2028, 1, 1), subscriptions_renewed=1)
    active = look(books, row)
    assert (active["status"], active["current_period_end"]) == ("active", None)
    assert active["current_period_start"] == START + timedelta(days=1)


@pytest.mark.parametrize(
    ("cycle", "moment", "period"),
    [
        ("monthly", on(2027, 2, 20, 12), (on(2027, 2, 20, 12), on(2027, 3, 20, 12))),
        ("monthly", on(2028, 7, 1), (on(2028, 6, 20, 12), on(2028, 7, 20, 12))),
        ("yearly", on(2030, 7, 1), (on(2030, 1, 20, 12), on(2031, 1, 20, 12))),
        ("custom", on(2030, 7, 1), (START, None)),
    ],
)
def test_periods_move_on(
    books: Books, cycle: str, moment: datetime, period: tuple[datetime, datetime | None]
) -> None:
    row = subscribe(books, billing_cycle=cycle)
    run(books, moment, subscriptions_renewed=int(cycle != "custom"))
    now = look(books, row)
    assert (now["status"], now["current_period_start"], now["current_period_end"]) == ("active", *period)


def test_the_last_day_of_a_month_is_kept(books: Books) -> None:
    set_clock(books, on(2027, 1, 31))
    row = subscribe(books)
    ends = []
    for month in range(2, 6):
        ends.append(look(books, row)["current_period_end"])
        run(books, on(2027, month + 1, 1) - timedelta(hours=1), subscriptions_renewed=1)
    assert ends == [on(2027, 2, 28), on(2027, 3, 31), on(2027, 4, 30), on(2027, 5, 31)]


def test_a_payment_provider_moves_its_own_periods(books: Books) -> None:
    row = subscribe(books)
    books.execute("UPDATE organization_subscriptions SET stripe_subscription_id = 'sub_1'")
    run(books, on(2027, 9, 1))
    assert look(books, row)["current_period_end"] == on(2027, 2, 20, 12)


def test_the_day_is_the_day_in_utc(books: Books) -> None:
    member = member_with(books, 1_000, "daily")
    row = subscribe(books)
    elsewhere = books.connect()
    elsewhere.execute("SET TimeZone = 'Pacific/Kiritimati'")
    set_clock(books, on(2027, 2, 20, 12))
    assert RUN_DUE.on(elsewhere)["allocations_reset"] == 1
    assert share(books, member)["next_reset_date"] == on(2027, 2, 21)
    assert look(books, row)["current_period_end"] == on(2027, 3, 20, 12)
