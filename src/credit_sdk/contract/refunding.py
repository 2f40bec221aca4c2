"""The contract of `Refund`: a charge gives back at most what it took."""

from uuid import uuid4

import pytest

from credit_sdk.contract.harness import Harness, assert_shows, capture, make, refund, refused
from credit_sdk.errors import ConflictError, IdempotencyConflictError, NotFoundError
from credit_sdk.operations import Refund


class TestRefund:
    """Giving charges back."""

    def test_gives_the_whole_charge_back(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        charge = ledger.execute(payer.deduct(60, service_name="full"))
        receipt = ledger.execute(refund(charge, idempotency_key="refund-1", reason="wrong company"))
        assert_shows(receipt, charge_id=charge.charge_id, org_id=payer.org_id, user_id=payer.user_id)
        assert_shows(receipt, credits_refunded=60, refundable_credits=0, remaining_credits=100)
        assert_shows(receipt, request_id="refund-1", replayed=False)
        ledger.assert_balance(payer, allocated=100, used=0, held=0)

    def test_is_a_row_of_its_own_in_the_attribution(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60, service_name="full"))
        receipt = ledger.execute(refund(charge, "12.5", idempotency_key="refund-1", reason="partly empty"))
        row, original = ledger.charges(payer)
        assert_shows(row, charge_id=receipt.refund_id, refund_of=charge.charge_id, request_id="refund-1")
        assert f"{row.credits_used:f}" == "-12.5"
        assert_shows(row, service_type=charge.service_type, service_name="full", user_id=payer.user_id)
        assert row.request_metadata == {"reason": "partly empty"}
        assert_shows(original, credits_used=60, refund_of=None)

    def test_gives_parts_back_until_nothing_is_left(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        charge = ledger.execute(payer.deduct(60))
        assert_shows(ledger.execute(refund(charge, 20)), refundable_credits=40, remaining_credits=60)
        assert_shows(ledger.execute(refund(charge, 10)), refundable_credits=30, remaining_credits=70)
        with refused(ConflictError):
            ledger.execute(refund(charge, "30.001"))
        assert_shows(ledger.execute(refund(charge)), credits_refunded=30, refundable_credits=0)
        for credits in None, 1:
            with refused(ConflictError):
                ledger.execute(refund(charge, credits))
        ledger.assert_balance(payer, allocated=100, used=0, held=0)

    def test_what_was_given_back_can_be_spent_again(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=60)
        charge = ledger.execute(payer.deduct(60))
        ledger.execute(refund(charge))
        assert ledger.execute(payer.deduct(60)).remaining_credits == 0

    def test_a_captured_hold_is_a_charge_like_others(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(60, request_id="job-7"))
        ledger.execute(capture(hold, 40))
        receipt = ledger.execute(payer.refund(request_id="job-7"))
        assert_shows(receipt, credits_refunded=40, remaining_credits=1_000)

    def test_needs_no_active_allocation(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        ledger.deactivate(payer)
        ledger.administrator.suspend(payer.org_id)
        assert ledger.execute(refund(charge)).remaining_credits == 1_000

    def test_a_refund_cannot_be_refunded(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        receipt = ledger.execute(refund(charge, 10))
        with refused(ConflictError):
            ledger.execute(refund(receipt))

    def test_a_refunded_charge_is_still_charged_once(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60, request_id="job-7"))
        ledger.execute(refund(charge))
        again = ledger.execute(payer.deduct(60, request_id="job-7"))
        assert_shows(again, charge_id=charge.charge_id, remaining_credits=940, replayed=True)
        ledger.assert_balance(payer, allocated=1_000, used=0, held=0)


class TestRefundKeys:
    """A refund has a request id of its own, in the same space as charges."""

    def test_the_same_refund_again_is_the_first_outcome_again(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        first = ledger.execute(refund(charge, 20, idempotency_key="refund-1"))
        ledger.execute(refund(charge, 5))
        replayed = first.model_copy(update={"replayed": True})
        assert ledger.execute(refund(charge, 20, idempotency_key="refund-1")) == replayed
        assert ledger.execute(refund(charge, idempotency_key="refund-1")) == replayed
        ledger.assert_balance(payer, allocated=1_000, used=35, held=0)

    def test_another_amount_or_charge_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge, other = ledger.execute(payer.deduct(60)), ledger.execute(payer.deduct(60))
        ledger.execute(refund(charge, 20, idempotency_key="refund-1"))
        with refused(IdempotencyConflictError):
            ledger.execute(refund(charge, 21, idempotency_key="refund-1"))
        with refused(IdempotencyConflictError):
            ledger.execute(refund(other, 20, idempotency_key="refund-1"))
        ledger.assert_balance(payer, allocated=1_000, used=100, held=0)

    def test_the_id_of_a_charge_or_an_open_hold_is_taken(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60, request_id="job-7"))
        ledger.execute(payer.hold(10, request_id="job-8"))
        for key in "job-7", "job-8":
            with refused(IdempotencyConflictError):
                ledger.execute(refund(charge, 60, idempotency_key=key))

    def test_the_key_of_a_refund_charges_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        ledger.execute(refund(charge, idempotency_key="refund-1"))
        with refused(IdempotencyConflictError):
            ledger.execute(payer.deduct(60, request_id="refund-1"))
        with refused(IdempotencyConflictError):
            ledger.execute(payer.hold(60, request_id="refund-1"))

    def test_a_refused_refund_does_not_use_the_key_up(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        with refused(ConflictError):
            ledger.execute(refund(charge, 61, idempotency_key="refund-1"))
        assert not ledger.execute(refund(charge, 60, idempotency_key="refund-1")).replayed


class TestWhichCharge:
    """A charge is known by its id, or by its request id within an organisation."""

    def test_by_request_id(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        charge = ledger.execute(payer.deduct(60, request_id="job-7"))
        ledger.execute(other.deduct(10, request_id="job-7"))
        receipt = ledger.execute(payer.refund(request_id="job-7"))
        assert_shows(receipt, charge_id=charge.charge_id, credits_refunded=60)

    @pytest.mark.parametrize("name", ["charge_id", "request_id"])
    def test_what_is_unknown_and_what_is_elsewhere_look_alike(self, ledger: Harness, name: str) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        for unknown in getattr(charge, name), uuid4() if name == "charge_id" else "job-8":
            with refused(NotFoundError):
                ledger.execute(make(Refund, org_id=other.org_id, **{name: unknown}))
        ledger.execute(make(Refund, org_id=payer.org_id, **{name: getattr(charge, name)}))
