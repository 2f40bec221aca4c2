"""Caps: how much may be spent in an hour, a day, a month, or in one call.

Nothing is counted beside the books: what is used of a cap is summed from charges and open holds. A hold
counts when it is placed, or was last given more, and what is captured of it in time counts there, what is
captured beyond it or after its time when it is captured. Refunds give nothing back: a cap bounds how fast is
spent.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from credit_sdk import models
from credit_sdk.amounts import format_credits, from_millicredits, to_millicredits
from credit_sdk.backends._memory_books import Allocation, Books, Cap, CapKey, Entry, Hold
from credit_sdk.errors import InsufficientCreditsError
from credit_sdk.operations import ListCaps, SetCap


class Spender(NamedTuple):
    """Whose caps count: an organisation's, a member's, and those of the key that is used."""

    org_id: str
    user_id: str
    api_key_id: str | None


class Room(NamedTuple):
    """How much one cap leaves."""

    left: int
    key: CapKey
    cap: Cap


@dataclass(frozen=True, slots=True)
class Spending:
    """Millicredits that count against the caps of the spender, and when."""

    spender: Spender
    credits: int
    moment: datetime


class Caps(Books):
    """The rules of caps."""

    def set_cap(self, operation: SetCap) -> models.CapList:
        """Set a cap, or remove it; one that is as it should be stays untouched."""
        self.require_open(operation.org_id)
        key = CapKey(operation.org_id, operation.scope, operation.subject or "", operation.period)
        if operation.credits is None:
            self.caps.pop(key, None)
        elif key not in self.caps or self.caps[key].credits != to_millicredits(operation.credits):
            self.caps[key] = Cap(to_millicredits(operation.credits), operation.updated_by, self.moment)
        return self._list(operation.org_id)

    def list_caps(self, operation: ListCaps) -> models.CapList:
        """List an organisation's caps."""
        self.organization(operation.org_id)
        return self._list(operation.org_id)

    def secure(self, allocation: Allocation, credits: int, request_id: str, api_key_id: str | None) -> None:
        """See to it that so much can be taken under this id, or refuse and change nothing.

        The overdue holds of the member are given back if anything stands in the way, and wherever there
        are caps.
        """
        is_held = (allocation.org_id, request_id) in self.live_holds
        if is_held or self.is_capped(allocation.org_id) or credits > self.free(allocation):
            overdue = self.overdue(allocation)
            self.require_available(allocation, credits)
            spender = Spender(allocation.org_id, allocation.user_id, api_key_id)
            self.require_caps(spender, credits, given_back=overdue)
            self.give_back(overdue)

    def is_capped(self, org_id: str) -> bool:
        """Whether the organisation has any caps."""
        return any(key.org_id == org_id for key in self.caps)

    def require_caps(
        self, spender: Spender, credits: int, *, granted: int = 0, given_back: Collection[Hold] = ()
    ) -> None:
        """Refuse what a cap does not allow after holds were given back; `granted` of it counts already."""
        tightest = self._tightest(spender, granted, given_back)
        if tightest is not None and tightest.left < credits:
            raise _over(tightest, credits, self.moment)

    def caps_allow(self, allocation: Allocation, credits: int) -> bool:
        """Whether the caps of a member and their organisation leave so much, overdue holds given back."""
        spender = Spender(allocation.org_id, allocation.user_id, None)
        tightest = self._tightest(spender, 0, self.overdue(allocation))
        return tightest is None or credits <= tightest.left

    def _tightest(self, spender: Spender, granted: int, given_back: Collection[Hold]) -> Room | None:
        """Return the cap that leaves the least, the first of them by key."""
        rooms = [
            Room(self._left(key, cap, granted, given_back), key, cap)
            for key, cap in sorted(self.caps.items())
            if _concerns(key, spender)
        ]
        return min(rooms, key=lambda room: room.left, default=None)

    def _left(self, key: CapKey, cap: Cap, granted: int, given_back: Collection[Hold]) -> int:
        if key.period == "call":
            return cap.credits
        return granted + max(cap.credits - self._used(key, given_back), 0)

    def _used(self, key: CapKey, given_back: Collection[Hold] = ()) -> int:
        """Return what counts against a cap in the present window; of single calls nothing does."""
        if key.period == "call":
            return 0
        start = window_start(key.period, self.moment)
        return sum(
            each.credits
            for each in self._spent(key.org_id, given_back)
            if each.moment >= start and _concerns(key, each.spender)
        )

    def _spent(self, org_id: str, given_back: Collection[Hold]) -> Iterator[Spending]:
        for hold in self.live_holds.values():
            if hold.org_id == org_id and hold not in given_back:
                yield Spending(spender_of(hold), hold.credits, hold.counted_at())
        for entry in self.entries.values():
            if entry.org_id != org_id or entry.refund_of is not None:
                continue
            spender = Spender(org_id, entry.content[0], entry.api_key_id)
            captured = self.holds[entry.hold_id] if entry.hold_id else None
            in_time = 0
            if captured is not None:
                in_time = _in_time(entry, captured)
                yield Spending(spender, in_time, captured.counted_at(entry.created_at))
            yield Spending(spender, entry.credits - in_time, entry.created_at)

    def _list(self, org_id: str) -> models.CapList:
        rows = [(key, cap) for key, cap in sorted(self.caps.items()) if key.org_id == org_id]
        document = {"caps": [self._document(key, cap) for key, cap in rows]}
        return models.CapList.model_validate(document, context=self.SCALE)

    def _document(self, key: CapKey, cap: Cap) -> dict[str, Any]:
        return {
            "scope": key.scope,
            "subject": key.subject or None,
            "period": key.period,
            "credits": cap.credits,
            "used_credits": self._used(key),
            "resets_at": window_end(key.period, self.moment),
            "updated_at": cap.updated_at,
        }


def _in_time(entry: Entry, hold: Hold) -> int:
    """Return what of a charge counts where its hold does: all of a part, what was captured in time."""
    if entry.request_id != hold.request_id:
        return entry.credits
    return min(entry.credits, hold.credits) if entry.created_at < hold.expires_at else 0


def spender_of(hold: Hold) -> Spender:
    """Return whose caps a hold counts against, whoever captures it."""
    return Spender(hold.org_id, hold.content[0], hold.api_key_id)


def window_start(period: models.CapPeriod, moment: datetime) -> datetime:
    """Return when the hour, day or month (UTC) began in which the moment is; a call begins now."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    match period:
        case "call":
            return moment
        case "hour":
            return hour
        case "day":
            return hour.replace(hour=0)
        case "month":
            return hour.replace(hour=0, day=1)


def window_end(period: models.CapPeriod, moment: datetime) -> datetime | None:
    """Return when the window of the moment ends."""
    start = window_start(period, moment)
    match period:
        case "call":
            return None
        case "hour":
            return start + timedelta(hours=1)
        case "day":
            return start + timedelta(days=1)
        case "month":
            return (start + timedelta(days=32)).replace(day=1)


def _concerns(key: CapKey, spender: Spender) -> bool:
    subject = {"organization": "", "member": spender.user_id, "api_key": spender.api_key_id}[key.scope]
    return key.org_id == spender.org_id and key.subject == subject


def _over(tightest: Room, required: int, moment: datetime) -> InsufficientCreditsError:
    """Return the refusal that names the cap, with its figures in credits."""
    left, key, cap = tightest
    needed, available, most = map(from_millicredits, (required, left, cap.credits))
    return InsufficientCreditsError(
        f"Insufficient credits: {format_credits(needed)} required, {format_credits(available)} left of "
        f"the cap of {format_credits(most)} {_EACH[key.period]} for {_whom(key)}.",
        limit="cap",
        required=needed,
        available=available,
        resets_at=window_end(key.period, moment),
    )


_EACH = {"call": "a call", "hour": "an hour", "day": "a day", "month": "a month"}


def _whom(key: CapKey) -> str:
    match key.scope:
        case "organization":
            return f"organisation {key.org_id}"
        case "member":
            return f"user {key.subject} in organisation {key.org_id}"
        case "api_key":
            return f"API key {key.subject} in organisation {key.org_id}"
