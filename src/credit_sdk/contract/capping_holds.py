"""The contract of caps and holds: a hold counts from the moment in which it is placed."""

import pytest

from credit_sdk.contract.capping import HOUR, prepare_in_window, resets_at, set_cap, used
from credit_sdk.contract.harness import Harness, capture, look, refused, void
from credit_sdk.errors import HoldExpiredError, InsufficientCreditsError
from credit_sdk.operations import ExpireHolds


class TestCapsAndHolds:
    """A hold counts when it is placed; what is not captured of it is given back to that window."""

    def test_what_is_voided_or_not_captured_is_given_back(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        first, second = ledger.execute(payer.hold(60)), ledger.execute(payer.hold(40))
        ledger.execute(void(first))
        assert used(ledger, payer) == 40
        ledger.execute(capture(second, 10))
        assert used(ledger, payer) == 10
        ledger.execute(payer.deduct(90))

    def test_what_has_expired_stands_in_nobodys_way(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(80, ttl_seconds=60))
        ledger.advance(61)
        ledger.execute(payer.deduct(100))
        assert ledger.execute(look(hold)).status == "expired"
        assert used(ledger, payer) == 100

    def test_the_sweep_gives_back(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        ledger.execute(payer.hold(80, ttl_seconds=60))
        ledger.advance(61)
        assert used(ledger, payer) == 80
        ledger.execute(ExpireHolds(limit=100_000))
        assert used(ledger, payer) == 0

    @pytest.mark.parametrize("end", ["void", "capture", "sweep"])
    def test_nothing_is_given_back_to_a_later_window(self, ledger: Harness, end: str) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(80, ttl_seconds=HOUR + 60))
        ledger.advance(HOUR)
        ledger.execute(payer.deduct(30))
        match end:
            case "void":
                ledger.execute(void(hold))
            case "capture":
                ledger.execute(capture(hold, 50))
            case _:
                ledger.advance(61)
                ledger.execute(ExpireHolds(limit=100_000))
        assert ledger.execute(look(hold)).status != "held"
        assert used(ledger, payer) == 30

    def test_what_is_captured_beyond_the_hold_counts_then(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(80, ttl_seconds=2 * HOUR))
        ledger.advance(HOUR)
        ledger.execute(payer.deduct(90))
        end = resets_at(ledger, payer)
        with refused(InsufficientCreditsError, limit="cap", required=91, available=90, resets_at=end):
            ledger.execute(capture(hold, 91))
        assert ledger.execute(look(hold)).status == "held"
        ledger.execute(capture(hold, 90))
        assert used(ledger, payer) == 100

    def test_a_call_is_bounded_as_a_whole(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        set_cap(ledger, payer, 100, period="call")
        hold = ledger.execute(payer.hold(80))
        with refused(InsufficientCreditsError, limit="cap", required=101, available=100):
            ledger.execute(capture(hold, 101))
        assert ledger.execute(capture(hold, 100)).credits_used == 100

    def test_within_the_hold_nothing_is_decided_again(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        hold = ledger.execute(payer.hold(80))
        for period in "call", "hour":
            set_cap(ledger, payer, 10, period=period)
        assert ledger.execute(capture(hold)).credits_used == 80

    @pytest.mark.parametrize("swept", [False, True])
    @pytest.mark.parametrize("later", [61, HOUR])
    def test_captured_after_its_time_a_hold_counts_afresh(
        self, ledger: Harness, later: int, swept: bool
    ) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(80, ttl_seconds=60))
        ledger.advance(later)
        if swept:
            ledger.execute(ExpireHolds(limit=100_000))
        ledger.execute(capture(hold))
        assert used(ledger, payer) == 80

    def test_captured_after_its_time_an_open_hold_may_be_too_much(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        other = ledger.join(payer.org_id)
        set_cap(ledger, payer, 100, "organization")
        hold = ledger.execute(payer.hold(80, ttl_seconds=60))
        ledger.advance(HOUR)
        ledger.execute(other.deduct(30))
        end = resets_at(ledger, payer)
        with refused(InsufficientCreditsError, limit="cap", required=80, available=70, resets_at=end):
            ledger.execute(capture(hold))
        assert ledger.execute(look(hold)).status == "held"
        ledger.execute(capture(hold, 70))
        assert used(ledger, payer) == 100

    def test_captured_after_its_time_an_expired_hold_may_be_too_much(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        set_cap(ledger, payer, 100)
        hold = ledger.execute(payer.hold(80, ttl_seconds=60))
        ledger.advance(HOUR)
        ledger.execute(payer.deduct(30))
        ledger.execute(ExpireHolds(limit=100_000))
        with refused(HoldExpiredError):
            ledger.execute(capture(hold))
        ledger.execute(capture(hold, 70))
        assert used(ledger, payer) == 100

    def test_counts_for_the_key_that_placed_it(self, ledger: Harness) -> None:
        payer = prepare_in_window(ledger)
        key_id, by_key = ledger.api_key()
        set_cap(ledger, payer, 100, "api_key", subject=key_id)
        hold = ledger.execute(payer.hold(60, **by_key))
        assert used(ledger, payer) == 60
        ledger.execute(capture(hold, 70))
        assert used(ledger, payer) == 70
        ledger.execute(void(ledger.execute(payer.hold(30, **by_key))))
        assert used(ledger, payer) == 70

    def test_a_replay_compares_no_keys(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        _, by_key = ledger.api_key()
        ledger.execute(payer.deduct(1, request_id="job-7"))
        assert ledger.execute(payer.deduct(1, request_id="job-7", **by_key)).replayed
        ledger.execute(payer.hold(1, request_id="job-8", **by_key))
        assert ledger.execute(payer.hold(1, request_id="job-8")).replayed
