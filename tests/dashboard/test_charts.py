"""Charts: where on the paper the ledger's figures stand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from credit_sdk.models import BurnDown, Forecast, LeftOnDay, UsageByDay
from reference_server.dashboard.charts import HEIGHT, WIDTH, burn_down, days_of

TODAY = date(2026, 3, 31)


def used(day: date, credits: str) -> UsageByDay:
    return UsageByDay(day=day, credits_used=Decimal(credits), charges=1)


def left(*credits: str) -> BurnDown:
    first = TODAY - timedelta(days=len(credits) - 1)
    days = (
        LeftOnDay(day=first + timedelta(days=place), remaining_credits=Decimal(each))
        for place, each in enumerate(credits)
    )
    return BurnDown(org_id="acme", by_day=tuple(days))


def forecast(days_left: str | None) -> Forecast:
    return Forecast(
        remaining_credits=Decimal(1),
        credits_per_day=Decimal(1),
        observed_days=Decimal(30),
        days_left=None if days_left is None else Decimal(days_left),
        exhausted_at=None if days_left is None else datetime(2026, 4, 1, tzinfo=UTC),
    )


def points(line: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in line.split())]


def test_bars_are_as_high_as_their_share_of_the_highest() -> None:
    bars = days_of([used(TODAY, "10"), used(TODAY - timedelta(days=1), "2.5")], TODAY)
    assert len(bars) == 30
    assert (bars[0].day, bars[-1].day) == (TODAY - timedelta(days=29), TODAY)
    assert [bar.height for bar in bars[-2:]] == [HEIGHT / 4, HEIGHT]
    assert {bar.height for bar in bars[:-2]} == {0}
    assert all(bar.y + bar.height == HEIGHT and 0 <= bar.x <= WIDTH - bar.width for bar in bars)


@pytest.mark.parametrize("credits", ["0", "-5"])
def test_what_is_not_above_zero_has_no_height(credits: str) -> None:
    assert {bar.height for bar in days_of([used(TODAY, credits)], TODAY)} == {0}
    assert {bar.height for bar in days_of([], TODAY)} == {0}


def test_what_is_little_can_be_seen() -> None:
    bars = days_of([used(TODAY, "0.001"), used(TODAY - timedelta(days=1), "1000000")], TODAY)
    assert bars[-1].height == 1


def test_the_expected_line_ends_where_the_credits_do() -> None:
    line = burn_down(left("100", "80", "50"), forecast("2"))
    assert points(line.past) == [(0, 0), (WIDTH / 4, HEIGHT * 0.2), (WIDTH / 2, HEIGHT / 2)]
    assert points(line.expected) == [(WIDTH / 2, HEIGHT / 2), (WIDTH, HEIGHT)]
    assert (line.first, line.last) == (TODAY - timedelta(days=2), TODAY + timedelta(days=2))


def test_the_expected_line_is_cut_where_the_paper_ends() -> None:
    line = burn_down(left("100", "100"), forecast("120"))
    assert points(line.expected)[-1] == (WIDTH, HEIGHT / 2)
    assert line.last == TODAY + timedelta(days=60)


@pytest.mark.parametrize("credits", ["0", "-10"])
@pytest.mark.parametrize("days_left", [None, "0"])
def test_nothing_left_lies_on_the_axis(credits: str, days_left: str | None) -> None:
    line = burn_down(left(credits), forecast(days_left))
    assert {y for _, y in points(line.past + " " + line.expected)} == {HEIGHT}
    assert bool(line.expected) is (days_left is not None)
