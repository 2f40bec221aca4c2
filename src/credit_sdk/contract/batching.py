"""The contract of `DeductBatch`: the outcomes of its charges taken one after the other."""

from credit_sdk.contract.harness import Harness, Payer, assert_refusal, assert_shows, capture, look, unique
from credit_sdk.errors import (
    CreditError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NoAllocationError,
    NotAMemberError,
)
from credit_sdk.models import BatchOutcome, BatchResult, Receipt
from credit_sdk.operations import Deduct, DeductBatch, ListCharges


def _take(ledger: Harness, *charges: Deduct) -> BatchResult:
    result = ledger.execute(DeductBatch(charges=charges))
    assert [outcome.request_id for outcome in result] == [charge.request_id for charge in charges]
    return result


def _receipt(outcome: BatchOutcome) -> Receipt:
    assert outcome.success
    assert outcome.problem is None
    assert outcome.receipt is not None
    return outcome.receipt


def _refusal(outcome: BatchOutcome) -> CreditError:
    assert not outcome.success
    assert outcome.receipt is None
    assert outcome.problem is not None
    return outcome.problem.exception()


class TestBatch:
    """Many charges at once, each with an outcome of its own."""

    def test_takes_every_charge(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        charges = [payer.deduct(10, request_id=f"row-{n}", service_name=f"row {n}") for n in range(3)]
        receipts = [_receipt(outcome) for outcome in _take(ledger, *charges)]
        assert [receipt.remaining_credits for receipt in receipts] == [90, 80, 70]
        for receipt, charge in zip(receipts, charges, strict=True):
            assert_shows(receipt, credits_used=10, request_id=charge.request_id, replayed=False)
            assert_shows(receipt, org_id=payer.org_id, user_id=payer.user_id)
            assert_shows(receipt, service_type=charge.service_type, service_name=charge.service_name)
        ledger.assert_balance(payer, allocated=100, used=30, held=0)
        rows = ledger.execute(ListCharges(org_id=payer.org_id)).items
        assert {row.charge_id for row in rows} == {receipt.charge_id for receipt in receipts}

    def test_takes_what_fits_in_order(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        large, too_large, small = _take(ledger, payer.deduct(70), payer.deduct(40), payer.deduct(30))
        assert _receipt(large).remaining_credits == 30
        assert_refusal(
            _refusal(too_large), InsufficientCreditsError, limit="allocation", required=40, available=30
        )
        assert _receipt(small).remaining_credits == 0
        ledger.assert_balance(payer, allocated=100, used=100, held=0)

    def test_each_member_and_each_organisation_for_itself(self, ledger: Harness) -> None:
        payer, elsewhere = ledger.prepare(allocated=50), ledger.prepare(allocated=50)
        colleague = ledger.join(payer.org_id, allocated=50)
        payers = [payer, elsewhere, colleague, elsewhere, payer]
        charges = [each.deduct(20, request_id=f"row-{n}") for n, each in enumerate(payers)]
        receipts = [_receipt(outcome) for outcome in _take(ledger, *charges)]
        assert [receipt.remaining_credits for receipt in receipts] == [30, 30, 30, 10, 10]
        for receipt, each in zip(receipts, payers, strict=True):
            assert_shows(receipt, org_id=each.org_id, user_id=each.user_id)

    def test_refuses_each_for_its_own_reason(self, ledger: Harness) -> None:
        payer, none, inactive = ledger.prepare(), ledger.prepare(allocated=None), ledger.prepare()
        ledger.administrator.deactivate(inactive.org_id, inactive.user_id)
        ledger.execute(payer.deduct(5, request_id="job-7"))
        ledger.execute(payer.hold(5, request_id="job-8"))
        strangers = Payer(payer.org_id, unique("user")), Payer(unique("org"), payer.user_id)
        outcomes = _take(
            ledger,
            none.deduct(1),
            inactive.deduct(1),
            *(stranger.deduct(1) for stranger in strangers),
            payer.deduct(6, request_id="job-7"),
            payer.deduct(5, request_id="job-8"),
            payer.deduct(1),
        )
        *refusals, taken = outcomes
        assert_refusal(_refusal(refusals[0]), NoAllocationError, limit="no_allocation")
        assert_refusal(_refusal(refusals[1]), NoAllocationError, limit="inactive")
        for refusal in refusals[2:4]:
            assert_refusal(_refusal(refusal), NotAMemberError)
        for refusal in refusals[4:]:
            assert_refusal(_refusal(refusal), IdempotencyConflictError)
        assert _receipt(taken).remaining_credits == 994

    def test_again_is_the_first_outcome_again(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        charges = [payer.deduct(10, request_id=f"row-{n}") for n in range(3)]
        first = [_receipt(outcome) for outcome in _take(ledger, *charges[:2])]
        again = [_receipt(outcome) for outcome in _take(ledger, *charges)]
        assert again[:2] == [receipt.model_copy(update={"replayed": True}) for receipt in first]
        assert_shows(again[2], remaining_credits=70, replayed=False)

    def test_knows_its_own_ids(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        colleague = ledger.join(payer.org_id)
        first, again, other, of_colleague = _take(
            ledger,
            payer.deduct(10, request_id="row-1"),
            payer.deduct(10, request_id="row-1"),
            payer.deduct(11, request_id="row-1"),
            colleague.deduct(10, request_id="row-1"),
        )
        assert _receipt(again) == _receipt(first).model_copy(update={"replayed": True})
        for outcome in other, of_colleague:
            assert_refusal(_refusal(outcome), IdempotencyConflictError)
        ledger.assert_balance(payer, allocated=100, used=10, held=0)

    def test_an_id_that_was_refused_is_free(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=10)
        too_large, small = _take(
            ledger, payer.deduct(11, request_id="row-1"), payer.deduct(10, request_id="row-1")
        )
        assert_refusal(
            _refusal(too_large), InsufficientCreditsError, limit="allocation", required=11, available=10
        )
        assert not _receipt(small).replayed

    def test_shares_ids_with_single_charges_and_captures(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        single = ledger.execute(payer.deduct(10, request_id="job-7"))
        hold = ledger.execute(payer.hold(20, request_id="job-8"))
        captured = ledger.execute(capture(hold))
        outcomes = _take(ledger, payer.deduct(10, request_id="job-7"), payer.deduct(20, request_id="job-8"))
        assert [_receipt(outcome).charge_id for outcome in outcomes] == [single.charge_id, captured.charge_id]
        assert all(_receipt(outcome).replayed for outcome in outcomes)

    def test_counts_holds_but_not_overdue_ones(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        overdue = ledger.execute(payer.hold(50, ttl_seconds=60))
        ledger.execute(payer.hold(20, ttl_seconds=3_600))
        ledger.advance(61)
        taken, refusal = _take(ledger, payer.deduct(80), payer.deduct(1))
        assert _receipt(taken).remaining_credits == 20
        assert_refusal(
            _refusal(refusal), InsufficientCreditsError, limit="allocation", required=1, available=0
        )
        assert ledger.execute(look(overdue)).status == "expired"
        ledger.assert_balance(payer, allocated=100, used=80, held=20)

    def test_counts_overage(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100, overage=20)
        taken, refusal = _take(ledger, payer.deduct(110), payer.deduct(11))
        assert _receipt(taken).remaining_credits == -10
        assert_refusal(
            _refusal(refusal), InsufficientCreditsError, limit="overage", required=11, available=10
        )

    def test_takes_a_thousand(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=999)
        *taken, last = _take(ledger, *(payer.deduct(1, request_id=f"row-{n}") for n in range(1_000)))
        assert [_receipt(outcome).remaining_credits for outcome in taken] == list(range(998, -1, -1))
        assert_refusal(_refusal(last), InsufficientCreditsError, limit="allocation", required=1, available=0)
