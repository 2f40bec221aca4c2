"""The contract of users' balances: additions, looking, and the SDK's methods for them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk.contract.balances import OnBalances
from credit_sdk.contract.harness import (
    SERVICE,
    Harness,
    assert_shows,
    capture,
    changed,
    make,
    refund,
    refused,
    shown,
    unique,
)
from credit_sdk.errors import (
    ConflictError,
    IdempotencyConflictError,
    InvalidAmountError,
    NoAllocationError,
    NotFoundError,
    ValidationFailedError,
)
from credit_sdk.models import Transaction
from credit_sdk.operations import GetBalance, GetStatement, GrantCredits, ListTransactions, VerifyLedger


class TestGrant(OnBalances):
    """Adding credits to a balance."""

    def test_adds_credits_and_says_what_there_is(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=5)
        grant = ledger.execute(payer.allocate("2.5", description="A gift", request_id="gift-1"))
        assert_shows(
            grant,
            user_id=payer.user_id,
            credits_added=2.5,
            credits=7.5,
            new_balance=7.5,
            message="2.5 credits added.",
            transaction_type="credit_addition",
            description="A gift",
            request_id="gift-1",
            replayed=False,
        )
        ledger.assert_balance(payer, allocated=7.5, used=0, held=0)

    def test_again_is_the_first_outcome_again(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=5)
        first = ledger.execute(payer.allocate(10, request_id="gift-1"))
        ledger.execute(payer.deduct(1))
        again = ledger.execute(payer.allocate(10, request_id="gift-1", description="again"))
        assert again == first.model_copy(update={"replayed": True})
        ledger.assert_balance(payer, allocated=14, used=0, held=0)

    @pytest.mark.parametrize(
        "other", [{"credits": 11}, {"transaction_type": "purchase"}], ids=["credits", "transaction_type"]
    )
    def test_other_content_is_refused(self, ledger: Harness, other: dict[str, Any]) -> None:
        payer = ledger.prepare(allocated=5)
        grant = payer.allocate(10, request_id="gift-1")
        ledger.execute(grant)
        with refused(IdempotencyConflictError):
            ledger.execute(changed(grant, other))

    def test_the_id_of_a_charge_or_an_open_hold_is_taken(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(10, request_id="job-7"))
        ledger.execute(payer.hold(10, request_id="job-8"))
        ledger.execute(payer.allocate(10, request_id="gift-1"))
        for operation in (
            payer.allocate(10, request_id="job-7"),
            payer.allocate(10, request_id="job-8"),
            payer.deduct(10, request_id="gift-1"),
            payer.hold(10, request_id="gift-1"),
        ):
            with refused(IdempotencyConflictError):
                ledger.execute(operation)

    def test_no_balance_is_larger_than_the_largest_amount(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=10**12)
        with refused(InvalidAmountError):
            ledger.execute(payer.allocate("0.001"))
        charge = ledger.execute(payer.deduct(5))
        ledger.execute(payer.allocate(1))
        with refused(InvalidAmountError):
            ledger.execute(refund(charge))
        assert ledger.execute(refund(charge, 4)).remaining_credits == 10**12

    def test_reaches_whoever_was_switched_off(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=5)
        ledger.deactivate(payer)
        assert ledger.execute(make(GrantCredits, user_id=payer.user_id, credits=10)).credits == 15


class TestBalance(OnBalances):
    """Looking at a balance."""

    def test_what_is_held_is_not_available(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.hold(30, ttl_seconds=60))
        balance = ledger.execute(GetBalance(user_id=payer.user_id))
        assert_shows(balance, credits=100, held_credits=30, available_credits=70, is_active=True)
        assert balance.user_id == payer.user_id
        ledger.advance(61)
        assert ledger.execute(GetBalance(user_id=payer.user_id)).available_credits == 100

    def test_a_statement_has_the_newest_transactions(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=12)
        for number in range(11):
            ledger.execute(payer.deduct(1, request_id=f"job-{number}"))
        statement = ledger.execute(GetStatement(user_id=payer.user_id))
        assert_shows(statement, credits=1, credit_status="active")
        assert [each.request_id for each in statement.transactions] == [f"job-{n}" for n in range(10, 0, -1)]
        ledger.execute(payer.deduct(1))
        assert ledger.execute(GetStatement(user_id=payer.user_id)).credit_status == "empty"
        ledger.deactivate(payer)
        statement = ledger.execute(GetStatement(user_id=payer.user_id))
        assert_shows(statement, credit_status="inactive", is_active=False)

    def test_nobody_has_no_balance(self, ledger: Harness) -> None:
        for kind in GetBalance, GetStatement, ListTransactions:
            with refused(NotFoundError):
                ledger.execute(make(kind, user_id=unique("user")))


class TestTransactions(OnBalances):
    """The rows that a balance is made of."""

    def test_each_says_what_moved_and_what_there_was_then(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.allocate(10, transaction_type="purchase", admin_id="boss", description="Packet"))
        charge = ledger.execute(payer.deduct(60, service_name="full", request_metadata={"job": 7}))
        ledger.execute(refund(charge, "12.5", reason="partly empty"))
        hold = ledger.execute(payer.hold(20))
        ledger.execute(capture(hold, 5))
        captured, refunded, spent, bought, first = _rows(ledger, payer.user_id)
        assert shown(_rows(ledger, payer.user_id), "amount", "balance_after", "transaction_type") == [
            (-5, Decimal("57.5"), "service"),
            (Decimal("12.5"), Decimal("62.5"), "refund"),
            (-60, 50, "service"),
            (10, 110, "purchase"),
            (100, 100, "credit_addition"),
        ]
        assert_shows(captured, hold_id=hold.hold_id, service_type=SERVICE)
        assert_shows(refunded, refund_of=charge.charge_id, description="partly empty", service_name="full")
        assert_shows(spent, transaction_id=charge.charge_id, service_type=SERVICE, service_name="full")
        assert spent.request_metadata == {"job": 7}
        assert_shows(bought, description="Packet", request_metadata={"admin_id": "boss"}, service_type=None)
        assert first.user_id == payer.user_id

    def test_come_page_by_page(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        for number in range(4):
            ledger.execute(payer.deduct(1, request_id=f"job-{number}"))
        first = ledger.execute(ListTransactions(user_id=payer.user_id, limit=2))
        second = ledger.execute(ListTransactions(user_id=payer.user_id, limit=3, cursor=first.next_cursor))
        assert [each.request_id for each in first.items] == ["job-3", "job-2"]
        assert [each.request_id for each in second.items][:2] == ["job-1", "job-0"]
        assert len(second.items) == 3
        assert second.next_cursor is None

    def test_may_be_of_one_type_or_one_time(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.deduct(1))
        ledger.advance(3_600)
        last = ledger.execute(payer.deduct(2)).created_at

        def amounts(**fields: Any) -> list[Any]:
            page = ledger.execute(make(ListTransactions, user_id=payer.user_id, **fields))
            return [each.amount for each in page.items]

        assert amounts(transaction_type="credit_addition") == [100]
        assert amounts(since=last) == [-2]
        assert amounts(until=last) == [-1, 100]
        assert amounts(since=last - timedelta(minutes=1), until=last) == []

    def test_of_others_are_not_shown(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(allocated=3), ledger.prepare(allocated=4)
        assert [each.amount for each in _rows(ledger, payer.user_id)] == [3]
        assert [each.amount for each in _rows(ledger, other.user_id)] == [4]

    def test_the_balances_follow_from_them(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        charge = ledger.execute(payer.deduct(10))
        ledger.execute(refund(charge, 3))
        ledger.execute(capture(ledger.execute(payer.hold(5)), 4))
        ledger.execute(payer.hold(6))
        verification = ledger.execute(VerifyLedger())
        assert verification.differences == ()
        assert verification.users >= 1
        assert verification.transactions >= 4


class TestSdk(OnBalances):
    """The integration guide's methods."""

    def test_consumes_what_there_is(self, ledger: Harness) -> None:
        sdk, payer = ledger.sdk, ledger.prepare(allocated=8)
        assert sdk.get_balance(payer.user_id) == 8
        assert sdk.can_afford(payer.user_id, 8)
        assert not sdk.can_afford(payer.user_id, 9)
        assert sdk.consume_credits(
            user_id=payer.user_id, credits=5, description="Print job", metadata={"job_id": "j-1", "pages": 2}
        )
        assert not sdk.consume_credits(user_id=payer.user_id, credits=5, description="Print job")
        [row] = sdk.transactions(payer.user_id, transaction_type="service")
        assert_shows(row, amount=-5, balance_after=3, description="Print job", service_type="service")
        assert row.request_metadata == {"job_id": "j-1", "pages": 2}

    def test_adds_credits(self, ledger: Harness) -> None:
        sdk, payer = ledger.sdk, ledger.prepare(allocated=8)
        for _ in range(2):
            assert sdk.add_credits(
                user_id=payer.user_id,
                credits=100,
                description="Credit purchase",
                admin_id=None,
                request_id="payment-1",
            )
        assert sdk.statement(payer.user_id).credits == 108

    def test_answers_false_only_for_too_few_credits(self, ledger: Harness) -> None:
        sdk, payer = ledger.sdk, ledger.prepare(allocated=8)
        with refused(NotFoundError):
            sdk.consume_credits(unique("user"), 1)
        with refused(InvalidAmountError):
            sdk.consume_credits(payer.user_id, 0)
        with pytest.raises(ValidationFailedError):
            sdk.consume_credits("", 1)
        sdk.consume_credits(payer.user_id, 1, request_id="job-7")
        with refused(IdempotencyConflictError):
            sdk.consume_credits(payer.user_id, 2, request_id="job-7")
        ledger.deactivate(payer)
        with refused(NoAllocationError, limit="inactive"):
            sdk.consume_credits(payer.user_id, 1)

    def test_charges_a_block_that_succeeds(self, ledger: Harness) -> None:
        sdk, payer = ledger.sdk, ledger.prepare(allocated=8)
        with sdk.charge(payer.user_id, 5, "Print job", metadata={"pages": 1}) as charge:
            ledger.assert_balance(payer, allocated=8, used=0, held=5)
        with pytest.raises(ZeroDivisionError), sdk.charge(payer.user_id, 3, "Print job"):
            raise ZeroDivisionError
        [row] = sdk.transactions(payer.user_id, transaction_type="service")
        assert_shows(row, description="Print job", amount=-5, transaction_id=charge.receipt.charge_id)
        assert sdk.refund(charge.receipt, 2).remaining_credits == 5
        assert sdk.refund(row.transaction_id).credits_refunded == 3
        with refused(ConflictError):
            sdk.refund(row.transaction_id)


def _rows(ledger: Harness, user_id: str) -> tuple[Transaction, ...]:
    return ledger.execute(ListTransactions(user_id=user_id)).items
