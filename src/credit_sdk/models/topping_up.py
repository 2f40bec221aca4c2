"""Buying by itself."""

from datetime import datetime

from credit_sdk.amounts import Balance
from credit_sdk.models._base import Result


class TopUpSettings(Result):
    """What an organisation buys by itself; without a `package_id` nothing.

    It is bought when fewer than `threshold` credits are left, for at most `monthly_cents` in a calendar month
    (UTC), in the smallest unit of the package's currency. Three `failures` in a row switch it off, until it
    is set anew.
    """

    org_id: str
    package_id: str | None = None
    payment_method: str | None = None
    threshold: Balance | None = None
    monthly_cents: int | None = None
    failures: int = 0
    is_active: bool = False
    updated_at: datetime | None = None
