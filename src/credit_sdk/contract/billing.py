"""The contract of the service over a ledger: what succeeds is charged once, what fails is not."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk.account import Account
from credit_sdk.contract.harness import SERVICE, Harness, Payer, assert_shows, refused
from credit_sdk.errors import (
    IdempotencyConflictError,
    InsufficientCreditsError,
    NotAMemberError,
    NotFoundError,
)


class WorkFailedError(Exception):
    """The work of a test failed, on purpose."""


def _taken(ledger: Harness, payer: Payer) -> list[Any]:
    return [each.credits_used for each in ledger.charges(payer)]


class TestAccount:
    """Who pays for a user."""

    def test_the_default_organisation_else_the_first(self, ledger: Harness) -> None:
        first = ledger.prepare()
        ledger.advance(1)
        second = ledger.join(ledger.prepare().org_id, user_id=first.user_id)
        account = ledger.billing.account(first.user_id)
        assert account.org_id == first.org_id
        assert account.switch(second.org_id).org_id == second.org_id
        default = ledger.join(ledger.prepare().org_id, user_id=first.user_id, is_default=True)
        assert ledger.billing.account(first.user_id).org_id == default.org_id

    def test_the_organisation_that_was_chosen(self, ledger: Harness) -> None:
        payer, elsewhere = ledger.prepare(), ledger.prepare()
        assert ledger.billing.account(payer.user_id, org_id=payer.org_id).org_id == payer.org_id
        with refused(NotAMemberError):
            ledger.billing.account(payer.user_id, org_id=elsewhere.org_id)

    def test_a_user_whom_the_ledger_does_not_know(self, ledger: Harness) -> None:
        with refused(NotFoundError):
            ledger.billing.account("nobody-in-particular")
        with refused(NotFoundError):
            ledger.billing.check(Account(user_id="nobody-in-particular"), 1)


class TestMethods:
    """Each method of the service is its operation."""

    def test_take_and_give_back(self, ledger: Harness) -> None:
        billing, payer = ledger.billing, ledger.prepare(allocated=100)
        assert billing.check(payer.account, 100)
        receipt = billing.deduct(
            payer.account, "2.5", service_type=SERVICE, request_id="job-7", metadata={"n": 1}
        )
        assert_shows(receipt, credits_used=2.5, remaining=97.5, request_id="job-7")
        refund = billing.refund(receipt, 1, reason="partly empty", request_id="refund-1")
        assert_shows(refund, credits_refunded=1, remaining_credits=98.5, request_id="refund-1")
        assert billing.refund(receipt.charge_id).refundable_credits == 0

    def test_hold_and_settle(self, ledger: Harness) -> None:
        billing, payer = ledger.billing, ledger.prepare(allocated=100)
        first, second = (
            billing.hold(payer.account, 40, service_type=SERVICE, ttl_seconds=60) for _ in range(2)
        )
        assert billing.capture(first, 30, metadata={"n": 1}).remaining == 70
        assert billing.void(second.hold_id).status == "voided"
        assert billing.get_hold(first).status == "captured"

    def test_manage(self, ledger: Harness) -> None:
        billing, payer = ledger.billing, ledger.prepare(pool=1_000, allocated=100)
        billing.deduct(payer.account, 10, service_type=SERVICE)
        assert billing.pool(payer.org_id).available_credits == 900
        assert billing.usage(payer.org_id, days=1).total_credits_used == 10
        assert [each.org_id for each in billing.user_credits(payer.user_id).organizations] == [payer.org_id]
        assert [each.credits_used for each in billing.charges(payer.org_id, user_id=payer.user_id)] == [10]
        assert [each.user_id for each in billing.allocations(payer.org_id)] == [payer.user_id]

    def test_take_many(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        outcomes = ledger.billing.deduct_many(payer.deduct(40) for _ in range(3))
        assert [outcome.success for outcome in outcomes] == [True, True, False]


class TestChargeBlock:
    """`with billing.charge(...)`: held on entry, captured on success, given back on failure."""

    def test_takes_credits_on_success(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        with ledger.billing.charge(payer.account, 40, service_type=SERVICE) as charge:
            ledger.assert_balance(payer, allocated=100, used=0, held=40)
            charge.metadata["company_id"] = "c-1"
        assert_shows(charge.receipt, credits_used=40, remaining=60)
        [row] = ledger.charges(payer)
        assert row.request_metadata == {"company_id": "c-1"}
        ledger.assert_balance(payer, allocated=100, used=40, held=0)

    def test_takes_nothing_on_failure(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        with (
            pytest.raises(WorkFailedError),
            ledger.billing.charge(payer.account, 40, service_type=SERVICE),
        ):
            raise WorkFailedError
        ledger.assert_balance(payer, allocated=100, used=0, held=0)
        assert _taken(ledger, payer) == []

    def test_takes_what_it_cost(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=200)
        for cost in "12.5", 60, 0:
            with ledger.billing.charge(
                payer.account, estimate=40, credits=40, service_type=SERVICE
            ) as charge:
                charge.credits = cost
        assert _taken(ledger, payer) == [60, 12.5]
        ledger.assert_balance(payer, allocated=200, used=72.5, held=0)

    def test_does_not_begin_without_credits(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=10)
        with (
            refused(InsufficientCreditsError, limit=payer.limit, required=40, available=10),
            ledger.billing.charge(payer.account, 40, service_type=SERVICE),
        ):
            pytest.fail("the work began")

    def test_a_cost_beyond_the_balance_takes_nothing_and_says_so(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=50)
        with (
            refused(InsufficientCreditsError, limit="hold", required=60, available=50),
            ledger.billing.charge(payer.account, 40, service_type=SERVICE) as charge,
        ):
            charge.credits = 60
        ledger.assert_balance(payer, allocated=50, used=0, held=0)

    def test_an_operation_that_runs_again_is_charged_once(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        for _ in range(2):
            with ledger.billing.charge(payer.account, 40, service_type=SERVICE, request_id="job-7"):
                pass
        with (
            refused(IdempotencyConflictError),
            ledger.billing.charge(payer.account, 41, service_type=SERVICE, request_id="job-7"),
        ):
            pytest.fail("the work began")
        assert _taken(ledger, payer) == [40]

    def test_a_block_longer_than_its_hold_is_charged_all_the_same(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        with ledger.billing.charge(payer.account, 40, service_type=SERVICE, ttl_seconds=60) as charge:
            ledger.advance(61)
            ledger.execute(payer.deduct("60.001"))
            ledger.execute(payer.allocate(1))
        assert_shows(charge.receipt, credits_used=40, remaining=Decimal("0.999"))

    def test_without_holds_it_is_checked_before_and_deducted_after(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        with ledger.billing.charge(payer.account, 40, service_type=SERVICE, reserve=False) as charge:
            ledger.assert_balance(payer, allocated=100, used=0, held=0)
        assert charge.receipt.remaining == 60
        with (
            refused(InsufficientCreditsError, limit=payer.limit, required=61, available=60),
            ledger.billing.charge(payer.account, 61, service_type=SERVICE, reserve=False),
        ):
            pytest.fail("the work began")


class TestBillable:
    """`@billing.billable`: each successful call is charged."""

    def test_a_call_is_charged_when_it_succeeds(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)

        @ledger.billing.billable(SERVICE, cost=40, account=payer.account)
        def look_up(company_id: str, *, fail: bool = False) -> str:
            if fail:
                raise WorkFailedError
            return company_id.upper()

        assert look_up("c-1") == "C-1"
        with pytest.raises(WorkFailedError):
            look_up("c-2", fail=True)
        assert _taken(ledger, payer) == [40]
        assert look_up("c-3") == "C-3"
        with refused(InsufficientCreditsError, limit=payer.limit, required=40, available=20):
            look_up("c-4")

    def test_the_cost_may_follow_from_the_result(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_000)

        @ledger.billing.billable("bulk_export", cost=lambda records: 5 * len(records), estimate=500)
        def export(count: int, *, account: Account) -> list[int]:  # noqa: ARG001 - the decorator reads it
            return list(range(count))

        assert len(export(7, account=payer.account)) == 7
        assert _taken(ledger, payer) == [35]

    def test_a_generator_is_charged_when_it_is_read_to_its_end(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_000)

        @ledger.billing.billable("bulk_export", cost=lambda count: 5 * count, estimate=500)
        def export(count: int, *, account: Account) -> Iterator[int]:  # noqa: ARG001 - the decorator reads it
            yield from range(count)

        assert list(export(3, account=payer.account)) == [0, 1, 2]
        early = export(3, account=payer.account)
        assert next(early) == 0
        early.close()  # type: ignore[attr-defined]  # what is called an iterator is a generator
        assert _taken(ledger, payer) == [15]
        ledger.assert_balance(payer, allocated=1_000, used=15, held=0)

    def test_the_surroundings_may_name_the_payer(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)

        @ledger.billing.billable(SERVICE, cost=40, request_id=lambda job: f"job-{job}")
        def work(job: int) -> int:
            return job

        with ledger.billing.acting_as(payer.account):
            assert [work(7), work(7), work(8)] == [7, 7, 8]
        assert _taken(ledger, payer) == [40, 40]
