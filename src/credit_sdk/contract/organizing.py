"""The contract of organisations and their members."""

import pytest

from credit_sdk.contract.harness import Harness, assert_shows, make, refused, shown, unique
from credit_sdk.errors import ConflictError, NotAMemberError, ValidationFailedError
from credit_sdk.models import Member
from credit_sdk.operations import AddMember, GetUserCredits, ListMembers, ListOrganizations


def _members(ledger: Harness, org_id: str) -> dict[str, Member]:
    return {each.user_id: each for each in ledger.execute(ListMembers(org_id=org_id)).items}


class TestListOrganizations:
    """Whose organisations, page by page."""

    def test_of_a_user(self, ledger: Harness) -> None:
        first, second = sorted([ledger.prepare().org_id, ledger.prepare().org_id])
        user_id = unique("user")
        ledger.join(first, user_id=user_id, role="owner", is_default=True, allocated=None)
        ledger.join(second, user_id=user_id, allocated=None)
        page = ledger.execute(ListOrganizations(user_id=user_id))
        names = ("org_id", "name", "role", "is_default", "status")
        assert shown(page.items, *names) == [
            (first, first, "owner", True, "active"),
            (second, second, "member", False, "active"),
        ]
        assert page.next_cursor is None

    def test_page_by_page(self, ledger: Harness) -> None:
        user_id = unique("user")
        org_ids = sorted(ledger.prepare().org_id for _ in range(3))
        for org_id in org_ids:
            ledger.join(org_id, user_id=user_id, allocated=None)
        first = ledger.execute(ListOrganizations(user_id=user_id, limit=2))
        assert [each.org_id for each in first.items] == org_ids[:2]
        rest = ledger.execute(ListOrganizations(user_id=user_id, limit=2, cursor=first.next_cursor))
        assert [each.org_id for each in rest.items] == org_ids[2:]
        assert rest.next_cursor is None

    def test_of_nobody_in_particular_are_all(self, ledger: Harness) -> None:
        org_id = ledger.prepare().org_id
        found, cursor = dict[str, str | None](), None
        while True:
            page = ledger.execute(make(ListOrganizations, limit=500, cursor=cursor))
            found |= {each.org_id: each.role for each in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found[org_id] is None

    def test_a_stranger_has_none(self, ledger: Harness) -> None:
        assert ledger.execute(ListOrganizations(user_id=unique("user"))).items == ()

    def test_a_suspended_one_is_shown_as_such(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.administrator.suspend(payer.org_id)
        [organization] = ledger.execute(ListOrganizations(user_id=payer.user_id)).items
        assert organization.status == "suspended"

    def test_a_forged_cursor_is_refused(self, ledger: Harness) -> None:
        with pytest.raises(ValidationFailedError):
            ledger.execute(ListOrganizations(cursor="____"))


class TestListMembers:
    """An organisation's members, page by page."""

    def test_shows_role_and_share(self, ledger: Harness) -> None:
        org_id, email = ledger.prepare(allocated=None).org_id, f"{unique('ada')}@example.com"
        payer = ledger.join(org_id, allocated=100, role="admin", email=email)
        ledger.execute(payer.deduct(30))
        member = _members(ledger, org_id)[payer.user_id]
        assert_shows(member, org_id=org_id, user_email=email, role="admin", is_default=False)
        assert_shows(member, allocated_credits=100, used_credits=30, remaining_credits=70)

    def test_without_an_allocation_all_is_zero(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=None)
        [member] = ledger.execute(ListMembers(org_id=payer.org_id)).items
        assert_shows(member, user_id=payer.user_id, user_email=None, role="member")
        assert_shows(member, allocated_credits=0, used_credits=0, remaining_credits=0)

    def test_by_user_id_page_by_page(self, ledger: Harness) -> None:
        org_id = unique("org")
        ledger.administrator.add_organization(org_id)
        for name in "b-user", "a-user", "c-user":
            ledger.join(org_id, user_id=name, allocated=None)
        first = ledger.execute(ListMembers(org_id=org_id, limit=2))
        assert [each.user_id for each in first.items] == ["a-user", "b-user"]
        rest = ledger.execute(ListMembers(org_id=org_id, limit=2, cursor=first.next_cursor))
        assert [each.user_id for each in rest.items] == ["c-user"]
        assert rest.next_cursor is None

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(ListMembers(org_id=unique("org")))

    def test_a_forged_cursor_is_refused(self, ledger: Harness) -> None:
        with pytest.raises(ValidationFailedError):
            ledger.execute(ListMembers(org_id=ledger.prepare().org_id, cursor="____"))


class TestAddMember:
    """Letting somebody in, and giving them another role."""

    def test_lets_a_user_in(self, ledger: Harness) -> None:
        org_id, user_id = ledger.prepare().org_id, unique("user")
        member = ledger.execute(AddMember(org_id=org_id, user_id=user_id))
        assert_shows(member, org_id=org_id, user_id=user_id, role="member", is_default=False)
        assert _members(ledger, org_id)[user_id] == member

    def test_again_changes_nothing(self, ledger: Harness) -> None:
        org_id, user_id = ledger.prepare().org_id, unique("user")
        first = ledger.execute(AddMember(org_id=org_id, user_id=user_id, role="admin"))
        ledger.advance(60)
        assert ledger.execute(AddMember(org_id=org_id, user_id=user_id, role="admin")) == first
        assert len(_members(ledger, org_id)) == 2

    def test_another_role_is_taken_over(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        changed = ledger.execute(AddMember(org_id=payer.org_id, user_id=payer.user_id, role="billing_admin"))
        assert_shows(changed, role="billing_admin", allocated_credits=100)
        assert _members(ledger, payer.org_id)[payer.user_id].role == "billing_admin"

    def test_a_user_has_one_default(self, ledger: Harness) -> None:
        first, second = ledger.prepare().org_id, ledger.prepare().org_id
        user_id = unique("user")
        for org_id in first, second:
            ledger.execute(AddMember(org_id=org_id, user_id=user_id, is_default=True))
        standing = ledger.execute(GetUserCredits(user_id=user_id)).organizations
        assert shown(standing, "org_id", "is_default") == [(second, True), (first, False)]

    def test_the_default_stays_where_it_is(self, ledger: Harness) -> None:
        org_id, user_id = ledger.prepare().org_id, unique("user")
        ledger.execute(AddMember(org_id=org_id, user_id=user_id, is_default=True))
        ledger.execute(AddMember(org_id=ledger.prepare().org_id, user_id=user_id))
        assert _members(ledger, org_id)[user_id].is_default

    def test_seats_are_limited(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.administrator.set_seats(payer.org_id, 2)
        second = unique("user")
        ledger.execute(AddMember(org_id=payer.org_id, user_id=second))
        with refused(ConflictError):
            ledger.execute(AddMember(org_id=payer.org_id, user_id=unique("user")))
        assert ledger.execute(AddMember(org_id=payer.org_id, user_id=second, role="owner")).role == "owner"
        assert len(_members(ledger, payer.org_id)) == 2

    def test_the_last_owner_stays_one(self, ledger: Harness) -> None:
        org_id, first, second = ledger.prepare().org_id, unique("user"), unique("user")
        ledger.execute(AddMember(org_id=org_id, user_id=first, role="owner"))
        with refused(ConflictError):
            ledger.execute(AddMember(org_id=org_id, user_id=first, role="admin"))
        assert _members(ledger, org_id)[first].role == "owner"
        ledger.execute(AddMember(org_id=org_id, user_id=second, role="owner"))
        assert ledger.execute(AddMember(org_id=org_id, user_id=first, role="admin")).role == "admin"

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(AddMember(org_id=unique("org"), user_id=unique("user")))

    def test_who_is_let_in_can_be_given_credits(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=None)
        newcomer = unique("user")
        ledger.execute(AddMember(org_id=payer.org_id, user_id=newcomer))
        share = ledger.client.credits.allocate(payer.org_id, newcomer, 10)
        assert_shows(share, allocated_credits=10)
