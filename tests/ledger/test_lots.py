"""Credits that expire: in lots of a pool, soonest first, at their instant and never twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledger.conftest import Call, Member, outcome, set_clock

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Row

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
FOREVER = 1_000_000_000
"""What the pool has that never expires."""


@pytest.fixture
def dated(own_books: Books) -> Books:
    """Books at noon."""
    set_clock(own_books, NOON)
    return own_books


@pytest.fixture
def bare(dated: Books) -> Books:
    """Books whose pool has nothing that never expires."""
    dated.execute("UPDATE credit_pools SET total_credits = 0 WHERE org_id = %s", dated.org_id)
    return dated


def add_lot(books: Books, credits: int, days: float, priority: int | None = None) -> Row:
    return books.do(books.add(credits, expires_at=NOON + days * DAY, priority=priority))


def at(books: Books, days: float) -> None:
    set_clock(books, NOON + days * DAY)


def run_due(books: Books) -> int:
    expired: int = books.do(Call("run_due", {}))["lots_expired"]
    return expired


def total(books: Books) -> int:
    credits: int = books.do(Call("get_pool", {"org_id": books.org_id}))["total_credits"]
    return credits


def due_at(books: Books) -> Any:
    [row] = books.execute("SELECT lots_due_at FROM organizations WHERE id = %s", books.org_id)
    return row["lots_due_at"]


def lots(books: Books) -> list[tuple[int, int, int]]:
    rows = books.execute(
        "SELECT credits, used_credits, expired_credits FROM credit_lots ORDER BY created_at, id"
    )
    return [(row["credits"], row["used_credits"], row["expired_credits"]) for row in rows]


def unexplained(books: Books) -> list[Row]:
    """Return what the books disagree about; the fixture made this pool poorer by hand."""
    return [each for each in books.differences() if each["figure"] != "total_credits"]


def test_what_is_not_used_in_time_expires_once(dated: Books) -> None:
    add_lot(dated, 5_000, days=10)
    at(dated, 9.99)
    assert (run_due(dated), total(dated)) == (0, FOREVER + 5_000)
    at(dated, 10)
    assert [run_due(dated) for _ in range(2)] == [1, 0]
    assert total(dated) == FOREVER
    [event] = dated.execute("SELECT credits FROM org_billing_history WHERE event_type = 'credit_expired'")
    assert event["credits"] == -5_000
    assert due_at(dated) is None
    assert dated.differences() == []


def test_what_was_spent_before_does_not_expire(dated: Books) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=10)
    dated.do(ann.deduct(3_000))
    at(dated, 10)
    assert run_due(dated) == 1
    assert lots(dated) == [(5_000, 3_000, 2_000)]
    assert dated.differences() == []


def test_what_was_spent_before_a_lot_came_is_not_spent_from_it(dated: Books) -> None:
    ann = dated.member(100_000)
    dated.do(ann.deduct(3_000))
    add_lot(dated, 5_000, days=10)
    at(dated, 10)
    run_due(dated)
    assert lots(dated) == [(5_000, 0, 5_000)]


def test_the_soonest_to_expire_is_used_first(dated: Books) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=20)
    at(dated, 1)
    add_lot(dated, 5_000, days=10)
    dated.do(ann.deduct(6_000))
    at(dated, 20)
    assert run_due(dated) == 1
    assert lots(dated) == [(5_000, 1_000, 4_000), (5_000, 5_000, 0)]


def test_a_lower_priority_goes_before(dated: Books) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=10)
    at(dated, 1)
    add_lot(dated, 5_000, days=20, priority=50)
    dated.do(ann.deduct(6_000))
    at(dated, 30)
    run_due(dated)
    assert lots(dated) == [(5_000, 1_000, 4_000), (5_000, 5_000, 0)]


def test_a_lot_without_expiry_can_be_used_first(dated: Books) -> None:
    ann = dated.member(100_000)
    dated.do(dated.add(4_000, priority=1))
    at(dated, 1)
    add_lot(dated, 5_000, days=10)
    dated.do(ann.deduct(6_000))
    at(dated, 10)
    run_due(dated)
    assert lots(dated) == [(4_000, 4_000, 0), (5_000, 2_000, 3_000)]


def test_no_charge_gets_what_has_expired_though_nobody_swept(bare: Books) -> None:
    add_lot(bare, 5_000, days=10)
    ann = bare.member(5_000)
    at(bare, 10)
    refused = bare.refusal(ann.deduct(1))
    assert (refused.state, refused.figures["available"]) == ("CR402", 0)
    assert bare.refusal(ann.hold(1)).state == "CR402"
    [outcome] = bare.do(bare.batch(ann.item(1)))["outcomes"]
    assert outcome["problem"]["code"] == "insufficient_credits"


@pytest.mark.parametrize("way", ["deduct", "hold", "batch", "allocate", "extend", "capture", "expired"])
def test_every_way_to_take_lets_expire_first(bare: Books, way: str) -> None:
    bare.do(bare.add(1_000))
    add_lot(bare, 5_000, days=10)
    ann, bob = bare.member(3_000), bare.member(3_000)
    hold = bare.do(ann.hold(100, ttl_seconds=86_400))
    late = bare.do(bob.hold(500, ttl_seconds=60))
    at(bare, 0.5)
    bare.do(bare.sweep())
    set_clock(bare, NOON + 10 * DAY)
    bare.execute(
        "UPDATE credit_holds SET expires_at = ledger.now() + INTERVAL '1 hour' WHERE status = 'held'"
    )
    calls = {
        "deduct": ann.deduct(2_000),
        "hold": ann.hold(2_000),
        "allocate": ann.allocate(2_000),
        "extend": Call("extend_hold", {"hold_id": hold["hold_id"], "credits": 2_000}),
        "capture": bare.capture(hold, 2_100),
        "expired": bare.capture(late, 2_000),
    }
    if way == "batch":
        [outcome] = bare.do(bare.batch(ann.item(2_000)))["outcomes"]
        assert outcome["problem"]["code"] == "insufficient_credits"
    else:
        refused = bare.refusal(calls[way])
        assert refused.state in {"CR402", "CR411"}
        # What a refusal decided is undone with it; the sweep is not.
        run_due(bare)
    assert total(bare) == 1_100
    assert unexplained(bare) == []


def test_a_replay_of_a_charge_is_answered_when_all_has_expired(bare: Books) -> None:
    add_lot(bare, 5_000, days=10)
    ann = bare.member(5_000)
    first = bare.do(ann.deduct(5_000, "job"))
    at(bare, 10)
    assert bare.do(ann.deduct(5_000, "job")) == first | {"replayed": True}


def add_organization(books: Books, org_id: str) -> Books:
    """Return the books of one more organisation in the same database, with a lot of 5,000 for ten days."""
    books.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", org_id, org_id)
    other = replace(books, org_id=org_id)
    add_lot(other, 5_000, days=10)
    return other


def test_an_organisation_that_has_left_stops_nobody_else(dated: Books) -> None:
    add_lot(dated, 5_000, days=9)
    other = add_organization(dated, "other")
    dated.execute("SELECT cells.leave(%s, gen_random_uuid())", dated.org_id)
    at(dated, 10)
    assert run_due(dated) == 1
    assert (total(other), total(dated)) == (0, FOREVER + 5_000)


def test_an_organisation_that_is_refused_stops_nobody_else(dated: Books) -> None:
    add_lot(dated, 5_000, days=9)
    other = add_organization(dated, "other")
    dated.execute(
        "CREATE FUNCTION refuse_all() RETURNS TRIGGER LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'CR503', MESSAGE = 'No.'; END $$"
    )
    dated.execute(
        "CREATE TRIGGER refuse_all BEFORE UPDATE ON credit_pools FOR EACH ROW"
        f" WHEN (old.org_id = '{dated.org_id}') EXECUTE FUNCTION refuse_all()"
    )
    at(dated, 10)
    assert run_due(dated) == 1
    assert (total(other), total(dated)) == (0, FOREVER + 5_000)
    dated.execute("DROP TRIGGER refuse_all ON credit_pools")
    assert run_due(dated) == 1
    assert total(dated) == FOREVER


def let_the_clock_move_within_statements(books: Books) -> None:
    """Read the clock from a table: what `set_clock` makes is a constant to a statement that has begun."""
    books.execute("CREATE TABLE clock AS SELECT ledger.now() AS moment")
    books.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE plpgsql VOLATILE"
        " AS $$ BEGIN RETURN (SELECT moment FROM public.clock); END $$"
    )


@pytest.mark.parametrize("way", ["batch of holds", "batch", "hold", "deduct", "extend", "capture", "expired"])
def test_a_lot_that_ends_while_a_lock_is_waited_for_is_not_taken_from(bare: Books, way: str) -> None:
    bare.do(bare.add(1_000))
    add_lot(bare, 5_000, days=10)
    ann = bare.member(6_000)
    at(bare, 9.99)
    open_hold = bare.do(ann.hold(500, ttl_seconds=86_400))
    given_back = bare.do(ann.hold(500, ttl_seconds=86_400))
    bare.make_overdue(given_back)
    bare.do(bare.sweep())
    about = {"org_id": bare.org_id, "holds": [ann.item(5_000, ttl_seconds=900)]}
    calls = {
        "batch of holds": Call("place_hold_batch", about),
        "batch": bare.batch(ann.item(5_000)),
        "hold": ann.hold(5_000),
        "deduct": ann.deduct(5_000),
        "extend": Call("extend_hold", {"hold_id": open_hold["hold_id"], "credits": 4_500}),
        "capture": bare.capture(open_hold, 5_000),
        "expired": bare.capture(given_back, 5_000),
    }
    let_the_clock_move_within_statements(bare)
    busy, late = bare.connect(), bare.connect()
    with ThreadPoolExecutor(1) as threads:
        with busy.transaction():
            busy.execute("UPDATE user_credit_allocations SET updated_at = ledger.now()")
            coming = threads.submit(outcome, calls[way], late)
            bare.until_blocked(late.info.backend_pid)
            bare.execute("UPDATE clock SET moment = %s", NOON + 10 * DAY)
        came = coming.result()
    if isinstance(came, dict):
        [refused] = [each["problem"]["code"] for each in came["outcomes"]]
        assert refused == "insufficient_credits"
    else:
        assert came.state in {"CR402", "CR411"}
    run_due(bare)
    assert bare.balance(ann)[1:] == (0, 500)
    assert total(bare) == 1_500
    assert unexplained(bare) == []


def test_a_hold_keeps_its_credits_until_it_is_captured(bare: Books) -> None:
    add_lot(bare, 5_000, days=10)
    ann = bare.member(5_000)
    at(bare, 9.9)
    hold = bare.do(ann.hold(2_000, ttl_seconds=86_400))
    at(bare, 10.1)
    assert run_due(bare) == 1
    assert bare.balance(ann) == (2_000, 0, 2_000)
    assert bare.do(bare.capture(hold))["credits_used"] == 2_000
    assert run_due(bare) == 0
    assert lots(bare) == [(5_000, 2_000, 3_000)]
    assert unexplained(bare) == []


def test_a_hold_that_came_before_the_end_was_seen_keeps_its_credits(bare: Books) -> None:
    add_lot(bare, 5_000, days=10)
    ann = bare.member(5_000)
    at(bare, 10.05)
    # As though it had looked for lots before the end, and was placed after a wait for a cap.
    bare.execute("UPDATE organizations SET lots_due_at = NULL")
    bare.do(ann.hold(2_000, ttl_seconds=86_400))
    bare.execute("UPDATE organizations SET lots_due_at = %s", NOON + 10 * DAY)
    at(bare, 10.1)
    assert run_due(bare) == 1
    assert (total(bare), bare.balance(ann)) == (2_000, (2_000, 0, 2_000))
    assert unexplained(bare) == []


def test_what_a_hold_gives_back_late_expires_then(bare: Books) -> None:
    add_lot(bare, 5_000, days=10)
    ann = bare.member(5_000)
    at(bare, 9.9)
    hold = bare.do(ann.hold(2_000, ttl_seconds=86_400))
    at(bare, 10.1)
    run_due(bare)
    bare.do(bare.void(hold))
    assert (lots(bare), total(bare), due_at(bare)) == ([(5_000, 0, 5_000)], 0, None)
    assert bare.refusal(ann.deduct(1)).state == "CR402"
    assert unexplained(bare) == []


@pytest.fixture
def keeping(bare: Books) -> tuple[Member, Row]:
    """A member with 7,000 that never expire, and a hold that keeps 2,000 of a lot that has ended."""
    add_lot(bare, 5_000, days=10)
    ann = bare.member(5_000)
    at(bare, 9.9)
    hold = bare.do(ann.hold(2_000, ttl_seconds=86_400))
    at(bare, 10.1)
    run_due(bare)
    bare.do(bare.add(7_000))
    bare.do(ann.allocate(7_000))
    return ann, hold


ENDS = ["void", "capture less", "batch of captures", "parts", "overdue"]


def give_back(books: Books, hold: Row, end: str) -> int:
    """Let a hold give back what it keeps, all or but for 500; return what is used of it."""
    used = 500
    if end == "void":
        books.do(books.void(hold))
        used = 0
    elif end == "capture less":
        books.do(books.capture(hold, used))
    elif end == "batch of captures":
        less = {"hold_id": str(hold["hold_id"]), "credits": used}
        books.do(Call("capture_hold_batch", {"org_id": books.org_id, "captures": [less]}))
    elif end == "parts":
        parts = [{"credits": used, "request_id": "part"}]
        books.do(Call("charge_hold", {"hold_id": hold["hold_id"], "charges": parts}))
        books.do(Call("charge_hold", {"hold_id": hold["hold_id"], "charges": parts, "close": True}))
    else:
        at(books, 11)
        books.do(Call("run_due", {}))
        used = 0
    return used


@pytest.mark.parametrize("end", ENDS)
def test_what_a_hold_keeps_is_used_by_no_other_charge(
    bare: Books, keeping: tuple[Member, Row], end: str
) -> None:
    ann, hold = keeping
    bare.do(ann.deduct(2_000))
    other = bare.do(ann.hold(1_000, ttl_seconds=86_400))
    bare.do(bare.capture(other))
    used = give_back(bare, hold, end)
    assert bare.balance(ann) == (7_000 + used, 3_000 + used, 0)
    assert lots(bare) == [(5_000, used, 5_000 - used)]
    assert (total(bare), due_at(bare)) == (7_000 + used, None)
    assert unexplained(bare) == []


@pytest.fixture
def lowered(bare: Books) -> tuple[Member, Row]:
    """Who has all that is left of a pool, and a hold of another, who has nothing but what it keeps."""
    add_lot(bare, 5_000, days=10)
    ann = bare.member(5_000)
    at(bare, 9.9)
    hold = bare.do(ann.hold(2_000, ttl_seconds=86_400))
    at(bare, 10.1)
    run_due(bare)
    bare.execute("UPDATE user_credit_allocations SET allocated_credits = 0 WHERE user_id = %s", ann.user_id)
    return bare.member(2_000), hold


@pytest.mark.parametrize("end", ENDS)
def test_what_a_hold_gives_back_leaves_the_pool_though_its_members_allocation_was_lowered(
    bare: Books, lowered: tuple[Member, Row], end: str
) -> None:
    bob, hold = lowered
    used = give_back(bare, hold, end)
    refused = bare.refusal(bob.deduct(used + 1))
    assert (refused.state, refused.figures["available"]) == ("CR402", used)
    run_due(bare)
    pool = bare.do(Call("get_pool", {"org_id": bare.org_id}))
    assert (pool["total_credits"], pool["available_credits"]) == (used, 0)
    assert bare.balance(bob) == (used, 0, 0)
    assert (lots(bare), due_at(bare)) == ([(5_000, used, 5_000 - used)], None)
    assert unexplained(bare) == []


def test_what_was_spent_before_a_hold_gave_back_was_not_spent_from_what_it_kept(
    bare: Books, lowered: tuple[Member, Row]
) -> None:
    bob, hold = lowered
    bare.do(bare.add(2_000))
    bare.do(bob.allocate(2_000))
    bare.do(bob.deduct(1_500))
    bare.do(bare.void(hold))
    run_due(bare)
    assert (bare.balance(bob), total(bare)) == ((2_000, 1_500, 0), 2_000)
    assert lots(bare) == [(5_000, 0, 5_000)]
    assert unexplained(bare) == []


def test_a_hold_that_gives_back_waits_for_nobody_who_waits_for_it(
    bare: Books, lowered: tuple[Member, Row]
) -> None:
    _, hold = lowered
    busy = bare.connect()
    with busy.transaction():
        busy.execute("SELECT FROM organizations FOR NO KEY UPDATE")
        assert bare.refusal(bare.void(hold)).state == "55P03"
    bare.do(bare.void(hold))
    assert run_due(bare) == 1


def test_a_sweep_leaves_out_an_organisation_that_is_busy_and_no_other(
    bare: Books, lowered: tuple[Member, Row]
) -> None:
    _, kept = lowered
    other = Member(f"{bare.org_id}-other", "ann")
    bare.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", other.org_id, other.org_id)
    bare.execute("INSERT INTO organization_members (org_id, user_id) VALUES (%s, 'ann')", other.org_id)
    bare.do(Call("add_credits", {"org_id": other.org_id, "credits": 1_000}))
    bare.do(other.allocate(1_000))
    plain = bare.do(other.hold(500))
    for hold in (kept, plain):
        bare.make_overdue(hold)
    busy = bare.connect()
    with busy.transaction():
        busy.execute("SELECT FROM organizations WHERE id = %s FOR NO KEY UPDATE", [bare.org_id])
        assert bare.do(Call("expire_holds", {}))["expired"] == 1
    assert bare.do(Call("expire_holds", {}))["expired"] == 1


def test_a_hold_that_keeps_credits_of_an_ended_lot_makes_no_charge_wait(
    bare: Books, keeping: tuple[Member, Row]
) -> None:
    ann, _ = keeping
    assert due_at(bare) is None
    bare.do(bare.add(1))
    bob = bare.member(1)
    busy, other = bare.connect(), bare.connect()
    with busy.transaction():
        busy.execute(
            "SELECT FROM user_credit_allocations WHERE user_id = %s FOR NO KEY UPDATE", [bob.user_id]
        )
        other.execute("SET lock_timeout = '5s'")
        assert isinstance(outcome(ann.deduct(1_000), other), dict)


def test_what_a_hold_used_of_one_lot_was_not_spent_from_another(
    bare: Books, keeping: tuple[Member, Row]
) -> None:
    _, hold = keeping
    add_lot(bare, 3_000, days=11)
    at(bare, 10.3)
    bare.do(bare.capture(hold))
    at(bare, 11)
    assert run_due(bare) == 1
    assert lots(bare) == [(5_000, 2_000, 3_000), (3_000, 0, 3_000)]
    assert total(bare) == 9_000
    assert unexplained(bare) == []


def test_a_capture_between_the_end_of_another_lot_and_the_sweep_uses_what_was_kept(
    bare: Books, keeping: tuple[Member, Row]
) -> None:
    ann, hold = keeping
    add_lot(bare, 3_000, days=10.5)
    bare.do(ann.deduct(1_000))
    at(bare, 10.6)
    bare.do(bare.capture(hold))
    at(bare, 10.7)
    assert run_due(bare) == 1
    assert lots(bare) == [(5_000, 2_000, 3_000), (3_000, 1_000, 2_000)]
    assert unexplained(bare) == []


@pytest.mark.parametrize("close", [False, True])
def test_parts_between_the_end_of_another_lot_and_the_sweep_use_what_was_kept(
    bare: Books, keeping: tuple[Member, Row], close: bool
) -> None:
    ann, hold = keeping
    add_lot(bare, 3_000, days=10.5)
    bare.do(ann.deduct(1_000))
    at(bare, 10.6)
    parts = [{"credits": 1_500, "request_id": "part"}]
    bare.do(Call("charge_hold", {"hold_id": hold["hold_id"], "charges": parts, "close": close}))
    at(bare, 10.7)
    run_due(bare)
    kept = (5_000, 1_500, 3_500) if close else (5_000, 2_000, 3_000)
    assert lots(bare) == [kept, (3_000, 1_000, 2_000)]
    assert unexplained(bare) == []


def test_a_part_that_waits_while_another_lot_ends_uses_what_was_kept(
    bare: Books, keeping: tuple[Member, Row]
) -> None:
    ann, hold = keeping
    add_lot(bare, 3_000, days=10.5)
    bare.do(ann.deduct(1_000))
    at(bare, 10.49)
    parts = [{"credits": 1_500, "request_id": "part"}]
    let_the_clock_move_within_statements(bare)
    busy, late = bare.connect(), bare.connect()
    with ThreadPoolExecutor(1) as threads:
        with busy.transaction():
            busy.execute("UPDATE user_credit_allocations SET updated_at = ledger.now()")
            coming = threads.submit(
                outcome, Call("charge_hold", {"hold_id": hold["hold_id"], "charges": parts}), late
            )
            bare.until_blocked(late.info.backend_pid)
            bare.execute("UPDATE clock SET moment = %s", NOON + 10.6 * DAY)
        assert isinstance(coming.result(), dict)
    run_due(bare)
    assert lots(bare) == [(5_000, 2_000, 3_000), (3_000, 1_000, 2_000)]
    assert unexplained(bare) == []


def test_two_holds_keep_two_lots_one_after_the_other(bare: Books) -> None:
    add_lot(bare, 2_000, days=10)
    add_lot(bare, 2_000, days=11)
    ann = bare.member(4_000)
    at(bare, 9.9)
    first = bare.do(ann.hold(1_500, ttl_seconds=86_400))
    at(bare, 9.95)
    second = bare.do(ann.hold(2_000, ttl_seconds=86_400))
    bare.execute("UPDATE credit_holds SET expires_at = %s", NOON + 20 * DAY)
    at(bare, 10.1)
    run_due(bare)
    assert lots(bare) == [(2_000, 2_000, 0), (2_000, 0, 0)]
    at(bare, 11.1)
    run_due(bare)
    assert (lots(bare), total(bare)) == ([(2_000, 2_000, 0), (2_000, 1_500, 500)], 3_500)
    bare.do(bare.void(first))
    bare.do(bare.capture(second, 1_800))
    assert sum(used for _, used, _ in lots(bare)) == 1_800
    assert {sum(lot) for lot in lots(bare)} == {4_000}
    assert total(bare) == 1_800
    assert unexplained(bare) == []


def test_a_hold_that_was_placed_later_keeps_nothing(bare: Books, keeping: tuple[Member, Row]) -> None:
    ann, hold = keeping
    bare.do(ann.hold(7_000))
    bare.do(bare.void(hold))
    assert total(bare) == 7_000
    assert run_due(bare) == 0


def test_what_is_not_allocated_goes_first_then_what_members_have_free(bare: Books) -> None:
    add_lot(bare, 10_000, days=10)
    members = [bare.member(3_000) for _ in range(3)]
    bare.do(members[0].deduct(1_000))
    bare.do(bare.add(2_500))
    at(bare, 10)
    run_due(bare)
    by_id = bare.execute("SELECT user_id FROM user_credit_allocations ORDER BY id")
    order = [next(each for each in members if each.user_id == row["user_id"]) for row in by_id]
    # 9,000 expire: 3,500 that nobody had, and 5,500 of the 8,000 that members had free.
    left = [bare.balance(each)[0] - bare.balance(each)[1] for each in order]
    free = [2_000 if each == members[0] else 3_000 for each in order]
    assert sum(free) - sum(left) == 5_500
    assert left == [0, max(0, free[0] + free[1] - 5_500), left[2]]
    assert total(bare) == 10_000 + 2_500 - 9_000
    assert unexplained(bare) == []


def test_a_period_is_refilled_to_what_was_meant(dated: Books) -> None:
    dated.execute("UPDATE credit_pools SET total_credits = 0 WHERE org_id = %s", dated.org_id)
    add_lot(dated, 5_000, days=10)
    ann = dated.member(5_000)
    dated.execute(
        "UPDATE user_credit_allocations SET reset_period = 'monthly' WHERE user_id = %s", ann.user_id
    )
    at(dated, 10)
    run_due(dated)
    assert dated.balance(ann)[0] == 0
    dated.do(dated.add(9_000))
    at(dated, 20)
    dated.do(Call("run_due", {}))
    assert dated.balance(ann)[0] == 5_000


def test_a_refund_cancels_spending_since_the_lots_changed(dated: Books) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=10)
    charge = dated.do(ann.deduct(4_000))
    dated.do(dated.refund(charge))
    at(dated, 10)
    run_due(dated)
    assert lots(dated) == [(5_000, 0, 5_000)]


def test_what_is_refunded_after_the_expiry_never_expires(dated: Books) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=10)
    charge = dated.do(ann.deduct(4_000))
    at(dated, 10)
    run_due(dated)
    add_lot(dated, 500, days=20)
    dated.do(dated.refund(charge))
    at(dated, 20)
    run_due(dated)
    assert total(dated) == FOREVER + 4_000
    assert dated.differences() == []


def test_what_was_withdrawn_does_not_expire_as_well(bare: Books) -> None:
    add_lot(bare, 5_000, days=10)
    bare.execute("SELECT ledger.withdraw_credits(%s, 4000, '{}')", bare.org_id)
    at(bare, 10)
    run_due(bare)
    assert (total(bare), lots(bare)) == (0, [(5_000, 4_000, 1_000)])
    assert unexplained(bare) == []


def test_the_pool_says_what_expires_next(dated: Books) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=10)
    add_lot(dated, 1_000, days=5)
    pool = Call("get_pool", {"org_id": dated.org_id})
    assert (dated.do(pool)["expiring_credits"], dated.do(pool)["expires_at"]) == (1_000, NOON + 5 * DAY)
    dated.do(ann.deduct(1_500))
    assert (dated.do(pool)["expiring_credits"], dated.do(pool)["expires_at"]) == (4_500, NOON + 10 * DAY)


def test_the_forecast_knows_what_expires(bare: Books) -> None:
    add_lot(bare, 10_000, days=6)
    bare.do(bare.add(10_000))
    ann = bare.member(20_000)
    bare.do(ann.deduct(1_000))
    at(bare, 1)
    forecast = bare.do(Call("get_forecast", {"org_id": bare.org_id}))
    # 9,000 of the lot are left, and 1,000 a day are used: 5,000 until it ends.
    assert (forecast["expiring_credits"], forecast["days_left"]) == (4_000, 15)


def test_a_refresh_can_be_for_its_month_only(dated: Books) -> None:
    dated.execute(
        "UPDATE credit_pools SET monthly_refresh_amount = 3000, refresh_expires_in_days = 20,"
        " next_refresh_date = %s WHERE org_id = %s",
        NOON + DAY, dated.org_id,
    )  # fmt: skip
    at(dated, 1)
    run_due(dated)
    assert lots(dated) == [(3_000, 0, 0)]
    at(dated, 21)
    assert run_due(dated) == 1
    assert dated.differences() == []


def test_the_same_request_gives_one_lot(dated: Books) -> None:
    call = dated.add(5_000, "gift", expires_in_days=10)
    first = dated.do(call)
    at(dated, 1)
    assert dated.do(call) == first | {"replayed": True}
    assert lots(dated) == [(5_000, 0, 0)]
    for other in (dated.add(5_000, "gift"), dated.add(5_000, "gift", expires_in_days=11)):
        assert dated.refusal(other).state == "CR409"


@pytest.mark.parametrize(
    "terms",
    [
        {"expires_at": NOON},
        {"expires_at": NOON - DAY},
        {"expires_in_days": 0},
        {"expires_in_days": 36_501},
        {"priority": -1},
        {"priority": 1_001},
        {"expires_at": NOON + DAY, "expires_in_days": 1},
    ],
    ids=str,
)
def test_lots_that_cannot_be(dated: Books, terms: Row) -> None:
    assert dated.refusal(dated.add(5_000, **terms)).state == "CR422"


def test_a_charge_writes_nothing_for_lots(dated: Books) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=10)
    written = "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS rows FROM pg_stat_xact_user_tables"
    with dated.connection.transaction():
        before = dated.execute(written)
        dated.do(ann.deduct(5))
        more = [row["relname"] for row in dated.execute(written) if row not in before]
    assert sorted(more) == ["credit_usage_attribution", "user_credit_allocations"]


@pytest.mark.parametrize(
    ("plant", "figure"),
    [
        ("UPDATE credit_lots SET credits = credits + 1", "credits"),
        ("UPDATE credit_lots SET expired_credits = 1", "expired_credits"),
        ("UPDATE credit_lots SET used_credits = used_credits + 1", "used_credits"),
        ("UPDATE organizations SET lots_due_at = NULL", "lots_due_at"),
        ("UPDATE organizations SET lots_due_at = lots_due_at + INTERVAL '1 day'", "lots_due_at"),
    ],
)
def test_verify_finds_planted_errors(dated: Books, plant: str, figure: str) -> None:
    ann = dated.member(100_000)
    add_lot(dated, 5_000, days=10)
    dated.do(ann.deduct(1_000))
    at(dated, 1)
    add_lot(dated, 5_000, days=20)
    assert dated.differences() == []
    dated.execute(plant)
    assert figure in {each["figure"] for each in dated.differences()}


def test_expiry_and_charges_at_the_same_time(books: Books) -> None:
    """Whoever comes first: together they take no more than there was."""
    books.execute("UPDATE credit_pools SET total_credits = 0 WHERE org_id = %s", books.org_id)
    for _ in range(5):
        books.do(books.add(5_000, expires_in_days=1))
        ann = books.member(5_000)
        books.execute(
            "WITH lot AS (UPDATE credit_lots SET expires_at = ledger.now() WHERE org_id = %s"
            " AND used_credits + expired_credits < credits RETURNING expires_at)"
            " UPDATE organizations SET lots_due_at = (SELECT min(expires_at) FROM lot) WHERE id = %s",
            books.org_id, books.org_id,
        )  # fmt: skip
        came = books.at_once([ann.deduct(5_000), Call("run_due", {}), ann.hold(5_000), Call("run_due", {})])
        taken = [each for each in came if isinstance(each, dict) and "credits_used" in each]
        assert taken == []
        books.do(Call("run_due", {}))
        assert total(books) == 0
    assert unexplained(books) == []
