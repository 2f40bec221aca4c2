"""What a call costs: usage times the provider's prices, times the plan's markup, in credits."""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal

from credit_sdk.amounts import SMALLEST_AMOUNT

PowerLevel = Literal["eco", "balanced", "precision"]
Kind = Literal["chat", "embedding", "image"]

CREDITS_PER_USD = 1_000
PLATFORM_MARKUP = Decimal("1.5")
AT_COST = Decimal(1)
LARGEST_COUNT = 100_000_000
"""More tokens than any call has: what says more is not believed."""
_TOKENS_OF_PRICE = 1_000_000
_ENDLESS = 2**62


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used; `cached` is the part of `prompt` that the provider had seen before."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    images: int = 0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Model:
    """A model on offer. Prices are USD: for a million tokens, or for an image."""

    name: str
    provider: str
    upstream_model: str
    kind: Kind
    power_level: PowerLevel | None
    prompt_price: Decimal
    cached_price: Decimal
    completion_price: Decimal
    image_price: Decimal
    largest_output: int
    created: int

    def cost(self, usage: Usage) -> Decimal:
        """Return what the provider takes, in USD."""
        tokens = (
            (usage.prompt - usage.cached) * self.prompt_price
            + usage.cached * self.cached_price
            + usage.completion * self.completion_price
        )
        return tokens / _TOKENS_OF_PRICE + usage.images * self.image_price


@dataclass(frozen=True, slots=True)
class Tariff:
    """A model's prices for one payer."""

    model: Model
    markup: Decimal

    def credits(self, usage: Usage) -> Decimal:
        """Return what is charged, rounded up to a thousandth of a credit."""
        return self._exact(usage).quantize(SMALLEST_AMOUNT, ROUND_CEILING)

    def completion_within(self, credits: Decimal, prompt: int) -> int:
        """Return how many tokens of completion the credits pay for, besides the prompt."""
        each = self._exact(Usage(completion=1))
        if not each:
            return _ENDLESS
        return math.floor((credits - self._exact(Usage(prompt=prompt))) / each)

    def _exact(self, usage: Usage) -> Decimal:
        return self.model.cost(usage) * CREDITS_PER_USD * self.markup


def reported_usage(answer: dict[str, Any]) -> Usage | None:
    """Return the usage that a provider reports; None where it reports none, or what cannot be."""
    block = answer.get("usage")
    if not isinstance(block, dict):
        return None
    details = block.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = [block.get("prompt_tokens"), block.get("completion_tokens") or 0, cached or 0]
    known = [count for count in counts if type(count) is int and 0 <= count <= LARGEST_COUNT]
    if len(known) < len(counts):
        return None
    prompt, completion, cached = known
    return Usage(prompt, completion, min(cached, prompt))
