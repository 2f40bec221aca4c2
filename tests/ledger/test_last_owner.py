"""An organisation that has an owner keeps one, whoever changes its members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.ledger.conftest import Call, Refusal

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Connection, Row


def as_member(books: Books, user_id: str, role: str) -> Call:
    return Call("add_member", {"org_id": books.org_id, "user_id": user_id, "role": role})


def roles(books: Books) -> dict[str, str]:
    rows = books.execute("SELECT user_id, role FROM organization_members WHERE org_id = %s", books.org_id)
    return {row["user_id"]: row["role"] for row in rows}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE organization_members SET role = 'member' WHERE org_id = %s",
        "UPDATE organization_members SET role = 'admin' WHERE org_id = %s AND user_id = 'one'",
        "DELETE FROM organization_members WHERE org_id = %s",
        "DELETE FROM organization_members WHERE org_id = %s AND user_id = 'one'",
    ],
)
def test_the_last_owner_stays_whoever_says_otherwise(books: Books, statement: str) -> None:
    for user_id, role in (("one", "owner"), ("two", "member")):
        books.do(as_member(books, user_id, role))
    with pytest.raises(psycopg.Error, match="the last owner of organisation") as refused:
        books.execute(statement, books.org_id)
    assert refused.value.sqlstate == "CR408"
    assert roles(books) == {"one": "owner", "two": "member"}


def test_an_owner_among_owners_goes(books: Books) -> None:
    for user_id in ("one", "two", "three"):
        books.do(as_member(books, user_id, "owner"))
    books.do(as_member(books, "one", "member"))
    books.execute("DELETE FROM organization_members WHERE org_id = %s AND user_id = 'two'", books.org_id)
    assert roles(books) == {"one": "member", "three": "owner"}


def test_owners_change_places_in_one_statement(books: Books) -> None:
    for user_id, role in (("one", "owner"), ("two", "member")):
        books.do(as_member(books, user_id, role))
    books.execute(
        "UPDATE organization_members SET role = CASE user_id WHEN 'two' THEN 'owner' ELSE 'member' END"
        " WHERE org_id = %s",
        books.org_id,
    )
    assert roles(books) == {"one": "member", "two": "owner"}


def test_two_owners_who_leave_at_once_leave_one(books: Books) -> None:
    for user_id in ("one", "two"):
        books.do(as_member(books, user_id, "owner"))
    leaving = [as_member(books, user_id, "member") for user_id in ("one", "two")]
    later = books.meanwhile(*leaving)
    assert isinstance(later, Refusal)
    assert later.state == "CR408"
    assert roles(books) == {"one": "member", "two": "owner"}


class ByHand(Call):
    """A statement of the owner's in place of a function."""

    def on(self, connection: Connection) -> Row:
        connection.execute(self.function.encode(), self.arguments)
        return {}


def test_two_owners_who_are_demoted_by_hand_at_once_leave_one(books: Books) -> None:
    for user_id in ("one", "two"):
        books.do(as_member(books, user_id, "owner"))
    statement = (
        "UPDATE organization_members SET role = 'member' WHERE (org_id, user_id) = (%(org)s, %(user)s)"
    )
    leaving = [ByHand(statement, {"org": books.org_id, "user": user_id}) for user_id in ("one", "two")]
    later = books.meanwhile(*leaving)
    assert isinstance(later, Refusal)
    assert later.state == "CR408"
    assert roles(books) == {"one": "member", "two": "owner"}
