"""The contract of what can be read: standing, usage, the attribution, and the proof of the books."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from credit_sdk.contract.harness import (
    SERVICE,
    Harness,
    Payer,
    assert_shows,
    capture,
    make,
    refused,
    shown,
    unique,
    void,
)
from credit_sdk.errors import InvalidTokenError, NotAMemberError, ValidationFailedError
from credit_sdk.models import Charge
from credit_sdk.operations import (
    GetUsage,
    GetUserBilling,
    GetUserCredits,
    ListCharges,
    Refund,
    VerifyLedger,
)


class TestUserCredits:
    """A user's standing in all their organisations."""

    def test_shows_each_organisation(self, ledger: Harness) -> None:
        email = f"{unique('ada')}@example.com"
        payer = ledger.join(
            ledger.prepare().org_id, role="admin", allocated=100, is_default=True, email=email
        )
        ledger.execute(payer.deduct(30))
        ledger.execute(payer.hold(20))
        standing = ledger.execute(GetUserCredits(user_id=payer.user_id))
        assert_shows(standing, user_id=payer.user_id, user_email=email)
        [organization] = standing.organizations
        assert_shows(organization, org_id=payer.org_id, role="admin", is_default=True, has_allocation=True)
        assert_shows(organization, allocated_credits=100, used_credits=30, held_credits=20)
        assert_shows(organization, remaining_credits=70, subscription_plan=None, monthly_price=None)
        assert organization.org_name

    def test_without_an_allocation_all_is_zero(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=None)
        [organization] = ledger.execute(GetUserCredits(user_id=payer.user_id)).organizations
        assert_shows(organization, has_allocation=False, allocated_credits=0, remaining_credits=0)

    def test_in_the_order_in_which_they_pay(self, ledger: Harness) -> None:
        suspended = ledger.prepare()
        user_id = suspended.user_id
        ledger.administrator.suspend(suspended.org_id)
        joined = [ledger.prepare().org_id for _ in range(3)]
        for org_id in joined:
            ledger.join(org_id, user_id=user_id, is_default=org_id == joined[2])
            ledger.advance(1)
        standing = ledger.execute(GetUserCredits(user_id=user_id))
        expected = [joined[2], joined[0], joined[1], suspended.org_id]
        assert [each.org_id for each in standing.organizations] == expected

    def test_nobody_is_unknown(self, ledger: Harness) -> None:
        standing = ledger.execute(GetUserCredits(user_id=unique("user")))
        assert_shows(standing, user_email=None, organizations=())


class TestUserBilling:
    """A user's own billing screen."""

    def test_adds_the_usage_of_thirty_days(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        other = ledger.join(ledger.prepare().org_id, user_id=payer.user_id)
        ledger.execute(payer.deduct(500))
        ledger.advance(31 * 86_400)
        charge = ledger.execute(payer.deduct(30))
        ledger.execute(other.deduct(20))
        ledger.execute(make(Refund, charge_id=charge.charge_id, credits=10))
        billing = ledger.execute(GetUserBilling(user_id=payer.user_id))
        assert_shows(billing, user_id=payer.user_id, total_usage_last_30_days=40)
        assert {each.org_id for each in billing.organizations} == {payer.org_id, other.org_id}

    def test_a_session_stands_for_its_user(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        token = ledger.administrator.open_session(payer.user_id)
        account = ledger.billing.account(session_token=token)
        assert_shows(account, user_id=payer.user_id, org_id=payer.org_id)

    def test_an_unknown_session_stands_for_nobody(self, ledger: Harness) -> None:
        with refused(InvalidTokenError):
            ledger.billing.account(session_token="cst_" + unique("nobody"))

    def test_someone_must_be_named(self, ledger: Harness) -> None:
        with pytest.raises(ValidationFailedError):
            ledger.execute(GetUserBilling())


class TestUsage:
    """An organisation's usage of the last days."""

    def test_sums_by_service_by_user_and_by_day(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        other = ledger.join(payer.org_id)
        ledger.execute(payer.deduct(10))
        ledger.execute(payer.deduct("20.5", service_type="valuation"))
        ledger.advance(86_400)
        charge = ledger.execute(other.deduct(100))
        ledger.execute(make(Refund, charge_id=charge.charge_id, credits=40))
        usage = ledger.execute(GetUsage(org_id=payer.org_id, days=7))
        assert_shows(usage, org_id=payer.org_id, days=7, total_credits_used=90.5, total_charges=3)
        services = shown(usage.by_service, "service_type", "credits_used", "charges")
        assert services == [(SERVICE, 70, 2), ("valuation", 20.5, 1)]
        users = shown(usage.by_user, "user_id", "credits_used", "charges")
        assert users == [(other.user_id, 60, 1), (payer.user_id, 30.5, 2)]
        assert shown(usage.by_day, "credits_used", "charges") == [(30.5, 2), (60, 1)]
        assert [later.day - day.day for day, later in pairwise(usage.by_day)] == [timedelta(days=1)]

    def test_knows_no_more_than_the_days_asked_for(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(10))
        ledger.advance(3 * 86_400)
        ledger.execute(payer.deduct(1))
        assert ledger.execute(GetUsage(org_id=payer.org_id, days=2)).total_credits_used == 1
        assert ledger.execute(GetUsage(org_id=payer.org_id, days=4)).total_credits_used == 11

    def test_nothing_used_is_zero(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(void(ledger.execute(payer.hold(10))))
        usage = ledger.execute(GetUsage(org_id=payer.org_id))
        assert_shows(usage, total_credits_used=0, total_charges=0, by_service=(), by_user=(), by_day=())

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(GetUsage(org_id=unique("org")))


class TestListCharges:
    """The attribution, newest first."""

    def _charges(self, ledger: Harness, payer: Payer, **fields: Any) -> list[Charge]:
        """Return all charges, reading two at a time."""
        charges: list[Charge] = []
        cursor: str | None = None
        while True:
            page = ledger.execute(make(ListCharges, org_id=payer.org_id, limit=2, cursor=cursor, **fields))
            charges.extend(page.items)
            cursor = page.next_cursor
            if cursor is None:
                return charges
            assert len(page.items) == 2

    def test_page_after_page(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        assert self._charges(ledger, payer) == []
        receipts = [ledger.execute(payer.deduct(n)) for n in range(1, 6)]
        charges = self._charges(ledger, payer)
        assert [each.charge_id for each in charges] == [each.charge_id for each in reversed(receipts)]
        assert [each.created_at for each in charges] == [each.created_at for each in reversed(receipts)]

    def test_new_charges_do_not_shift_the_pages(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        for _ in range(4):
            ledger.execute(payer.deduct(1))
        first = ledger.execute(ListCharges(org_id=payer.org_id, limit=2))
        ledger.execute(payer.deduct(1))
        second = ledger.execute(ListCharges(org_id=payer.org_id, limit=2, cursor=first.next_cursor))
        assert len({each.charge_id for each in first.items + second.items}) == 4
        assert second.next_cursor is None

    def test_filtered_by_user_and_service(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        other = ledger.join(payer.org_id)
        for each in payer, other, payer:
            ledger.execute(each.deduct(1))
            ledger.execute(each.deduct(2, service_type="valuation"))
        assert len(self._charges(ledger, payer, user_id=payer.user_id)) == 4
        assert len(self._charges(ledger, payer, service_type="valuation")) == 3
        both = self._charges(ledger, payer, user_id=other.user_id, service_type="valuation")
        assert shown(both, "user_id", "credits_used") == [(other.user_id, 2)]
        assert self._charges(ledger, payer, user_id=unique("user")) == []

    def test_filtered_by_time(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        receipts = []
        for n in range(1, 4):
            receipts.append(ledger.execute(payer.deduct(n)))
            ledger.advance(60)
        second = receipts[1].created_at
        assert [each.credits_used for each in self._charges(ledger, payer, since=second)] == [3, 2]
        assert [each.credits_used for each in self._charges(ledger, payer, until=second)] == [1]
        middle = self._charges(ledger, payer, since=second, until=receipts[2].created_at)
        assert [each.credits_used for each in middle] == [2]

    def test_a_forged_cursor_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        for cursor in "____", "Zm9yZ2Vk":
            with pytest.raises(ValidationFailedError):
                ledger.execute(ListCharges(org_id=payer.org_id, cursor=cursor))

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(ListCharges(org_id=unique("org")))


class TestVerifyLedger:
    """Every balance follows from the append-only rows."""

    def test_the_books_are_right_whatever_happened(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=500, overage=100)
        other = ledger.join(payer.org_id, allocated=100)
        charge = ledger.execute(payer.deduct("100.001"))
        ledger.execute(make(Refund, charge_id=charge.charge_id, credits="0.001"))
        holds = [ledger.execute(payer.hold(10)) for _ in range(3)]
        ledger.execute(capture(holds[0], 25))
        ledger.execute(void(holds[1]))
        ledger.execute(other.deduct(90))
        ledger.administrator.set_allocation(other.org_id, other.user_id, 50)
        verification = ledger.execute(VerifyLedger(org_id=payer.org_id))
        assert_shows(verification, organizations=1, allocations=2, charges=4, open_holds=1, differences=())
        assert verification.ok

    def test_all_books_are_right(self, ledger: Harness) -> None:
        ledger.execute(ledger.prepare().deduct(1))
        verification = ledger.execute(VerifyLedger())
        assert verification.organizations >= 1
        assert verification.differences == ()

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(VerifyLedger(org_id=unique("org")))
