"""What a stream has delivered, and how much of a completion its hold pays for.

Whoever passes a stream on asks for `growth` before each piece, extends the hold by it, hands the piece over
and only then says `deliver`: so what was delivered is always covered. Nothing here does any I/O.
"""

import math
import time
from dataclasses import dataclass, field
from decimal import Decimal

from credit_sdk._flows.growing import Growth
from credit_sdk.model_prices import ModelPrice, TokenUsage
from credit_sdk.operations import DEFAULT_HOLD_SECONDS
from credit_sdk.token_counting import BYTES_PER_TOKEN, tokens_of

USUAL_OUTPUT = 1_000
"""How many tokens of completion are held for a call that sets no bound, and by how many a hold grows."""
HOLD_SECONDS = DEFAULT_HOLD_SECONDS
_REFRESH_SECONDS = HOLD_SECONDS / 3


def _next_refresh() -> float:
    return time.monotonic() + _REFRESH_SECONDS


@dataclass(slots=True)
class StreamMeter:
    """One stream's meter. `prompt` is in tokens, amounts are credits."""

    price: ModelPrice
    markup: Decimal
    prompt: int
    usage: TokenUsage | None = None
    """What the provider has reported with what was delivered."""
    delivered: bool = False
    _size: int = 0
    _held: Decimal | None = None
    _covered: float = -1
    """How many bytes of completion `_held` pays for."""
    _refresh_at: float = field(default_factory=_next_refresh)

    @property
    def size(self) -> int:
        """How many bytes of completion were delivered."""
        return self._size

    def growth(self, size: int, held: Decimal) -> Growth | None:
        """Return by what the hold has to grow before `size` more bytes are delivered; None for nothing."""
        if held != self._held:
            self._cover(held)
        size += self._size
        if size > self._covered:
            needed = self._lacking(tokens_of(size))
            wished = self._lacking(tokens_of(size) + USUAL_OUTPUT)
        elif time.monotonic() > self._refresh_at:
            needed = wished = Decimal(0)
        else:
            return None
        self._refresh_at = _next_refresh()
        return Growth(needed, wished, HOLD_SECONDS)

    def deliver(self, size: int, usage: TokenUsage | None, *, shown: bool = True) -> None:
        """Count a piece that was handed over, or one that is kept from the reader."""
        self._size += size
        self.usage = usage or self.usage
        self.delivered = self.delivered or shown

    def used(self) -> TokenUsage:
        """Return what was used: as the provider says, else counted."""
        return self.usage or TokenUsage(self.prompt, tokens_of(self._size))

    def _lacking(self, completion: int) -> Decimal:
        cost = self.price.credits(TokenUsage(self.prompt, completion), self.markup)
        return cost - (self._held or Decimal(0))

    def _cover(self, held: Decimal) -> None:
        self._held = held
        each = self.price.exact_credits(TokenUsage(completion=1), self.markup)
        prompt = self.price.exact_credits(TokenUsage(prompt=self.prompt), self.markup)
        if each:
            self._covered = BYTES_PER_TOKEN * math.floor((held - prompt) / each)
        else:
            self._covered = math.inf if held >= prompt else -1
