"""Payments for users of other applications, as the addresses under /api/cross-app need them."""

from dataclasses import dataclass
from decimal import Decimal

from credit_sdk.models.crossapp import AppCheckout, AppSubscription
from reference_server.payments.checkouts import Seller


@dataclass(frozen=True, slots=True)
class ApplicationPayments:
    """Sells to users, and says what they have subscribed to, whether anything is sold now or not."""

    seller: Seller

    async def checkout(
        self, user_id: int, *, package_id: str | None, credits: Decimal | None, return_url: str
    ) -> AppCheckout:
        """Make a checkout of a package, or of the cheapest one with so many credits."""
        made = await self.seller.purchase(
            str(user_id), package_id=package_id, credits=credits, return_url=return_url
        )
        return AppCheckout(checkout_url=made.url, session_id=made.session_id)

    async def subscriptions(self, user_id: int) -> tuple[AppSubscription, ...]:
        """Return what a user has subscribed to."""
        rows = await self.seller.books.subscriptions(str(user_id), None)
        return tuple(
            AppSubscription(
                subscription_id=row["id"],
                status=row["status"],
                package_id=row["package_id"],
                current_period_end=row["current_period_end"],
            )
            for row in rows
        )
