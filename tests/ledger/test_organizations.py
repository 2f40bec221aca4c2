"""Organisations, their members and their seats."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.ledger.conftest import Call, Refusal

if TYPE_CHECKING:
    from tests.ledger.conftest import Books

    Row = dict[str, Any]


def join(books: Books, user_id: str, org_id: str | None = None, **more: Any) -> Call:
    return Call("add_member", {"org_id": org_id or books.org_id, "user_id": user_id} | more)


def organizations(user_id: str | None, **more: Any) -> Call:
    return Call("list_organizations", {"user_id": user_id} | more)


def members(books: Books, **more: Any) -> Call:
    return Call("list_members", {"org_id": books.org_id} | more)


def another_organization(books: Books, status: str = "active") -> str:
    org_id = f"org-{secrets.token_hex(6)}"
    books.execute("INSERT INTO organizations (id, name, status) VALUES (%s, %s, %s)", org_id, org_id, status)
    return org_id


def new_user() -> str:
    return f"user-{secrets.token_hex(6)}"


def seats(books: Books, number: int | None) -> None:
    books.execute("UPDATE organizations SET max_seats = %s WHERE id = %s", number, books.org_id)


def defaults_of(books: Books, user_id: str) -> list[str]:
    rows = books.execute("SELECT org_id FROM organization_members WHERE user_id = %s AND is_default", user_id)
    return [row["org_id"] for row in rows]


def test_a_new_member_is_answered_with_their_share_and_person(books: Books) -> None:
    user_id = new_user()
    books.execute(
        "INSERT INTO users (subject, email, name) VALUES (%s, %s, 'Ann')", user_id, f"{user_id}@example.com"
    )
    member = books.do(join(books, user_id, role="admin"))
    assert member | {"joined_at": None} == {
        "org_id": books.org_id,
        "user_id": user_id,
        "user_email": f"{user_id}@example.com",
        "name": "Ann",
        "role": "admin",
        "is_default": False,
        "joined_at": None,
        "allocated_credits": 0,
        "used_credits": 0,
        "remaining_credits": 0,
    }
    assert books.do(members(books))["items"][0]["name"] == "Ann"


def test_joining_again_changes_nothing(books: Books) -> None:
    user_id = new_user()
    row = "SELECT xmin, * FROM organization_members WHERE user_id = %s"
    first = books.do(join(books, user_id, is_default=True))
    before = books.execute(row, user_id)
    assert books.do(join(books, user_id, is_default=True)) == first
    assert books.do(join(books, user_id)) == first, "a default stays without being asked for again"
    assert books.execute(row, user_id) == before


def test_another_role_is_given(books: Books) -> None:
    user_id = new_user()
    joined = books.do(join(books, user_id))
    changed = books.do(join(books, user_id, role="owner"))
    assert changed == joined | {"role": "owner"}


@pytest.mark.parametrize(("user_id", "role"), [("ann", "king"), ("", "member"), (None, "member")])
def test_what_is_no_member_is_refused(books: Books, user_id: str, role: str) -> None:
    assert books.refusal(join(books, user_id, role=role)).state == "CR422"


def test_unknown_organizations_are_refused_alike(books: Books) -> None:
    for call in join(books, "ann", org_id="nowhere"), Call("list_members", {"org_id": "nowhere"}):
        refusal = books.refusal(call)
        assert (refusal.state, refusal.figures["code"]) == ("CR413", "not_a_member")


def test_a_deleted_organization_takes_nobody(books: Books) -> None:
    deleted = another_organization(books, "deleted")
    assert books.refusal(join(books, new_user(), org_id=deleted)).figures["limit"] == "inactive"


def test_seats_are_limited_but_not_for_those_who_sit(books: Books) -> None:
    ann = new_user()
    seats(books, 1)
    books.do(join(books, ann))
    refusal = books.refusal(join(books, new_user()))
    assert refusal.state == "CR408"
    assert refusal.sentence == f"All 1 seats of organisation {books.org_id} are taken."
    assert books.do(join(books, ann, role="admin"))["role"] == "admin"
    seats(books, None)
    books.do(join(books, new_user()))


def test_the_last_seats_are_taken_once(books: Books) -> None:
    seats(books, 3)
    outcomes = books.at_once([join(books, new_user()) for _ in range(10)])
    assert sorted(each.state for each in outcomes if isinstance(each, Refusal)) == ["CR408"] * 7
    assert len(books.do(members(books))["items"]) == 3


def test_a_user_has_one_default(books: Books) -> None:
    user_id, other = new_user(), another_organization(books)
    books.do(join(books, user_id, is_default=True))
    books.do(join(books, user_id, org_id=other, is_default=True))
    assert defaults_of(books, user_id) == [other]
    books.do(join(books, user_id, is_default=True))
    assert defaults_of(books, user_id) == [books.org_id]


def test_a_user_has_one_default_when_all_organizations_ask_at_once(books: Books) -> None:
    user_id = new_user()
    places = [another_organization(books) for _ in range(8)]
    books.at_once([join(books, user_id, org_id=org_id, is_default=True) for org_id in places])
    assert len(defaults_of(books, user_id)) == 1


def test_members_come_page_by_page(books: Books) -> None:
    users = sorted(new_user() for _ in range(5))
    for user_id in users:
        books.do(join(books, user_id))
    seen: list[str] = []
    cursor = None
    while cursor or not seen:
        page = books.do(members(books, limit=2, cursor=cursor))
        seen += [item["user_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == users


def test_shares_are_shown_with_members(books: Books) -> None:
    member = books.member(allocated=1_000)
    books.do(member.deduct(300))
    [item] = books.do(members(books))["items"]
    assert (item["allocated_credits"], item["used_credits"], item["remaining_credits"]) == (1_000, 300, 700)


def test_a_users_organizations_name_the_role(books: Books) -> None:
    user_id = new_user()
    places = sorted([books.org_id, another_organization(books), another_organization(books, "suspended")])
    gone = another_organization(books)
    for org_id in [*places, gone]:
        books.do(join(books, user_id, org_id=org_id, role="admin", is_default=org_id == places[1]))
    books.execute("UPDATE organizations SET status = 'deleted' WHERE id = %s", gone)
    first = books.do(organizations(user_id, limit=2))
    last = books.do(organizations(user_id, limit=2, cursor=first["next_cursor"]))
    items = first["items"] + last["items"]
    assert [item["org_id"] for item in items] == places
    assert [item["is_default"] for item in items] == [False, True, False]
    assert {item["role"] for item in items} == {"admin"}
    assert last["next_cursor"] is None


def test_all_organizations_have_no_role(own_books: Books) -> None:
    gone = another_organization(own_books, "deleted")
    own_books.do(join(own_books, "ann"))
    items = own_books.do(organizations(None))["items"]
    assert {item["org_id"] for item in items} == {own_books.org_id, gone}
    assert {item["role"] for item in items} == {None}


def test_somebody_without_organizations_has_none(books: Books) -> None:
    assert books.do(organizations(new_user())) == {"items": [], "next_cursor": None}


def test_a_strange_cursor_is_refused(books: Books) -> None:
    for call in organizations(None, cursor="?"), members(books, cursor="====="):
        assert books.refusal(call).state == "CR422"
