"""When credits run out, and what was left before."""

from datetime import date, datetime
from decimal import Decimal

from credit_sdk.amounts import Balance
from credit_sdk.models._base import Result


class Forecast(Result):
    """When credits run out if they are spent on as in the `observed_days`.

    `user_id` is None for all that the organisation has left. `days_left` and `exhausted_at` are None where
    nothing is spent; `exhausted_at` also beyond a hundred years. `expiring_credits` expire before they can
    be used at that rate; None for an allocation, which has no lots.
    """

    org_id: str | None = None
    user_id: str | None = None
    remaining_credits: Balance
    credits_per_day: Balance
    observed_days: Decimal
    days_left: Decimal | None = None
    exhausted_at: datetime | None = None
    expiring_credits: Balance | None = None


class LeftOnDay(Result):
    """What was left at the end of a day (UTC); of the present one, what is left now."""

    day: date
    remaining_credits: Balance


class BurnDown(Result):
    """What an organisation had left in the last days, the oldest first."""

    org_id: str
    by_day: tuple[LeftOnDay, ...]
