"""The caps of the model: everything that ever counted is written down, and summed anew each time."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from credit_sdk.errors import InsufficientCreditsError
from credit_sdk.operations import SetCap

LENGTHS = {"hour": 3_600, "day": 86_400}


class Held(Protocol):
    """A hold of the model."""

    user: str
    key: str | None
    credits: Decimal
    placed: int


@dataclass
class CapSums:
    """Caps by scope, subject and period, and what counted when for whom; `time` is in seconds."""

    time: int = 0
    limits: dict[tuple[str, str, str], Decimal] = field(default_factory=dict)
    log: list[tuple[str, str | None, int, Decimal]] = field(default_factory=list)

    def set(self, ask: SetCap) -> None:
        key = ask.scope, ask.subject or "", ask.period
        self.limits.pop(key, None)
        if ask.credits is not None:
            self.limits[key] = ask.credits

    def list(self) -> dict[str, Any]:
        return {
            "caps": [
                {
                    "scope": scope,
                    "subject": subject or None,
                    "period": period,
                    "credits": self.limits[scope, subject, period],
                    "used_credits": self.used(scope, subject, period),
                }
                for scope, subject, period in sorted(self.limits)
            ]
        }

    def count(self, user: str, key: str | None, credits: Decimal, *, at: int | None = None) -> None:
        self.log.append((user, key, self.time if at is None else at, credits))

    def give_back(self, hold: Held) -> None:
        self.count(hold.user, hold.key, -hold.credits, at=hold.placed)

    def used(self, scope: str, subject: str, period: str) -> Decimal:
        length = LENGTHS.get(period)
        return sum(
            (
                credits
                for user, key, moment, credits in self.log
                if length is not None
                and moment // length == self.time // length
                and subject == {"organization": "", "member": user, "api_key": key}[scope]
            ),
            Decimal(0),
        )

    def left(self, user: str, key: str | None, *, granted: Decimal = Decimal(0)) -> dict[Any, Decimal]:
        """Return what each cap that concerns the spender leaves, `granted` being counted already."""
        subjects = {"organization": "", "member": user, "api_key": key}
        return {
            (scope, subject, period): limit
            if period == "call"
            else granted + max(limit - self.used(scope, subject, period), Decimal(0))
            for (scope, subject, period), limit in self.limits.items()
            if subject == subjects[scope]
        }

    def require(
        self,
        user: str,
        key: str | None,
        credits: Decimal,
        given_back: Collection[Held],
        *,
        granted: Decimal = Decimal(0),
    ) -> None:
        """Refuse what a cap does not allow once these holds are given back."""
        left = self._without(given_back).left(user, key, granted=granted)
        if not left or credits <= min(left.values()):
            return
        tightest = min(left, key=lambda each: (left[each], each))
        length = LENGTHS.get(tightest[2])
        raise InsufficientCreditsError(
            limit="cap",
            required=credits,
            available=left[tightest],
            resets_at=None if length is None else datetime.fromtimestamp(self.time + length, UTC),
        )

    def allow(self, user: str, credits: Decimal, given_back: Collection[Held]) -> bool:
        try:
            self.require(user, None, credits, given_back)
        except InsufficientCreditsError:
            return False
        return True

    def _without(self, given_back: Collection[Held]) -> "CapSums":
        imagined = CapSums(self.time, self.limits, list(self.log))
        for hold in given_back:
            imagined.give_back(hold)
        return imagined
