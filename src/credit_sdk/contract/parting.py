"""The contract of parts: an open hold is charged bit by bit, and what is left stays held."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from credit_sdk.amounts import Amount
from credit_sdk.contract.capping import HOUR, prepare_in_window, set_cap, used
from credit_sdk.contract.harness import (
    SERVICE,
    Harness,
    assert_shows,
    capture,
    extend,
    look,
    make,
    refund,
    refused,
    shown,
    void,
)
from credit_sdk.errors import (
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NotFoundError,
    ValidationFailedError,
)
from credit_sdk.models import Hold
from credit_sdk.operations import ChargeHold, CheckCharges, ExpireHolds, ListCharges, VerifyLedger


def charge_parts(hold: Hold, parts: dict[str, Amount], *, close: bool = False) -> ChargeHold:
    """Return the charges for parts of a hold: request ids and their credits."""
    charges = [{"request_id": request_id, "credits": credits} for request_id, credits in parts.items()]
    return make(ChargeHold, hold_id=hold.hold_id, charges=charges, close=close)


class TestChargeHold:
    """Taking parts of an open hold."""

    def test_takes_parts_and_keeps_the_rest(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60, service_name="full"))
        answer = ledger.execute(charge_parts(hold, {"b": 5, "a": "7.5"}))
        left = {"credits": Decimal("47.5"), "captured_credits": Decimal("12.5")}
        assert answer.hold == hold.model_copy(update=left)
        names = "request_id", "credits_used", "remaining_credits", "service_type", "service_name", "replayed"
        assert shown(answer.receipts, *names) == [
            ("b", 5, 95, SERVICE, "full", False),
            ("a", Decimal("7.5"), Decimal("87.5"), SERVICE, "full", False),
        ]
        assert ledger.execute(look(hold)) == answer.hold
        ledger.assert_balance(payer, allocated=100, used=Decimal("12.5"), held=Decimal("47.5"))

    def test_the_id_of_a_part_holds_nothing_any_more(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        first = payer.hold(10)
        ledger.execute(void(ledger.execute(first)))
        whole = payer.hold(10)
        hold = ledger.execute(whole)
        ledger.execute(charge_parts(hold, {first.request_id: 10}))
        with refused(IdempotencyConflictError):
            ledger.execute(first)
        ledger.execute(void(hold))
        with refused(IdempotencyConflictError):
            ledger.execute(first)
        ledger.assert_balance(payer, allocated=100, used=10, held=0)

    def test_a_part_says_what_it_was_for(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(60))
        said = {"service_type": "valuation", "service_name": "short", "request_metadata": {"row": 1}}
        ledger.execute(make(ChargeHold, hold_id=hold.hold_id, charges=[_part("r-1") | said]))
        [charge] = ledger.execute(ListCharges(org_id=payer.org_id)).items
        assert_shows(charge, request_id="r-1", **said)

    def test_takes_no_more_than_the_hold_has_left(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(10))
        ledger.execute(charge_parts(hold, {"a": 6}))
        with refused(InsufficientCreditsError, limit="hold", required=5, available=4):
            ledger.execute(charge_parts(hold, {"b": 2, "c": 3}))
        ledger.assert_balance(payer, allocated=100, used=6, held=4)
        ledger.execute(extend(hold, credits=1))
        assert ledger.execute(charge_parts(hold, {"b": 2, "c": 3})).hold.credits == 0

    def test_a_thousand_parts_at_once(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(1_000))
        answer = ledger.execute(charge_parts(hold, {f"r-{number}": 1 for number in range(1_000)}))
        assert len(answer.receipts) == 1_000
        ledger.assert_balance(payer, allocated=1_000, used=1_000, held=0)

    @pytest.mark.parametrize("end", ["close", "void", "expiry"])
    def test_only_the_rest_is_given_back(self, ledger: Harness, end: str) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60, ttl_seconds=60))
        ledger.execute(charge_parts(hold, {"a": 10, "b": 20}, close=end == "close"))
        match end:
            case "void":
                ledger.execute(void(hold))
            case "expiry":
                ledger.advance(61)
                ledger.execute(ExpireHolds(limit=100_000))
        status = "expired" if end == "expiry" else "voided"
        assert_shows(ledger.execute(look(hold)), status=status, captured_credits=30)
        ledger.assert_balance(payer, allocated=100, used=30, held=0)

    def test_the_rest_can_be_captured(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60))
        ledger.execute(charge_parts(hold, {"a": 10}))
        assert ledger.execute(capture(hold)).credits_used == 50
        assert ledger.execute(look(hold)).captured_credits == 60
        assert ledger.execute(capture(hold, 50)).replayed
        with refused(IdempotencyConflictError):
            ledger.execute(capture(hold, 60))
        ledger.assert_balance(payer, allocated=100, used=60, held=0)

    @pytest.mark.parametrize("late", [False, True])
    def test_of_nothing_nothing_is_captured(self, ledger: Harness, *, late: bool) -> None:
        hold = ledger.execute(ledger.prepare().hold(60, ttl_seconds=60))
        ledger.execute(charge_parts(hold, {"a": 60}))
        if late:
            ledger.advance(61)
            ledger.execute(ExpireHolds(limit=100_000))
        with refused(HoldClosedError):
            ledger.execute(capture(hold))

    def test_after_its_time_new_parts_are_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(60, ttl_seconds=60))
        ledger.execute(charge_parts(hold, {"a": 10}))
        ledger.advance(61)
        with refused(HoldExpiredError):
            ledger.execute(charge_parts(hold, {"a": 10, "b": 10}))
        assert ledger.execute(charge_parts(hold, {"a": 10})).receipts[0].replayed

    @pytest.mark.parametrize("end", [void, capture], ids=["void", "capture"])
    def test_of_a_closed_hold_nothing_is_taken(self, ledger: Harness, end: Any) -> None:
        hold = ledger.execute(ledger.prepare().hold(60))
        ledger.execute(end(hold))
        with refused(HoldClosedError):
            ledger.execute(charge_parts(hold, {"a": 10}))

    def test_what_is_elsewhere_is_not_found(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        hold = ledger.execute(payer.hold(60))
        for named in {"hold_id": hold.hold_id, "org_id": other.org_id}, {"hold_id": uuid4()}:
            with refused(NotFoundError):
                ledger.execute(make(ChargeHold, **named, charges=[_part("a")]))


class TestPartsOnce:
    """A request id takes its part once."""

    def test_again_takes_nothing_more(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60))
        first = ledger.execute(charge_parts(hold, {"a": 10})).receipts[0]
        answer = ledger.execute(charge_parts(hold, {"b": 10, "a": 10}, close=True))
        assert answer.receipts[1] == first.model_copy(update={"replayed": True})
        again = ledger.execute(charge_parts(hold, {"b": 10, "a": 10}, close=True))
        assert again.hold == answer.hold.model_copy(update={"replayed": True})
        assert all(receipt.replayed for receipt in again.receipts)
        ledger.assert_balance(payer, allocated=100, used=20, held=0)

    def test_a_part_and_a_deduct_are_the_same_charge(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60))
        ledger.execute(payer.deduct(10, request_id="a"))
        assert ledger.execute(charge_parts(hold, {"a": 10, "b": 10})).receipts[0].replayed
        assert ledger.execute(payer.deduct(10, request_id="b")).replayed
        ledger.assert_balance(payer, allocated=100, used=20, held=50)

    @pytest.mark.parametrize("use", ["hold", "deduct"])
    def test_other_content_is_refused_and_nothing_is_taken(self, ledger: Harness, use: str) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(20))
        ledger.execute(getattr(payer, use)(5, request_id="a"))
        with refused(IdempotencyConflictError):
            ledger.execute(charge_parts(hold, {"a": 10, "b": 1}))
        assert ledger.execute(look(hold)) == hold

    def test_the_holds_own_id_is_for_its_capture(self, ledger: Harness) -> None:
        hold = ledger.execute(ledger.prepare().hold(20, request_id="job-7"))
        with refused(IdempotencyConflictError):
            ledger.execute(charge_parts(hold, {"job-7": 1}))

    def test_an_id_stands_once_in_a_request(self, ledger: Harness) -> None:
        hold = ledger.execute(ledger.prepare().hold(20))
        with pytest.raises(ValidationFailedError, match="request_id of its own"):
            make(ChargeHold, hold_id=hold.hold_id, charges=[_part("a"), _part("a") | {"credits": 2}])
        twice = make(ChargeHold, hold_id=hold.hold_id, charges=[_part("a"), _part("a")])
        assert len(ledger.execute(twice).receipts) == 1


class TestCheckCharges:
    """Which request ids have charged a member."""

    def test_names_those_that_have_charged(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        other = ledger.join(payer.org_id)
        hold = ledger.execute(payer.hold(20, request_id="held"))
        ledger.execute(charge_parts(hold, {"part": 10}))
        charge = ledger.execute(payer.deduct(5, request_id="deducted"))
        ledger.execute(refund(charge, idempotency_key="refund"))
        ledger.execute(other.deduct(5, request_id="theirs"))
        asked = "unknown", "part", "refund", "held", "theirs", "deducted"
        answer = ledger.execute(
            make(CheckCharges, org_id=payer.org_id, user_id=payer.user_id, request_ids=asked)
        )
        assert answer.request_ids == ("part", "deducted")


class TestCapsAndParts:
    """Parts count where their hold counted."""

    def test_parts_count_nothing_more(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(80))
        set_cap(ledger, payer, 10)
        ledger.execute(charge_parts(hold, {"a": 30}))
        assert used(ledger, payer) == 80
        ledger.execute(charge_parts(hold, {"b": 10}, close=True))
        assert used(ledger, payer) == 40

    def test_a_part_stays_where_it_counted_when_the_rest_moves_on(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(80, ttl_seconds=2 * HOUR))
        ledger.execute(charge_parts(hold, {"a": 30}))
        ledger.advance(HOUR)
        ledger.execute(charge_parts(hold, {"b": 20}))
        assert used(ledger, payer) == 0
        ledger.execute(extend(hold, credits=10))
        assert used(ledger, payer) == 40
        ledger.execute(charge_parts(hold, {"c": 5}))
        assert used(ledger, payer) == 40
        assert ledger.execute(VerifyLedger(org_id=payer.org_id)).differences == ()


def _part(request_id: str) -> dict[str, Any]:
    return {"request_id": request_id, "credits": 1}
