"""What becomes of a charge when something dies in the middle of it (SPEC section 3), and what is leased."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from credit_sdk.amounts import Amount, parse_credits, to_millicredits
from credit_sdk.errors import ConfigurationError

Unavailable = Literal["refuse", "perform"]
Settlement = Literal["release", "charge"]
LONGEST_HOLD_SECONDS = 86_400
"""The longest that credits can be held, in seconds."""
_LONGEST_MARGIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargePolicy:
    """The choices that only the application can make; the defaults never charge on a guess.

    `when_unavailable`: the books cannot be reached before the operation. `refuse` raises
    `UnavailableError`; `perform` lets it run and charges it when they are back. `allowance` bounds, in
    credits, what may be performed and unpaid at once by all processes that share the outbox.
    `on_crash`: the process died between the operation's begin and its end. `release` gives the credits
    back, `charge` takes them. `uncertain`: exceptions that leave it open whether the operation was done,
    such as a time-out; the service's probe is then asked, and where it does not know either,
    `on_unknown` decides when the hold's time is over. `on_early_end`: a stream ended before its end,
    because its consumer left, its task was cancelled or it failed. `release` takes nothing, `charge` takes
    the cost of what was delivered; it needs a `cost` that is worked out from the number of items.
    """

    when_unavailable: Unavailable = "refuse"
    allowance: Amount | None = None
    on_crash: Settlement = "release"
    uncertain: tuple[type[BaseException], ...] = ()
    on_unknown: Settlement = "release"
    on_early_end: Settlement = "release"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises `ConfigurationError` and `InvalidAmountError`."""
        if self.when_unavailable not in {"refuse", "perform"}:
            raise ConfigurationError(
                f"when_unavailable must be 'refuse' or 'perform', not {self.when_unavailable!r}."
            )
        for name in ("on_crash", "on_unknown", "on_early_end"):
            if getattr(self, name) not in {"release", "charge"}:
                raise ConfigurationError(
                    f"{name} must be 'release' or 'charge', not {getattr(self, name)!r}."
                )
        if self.allowance is not None:
            if self.when_unavailable == "refuse":
                raise ConfigurationError("An allowance needs when_unavailable='perform'.")
            parse_credits(self.allowance, argument="allowance")

    @property
    def allowed_credits(self) -> Decimal | None:
        """The allowance as an amount; None sets no bound."""
        return None if self.allowance is None else parse_credits(self.allowance, argument="allowance")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePolicy:
    """How many credits a process holds in bulk for an account, to spend them without asking the books.

    `credits` is what is held at once, and again when half of it is spent; a smaller lease is taken where the
    books have not as many. The lease ends `ttl_seconds` after it was last prolonged; from `margin_seconds`
    before that nothing is spent from it. What was spent is charged every `settle_seconds`, in groups.
    Each spend is in the journal, a file beside the outbox, before the caller goes on: it survives the end of
    the process. `sync_seconds` bounds what a power failure may lose; 0 waits for the disk at each spend.
    """

    credits: Amount
    ttl_seconds: int = 900
    settle_seconds: float = 1.0
    sync_seconds: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises `ConfigurationError` and `InvalidAmountError`."""
        parse_credits(self.credits, argument="lease credits")
        if not (isinstance(self.ttl_seconds, int) and 1 <= self.ttl_seconds <= LONGEST_HOLD_SECONDS):
            raise ConfigurationError(
                f"ttl_seconds of a lease must be 1 to {LONGEST_HOLD_SECONDS} whole seconds, "
                f"not {self.ttl_seconds!r}."
            )
        for name, is_fine in (
            ("settle_seconds", self.settle_seconds > 0),
            ("sync_seconds", self.sync_seconds >= 0),
        ):
            if not is_fine:
                raise ConfigurationError(f"{name} of a lease cannot be {getattr(self, name)!r}.")

    @property
    def millicredits(self) -> int:
        """What is held at once, in millicredits."""
        return to_millicredits(parse_credits(self.credits))

    @property
    def margin_seconds(self) -> float:
        """How long before the lease's end nothing is spent from it any more."""
        return min(_LONGEST_MARGIN_SECONDS, self.ttl_seconds / 10)
