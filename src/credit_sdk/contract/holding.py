"""The contract of holds: `held`, then once and for ever `captured`, `voided` or `expired`."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from credit_sdk.contract.harness import (
    SERVICE,
    Harness,
    Payer,
    assert_shows,
    capture,
    changed,
    look,
    refused,
    unique,
    void,
)
from credit_sdk.errors import (
    HoldClosedError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NoAllocationError,
    NotAMemberError,
    NotFoundError,
)
from credit_sdk.operations import CaptureHold, ExpireHolds, GetHold, VoidHold


class TestPlaceHold:
    """Setting credits aside."""

    def test_sets_credits_aside(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_000)
        hold = ledger.execute(payer.hold(50, service_name="full", request_id="job-7", ttl_seconds=120))
        assert_shows(
            hold,
            org_id=payer.org_id,
            user_id=payer.user_id,
            request_id="job-7",
            service_type=SERVICE,
            service_name="full",
            credits=50,
            captured_credits=0,
            status="held",
        )
        assert hold.expires_at - hold.created_at == timedelta(seconds=120)
        assert not hold.replayed
        ledger.assert_balance(payer, allocated=1_000, used=0, held=50)
        assert ledger.execute(look(hold)) == hold

    def test_holds_count_against_each_other(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.hold(60))
        with refused(InsufficientCreditsError, limit=payer.limit, required=60, available=40):
            ledger.execute(payer.hold(60))
        ledger.execute(payer.hold(40))
        ledger.assert_balance(payer, allocated=100, used=0, held=100)

    def test_who_may_not_spend_may_not_hold(self, ledger: Harness) -> None:
        none, inactive, suspended = ledger.prepare(allocated=None), ledger.prepare(), ledger.prepare()
        ledger.deactivate(inactive)
        ledger.administrator.suspend(suspended.org_id)
        for payer, limit in (none, "no_allocation"), (inactive, "inactive"), (suspended, "inactive"):
            with refused(NoAllocationError, limit=limit):
                ledger.execute(payer.hold(1))
        with refused(NotAMemberError):
            ledger.execute(Payer(none.org_id, unique("user")).hold(1))

    def test_the_same_hold_again_is_the_same_hold(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60, request_id="job-7"))
        again = ledger.execute(payer.hold(60, request_id="job-7", ttl_seconds=5))
        assert again == hold.model_copy(update={"replayed": True})
        ledger.assert_balance(payer, allocated=100, used=0, held=60)

    def test_a_captured_hold_is_answered_as_it_is(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(60, request_id="job-7"))
        ledger.execute(capture(hold, 40))
        again = ledger.execute(payer.hold(60, request_id="job-7"))
        assert_shows(again, hold_id=hold.hold_id, status="captured", captured_credits=40)
        assert again.replayed

    @pytest.mark.parametrize("captured", [False, True], ids=["held", "captured"])
    @pytest.mark.parametrize(
        "other",
        [{"credits": 11}, {"service_type": "valuation"}, {"service_name": "full"}],
        ids=["credits", "service_type", "service_name"],
    )
    def test_other_content_is_refused(
        self, ledger: Harness, other: dict[str, Any], *, captured: bool
    ) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(10, request_id="job-7"))
        if captured:
            ledger.execute(capture(hold))
        with refused(IdempotencyConflictError):
            ledger.execute(changed(payer.hold(10, request_id="job-7"), other))

    def test_another_member_is_other_content(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        other = ledger.join(payer.org_id)
        ledger.execute(payer.hold(10, request_id="job-7", ttl_seconds=60))
        ledger.advance(61)
        with refused(IdempotencyConflictError):
            ledger.execute(other.hold(10, request_id="job-7"))

    def test_an_id_that_charged_cannot_hold(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(10, request_id="job-7"))
        with refused(IdempotencyConflictError):
            ledger.execute(payer.hold(10, request_id="job-7"))
        ledger.assert_balance(payer, allocated=1_000, used=10, held=0)

    @pytest.mark.parametrize("end", ["voided", "expired", "overdue"])
    def test_an_id_that_holds_no_more_may_hold_again(self, ledger: Harness, end: str) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60, request_id="job-7", ttl_seconds=60))
        if end == "voided":
            ledger.execute(void(hold))
        else:
            ledger.advance(61)
        if end == "expired":
            ledger.execute(ExpireHolds(limit=100_000))
        again = ledger.execute(payer.hold(70, request_id="job-7"))
        assert_shows(again, status="held", replayed=False)
        assert again.hold_id != hold.hold_id
        ledger.assert_balance(payer, allocated=100, used=0, held=70)

    def test_a_refused_hold_does_not_use_the_id_up(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=50)
        with refused(InsufficientCreditsError, limit=payer.limit, required=60, available=50):
            ledger.execute(payer.hold(60, request_id="job-7"))
        assert not ledger.execute(payer.hold(40, request_id="job-7")).replayed


class TestVoid:
    """Giving a hold back."""

    def test_gives_the_credits_back(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        voided = ledger.execute(void(hold))
        assert voided == hold.model_copy(update={"status": "voided"})
        ledger.assert_balance(payer, allocated=1_000, used=0, held=0)

    def test_again_changes_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        ledger.execute(payer.hold(20))
        first = ledger.execute(void(hold))
        again = ledger.execute(void(hold))
        assert again == first.model_copy(update={"replayed": True})
        ledger.assert_balance(payer, allocated=1_000, used=0, held=20)

    def test_an_expired_hold_is_answered_as_it_is(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50, ttl_seconds=60))
        ledger.advance(61)
        ledger.execute(ExpireHolds(limit=100_000))
        voided = ledger.execute(void(hold))
        assert_shows(voided, status="expired", replayed=True)

    def test_an_overdue_hold_is_voided(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50, ttl_seconds=60))
        ledger.advance(61)
        voided = ledger.execute(void(hold))
        assert_shows(voided, status="voided", replayed=False)

    def test_a_captured_hold_cannot_be_voided(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        ledger.execute(capture(hold))
        with refused(HoldClosedError):
            ledger.execute(void(hold))
        ledger.assert_balance(payer, allocated=1_000, used=50, held=0)


class TestWhichHold:
    """A hold is known by its id, within an organisation if one is named."""

    @pytest.mark.parametrize("kind", [GetHold, VoidHold, CaptureHold])
    def test_what_is_unknown_and_what_is_elsewhere_look_alike(
        self, ledger: Harness, kind: type[GetHold | VoidHold | CaptureHold]
    ) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        with refused(NotFoundError):
            ledger.execute(kind(hold_id=uuid4()))
        with refused(NotFoundError):
            ledger.execute(kind(hold_id=hold.hold_id, org_id=other.org_id))
        ledger.execute(kind(hold_id=hold.hold_id, org_id=payer.org_id))
