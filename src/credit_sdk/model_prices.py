"""What a call of a language model costs: usage times the provider's prices, in credits."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from credit_sdk.amounts import SMALLEST_AMOUNT
from credit_sdk.errors import InvalidAmountError

CREDITS_PER_USD = 1_000
LARGEST_COUNT = 100_000_000
"""More tokens than any call has: what says more is not believed."""
_TOKENS_OF_PRICE = 1_000_000


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What a call used; `cached` is the part of `prompt` that the provider had seen before."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    images: int = 0

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.prompt + self.completion

    def figures(self) -> dict[str, Any]:
        """Return the counts as they are kept with a charge."""
        if self.images:
            return {"tokens_used": self.tokens, "images": self.images}
        return {
            "tokens_used": self.tokens,
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "cached_tokens": self.cached,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """What a provider takes for a model, in USD: for a million tokens, or for an image.

    `cached` is for tokens of the prompt that the provider had seen before; without it they cost as the
    others. Raises `InvalidAmountError` for what is no price.
    """

    prompt: Decimal | str | int = 0
    completion: Decimal | str | int = 0
    cached: Decimal | str | int | None = None
    image: Decimal | str | int = 0

    def __post_init__(self) -> None:
        """Make each price an exact number."""
        if self.cached is None:
            object.__setattr__(self, "cached", self.prompt)
        for name in ("prompt", "completion", "cached", "image"):
            object.__setattr__(self, name, _price(getattr(self, name), name))

    def exact_credits(self, usage: TokenUsage, markup: Decimal = Decimal(1)) -> Decimal:
        """Return the credits for a usage, not rounded yet."""
        tokens = (
            (usage.prompt - usage.cached) * Decimal(self.prompt)
            + usage.cached * Decimal(self.cached or 0)
            + usage.completion * Decimal(self.completion)
        )
        usd = tokens / _TOKENS_OF_PRICE + usage.images * Decimal(self.image)
        return usd * CREDITS_PER_USD * markup

    def credits(self, usage: TokenUsage, markup: Decimal = Decimal(1)) -> Decimal:
        """Return the credits for a usage, rounded up to a thousandth."""
        return self.exact_credits(usage, markup).quantize(SMALLEST_AMOUNT, ROUND_CEILING)


def reported_usage(block: Any) -> TokenUsage | None:
    """Return the usage that a provider reports; None where it reports none, or what cannot be."""
    if not isinstance(block, dict):
        return None
    details = block.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    counts = [block.get("prompt_tokens"), block.get("completion_tokens") or 0, cached or 0]
    known = [count for count in counts if type(count) is int and 0 <= count <= LARGEST_COUNT]
    if len(known) < len(counts):
        return None
    prompt, completion, cached = known
    return TokenUsage(prompt, completion, min(cached, prompt))


def _price(value: Any, name: str) -> Decimal:
    if not isinstance(value, Decimal | str | int) or isinstance(value, bool):
        raise InvalidAmountError(f"{name} must be an exact price such as '0.15', not {value!r}.")
    try:
        price = Decimal(value)
    except ArithmeticError:
        raise InvalidAmountError(f"{name} must be a price in USD such as '0.15', not {value!r}.") from None
    if not price.is_finite() or price < 0:
        raise InvalidAmountError(f"{name} must be a finite price that is not negative, not {value!r}.")
    return price
