"""The contract of the forecast, and of what was left before."""

from datetime import timedelta
from decimal import Decimal

from credit_sdk.contract.harness import Harness, assert_shows, make, refused, shown, unique
from credit_sdk.errors import NotAMemberError
from credit_sdk.operations import AddCredits, GetBurnDown, GetForecast, Refund

_DAY = 86_400


class TestForecast:
    """When credits run out if they are spent on as they were."""

    def test_divides_what_is_left_by_what_was_spent_a_day(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.execute(payer.deduct(60))
        ledger.advance(4 * _DAY)
        charge = ledger.execute(payer.deduct(50))
        ledger.execute(make(Refund, charge_id=charge.charge_id, credits=10))
        forecast = ledger.execute(GetForecast(org_id=payer.org_id))
        assert_shows(forecast, org_id=payer.org_id, user_id=None, remaining_credits=900)
        assert round(forecast.observed_days, 1) == 4
        assert round(forecast.credits_per_day, 1) == 25
        assert forecast.days_left is not None
        assert round(forecast.days_left, 1) == 36
        assert forecast.exhausted_at is not None

    def test_less_than_a_day_counts_as_one(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.execute(payer.deduct(100))
        forecast = ledger.execute(GetForecast(org_id=payer.org_id))
        assert_shows(forecast, credits_per_day=100, observed_days=1, days_left=9)

    def test_nobody_who_spends_nothing_runs_out(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        forecast = ledger.execute(GetForecast(org_id=payer.org_id))
        assert_shows(forecast, remaining_credits=1_000, credits_per_day=0, days_left=None, exhausted_at=None)

    def test_what_is_longer_ago_does_not_count(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.execute(payer.deduct(100))
        ledger.advance(3 * _DAY)
        assert ledger.execute(GetForecast(org_id=payer.org_id, days=2)).days_left is None
        assert ledger.execute(GetForecast(org_id=payer.org_id, days=4)).days_left is not None

    def test_a_member_runs_out_of_their_allocation(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=200)
        other = ledger.join(payer.org_id)
        ledger.execute(payer.deduct(50))
        ledger.execute(other.deduct(500))
        forecast = ledger.execute(GetForecast(org_id=payer.org_id, user_id=payer.user_id))
        assert_shows(forecast, user_id=payer.user_id, remaining_credits=150, days_left=3)

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(GetForecast(org_id=unique("org")))


class TestBurnDown:
    """What was left at the end of each day."""

    def test_goes_down_with_charges_and_up_with_additions(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.execute(payer.deduct(100))
        ledger.advance(_DAY)
        ledger.execute(make(AddCredits, org_id=payer.org_id, credits=300))
        ledger.advance(_DAY)
        charge = ledger.execute(payer.deduct("50.5"))
        ledger.execute(make(Refund, charge_id=charge.charge_id, credits="0.5"))
        burn_down = ledger.execute(GetBurnDown(org_id=payer.org_id, days=4))
        left = [Decimal(0), Decimal(900), Decimal(1_200), Decimal(1_150)]
        assert shown(burn_down.by_day, "remaining_credits") == [(each,) for each in left]
        days = [each.day for each in burn_down.by_day]
        assert days == [days[-1] - timedelta(days=3 - place) for place in range(4)]

    def test_shows_the_end_only_of_what_is_older(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000)
        ledger.execute(payer.deduct(100))
        ledger.advance(40 * _DAY)
        by_day = ledger.execute(GetBurnDown(org_id=payer.org_id)).by_day
        assert len(by_day) == 30
        assert {each.remaining_credits for each in by_day} == {900}

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(GetBurnDown(org_id=unique("org")))
