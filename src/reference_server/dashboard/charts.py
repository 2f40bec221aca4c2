"""Charts as SVG: where on the paper things stand. The figures are the ledger's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from credit_sdk.models import BurnDown, Forecast, UsageByDay

WIDTH = 600
HEIGHT = 160
_GAP = 0.25
_FARTHEST_DAYS = 60
"""How far a forecast is drawn."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One day's use."""

    day: date
    credits: Decimal
    charges: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """Lines as SVG knows them: what was left, and what is expected (empty without a forecast)."""

    past: str
    expected: str
    today: float
    highest: Decimal
    first: date
    last: date


def days_of(used: Sequence[UsageByDay], today: date, days: int = 30) -> list[Bar]:
    """Return a bar for each of the last days, also for those on which nothing was used."""
    by_day = {each.day: each for each in used}
    highest = max((each.credits_used for each in used), default=Decimal(0))
    slot = WIDTH / days
    bars = []
    for place in range(days):
        day = today - timedelta(days=days - 1 - place)
        each = by_day.get(day)
        credits, charges = (each.credits_used, each.charges) if each else (Decimal(0), 0)
        height = _scaled(credits, highest)
        bars.append(
            Bar(
                day,
                credits,
                charges,
                round(place * slot + slot * _GAP / 2, 1),
                round(HEIGHT - height, 1),
                round(slot * (1 - _GAP), 1),
                height,
            )
        )
    return bars


def burn_down(left: BurnDown, forecast: Forecast) -> Line:
    """Return the line of what was left, and of what will be if it is spent on as it was."""
    days = left.by_day
    today = days[-1].day
    highest = max(each.remaining_credits for each in days)
    ahead = min(float(forecast.days_left), _FARTHEST_DAYS) if forecast.days_left is not None else 0
    whole = max(len(days) - 1 + ahead, 1)
    step = WIDTH / whole

    def point(place: float, credits: Decimal) -> str:
        return f"{place * step:.1f},{HEIGHT - _scaled(credits, highest):.1f}"

    now = len(days) - 1
    expected = ""
    if forecast.days_left is not None:
        # Where the paper ends before the credits do, the line is cut there.
        rest = 1 - ahead / float(forecast.days_left) if forecast.days_left else 0
        end = days[-1].remaining_credits * Decimal(rest)
        expected = f"{point(now, days[-1].remaining_credits)} {point(now + ahead, end)}"
    return Line(
        past=" ".join(point(place, each.remaining_credits) for place, each in enumerate(days)),
        expected=expected,
        today=round(now * step, 1),
        highest=highest,
        first=days[0].day,
        last=today + timedelta(days=round(ahead)),
    )


def _scaled(credits: Decimal, highest: Decimal) -> float:
    """Return how high a figure stands; one that is not zero can be seen."""
    if credits <= 0 or highest <= 0:
        return 0
    return max(round(float(credits / highest) * HEIGHT, 1), 1)
