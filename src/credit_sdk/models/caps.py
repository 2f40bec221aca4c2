"""Caps: how much may be spent in an hour, a day, a month, or in one call."""

from datetime import datetime
from typing import Literal

from credit_sdk.amounts import Balance
from credit_sdk.models._base import Result

CapScope = Literal["organization", "member", "api_key"]
CapPeriod = Literal["call", "hour", "day", "month"]


class Cap(Result):
    """The most that may be spent in one period, by an organisation, a member or with an API key.

    `subject` is the user's or the key's id, None for the organisation. Periods are calendar hours, days and
    months in UTC; `used_credits` is what counts in the present one, which ends at `resets_at`. For a single
    call, these are zero and None.
    """

    scope: CapScope
    subject: str | None = None
    period: CapPeriod
    credits: Balance
    used_credits: Balance
    resets_at: datetime | None = None
    updated_at: datetime


class CapList(Result):
    """All caps of an organisation, by scope, subject and period."""

    caps: tuple[Cap, ...]
