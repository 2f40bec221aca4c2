"""How the user ledger says no to the SDK: a SQLSTATE of our own, a sentence, figures in millicredits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Books, Call, Row
    from tests.ledger.users.conftest import OpenPurse, Purse

    Ask = Callable[[Purse, int | None], Call]

LARGEST = 10**15
NO_HOLD: dict[str, Any] = {"hold_id": uuid4()}
ASKS: dict[str, Ask] = {
    "check": lambda purse, amount: purse.check(amount),
    "spend": lambda purse, amount: purse.spend(amount),
    "hold": lambda purse, amount: purse.hold(amount),
    "grant": lambda purse, amount: purse.grant(amount),
}


@pytest.mark.parametrize("credits", [0, -1, LARGEST + 1, None])
@pytest.mark.parametrize("ask", ASKS)
def test_an_amount_that_cannot_move(purse: Purse, ask: str, credits: int | None) -> None:
    refusal = purse.books.refusal(ASKS[ask](purse, credits))
    assert (refusal.state, refusal.figures) == ("CR400", {"code": "invalid_amount"})


@pytest.mark.parametrize("credits", [0, -1, LARGEST + 1])
def test_an_amount_that_can_neither_be_captured_nor_given_back(purse: Purse, credits: int) -> None:
    hold, charge = purse.books.do(purse.hold(5)), purse.books.do(purse.spend(5))
    for call in purse.capture(hold, credits), purse.refund(charge, credits):
        assert purse.books.refusal(call).state == "CR400"


@pytest.mark.parametrize("ask", ["spend", "hold"])
def test_insufficient_credits_names_the_balance(purse: Purse, ask: str) -> None:
    purse.books.do(purse.hold(87_500))
    refusal = purse.books.refusal(ASKS[ask](purse, 50_000))
    assert refusal.state == "CR402"
    assert refusal.sentence == (
        f"Insufficient credits: 50 required, 12.5 available in the balance of user {purse.user_id}."
    )
    assert refusal.figures == {
        "code": "insufficient_credits", "limit": "balance", "required": 50_000, "available": 12_500
    }  # fmt: skip


def test_the_hold_is_named_when_more_is_captured_than_there_is(purse: Purse) -> None:
    hold = purse.books.do(purse.hold(20_000))
    purse.books.do(purse.spend(50_000))
    refusal = purse.books.refusal(purse.capture(hold, 60_000))
    assert refusal.state == "CR402"
    assert refusal.figures == {
        "code": "insufficient_credits", "limit": "hold", "required": 60_000, "available": 50_000
    }  # fmt: skip
    assert purse.look(hold)["status"] == "held"
    assert purse.balance() == (50_000, 20_000)


@pytest.mark.parametrize("ask", ["check", "spend", "hold", "grant"])
@pytest.mark.parametrize("user_id", ["nobody", "999999999999999999", "0", "-1", " ", "1e3"])
def test_a_user_who_is_unknown(purse: Purse, make_call: type[Call], ask: str, user_id: str) -> None:
    call = ASKS[ask](purse, 5)
    refusal = purse.books.refusal(make_call(call.function, call.arguments | {"user_id": user_id}))
    assert (refusal.state, refusal.figures) == ("CR404", {"code": "not_found"})
    assert refusal.sentence == f"There is no user {user_id}."


@pytest.mark.parametrize("function", ["get_balance", "get_statement", "list_transactions"])
def test_nobody_has_no_balance(books: Books, make_call: type[Call], function: str) -> None:
    for user_id in "nobody", None:
        assert books.refusal(make_call(function, {"user_id": user_id})).state == "CR404"


def test_a_user_who_was_switched_off_spends_nothing(purse: Purse) -> None:
    books = purse.books
    hold, charge = books.do(purse.hold(20_000)), books.do(purse.spend(10_000))
    purse.switch_off()
    for call in purse.spend(1), purse.hold(1), purse.capture(hold, 20_001):
        refusal = books.refusal(call)
        assert (refusal.state, refusal.figures) == ("CR403", {"code": "no_allocation", "limit": "inactive"})
        assert refusal.sentence == f"No credit allocation: user {purse.user_id} is not active."
    check = books.do(purse.check(1))
    assert (check["has_sufficient_credits"], check["available_credits"]) == (False, 0)
    # What was set aside before is charged; what was paid or is due to them is added.
    for settled in purse.capture(hold), purse.refund(charge), purse.grant(5_000):
        books.do(settled)
    assert purse.balance() == (85_000, 0)


def test_another_users_hold_does_not_exist(books: Books, purse: Purse, open_purse: OpenPurse) -> None:
    hold, other = books.do(purse.hold(5)), open_purse(books)
    for function in "capture_balance_hold", "void_balance_hold", "get_balance_hold":
        named = {"hold_id": hold["hold_id"], "user_id": other.user_id}
        assert books.refusal(purse.call(function, **named)).state == "CR404"
        assert books.refusal(purse.call(function, **NO_HOLD)).state == "CR404"
    assert purse.look(hold, user_id=str(purse.id))["status"] == "held"


def test_a_hold_that_was_voided_stays_so(purse: Purse) -> None:
    hold = purse.books.do(purse.hold(5))
    first, again = (purse.books.do(purse.void(hold)) for _ in range(2))
    assert (first["status"], first["replayed"]) == ("voided", False)
    assert again == first | {"replayed": True}
    assert purse.books.refusal(purse.capture(hold)).figures == {"code": "hold_closed"}


def test_a_hold_that_was_captured_stays_so(purse: Purse) -> None:
    hold = purse.books.do(purse.hold(5))
    receipt = purse.books.do(purse.capture(hold))
    assert purse.books.do(purse.capture(hold)) == receipt | {"replayed": True}
    assert purse.books.refusal(purse.void(hold)).figures == {"code": "hold_closed"}
    assert purse.books.refusal(purse.capture(hold, 4)).figures == {"code": "idempotency_conflict"}


def test_an_expired_hold_that_the_balance_does_not_cover(purse: Purse) -> None:
    hold = purse.books.do(purse.hold(60_000))
    purse.make_overdue(hold)
    purse.books.do(purse.spend(70_000))
    refusal = purse.books.refusal(purse.capture(hold))
    assert refusal.state == "CR411"
    assert refusal.figures == {
        "code": "hold_expired", "limit": "balance", "required": 60_000, "available": 30_000
    }  # fmt: skip
    purse.books.do(purse.grant(30_000))
    assert purse.books.do(purse.capture(hold))["credits_used"] == 60_000


def test_an_expired_hold_whose_job_runs_again(purse: Purse) -> None:
    books = purse.books
    hold = books.do(purse.hold(20_000, "job-7"))
    purse.make_overdue(hold)
    again = books.do(purse.hold(20_000, "job-7"))
    assert again["hold_id"] != hold["hold_id"]
    assert books.refusal(purse.capture(hold)).figures == {"code": "idempotency_conflict"}
    charge = books.do(purse.capture(again))
    assert books.do(purse.capture(hold)) == charge | {"replayed": True}
    assert purse.balance() == (80_000, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"credits": 6}, {"transaction_type": "subscription"}, {"service_type": "other"},
        {"service_name": "other"},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
@pytest.mark.parametrize("ask", ["spend", "hold"])
def test_an_id_with_other_content_is_a_conflict(
    purse: Purse, make_call: type[Call], ask: str, other: Row
) -> None:
    ours = {"spend": purse.spend, "hold": purse.hold}[ask](5, "job-7")
    first = purse.books.do(ours)
    assert purse.books.do(ours) == first | {"replayed": True}
    annotated = make_call(ours.function, ours.arguments | {"description": "?", "request_metadata": {"a": 1}})
    assert purse.books.do(annotated) == first | {"replayed": True}
    refusal = purse.books.refusal(make_call(ours.function, ours.arguments | other))
    assert (refusal.state, refusal.figures) == ("CR409", {"code": "idempotency_conflict"})


def test_a_refusal_does_not_use_the_id_up(purse: Purse) -> None:
    for call in purse.spend(200_000, "job-7"), purse.hold(200_000, "job-7"):
        purse.books.refusal(call)
    assert purse.books.do(purse.spend(5, "job-7"))["replayed"] is False


def test_a_charge_is_answered_again_when_the_balance_is_spent(purse: Purse) -> None:
    first = purse.books.do(purse.spend(60_000, "job-7"))
    purse.books.do(purse.spend(40_000))
    assert purse.books.do(purse.spend(60_000, "job-7")) == first | {"replayed": True}
    assert purse.balance() == (0, 0)


def test_ids_are_each_users_own(books: Books, purse: Purse, open_purse: OpenPurse) -> None:
    for owner in purse, open_purse(books):
        assert books.do(owner.spend(5, "job-7"))["replayed"] is False


def test_ids_are_shared_by_all_that_moves_a_balance(purse: Purse) -> None:
    books = purse.books
    charge = books.do(purse.spend(5, "job-7"))
    books.do(purse.hold(5, "job-8"))
    books.do(purse.grant(5, "job-9"))
    for taken in "job-7", "job-8", "job-9":
        for call in purse.grant(6, taken), purse.refund(charge, 1, key=taken):
            assert books.refusal(call).figures == {"code": "idempotency_conflict"}, taken
    assert books.refusal(purse.spend(5, "job-8")).figures == {"code": "idempotency_conflict"}
    assert books.refusal(purse.spend(5, "job-9")).figures == {"code": "idempotency_conflict"}


def test_refunds_are_bounded_by_their_charge(purse: Purse) -> None:
    books = purse.books
    charge = books.do(purse.spend(10_000))
    part = books.do(purse.refund(charge, 4_000, key="back"))
    assert (part["credits_refunded"], part["refundable_credits"], part["remaining_credits"]) == (
        4_000, 6_000, 94_000
    )  # fmt: skip
    refusal = books.refusal(purse.refund(charge, 6_001))
    assert (refusal.state, refusal.figures) == (
        "CR408", {"code": "conflict", "required": 6_001, "available": 6_000}
    )  # fmt: skip
    rest = books.do(purse.refund(charge))
    assert (rest["credits_refunded"], rest["refundable_credits"]) == (6_000, 0)
    assert books.refusal(purse.refund(charge)).state == "CR408"
    assert books.do(purse.refund(charge, 4_000, key="back")) == part | {"replayed": True}
    assert books.refusal(purse.refund(charge, 3_000, key="back")).state == "CR409"
    assert purse.balance() == (100_000, 0)


def test_only_charges_are_refunded(books: Books, purse: Purse, open_purse: OpenPurse) -> None:
    charge = books.do(purse.spend(10_000, "job-7"))
    back = books.do(purse.refund(charge, 1_000))
    [row] = books.execute("SELECT min(id) AS id FROM credits_transactions WHERE user_id = %s", purse.id)
    for id_ in row["id"], back["refund_id"]:
        assert books.refusal(purse.refund({"charge_id": id_})).state == "CR408"
    for named in (
        {"transaction_id": charge["charge_id"], "user_id": open_purse(books).user_id},
        {"transaction_id": 10**17},
        {"request_id": "job-8", "user_id": purse.user_id},
    ):
        assert books.refusal(purse.call("refund_spending", **named)).state == "CR404"
    for named in ({}, {"request_id": "job-7"}, {"request_id": "job-7", "transaction_id": 5}):
        assert books.refusal(purse.call("refund_spending", **named)).state == "CR422"
    by_id = {"request_id": "job-7", "user_id": str(purse.id)}
    assert books.do(purse.call("refund_spending", **by_id))["credits_refunded"] == 9_000


def test_a_row_by_hand_can_be_given_back(purse: Purse) -> None:
    purse.books.do(purse.insert("-10", "job-7"))
    named = {"request_id": "job-7", "user_id": purse.user_id}
    refund = purse.books.do(purse.call("refund_spending", **named))
    assert (refund["credits_refunded"], refund["remaining_credits"]) == (10_000, 100_000)


def test_a_balance_has_a_largest_amount(purse: Purse) -> None:
    refusal = purse.books.refusal(purse.grant(LARGEST))
    assert refusal.state == "CR400"
    assert refusal.sentence == (
        f"A balance is at most 1,000,000,000,000 credits; that of user {purse.user_id} is 100."
    )
    assert purse.books.do(purse.grant(LARGEST - 100_000))["credits"] == LARGEST


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        ("spend", "credit_addition"),
        ("hold", "purchase"),
        ("grant", "service"),
        ("spend", None),
        ("grant", ""),
    ],
)
def test_a_type_that_says_something_else(purse: Purse, make_call: type[Call], ask: str, kind: Any) -> None:
    call = ASKS[ask](purse, 5)
    refusal = purse.books.refusal(make_call(call.function, call.arguments | {"transaction_type": kind}))
    assert refusal.state == "CR422"


@pytest.mark.parametrize("seconds", [0, -1, 86_401, None])
def test_a_hold_has_a_time(purse: Purse, seconds: int | None) -> None:
    assert purse.books.refusal(purse.hold(5, ttl_seconds=seconds)).state == "CR422"
