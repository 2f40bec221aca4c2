"""What is for sale."""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from credit_sdk.amounts import to_number


class Package(BaseModel):
    """Credits at a price in the currency's smallest unit; one that renews is sold as a subscription."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    description: str
    credits: Decimal
    price_cents: int
    currency: str
    renews_every: str | None
    price_id: str

    @property
    def mode(self) -> str:
        """Return how Stripe sells it."""
        return "payment" if self.renews_every is None else "subscription"

    def product(self) -> dict[str, Any]:
        """Return the package as `GET /products` shows it."""
        price = {
            "id": self.price_id,
            "amount": self.price_cents,
            "currency": self.currency,
            "credits": to_number(self.credits),
            "mode": self.mode,
            "interval": self.renews_every,
        }
        return {"id": self.id, "name": self.name, "description": self.description, "prices": [price]}
