"""The contract of caps: no organisation, member or key spends more in a call, an hour, a day or a month."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk.amounts import Amount
from credit_sdk.contract.harness import (
    Harness,
    Payer,
    assert_refusal,
    assert_shows,
    capture,
    make,
    refund,
    refused,
    shown,
    unique,
    void,
)
from credit_sdk.errors import (
    InsufficientCreditsError,
    NotAMemberError,
    ValidationFailedError,
)
from credit_sdk.models import Cap, CapList, CapPeriod, CapScope
from credit_sdk.operations import DeductBatch, ListCaps, Operation, SetCap, VerifyLedger

SCOPES: tuple[CapScope, ...] = ("organization", "member", "api_key")
PERIODS: tuple[CapPeriod, ...] = ("hour", "day", "month")
HOUR = 3_600

Spend = Callable[..., Operation[Any]]


def set_cap(
    ledger: Harness,
    payer: Payer,
    credits: Amount | None,
    scope: CapScope = "member",
    period: CapPeriod = "hour",
    **fields: Any,
) -> CapList:
    """Set a cap of the payer's, or remove it."""
    subject = {"member": payer.user_id}.get(scope)
    named = {"org_id": payer.org_id, "scope": scope, "subject": subject, "period": period}
    return ledger.execute(make(SetCap, credits=credits, **named | fields))


def caps_of(ledger: Harness, payer: Payer) -> tuple[Cap, ...]:
    return ledger.execute(ListCaps(org_id=payer.org_id)).caps


def used(ledger: Harness, payer: Payer) -> Amount:
    """Return what is used of the organisation's only cap."""
    [cap] = caps_of(ledger, payer)
    return cap.used_credits


def resets_at(ledger: Harness, payer: Payer) -> datetime:
    """Return when the window of the organisation's only cap ends."""
    [cap] = caps_of(ledger, payer)
    assert cap.resets_at is not None
    return cap.resets_at


def begin_window(ledger: Harness, payer: Payer, period: CapPeriod = "hour") -> None:
    """Let time pass until a window has just begun, so that none ends in the middle of a test."""
    [cap] = set_cap(ledger, payer, 1, "organization", period).caps
    assert cap.resets_at is not None
    ledger.advance((cap.resets_at - cap.updated_at).total_seconds())
    set_cap(ledger, payer, None, "organization", period)


def prepare_in_window(ledger: Harness, period: CapPeriod = "hour", **fields: Any) -> Payer:
    """Return a payer at the beginning of a window."""
    payer = ledger.prepare(**fields)
    begin_window(ledger, payer, period)
    return payer


def cap_subject(ledger: Harness, scope: CapScope) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how a cap names its subject, and what charges say to be the subject's."""
    if scope != "api_key":
        return {}, {}
    key_id, by_key = ledger.api_key()
    return {"subject": key_id}, by_key


class TestSetCap:
    """Setting, changing and removing caps, and looking at them."""

    def test_there_are_none_at_first(self, ledger: Harness) -> None:
        assert caps_of(ledger, ledger.prepare()) == ()

    def test_lists_them_by_key(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 500, "organization", "month")
        set_cap(ledger, payer, "99.999", "member", "hour")
        set_cap(ledger, payer, 50, "member", "call")
        listed = set_cap(ledger, payer, 70, "api_key", "day", subject="key-1")
        assert shown(listed.caps, "scope", "subject", "period", "credits") == [
            ("api_key", "key-1", "day", 70),
            ("member", payer.user_id, "call", 50),
            ("member", payer.user_id, "hour", Decimal("99.999")),
            ("organization", None, "month", 500),
        ]
        assert {cap.used_credits for cap in listed.caps} == {0}
        assert listed.caps == caps_of(ledger, payer)

    @pytest.mark.parametrize("period", PERIODS)
    def test_says_when_the_window_ends(self, ledger: Harness, period: CapPeriod) -> None:
        payer = ledger.prepare()
        set_cap(ledger, payer, 10, period=period)
        end = resets_at(ledger, payer)
        assert (end.minute, end.second, end.microsecond) == (0, 0, 0)
        assert period == "hour" or end.hour == 0
        assert period != "month" or end.day == 1

    def test_of_a_call_there_is_no_window(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(5))
        [cap] = set_cap(ledger, payer, 10, period="call").caps
        assert_shows(cap, used_credits=0, resets_at=None)

    def test_another_amount_keeps_what_is_used(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        ledger.execute(payer.deduct(30))
        [cap] = set_cap(ledger, payer, 80).caps
        assert_shows(cap, credits=80, used_credits=30)

    def test_again_changes_nothing(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        first = set_cap(ledger, payer, 100)
        ledger.advance(60)
        assert set_cap(ledger, payer, 100) == first

    def test_without_credits_it_is_removed(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        set_cap(ledger, payer, 10)
        set_cap(ledger, payer, 20, period="day")
        assert shown(set_cap(ledger, payer, None).caps, "period") == [("day",)]
        assert set_cap(ledger, payer, None, period="day").caps == ()
        assert set_cap(ledger, payer, None).caps == ()
        assert ledger.execute(payer.deduct(100)).remaining_credits == 900

    def test_in_the_middle_of_a_window_counts_what_was_spent_in_it(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(500))
        begin_window(ledger, payer)
        other = ledger.join(payer.org_id)
        ledger.execute(payer.deduct(1))
        for hold, credits in (payer.hold(10), None), (payer.hold(20), 15), (payer.hold(30), 35):
            ledger.execute(capture(ledger.execute(hold), credits))
        ledger.execute(void(ledger.execute(payer.hold(40))))
        ledger.execute(payer.hold(50))
        ledger.execute(other.deduct(100))
        assert shown(set_cap(ledger, payer, 200).caps, "used_credits") == [(111,)]
        set_cap(ledger, payer, None)
        assert shown(set_cap(ledger, payer, 300, "organization").caps, "used_credits") == [(211,)]

    def test_of_an_unknown_organisation_are_someone_elses(self, ledger: Harness) -> None:
        stranger = Payer(unique("org"), unique("user"))
        with refused(NotAMemberError):
            set_cap(ledger, stranger, 10)
        with refused(NotAMemberError):
            caps_of(ledger, stranger)

    @pytest.mark.parametrize(
        ("scope", "subject"), [("organization", "ada"), ("member", None), ("api_key", None)]
    )
    def test_has_the_subject_that_its_scope_asks_for(
        self, ledger: Harness, scope: CapScope, subject: str | None
    ) -> None:
        payer = ledger.prepare()
        with pytest.raises(ValidationFailedError, match="subject"):
            ledger.client.credits.set_cap(payer.org_id, scope, "hour", 10, subject=subject)

    def test_through_the_client(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        caps = ledger.client.credits.set_cap(payer.org_id, "member", "day", "2.5", subject=payer.user_id)
        assert caps == ledger.client.credits.caps(payer.org_id)
        assert shown(caps, "scope", "period", "credits") == [("member", "day", Decimal("2.5"))]
        left = ledger.client.credits.set_cap(payer.org_id, "member", "day", None, subject=payer.user_id)
        assert left == ()


class TestCaps:
    """What is refused, by which cap, until when."""

    @pytest.mark.parametrize("kind", ["deduct", "hold"])
    @pytest.mark.parametrize("period", PERIODS)
    @pytest.mark.parametrize("scope", SCOPES)
    def test_bounds_what_is_spent_in_a_window(
        self, ledger: Harness, scope: CapScope, period: CapPeriod, kind: str
    ) -> None:
        payer = prepare_in_window(ledger, period)
        named, said = cap_subject(ledger, scope)
        set_cap(ledger, payer, 100, scope, period, **named)
        spend: Spend = getattr(payer, kind)
        ledger.execute(spend(60, **said))
        end = resets_at(ledger, payer)
        with refused(InsufficientCreditsError, limit="cap", required=60, available=40, resets_at=end):
            ledger.execute(spend(60, **said))
        ledger.execute(spend(40, **said))
        assert used(ledger, payer) == 100

    @pytest.mark.parametrize("kind", ["deduct", "hold"])
    @pytest.mark.parametrize("scope", SCOPES)
    def test_bounds_what_a_call_spends(self, ledger: Harness, scope: CapScope, kind: str) -> None:
        payer = ledger.prepare()
        named, said = cap_subject(ledger, scope)
        set_cap(ledger, payer, 100, scope, "call", **named)
        spend: Spend = getattr(payer, kind)
        for _ in range(2):
            ledger.execute(spend(100, **said))
        with refused(InsufficientCreditsError, limit="cap", required=101, available=100):
            ledger.execute(spend(101, **said))

    @pytest.mark.parametrize("period", PERIODS)
    def test_begins_afresh_with_each_window(self, ledger: Harness, period: CapPeriod) -> None:
        payer = prepare_in_window(ledger, period)
        set_cap(ledger, payer, 100, period=period)
        ledger.execute(payer.deduct(100))
        end = resets_at(ledger, payer)
        begin_window(ledger, ledger.prepare(), period)
        assert used(ledger, payer) == 0
        assert resets_at(ledger, payer) > end
        ledger.execute(payer.deduct(100))
        assert used(ledger, payer) == 100

    @pytest.mark.parametrize("period", PERIODS)
    def test_lasts_for_the_whole_window(self, ledger: Harness, period: CapPeriod) -> None:
        payer = prepare_in_window(ledger, period)
        set_cap(ledger, payer, 100, period=period)
        ledger.execute(payer.deduct(100))
        end = resets_at(ledger, payer)
        ledger.advance({"hour": HOUR, "day": 24 * HOUR, "month": 28 * 24 * HOUR}[period] - 60)
        with refused(InsufficientCreditsError, limit="cap", required=1, available=0, resets_at=end):
            ledger.execute(payer.deduct(1))

    def test_a_refusal_changes_nothing(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 10)
        for operation in payer.deduct(20, request_id="job-7"), payer.hold(20, request_id="job-7"):
            with pytest.raises(InsufficientCreditsError, match="cap"):
                ledger.execute(operation)
        ledger.assert_balance(payer, allocated=1_000, used=0, held=0)
        assert used(ledger, payer) == 0
        assert not ledger.execute(payer.deduct(10, request_id="job-7")).replayed

    def test_the_one_that_leaves_the_least_is_named(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100, "organization", "hour")
        set_cap(ledger, payer, 30, "member", "call")
        with refused(InsufficientCreditsError, limit="cap", required=200, available=30):
            ledger.execute(payer.deduct(200))
        for _ in range(3):
            ledger.execute(payer.deduct(30))
        with pytest.raises(InsufficientCreditsError) as caught:
            ledger.execute(payer.deduct(40))
        assert caught.value.available == 10
        assert caught.value.resets_at is not None

    def test_the_balance_is_decided_first(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger, allocated=50)
        set_cap(ledger, payer, 10)
        with refused(InsufficientCreditsError, limit="allocation", required=60, available=50):
            ledger.execute(payer.deduct(60))

    def test_an_organisations_is_shared_and_a_members_is_not(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        other = ledger.join(payer.org_id)
        set_cap(ledger, payer, 100, "organization")
        set_cap(ledger, payer, 60)
        newcomer = ledger.join(payer.org_id)
        ledger.execute(payer.deduct(60))
        ledger.execute(other.deduct(15))
        ledger.execute(newcomer.hold(20))
        for each in payer, other, newcomer:
            with pytest.raises(InsufficientCreditsError) as caught:
                ledger.execute(each.deduct(10))
            assert caught.value.limit == "cap"
            assert caught.value.available == (0 if each is payer else 5)

    def test_another_keys_and_another_organisations_do_not_matter(self, ledger: Harness) -> None:
        payer, elsewhere = prepare_in_window(ledger), ledger.prepare()
        key_id, by_key = ledger.api_key()
        set_cap(ledger, payer, 10, "api_key", subject=unique("key"))
        set_cap(ledger, elsewhere, 10, "api_key", subject=key_id)
        set_cap(ledger, elsewhere, 10, "organization")
        ledger.execute(payer.deduct(500, **by_key))
        assert used(ledger, payer) == 0

    def test_lowered_below_what_is_used_leaves_nothing(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        ledger.execute(payer.deduct(80))
        set_cap(ledger, payer, 50)
        end = resets_at(ledger, payer)
        with refused(InsufficientCreditsError, limit="cap", required=1, available=0, resets_at=end):
            ledger.execute(payer.deduct(1))
        set_cap(ledger, payer, 81)
        ledger.execute(payer.deduct(1))

    def test_what_was_taken_before_is_answered_again(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        charge, hold = payer.deduct(60, request_id="job-7"), payer.hold(40, request_id="job-8")
        for replayed in False, True:
            assert ledger.execute(charge).replayed is replayed
            assert ledger.execute(hold).replayed is replayed
        assert used(ledger, payer) == 100

    def test_refunds_give_nothing_back(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        receipt = ledger.execute(payer.deduct(100))
        ledger.execute(refund(receipt))
        assert used(ledger, payer) == 100
        with pytest.raises(InsufficientCreditsError, match="cap"):
            ledger.execute(payer.deduct(1))

    def test_a_check_counts_them(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        other = ledger.join(payer.org_id)
        set_cap(ledger, payer, 100)
        set_cap(ledger, payer, 150, "organization")
        ledger.execute(payer.hold(60, ttl_seconds=60))
        assert ledger.execute(payer.check(40))
        check = ledger.execute(payer.check("40.001"))
        assert_shows(check, has_sufficient_credits=False, available_credits=940)
        assert ledger.execute(other.check(90))
        assert not ledger.execute(other.check(91))
        ledger.advance(61)
        assert ledger.execute(payer.check(100))

    def test_a_batch_is_decided_charge_by_charge(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        other = ledger.join(payer.org_id)
        set_cap(ledger, payer, 100)
        charges = payer.deduct(60), payer.deduct(60), other.deduct(60), payer.deduct(40), payer.deduct(1)
        outcomes = ledger.execute(DeductBatch(charges=charges)).outcomes
        assert [outcome.success for outcome in outcomes] == [True, False, True, True, False]
        end = resets_at(ledger, payer)
        for place, required, available in (1, 60, 40), (4, 1, 0):
            problem = outcomes[place].problem
            assert problem is not None
            figures = {"limit": "cap", "required": required, "available": available, "resets_at": end}
            assert_refusal(problem.exception(), InsufficientCreditsError, **figures)
        assert used(ledger, payer) == 100

    def test_the_books_are_right(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        for scope in SCOPES:
            named, _ = cap_subject(ledger, scope)
            set_cap(ledger, payer, 100, scope, **named)
        _, by_key = ledger.api_key()
        ledger.execute(payer.deduct(10, **by_key))
        ledger.execute(capture(ledger.execute(payer.hold(20)), 25))
        ledger.execute(payer.hold(30, **by_key))
        assert ledger.execute(VerifyLedger(org_id=payer.org_id)).differences == ()
