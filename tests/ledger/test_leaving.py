"""Who has left an organisation spends nothing of it, on whichever way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ledger.conftest import SERVICE, Call

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Member, Row

LEAVE = "DELETE FROM organization_members WHERE org_id = %s AND user_id = %s"
GO_ELSEWHERE = "UPDATE organization_members SET user_id = 'another' WHERE org_id = %s AND user_id = %s"


def leave(books: Books, member: Member) -> None:
    books.execute(LEAVE, member.org_id, member.user_id)


def come_back(books: Books, member: Member) -> Row:
    return books.do(Call("add_member", {"org_id": member.org_id, "user_id": member.user_id}))


def stop(books: Books, member: Member, *, is_active: bool = False) -> None:
    books.execute(
        "UPDATE user_credit_allocations SET is_active = %s WHERE user_id = %s", is_active, member.user_id
    )


@pytest.mark.parametrize("statement", [LEAVE, GO_ELSEWHERE], ids=["removed", "renamed"])
def test_who_has_left_takes_and_holds_nothing(books: Books, statement: str) -> None:
    member = books.member()
    hold = books.do(member.hold(10_000))
    books.execute(statement, member.org_id, member.user_id)
    more = {"hold_id": hold["hold_id"], "credits": 1_000}
    for call in (member.deduct(1), member.hold(1), Call("extend_hold", more)):
        refusal = books.refusal(call)
        assert refusal.figures["limit"] == "inactive"
    [outcome] = books.do(books.batch(member.item(1)))["outcomes"]
    assert outcome["problem"]["limit"] == "inactive"
    assert books.do(member.check(1))["has_sufficient_credits"] is False
    [row] = books.execute(
        "SELECT has_sufficient_credits(%s, %s, 1) AS enough,"
        " (ledger.get_user_credits(%s) -> 'organizations') AS organizations",
        member.org_id, member.user_id, member.user_id,
    )  # fmt: skip
    assert row == {"enough": False, "organizations": []}
    assert books.balance(member) == (100_000, 0, 10_000)


def test_what_was_held_before_is_paid(books: Books) -> None:
    member = books.member()
    captured, voided = books.do(member.hold(10_000)), books.do(member.hold(5_000))
    leave(books, member)
    assert books.refusal(books.capture(captured, 10_001))
    books.do(books.capture(captured, 7_000))
    books.do(books.void(voided))
    assert books.balance(member) == (100_000, 7_000, 0)


def test_who_comes_back_goes_on(books: Books) -> None:
    member = books.member()
    leave(books, member)
    come_back(books, member)
    assert books.do(member.deduct(1_000))["remaining_credits"] == 99_000


def test_who_was_stopped_is_not_let_go_on_by_being_added_again(books: Books) -> None:
    member = books.member()
    stop(books, member)
    come_back(books, member)
    assert books.refusal(member.deduct(1)).figures["limit"] == "inactive"


def test_who_was_stopped_is_not_let_go_on_by_leaving_and_coming_back(books: Books) -> None:
    member = books.member()
    stop(books, member)
    leave(books, member)
    come_back(books, member)
    assert books.refusal(member.deduct(1)).figures["limit"] == "inactive"


def test_who_was_stopped_after_coming_back_stays_so(books: Books) -> None:
    member = books.member()
    leave(books, member)
    come_back(books, member)
    stop(books, member)
    leave(books, member)
    come_back(books, member)
    assert books.refusal(member.deduct(1)).figures["limit"] == "inactive"


def test_who_was_let_go_on_without_coming_back_and_then_stopped_stays_so(books: Books) -> None:
    member = books.member()
    leave(books, member)
    stop(books, member, is_active=True)
    books.do(member.deduct(1_000))
    stop(books, member)
    come_back(books, member)
    assert books.refusal(member.deduct(1)).figures["limit"] == "inactive"


def test_a_stranger_who_was_stopped_is_not_let_go_on_by_joining(books: Books) -> None:
    stranger = books.stranger()
    books.execute(
        "INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits, is_active)"
        " VALUES (%s, %s, 1000, FALSE)",
        stranger.org_id, stranger.user_id,
    )  # fmt: skip
    come_back(books, stranger)
    assert books.refusal(stranger.deduct(1)).figures["limit"] == "inactive"


def test_a_mirrored_member_can_be_removed_and_the_books_that_have_left_stay_as_they_were(
    own_books: Books,
) -> None:
    member = own_books.member()
    own_books.execute("SELECT cells.leave(%s, gen_random_uuid())", own_books.org_id)
    own_books.execute("SET credits.mirroring = 'on'")
    leave(own_books, member)
    [row] = own_books.execute(
        "SELECT is_active FROM user_credit_allocations WHERE user_id = %s", member.user_id
    )
    assert row["is_active"]


def test_who_never_was_a_member_spends_what_was_given_by_hand(books: Books) -> None:
    stranger = books.stranger()
    books.execute(
        "INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits) VALUES (%s, %s, 1000)",
        stranger.org_id, stranger.user_id,
    )  # fmt: skip
    assert books.do(stranger.deduct(400))["service_type"] == SERVICE
