"""The seam to payments: who makes checkouts and knows subscriptions."""

from decimal import Decimal
from typing import Protocol

from credit_sdk.models.crossapp import AppCheckout, AppSubscription


class Payments(Protocol):
    """What the addresses for applications need of payments."""

    async def checkout(
        self, user_id: int, *, package_id: str | None, credits: Decimal | None, return_url: str
    ) -> AppCheckout:
        """Make a checkout of a package, or of one with so many credits.

        Raises `PaymentsUnavailableError` without payments, `NotFoundError` for an unknown package.
        """
        ...

    async def subscriptions(self, user_id: int) -> tuple[AppSubscription, ...]:
        """Return what a user has subscribed to."""
        ...
