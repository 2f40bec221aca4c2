"""The contract of pools and allocations: what an organisation owns, and each member's share of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk.contract.harness import Harness, Payer, assert_shows, make, refused, unique
from credit_sdk.errors import (
    IdempotencyConflictError,
    InsufficientCreditsError,
    InvalidAmountError,
    NotAMemberError,
    ValidationFailedError,
)
from credit_sdk.models import Allocation
from credit_sdk.operations import AddCredits, GetPool, ListAllocations


def _add(org_id: str, credits: Any, **fields: Any) -> AddCredits:
    return make(AddCredits, org_id=org_id, credits=credits, **fields)


class TestPool:
    """What an organisation owns."""

    def test_shows_what_is_allocated_used_and_available(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=300)
        other = ledger.join(payer.org_id, allocated=200)
        ledger.execute(payer.deduct("100.5"))
        ledger.execute(other.deduct(50))
        ledger.execute(other.hold(20))
        pool = ledger.execute(GetPool(org_id=payer.org_id))
        assert_shows(
            pool, org_id=payer.org_id, total_credits=1_000, allocated_credits=500, used_credits=150.5
        )
        assert_shows(pool, available_credits=500, settled_credits=0, monthly_refresh_amount=0)
        assert_shows(pool, allow_overage=False, overage_limit=0, lifetime_purchased_credits=0)

    def test_shows_overage(self, ledger: Harness) -> None:
        payer = ledger.prepare(overage="12.5")
        assert_shows(ledger.execute(GetPool(org_id=payer.org_id)), allow_overage=True, overage_limit=12.5)

    def test_an_unknown_organisation_is_called_so(self, ledger: Harness) -> None:
        for question in GetPool(org_id=unique("org")), ListAllocations(org_id=unique("org")):
            with pytest.raises(NotAMemberError, match=f"There is no organisation '{question.org_id}'"):
                ledger.execute(question)


class TestAddCredits:
    """Filling a pool, once for each request id."""

    def test_adds_to_what_is_there(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=400)
        change = ledger.execute(_add(payer.org_id, "250.5", request_id="grant-1"))
        assert_shows(change, org_id=payer.org_id, credits_added=250.5, request_id="grant-1", replayed=False)
        assert_shows(change, total_credits=1_250.5, available_credits=850.5)
        assert ledger.execute(GetPool(org_id=payer.org_id)).total_credits == 1_250.5

    def test_knows_what_was_bought(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.execute(_add(payer.org_id, 500, purchase_amount="4.99"))
        ledger.execute(_add(payer.org_id, 250))
        pool = ledger.execute(GetPool(org_id=payer.org_id))
        assert_shows(pool, total_credits=1_750, lifetime_purchased_credits=500)

    def test_again_is_the_first_outcome_again(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        first = ledger.execute(_add(payer.org_id, 500, purchase_amount=5, request_id="order-1"))
        ledger.execute(_add(payer.org_id, 1))
        again = ledger.execute(_add(payer.org_id, 500, purchase_amount=5, request_id="order-1"))
        assert again == first.model_copy(update={"replayed": True})
        assert ledger.execute(GetPool(org_id=payer.org_id)).total_credits == 1_501

    @pytest.mark.parametrize("other", [{"credits": 501}, {"purchase_amount": 6}], ids=["credits", "amount"])
    def test_other_content_is_refused(self, ledger: Harness, other: dict[str, Any]) -> None:
        payer = ledger.prepare()
        first = {"org_id": payer.org_id, "credits": 500, "purchase_amount": 5, "request_id": "order-1"}
        ledger.execute(make(AddCredits, **first))
        with refused(IdempotencyConflictError):
            ledger.execute(make(AddCredits, **first | other))

    def test_a_pool_has_a_largest_size(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=10**12)
        with refused(InvalidAmountError):
            ledger.execute(_add(payer.org_id, "0.001"))

    def test_an_unknown_organisation_is_called_so(self, ledger: Harness) -> None:
        with pytest.raises(NotAMemberError, match="There is no organisation"):
            ledger.execute(_add(unique("org"), 1))

    def test_a_suspended_organisation_can_be_filled(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.administrator.suspend(payer.org_id)
        assert ledger.execute(_add(payer.org_id, 1)).total_credits == 1_001


class TestAllocate:
    """Giving a member more of the pool, once for each request id."""

    def test_adds_to_what_is_allocated(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=100)
        ledger.execute(payer.deduct(60))
        change = ledger.execute(payer.allocate("50.5", request_id="grant-1"))
        assert_shows(change, org_id=payer.org_id, user_id=payer.user_id, request_id="grant-1", replayed=False)
        assert_shows(change, credits_added=50.5, allocated_credits=150.5, remaining_credits=90.5)
        assert change.reset_period == "never"
        ledger.assert_balance(payer, allocated=150.5, used=60, held=0)

    def test_makes_the_first_allocation(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=None)
        ledger.execute(payer.allocate(100, notes="for the pilot"))
        assert_shows(ledger.allocation(payer), allocated_credits=100, is_active=True, notes="for the pilot")
        assert ledger.execute(payer.deduct(100)).remaining_credits == 0

    def test_takes_no_more_than_the_pool_has(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=400)
        with refused(InsufficientCreditsError, limit="pool", required=Decimal("600.001"), available=600):
            ledger.execute(payer.allocate("600.001"))
        other = ledger.join(payer.org_id, allocated=None)
        with refused(InsufficientCreditsError, limit="pool", required=601, available=600):
            ledger.execute(other.allocate(601))
        assert [each.user_id for each in ledger.billing.allocations(payer.org_id)] == [payer.user_id]
        ledger.execute(other.allocate(600))
        assert ledger.execute(GetPool(org_id=payer.org_id)).available_credits == 0

    def test_a_plain_update_takes_no_more_either(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=400)
        with refused(InsufficientCreditsError, limit="pool", required=601, available=600):
            ledger.administrator.set_allocation(payer.org_id, payer.user_id, 1_001)
        ledger.administrator.set_allocation(payer.org_id, payer.user_id, 1_000)
        ledger.administrator.set_allocation(payer.org_id, payer.user_id, 250)
        assert ledger.execute(GetPool(org_id=payer.org_id)).available_credits == 750

    def test_again_is_the_first_outcome_again(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        first = ledger.execute(payer.allocate(50, request_id="grant-1"))
        ledger.execute(payer.allocate(1))
        ledger.execute(payer.deduct(20))
        again = ledger.execute(payer.allocate(50, request_id="grant-1"))
        assert again == first.model_copy(update={"replayed": True})
        ledger.assert_balance(payer, allocated=151, used=20, held=0)

    def test_other_content_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        other = ledger.join(payer.org_id)
        ledger.execute(payer.allocate(50, request_id="grant-1"))
        for conflict in (
            payer.allocate(51, request_id="grant-1"),
            payer.allocate(50, request_id="grant-1", reset_period="daily"),
            other.allocate(50, request_id="grant-1"),
            _add(payer.org_id, 50, request_id="grant-1"),
        ):
            with refused(IdempotencyConflictError):
                ledger.execute(conflict)
        ledger.assert_balance(payer, allocated=150, used=0, held=0)

    def test_a_refused_attempt_does_not_use_the_id_up(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=100, allocated=100)
        with refused(InsufficientCreditsError, limit="pool", required=1, available=0):
            ledger.execute(payer.allocate(1, request_id="grant-1"))
        ledger.execute(_add(payer.org_id, 1))
        assert not ledger.execute(payer.allocate(1, request_id="grant-1")).replayed

    def test_strangers_get_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        for stranger in Payer(payer.org_id, unique("user")), Payer(unique("org"), payer.user_id):
            with refused(NotAMemberError):
                ledger.execute(stranger.allocate(1))

    @pytest.mark.parametrize("period", ["daily", "weekly", "monthly"])
    def test_says_when_it_resets(self, ledger: Harness, period: str) -> None:
        payer = ledger.prepare(allocated=100)
        assert ledger.execute(payer.allocate(1, reset_period=period)).reset_period == period
        allocation = ledger.allocation(payer)
        assert allocation.next_reset_date == _start_of_next(period, allocation)
        with refused(
            InsufficientCreditsError,
            limit="allocation",
            required=102,
            available=101,
            resets_at=allocation.next_reset_date,
        ):
            ledger.execute(payer.deduct(102))
        ledger.execute(payer.allocate(1))
        assert ledger.allocation(payer).next_reset_date == allocation.next_reset_date
        ledger.execute(payer.allocate(1, reset_period="never"))
        assert ledger.allocation(payer).next_reset_date is None


def _start_of_next(period: str, allocation: Allocation) -> datetime:
    day = allocation.updated_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    day += timedelta(days=1)
    while (period == "weekly" and day.weekday()) or (period == "monthly" and day.day > 1):
        day += timedelta(days=1)
    return day


class TestListAllocations:
    """An organisation's allocations, page by page."""

    def test_by_user_id(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=None)
        for name in "b-user", "a-user", "c-user":
            ledger.join(payer.org_id, user_id=name, allocated=10)
        ledger.prepare()
        first = ledger.execute(ListAllocations(org_id=payer.org_id, limit=2))
        assert [each.user_id for each in first.items] == ["a-user", "b-user"]
        second = ledger.execute(ListAllocations(org_id=payer.org_id, limit=2, cursor=first.next_cursor))
        assert [each.user_id for each in second.items] == ["c-user"]
        assert second.next_cursor is None

    def test_a_full_last_page_is_the_last(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.join(payer.org_id)
        assert ledger.execute(ListAllocations(org_id=payer.org_id, limit=2)).next_cursor is None
        assert ledger.execute(ListAllocations(org_id=ledger.prepare(allocated=None).org_id)).items == ()

    def test_shows_the_whole_standing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.deduct(30))
        ledger.execute(payer.hold(20))
        allocation = ledger.allocation(payer)
        assert_shows(allocation, org_id=payer.org_id, allocated_credits=100, used_credits=30, held_credits=20)
        assert_shows(allocation, remaining_credits=70, reset_period="never", next_reset_date=None)
        ledger.administrator.deactivate(payer.org_id, payer.user_id)
        assert not ledger.allocation(payer).is_active

    def test_a_forged_cursor_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        with pytest.raises(ValidationFailedError):
            ledger.execute(ListAllocations(org_id=payer.org_id, cursor="____"))
