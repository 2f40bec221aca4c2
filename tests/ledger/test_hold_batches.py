"""Many holds placed or captured as one statement: each counts once, and batches do not wait in a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.ledger.conftest import Call

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Member

    Row = dict[str, Any]


def placing(books: Books, *holds: Row) -> Call:
    """Return what places holds together."""
    return Call("place_hold_batch", {"org_id": books.org_id, "holds": list(holds)})


def item(member: Member, credits: int, request_id: str | None = None) -> Row:
    return member.item(credits, request_id) | {"ttl_seconds": 900}


def capturing(books: Books, *hold_ids: object) -> Call:
    """Return what captures holds together."""
    captures = [{"hold_id": str(hold_id)} for hold_id in hold_ids]
    return Call("capture_hold_batch", {"org_id": books.org_id, "captures": captures})


def placed(books: Books, *holds: Row) -> list[str]:
    return [outcome["hold"]["hold_id"] for outcome in books.do(placing(books, *holds))["outcomes"]]


def test_a_hold_that_a_batch_names_twice_is_charged_once(books: Books, ann: Member) -> None:
    first, other = placed(books, item(ann, 10_000), item(ann, 50_000))
    outcomes = books.do(capturing(books, first, first, other))["outcomes"]
    receipts = [outcome["receipt"] for outcome in outcomes]
    assert [receipt["replayed"] for receipt in receipts] == [False, True, False]
    assert receipts[0]["charge_id"] == receipts[1]["charge_id"]
    assert books.balance(ann) == (100_000, 60_000, 0)
    assert books.differences() == []


def test_an_id_that_a_batch_names_twice_holds_once(books: Books, ann: Member) -> None:
    first, again = placed(books, item(ann, 10_000, "job-7"), item(ann, 10_000, "job-7"))
    assert first == again
    assert books.balance(ann) == (100_000, 0, 10_000)


def test_an_id_that_was_charged_otherwise_leaves_the_other_captures(books: Books, ann: Member) -> None:
    charged, other = placed(books, item(ann, 10_000, "job-7"), item(ann, 20_000))
    books.make_overdue({"hold_id": charged})
    books.do(books.sweep())
    books.do(ann.deduct(5_000, "job-7"))
    books.execute(
        "UPDATE credit_holds SET expires_at = ledger.now() + INTERVAL '1 hour' WHERE id = %s", other
    )
    refused, taken = books.do(capturing(books, charged, other))["outcomes"]
    assert refused["problem"]["code"] == "idempotency_conflict"
    assert taken["receipt"]["credits_used"] == 20_000
    assert books.differences() == []


def test_batches_of_the_same_members_do_not_wait_in_a_circle(books: Books) -> None:
    members = [books.member() for _ in range(4)]
    forth, back = members, members[::-1]
    batches = [
        placing(books, *(item(member, 1_000) for member in order))
        for order in (forth, back)
        for _ in range(8)
    ]
    outcomes = [outcome for answer in books.at_once(batches) for outcome in answer["outcomes"]]  # type: ignore[index]
    held = [outcome["hold"]["hold_id"] for outcome in outcomes]
    assert [books.balance(member) for member in members] == [(100_000, 0, 16_000)] * 4
    captures = [capturing(books, *held[start::8]) for start in range(8)]
    assert all("outcomes" in answer for answer in books.at_once(captures))  # type: ignore[operator]
    assert [books.balance(member) for member in members] == [(100_000, 16_000, 0)] * 4
    assert books.differences() == []


def test_the_last_credits_are_held_once_by_batches_and_single_holds(books: Books, ann: Member) -> None:
    calls = [placing(books, item(ann, 10_000), item(ann, 10_000)) for _ in range(6)]
    books.at_once([*calls, *(ann.hold(10_000) for _ in range(6))])
    assert books.balance(ann) == (100_000, 0, 100_000)
    assert books.differences() == []
