"""The contract of capturing: a hold becomes exactly one charge, or ends by itself.

An expired hold may still be captured, if the balance covers it.
"""

from typing import Any

from credit_sdk.contract.harness import (
    SERVICE,
    Harness,
    Payer,
    assert_shows,
    capture,
    look,
    refused,
    void,
)
from credit_sdk.errors import (
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NoAllocationError,
)
from credit_sdk.models import Hold
from credit_sdk.operations import ExpireHolds


def _status(ledger: Harness, hold: Hold) -> str:
    return ledger.execute(look(hold)).status


class TestCapture:
    """A hold becomes exactly one charge."""

    def test_takes_the_whole_hold(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_000)
        hold = ledger.execute(payer.hold(50, service_name="full", request_id="job-7"))
        receipt = ledger.execute(capture(hold))
        assert_shows(
            receipt,
            credits_used=50,
            remaining_credits=950,
            replayed=False,
            org_id=payer.org_id,
            user_id=payer.user_id,
            request_id="job-7",
            service_type=SERVICE,
            service_name="full",
        )
        ledger.assert_balance(payer, allocated=1_000, used=50, held=0)
        captured = ledger.execute(look(hold))
        assert_shows(captured, status="captured", captured_credits=50, credits=50)

    def test_releases_what_is_not_taken(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50))
        receipt = ledger.execute(capture(hold, "12.5"))
        assert_shows(receipt, credits_used=12.5, remaining_credits=87.5)
        ledger.assert_balance(payer, allocated=100, used=12.5, held=0)
        assert ledger.execute(look(hold)).captured_credits == 12.5

    def test_takes_more_if_the_balance_allows(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50))
        receipt = ledger.execute(capture(hold, 100))
        assert_shows(receipt, credits_used=100, remaining_credits=0)
        ledger.assert_balance(payer, allocated=100, used=100, held=0)

    def test_refuses_more_than_the_balance_and_stays_open(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.deduct(30))
        ledger.execute(payer.hold(10))
        hold = ledger.execute(payer.hold(50))
        with refused(InsufficientCreditsError, limit="hold", required=61, available=60):
            ledger.execute(capture(hold, 61))
        assert _status(ledger, hold) == "held"
        assert ledger.execute(capture(hold, 60)).remaining_credits == 10

    def test_what_is_held_can_be_taken_whatever_became_of_the_allocation(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50))
        ledger.administrator.set_allocation(payer.org_id, payer.user_id, 10)
        with refused(InsufficientCreditsError, limit="hold", required=51, available=50):
            ledger.execute(capture(hold, 51))
        ledger.deactivate(payer)
        ledger.administrator.suspend(payer.org_id)
        with refused(NoAllocationError, limit="inactive"):
            ledger.execute(capture(hold, 51))
        assert ledger.execute(capture(hold)).remaining_credits == -40

    def test_again_is_the_first_receipt_again(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        first = ledger.execute(capture(hold, 30))
        ledger.execute(payer.deduct(5))
        replayed = first.model_copy(update={"replayed": True})
        assert ledger.execute(capture(hold, 30)) == replayed
        assert ledger.execute(capture(hold)) == replayed
        ledger.assert_balance(payer, allocated=1_000, used=35, held=0)

    def test_again_with_another_amount_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        ledger.execute(capture(hold, 30))
        with refused(IdempotencyConflictError):
            ledger.execute(capture(hold, 31))
        ledger.assert_balance(payer, allocated=1_000, used=30, held=0)

    def test_merges_metadata(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50, request_metadata={"job": 7, "state": "started"}))
        ledger.execute(capture(hold, request_metadata={"state": "done", "rows": 3}))
        [charge] = ledger.charges(payer)
        assert charge.request_metadata == {"job": 7, "state": "done", "rows": 3}

    def test_a_deduct_under_its_id_is_a_replay_or_a_conflict(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50, request_id="job-7"))
        receipt = ledger.execute(capture(hold, 30))
        again = ledger.execute(payer.deduct(30, request_id="job-7"))
        assert_shows(again, charge_id=receipt.charge_id, replayed=True)
        with refused(IdempotencyConflictError):
            ledger.execute(payer.deduct(50, request_id="job-7"))

    def test_a_voided_hold_cannot_be_captured(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        ledger.execute(void(hold))
        with refused(HoldClosedError):
            ledger.execute(capture(hold))
        ledger.assert_balance(payer, allocated=1_000, used=0, held=0)


class TestExpiry:
    """A hold ends by itself, and stands in nobody's way from then on."""

    def _expired(self, ledger: Harness, payer: Payer, credits: int = 50, **fields: Any) -> Hold:
        hold = ledger.execute(payer.hold(credits, ttl_seconds=60, **fields))
        ledger.advance(61)
        ledger.execute(ExpireHolds(limit=100_000))
        return hold

    def test_overdue_holds_are_given_back(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        short = ledger.execute(payer.hold(30, ttl_seconds=60))
        long = ledger.execute(payer.hold(20, ttl_seconds=3_600))
        ledger.advance(61)
        assert ledger.execute(ExpireHolds(limit=100_000)).expired >= 1
        assert (_status(ledger, short), _status(ledger, long)) == ("expired", "held")
        ledger.assert_balance(payer, allocated=100, used=0, held=20)

    def test_as_many_as_asked_for_the_oldest_first(self, ledger: Harness) -> None:
        ledger.advance(86_400)
        ledger.execute(ExpireHolds(limit=100_000))
        payer = ledger.prepare()
        later, sooner = (ledger.execute(payer.hold(1, ttl_seconds=seconds)) for seconds in (90, 60))
        ledger.advance(100)
        assert ledger.execute(ExpireHolds(limit=1)).expired == 1
        assert (_status(ledger, sooner), _status(ledger, later)) == ("expired", "held")
        assert ledger.execute(ExpireHolds()).expired == 1
        assert ledger.execute(ExpireHolds()).expired == 0

    def test_they_make_room_for_a_charge_and_for_a_hold(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        first = ledger.execute(payer.hold(80, ttl_seconds=60))
        ledger.advance(61)
        ledger.execute(payer.deduct(50))
        assert _status(ledger, first) == "expired"
        second = ledger.execute(payer.hold(50, ttl_seconds=60))
        ledger.advance(61)
        ledger.execute(payer.hold(50))
        assert _status(ledger, second) == "expired"
        ledger.assert_balance(payer, allocated=100, used=50, held=50)

    def test_they_stay_as_they_are_while_there_is_room(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50, ttl_seconds=60))
        ledger.advance(61)
        ledger.execute(payer.deduct(50))
        assert _status(ledger, hold) == "held"
        assert ledger.execute(capture(hold)).remaining_credits == 0

    def test_a_refusal_counts_them_as_given_back_but_changes_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(80, ttl_seconds=60))
        ledger.advance(61)
        with refused(InsufficientCreditsError, limit=payer.limit, required=101, available=100):
            ledger.execute(payer.deduct(101))
        assert _status(ledger, hold) == "held"

    def test_others_make_room_for_a_capture(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        other = ledger.execute(payer.hold(50, ttl_seconds=60))
        hold = ledger.execute(payer.hold(50, ttl_seconds=3_600))
        ledger.advance(61)
        with refused(InsufficientCreditsError, limit="hold", required=101, available=100):
            ledger.execute(capture(hold, 101))
        assert ledger.execute(capture(hold, 100)).remaining_credits == 0
        assert _status(ledger, other) == "expired"

    def test_an_overdue_hold_is_open_until_it_is_given_back(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50, ttl_seconds=60))
        ledger.advance(61)
        with refused(InsufficientCreditsError, limit="hold", required=101, available=100):
            ledger.execute(capture(hold, 101))
        assert ledger.execute(capture(hold, 100)).credits_used == 100

    def test_captured_late_it_is_charged_if_the_balance_covers_it(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = self._expired(ledger, payer, request_id="job-7")
        ledger.execute(payer.deduct(40))
        receipt = ledger.execute(capture(hold, 60))
        assert_shows(receipt, credits_used=60, remaining_credits=0, request_id="job-7")
        assert not receipt.replayed
        assert _status(ledger, hold) == "captured"
        assert ledger.execute(capture(hold)).replayed

    def test_captured_late_it_is_refused_if_the_balance_does_not(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = self._expired(ledger, payer)
        ledger.execute(payer.deduct(60))
        with refused(HoldExpiredError):
            ledger.execute(capture(hold))
        assert _status(ledger, hold) == "expired"
        assert ledger.execute(capture(hold, 40)).remaining_credits == 0

    def test_captured_late_from_an_inactive_allocation_it_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = self._expired(ledger, payer)
        ledger.deactivate(payer)
        with refused(HoldExpiredError):
            ledger.execute(capture(hold))

    def test_when_the_job_ran_again_its_charge_is_the_answer(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_000)
        hold = self._expired(ledger, payer, request_id="job-7")
        receipt = ledger.execute(payer.deduct(50, request_id="job-7"))
        again = ledger.execute(capture(hold))
        assert_shows(again, charge_id=receipt.charge_id, replayed=True)
        with refused(IdempotencyConflictError):
            ledger.execute(capture(hold, 30))
        assert _status(ledger, hold) == "expired"
        ledger.assert_balance(payer, allocated=1_000, used=50, held=0)

    def test_while_the_job_runs_again_its_new_hold_is_the_one_to_capture(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        old = self._expired(ledger, payer, request_id="job-7")
        new = ledger.execute(payer.hold(50, request_id="job-7"))
        with refused(IdempotencyConflictError):
            ledger.execute(capture(old))
        ledger.execute(capture(new))
        assert ledger.execute(capture(old)).replayed
        ledger.assert_balance(payer, allocated=1_000, used=50, held=0)
