"""The contract of extensions: an open hold is given more credits, more time, or both."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from credit_sdk.contract.capping import HOUR, prepare_in_window, set_cap, used
from credit_sdk.contract.harness import (
    Harness,
    assert_shows,
    capture,
    changed,
    extend,
    look,
    make,
    refused,
    void,
)
from credit_sdk.errors import (
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NoAllocationError,
    NotFoundError,
    ValidationFailedError,
)
from credit_sdk.operations import ExpireHolds, ExtendHold


class TestExtendHold:
    """Giving an open hold more."""

    def test_sets_more_credits_aside(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50))
        extended = ledger.execute(extend(hold, credits=30))
        assert extended == hold.model_copy(update={"credits": 80})
        assert ledger.execute(look(hold)) == extended
        ledger.assert_balance(payer, allocated=100, used=0, held=80)
        assert ledger.execute(capture(hold)).credits_used == 80
        ledger.assert_balance(payer, allocated=100, used=80, held=0)

    def test_gives_more_time_from_now(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50, ttl_seconds=600))
        ledger.advance(400)
        extended = ledger.execute(extend(hold, ttl_seconds=600))
        assert timedelta(seconds=400) <= extended.expires_at - hold.expires_at < timedelta(seconds=500)
        assert extended.credits == 50
        ledger.advance(300)
        ledger.execute(ExpireHolds(limit=100_000))
        assert ledger.execute(look(hold)).status == "held"

    def test_never_shortens_the_time(self, ledger: Harness) -> None:
        hold = ledger.execute(ledger.prepare().hold(50, ttl_seconds=600))
        assert ledger.execute(extend(hold, ttl_seconds=60)) == hold

    def test_takes_no_more_than_there_is(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(60))
        ledger.execute(payer.hold(10))
        with refused(InsufficientCreditsError, limit=payer.limit, required=31, available=30):
            ledger.execute(extend(hold, credits=31, ttl_seconds=3_600))
        assert ledger.execute(look(hold)) == hold
        ledger.execute(extend(hold, credits=30))
        ledger.assert_balance(payer, allocated=100, used=0, held=100)

    def test_overdue_holds_stand_in_nobodys_way(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        overdue = ledger.execute(payer.hold(50, ttl_seconds=60))
        hold = ledger.execute(payer.hold(50, ttl_seconds=600))
        ledger.advance(61)
        ledger.execute(extend(hold, credits=50))
        assert ledger.execute(look(overdue)).status == "expired"

    def test_a_hold_past_its_time_is_open_until_it_is_given_back(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50, ttl_seconds=60))
        ledger.advance(61)
        extended = ledger.execute(extend(hold, credits=50, ttl_seconds=60))
        assert_shows(extended, status="held", credits=100)
        assert extended.expires_at > hold.expires_at

    def test_who_may_spend_no_more_is_given_time_but_no_credits(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        ledger.deactivate(payer)
        with refused(NoAllocationError, limit="inactive"):
            ledger.execute(extend(hold, credits=1))
        assert ledger.execute(extend(hold, ttl_seconds=3_600)).expires_at > hold.expires_at

    @pytest.mark.parametrize(
        ("end", "error"),
        [("captured", HoldClosedError), ("voided", HoldClosedError), ("expired", HoldExpiredError)],
        ids=["captured", "voided", "expired"],
    )
    def test_what_has_ended_is_given_nothing(
        self, ledger: Harness, end: str, error: type[HoldClosedError]
    ) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50, ttl_seconds=60))
        match end:
            case "captured":
                ledger.execute(capture(hold))
            case "voided":
                ledger.execute(void(hold))
            case _:
                ledger.advance(61)
                ledger.execute(ExpireHolds(limit=100_000))
        before = ledger.execute(look(hold))
        with refused(error):
            ledger.execute(extend(hold, credits=10, ttl_seconds=600))
        assert ledger.execute(look(hold)) == before

    def test_is_for_something(self, ledger: Harness) -> None:
        hold = ledger.execute(ledger.prepare().hold(50))
        with pytest.raises(ValidationFailedError, match="credits, ttl_seconds or both"):
            extend(hold)

    def test_what_is_elsewhere_is_not_found(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        elsewhere = make(ExtendHold, hold_id=hold.hold_id, org_id=other.org_id, credits=1)
        for wrong in elsewhere, make(ExtendHold, hold_id=uuid4(), credits=1):
            with refused(NotFoundError):
                ledger.execute(wrong)
        here = make(ExtendHold, hold_id=hold.hold_id, org_id=payer.org_id, credits=1)
        assert ledger.execute(here).credits == 51


class TestExtensionsOnce:
    """A request id gives more once."""

    def test_again_gives_nothing_more(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        more = extend(hold, credits=10, ttl_seconds=3_600, request_id="job-7-more")
        extended = ledger.execute(more)
        assert ledger.execute(more) == extended.model_copy(update={"replayed": True})
        ledger.assert_balance(payer, allocated=1_000, used=0, held=60)

    def test_again_after_the_end_shows_the_hold_as_it_is(self, ledger: Harness) -> None:
        hold = ledger.execute(ledger.prepare().hold(50))
        more = extend(hold, credits=10, request_id="job-7-more")
        ledger.execute(more)
        ledger.execute(capture(hold))
        again = ledger.execute(more)
        assert_shows(again, status="captured", replayed=True)

    @pytest.mark.parametrize("other", [{"credits": 11}, {"ttl_seconds": 61}], ids=["credits", "ttl_seconds"])
    def test_other_content_is_refused(self, ledger: Harness, other: dict[str, Any]) -> None:
        hold = ledger.execute(ledger.prepare().hold(50))
        more = extend(hold, credits=10, ttl_seconds=60, request_id="job-7-more")
        ledger.execute(more)
        with refused(IdempotencyConflictError):
            ledger.execute(changed(more, other))

    def test_another_hold_is_other_content(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold, other = ledger.execute(payer.hold(50)), ledger.execute(payer.hold(50))
        ledger.execute(extend(hold, credits=10, request_id="job-7-more"))
        with refused(IdempotencyConflictError):
            ledger.execute(extend(other, credits=10, request_id="job-7-more"))

    def test_a_refused_one_does_not_use_the_id_up(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50))
        with refused(InsufficientCreditsError, limit=payer.limit, required=60, available=50):
            ledger.execute(extend(hold, credits=60, request_id="job-7-more"))
        assert not ledger.execute(extend(hold, credits=40, request_id="job-7-more")).replayed

    def test_the_hold_placed_again_is_the_extended_one(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(50, request_id="job-7"))
        ledger.execute(extend(hold, credits=10))
        again = ledger.execute(payer.hold(50, request_id="job-7"))
        assert_shows(again, hold_id=hold.hold_id, credits=60, replayed=True)
        with refused(IdempotencyConflictError):
            ledger.execute(payer.hold(60, request_id="job-7"))


class TestCapsAndExtensions:
    """A hold that is given more credits counts from then on."""

    def test_caps_decide_over_the_whole_hold(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        set_cap(ledger, payer, 100, period="call")
        hold = ledger.execute(payer.hold(60))
        with refused(InsufficientCreditsError, limit="cap", required=101, available=100):
            ledger.execute(extend(hold, credits=41))
        assert ledger.execute(extend(hold, credits=40)).credits == 100

    def test_what_is_given_back_counts_no_more(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(60))
        ledger.execute(extend(hold, credits=30))
        assert used(ledger, payer) == 90
        ledger.execute(capture(hold, 20))
        assert used(ledger, payer) == 20

    @pytest.mark.parametrize("end", ["void", "capture", "sweep"])
    def test_the_whole_hold_moves_to_the_window_of_the_extension(self, ledger: Harness, end: str) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(60, ttl_seconds=HOUR + 60))
        ledger.advance(HOUR)
        assert used(ledger, payer) == 0
        ledger.execute(extend(hold, credits=20))
        assert used(ledger, payer) == 80
        match end:
            case "void":
                ledger.execute(void(hold))
            case "capture":
                ledger.execute(capture(hold, 15))
            case _:
                ledger.advance(61)
                ledger.execute(ExpireHolds(limit=100_000))
        assert used(ledger, payer) == (15 if end == "capture" else 0)

    def test_more_time_alone_moves_nothing(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(60, ttl_seconds=HOUR + 60))
        ledger.advance(HOUR)
        ledger.execute(extend(hold, ttl_seconds=HOUR))
        assert used(ledger, payer) == 0
