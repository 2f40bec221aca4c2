"""The models on offer, and what a call of one costs a payer."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from credit_sdk.model_prices import ModelPrice, TokenUsage

PowerLevel = Literal["eco", "balanced", "precision"]
Kind = Literal["chat", "embedding", "image"]

PLATFORM_MARKUP = Decimal("1.5")
AT_COST = Decimal(1)


@dataclass(frozen=True, slots=True)
class Model:
    """A model on offer."""

    name: str
    provider: str
    upstream_model: str
    kind: Kind
    power_level: PowerLevel | None
    price: ModelPrice
    largest_output: int
    created: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model's prices for one payer."""

    model: Model
    markup: Decimal

    def credits(self, usage: TokenUsage) -> Decimal:
        """Return what is charged, rounded up to a thousandth of a credit."""
        return self.model.price.credits(usage, self.markup)
