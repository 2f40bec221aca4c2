"""A refusal explains itself: a SQLSTATE of our own, a sentence for people, figures for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from credit_sdk.errors import ERRORS_BY_CODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Books, Call, Member

    Row = dict[str, Any]
    MakeCall = Callable[[Books, Member, int | None], Call]

LARGEST = 10**15


def test_every_code_has_the_state_and_status_of_its_exception(own_books: Books) -> None:
    rows = own_books.execute(
        "SELECT code, ledger.problem(code, '') AS problem FROM unnest(%s::text[]) AS code",
        list(ERRORS_BY_CODE),
    )
    known = {row["code"]: row["problem"] for row in rows if row["problem"]["sqlstate"] is not None}
    raised = {code for code, kind in ERRORS_BY_CODE.items() if kind.sqlstate is not None}
    assert raised <= set(known)
    for code, problem in known.items():
        kind = ERRORS_BY_CODE[code]
        assert problem["status"] == kind.status
        assert problem["sqlstate"] == (kind.sqlstate or "CR401")


def test_insufficient_credits_names_the_allocation(books: Books) -> None:
    member = books.member(allocated=12_500)
    refusal = books.refusal(member.deduct(50_000))
    assert refusal.state == "CR402"
    assert refusal.sentence == (
        "Insufficient credits: 50 required, 12.5 available"
        f" in the allocation of user {member.user_id} in organisation {books.org_id}."
    )
    assert refusal.figures == {
        "code": "insufficient_credits",
        "limit": "allocation",
        "required": 50_000,
        "available": 12_500,
    }


def test_insufficient_credits_says_when_the_allocation_resets(books: Books, ann: Member) -> None:
    books.do(ann.allocate(1_000, reset_period="daily"))
    refusal = books.refusal(ann.deduct(200_000))
    resets_at = datetime.fromisoformat(refusal.figures["resets_at"])
    assert timedelta() < resets_at - datetime.now(UTC) <= timedelta(days=1)
    assert resets_at.astimezone(UTC).time().isoformat() == "00:00:00"


def test_insufficient_credits_counts_holds(books: Books, ann: Member) -> None:
    books.do(ann.hold(70_000))
    for call in ann.deduct(40_000), ann.hold(40_000):
        assert books.refusal(call).figures["available"] == 30_000


def test_an_allocation_below_what_is_used_has_nothing_available(books: Books, ann: Member) -> None:
    books.do(ann.deduct(80_000))
    books.execute("UPDATE user_credit_allocations SET allocated_credits = 10 WHERE org_id = %s", books.org_id)
    assert books.refusal(ann.deduct(1)).figures["available"] == 0


def test_overage_is_named_when_it_is_used_up(books: Books, ann: Member) -> None:
    books.execute(
        "UPDATE credit_pools SET allow_overage = TRUE, overage_limit = 20000 WHERE org_id = %s", books.org_id
    )
    books.do(ann.deduct(110_000))
    refusal = books.refusal(ann.deduct(11_000))
    assert refusal.figures == {
        "code": "insufficient_credits", "limit": "overage", "required": 11_000, "available": 10_000
    }  # fmt: skip


def test_the_pool_is_named_when_it_is_used_up(books: Books) -> None:
    member = books.member(allocated=999_000_000)
    refusal = books.refusal(member.allocate(2_000_000))
    assert refusal.sentence == (
        f"Insufficient credits: 2,000 required, 1,000 available in the pool of organisation {books.org_id}."
    )
    assert refusal.figures == {
        "code": "insufficient_credits", "limit": "pool", "required": 2_000_000, "available": 1_000_000
    }  # fmt: skip


def test_the_hold_is_named_when_more_is_captured_than_there_is(books: Books, ann: Member) -> None:
    hold = books.do(ann.hold(20_000))
    books.do(ann.deduct(50_000))
    refusal = books.refusal(books.capture(hold, 60_000))
    assert (refusal.state, refusal.figures["limit"]) == ("CR402", "hold")
    assert (refusal.figures["required"], refusal.figures["available"]) == (60_000, 50_000)
    assert books.look(hold)["status"] == "held"


def test_a_member_without_allocation(books: Books) -> None:
    refusal = books.refusal(books.member(allocated=None).deduct(1))
    assert refusal.state == "CR403"
    assert refusal.sentence.startswith("No credit allocation: user ")
    assert refusal.figures == {"code": "no_allocation", "limit": "no_allocation"}


@pytest.mark.parametrize("status", ["suspended", "deleted"])
def test_an_organisation_that_is_closed(books: Books, ann: Member, status: str) -> None:
    books.execute("UPDATE organizations SET status = %s WHERE id = %s", status, books.org_id)
    refusal = books.refusal(ann.deduct(1))
    assert refusal.state == "CR403"
    assert refusal.sentence == f"No credit allocation: organisation {books.org_id} is {status}."
    assert refusal.figures == {"code": "no_allocation", "limit": "inactive"}


def test_an_allocation_that_is_switched_off(books: Books, ann: Member) -> None:
    books.execute("UPDATE user_credit_allocations SET is_active = FALSE WHERE org_id = %s", books.org_id)
    refusal = books.refusal(ann.hold(1))
    assert refusal.figures == {"code": "no_allocation", "limit": "inactive"}
    assert "is not active" in refusal.sentence


def test_a_stranger_learns_nothing(books: Books, ann: Member) -> None:
    """Known and unknown organisations, used and fresh ids, are refused in the same words."""
    books.do(ann.deduct(5, "job-7"))
    stranger = books.stranger()
    sentences = set()
    for org_id in books.org_id, "no-such-organisation":
        for ask, request_id in product((stranger.deduct, stranger.hold), ("job-7", "job-8")):
            refusal = books.refusal(ask(5, request_id, org_id=org_id))
            assert (refusal.state, refusal.figures) == ("CR413", {"code": "not_a_member"})
            sentences.add(refusal.sentence.replace(org_id, "it"))
    assert sentences == {f"User {stranger.user_id} is not a member of organisation it."}


def test_a_hold_that_is_closed(books: Books, ann: Member) -> None:
    voided, captured = (books.do(ann.hold(10)) for _ in range(2))
    books.do(books.void(voided))
    books.do(books.capture(captured))
    for call in books.capture(voided), books.void(captured):
        refusal = books.refusal(call)
        assert (refusal.state, refusal.figures["code"]) == ("CR410", "hold_closed")
    again = books.refusal(books.capture(captured, 9))
    assert (again.state, again.figures["code"]) == ("CR409", "idempotency_conflict")


def test_a_hold_that_has_expired_and_is_not_covered_any_more(books: Books, ann: Member) -> None:
    hold = books.do(ann.hold(60_000))
    books.make_overdue(hold)
    books.do(ann.deduct(90_000))
    assert books.look(hold)["status"] == "expired"
    refusal = books.refusal(books.capture(hold))
    assert (refusal.state, refusal.figures["code"]) == ("CR411", "hold_expired")
    assert (refusal.figures["required"], refusal.figures["available"]) == (60_000, 10_000)


def test_a_late_capture_leaves_the_id_to_the_hold_of_the_second_run(books: Books, ann: Member) -> None:
    first = books.do(ann.hold(10, "job-7"))
    books.make_overdue(first)
    second = books.do(ann.hold(10, "job-7"))
    assert second["hold_id"] != first["hold_id"]
    assert books.refusal(books.capture(first)).state == "CR409"
    charge = books.do(books.capture(second))
    assert books.do(books.capture(first)) == charge | {"replayed": True}
    assert books.taken() == [10]


def test_an_id_stands_for_one_operation(books: Books, ann: Member) -> None:
    charge, hold = books.do(ann.deduct(10, "charge")), books.do(ann.hold(10, "hold"))
    books.do(books.refund(charge, 1, "refund"))
    conflicts = [
        ann.deduct(11, "charge"),
        ann.deduct(10, "charge", service_type="other"),
        ann.deduct(10, "charge", service_name="other"),
        ann.deduct(1, "refund"),
        ann.deduct(10, "hold"),
        ann.hold(10, "charge"),
        ann.hold(11, "hold"),
        books.refund(charge, 2, "refund"),
        books.refund(charge, 1, "charge"),
        books.refund(charge, 1, "hold"),
    ]
    for call in conflicts:
        assert books.refusal(call).state == "CR409", call
    assert books.look(hold)["status"] == "held"
    assert books.taken() == [10, -1]


def test_a_refund_of_more_than_is_left(books: Books, ann: Member) -> None:
    charge = books.do(ann.deduct(50_000))
    books.do(books.refund(charge, 30_000))
    refusal = books.refusal(books.refund(charge, 20_001))
    assert refusal.state == "CR408"
    assert refusal.figures == {"code": "conflict", "required": 20_001, "available": 20_000}
    assert "took 50 credits, 20 can be refunded" in refusal.sentence


def test_a_refund_is_not_refunded(books: Books, ann: Member) -> None:
    refund = books.do(books.refund(books.do(ann.deduct(50_000))))
    assert books.refusal(books.refund({"charge_id": refund["refund_id"]})).state == "CR408"


def test_what_is_not_there(books: Books, ann: Member) -> None:
    nowhere = {"hold_id": uuid4(), "charge_id": uuid4()}
    for call in books.capture(nowhere), books.void(nowhere), books.refund(nowhere):
        refusal = books.refusal(call)
        assert (refusal.state, refusal.figures) == ("CR404", {"code": "not_found"})
    hold = books.do(ann.hold(10))
    elsewhere = books.capture(hold)
    elsewhere.arguments["org_id"] = "another-organisation"
    assert books.refusal(elsewhere).state == "CR404"


AMOUNTS: dict[str, MakeCall] = {
    "deduct": lambda _, member, amount: member.deduct(amount),
    "place_hold": lambda _, member, amount: member.hold(amount),
    "check_credits": lambda _, member, amount: member.check(amount),
    "allocate": lambda _, member, amount: member.allocate(amount),
    "add_credits": lambda books, _, amount: books.add(amount),
    "capture_hold": lambda books, member, amount: books.capture(books.do(member.hold(10)), amount),
    "refund": lambda books, member, amount: books.refund(books.do(member.deduct(10)), amount),
}
MAY_BE_LEFT_OUT = {"capture_hold", "refund"}


@pytest.mark.parametrize("credits", [0, -1, -LARGEST, LARGEST + 1, 2**63 - 1, None])
@pytest.mark.parametrize("function", AMOUNTS)
def test_amounts_that_cannot_move_are_refused(
    books: Books, ann: Member, function: str, credits: int | None
) -> None:
    if credits is None and function in MAY_BE_LEFT_OUT:
        return
    call = AMOUNTS[function](books, ann, credits)
    before = books.balance(ann)
    refusal = books.refusal(call)
    assert (refusal.state, refusal.figures) == ("CR400", {"code": "invalid_amount"})
    assert books.balance(ann) == before


def test_a_pool_has_a_largest_size(books: Books) -> None:
    refusal = books.refusal(books.add(LARGEST))
    assert refusal.state == "CR400"
    assert "at most 1,000,000,000,000 credits" in refusal.sentence


@pytest.mark.parametrize("amount", [-1, "0.001", "NaN", 10**13])
def test_money_that_is_none_is_refused(books: Books, amount: object) -> None:
    assert books.refusal(books.add(10, purchase_amount=amount)).state == "CR422"


@pytest.mark.parametrize("ttl", [0, -1, 86_401, None])
def test_a_hold_lives_a_day_at_most(books: Books, ann: Member, ttl: int | None) -> None:
    assert books.refusal(ann.hold(10, ttl_seconds=ttl)).state == "CR422"


@pytest.mark.parametrize("cursor", ["", "!", "AAAA", "bm9uc2Vuc2U", "MTIzOjQ1Ng", "w6l6", "=", "x" * 500])
def test_a_forged_cursor_is_refused(books: Books, make_call: type[Call], cursor: str) -> None:
    page = make_call("list_charges", {"org_id": books.org_id, "cursor": cursor})
    assert books.refusal(page).state == "CR422"


def test_a_session_that_is_not_open(own_books: Books, make_call: type[Call]) -> None:
    for digest, expires_in, revoked_at in ("aa", "1 h", None), ("bb", "1 h", "now"), ("cc", "-1 s", None):
        own_books.execute(
            "INSERT INTO auth_sessions (token_digest, user_id, expires_at, revoked_at)"
            " VALUES (decode(%s, 'hex'), 'somebody', now() + %s::interval, %s)",
            digest * 32, expires_in, revoked_at,
        )  # fmt: skip
    ask = {
        digest: make_call("get_user_billing", {"session_digest": digest * 32})
        for digest in ("aa", "bb", "cc", "dd")
    }
    assert own_books.do(ask.pop("aa"))["user_id"] == "somebody"
    codes = {digest: own_books.refusal(call).figures["code"] for digest, call in ask.items()}
    assert codes == {"bb": "invalid_token", "cc": "token_expired", "dd": "invalid_token"}
