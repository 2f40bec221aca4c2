"""When credits run out, and what was left before."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from credit_sdk import models
from credit_sdk.backends._memory_pools import Pools
from credit_sdk.backends._memory_reports import Reports
from credit_sdk.backends._memory_verification import FILLING_EVENTS
from credit_sdk.operations import GetBurnDown, GetForecast

_DAY = timedelta(days=1)
_FARTHEST_DAYS = 36_500
_THOUSANDTH = Decimal("0.001")


class Forecasts(Pools, Reports):
    """Looks ahead, and back."""

    def get_forecast(self, operation: GetForecast) -> models.Forecast:
        """Divide what is left by what was spent a day."""
        self.organization(operation.org_id)
        now = self.moment
        rows = [
            each
            for each in self._entries_of(operation.org_id)
            if each.created_at > now - timedelta(days=operation.days)
            and operation.user_id in {None, each.content[0]}
        ]
        observed = _days(max(now - min(each.created_at for each in rows), _DAY)) if rows else operation.days
        remaining = self._remaining(operation.org_id, operation.user_id)
        per_day = _rounded(max(sum(each.credits for each in rows), 0) / Decimal(observed), Decimal(1))
        days_left = _rounded(max(remaining, 0) / per_day, _THOUSANDTH) if per_day else None
        document = {
            "org_id": operation.org_id,
            "user_id": operation.user_id,
            "remaining_credits": remaining,
            "credits_per_day": per_day,
            "observed_days": observed,
            "days_left": days_left,
            "exhausted_at": _after(now, days_left),
            "expiring_credits": 0 if operation.user_id is None else None,
        }
        return models.Forecast.model_validate(document, context=self.SCALE)

    def get_burn_down(self, operation: GetBurnDown) -> models.BurnDown:
        """Go back from what is left, charge by charge and addition by addition."""
        self.organization(operation.org_id)
        changes = [(each.created_at.date(), -each.credits) for each in self._entries_of(operation.org_id)]
        changes += [
            (each.created_at.date(), each.credits)
            for each in self.events
            if each.org_id == operation.org_id and each.credits is not None and each.type in FILLING_EVENTS
        ]
        now = self._remaining(operation.org_id, None)
        days = [self.moment.date() - number * _DAY for number in reversed(range(operation.days))]
        document = {
            "org_id": operation.org_id,
            "by_day": [
                {
                    "day": day,
                    "remaining_credits": now - sum(credits for when, credits in changes if when > day),
                }
                for day in days
            ],
        }
        return models.BurnDown.model_validate(document, context=self.SCALE)

    def _remaining(self, org_id: str, user_id: str | None) -> int:
        """Return what the organisation has left, allocated or not, or what a member has."""
        if user_id is not None:
            allocation = self.allocations.get((org_id, user_id))
            return allocation.remaining if allocation else 0
        pool = self.pools.get(org_id)
        return pool.total - self.used(org_id) if pool else 0


def _days(period: timedelta) -> Decimal:
    return _rounded(Decimal(period // timedelta(microseconds=1)) / (86_400 * 1_000_000), _THOUSANDTH)


def _rounded(value: Decimal, unit: Decimal) -> Decimal:
    return value.quantize(unit, ROUND_HALF_UP)


def _after(now: datetime, days: Decimal | None) -> datetime | None:
    if days is None or days >= _FARTHEST_DAYS:
        return None
    return now + timedelta(days=float(days))
