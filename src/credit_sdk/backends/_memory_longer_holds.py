"""Holds that live longer: more credits and more time for what is open."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from credit_sdk import models
from credit_sdk.amounts import to_millicredits
from credit_sdk.backends._memory_balance_holds import BalanceHolds
from credit_sdk.backends._memory_books import Hold, id_taken
from credit_sdk.backends._memory_caps import spender_of
from credit_sdk.backends._memory_holds import Holds
from credit_sdk.backends._memory_people import BalanceHold, already_used, require_active, too_few
from credit_sdk.errors import HoldClosedError, HoldExpiredError
from credit_sdk.models import HoldStatus
from credit_sdk.operations import ExtendBalanceHold, ExtendHold

KeyT = TypeVar("KeyT", bound=Hashable)
HoldT = TypeVar("HoldT", Hold, BalanceHold)


@dataclass(frozen=True, slots=True)
class Extension:
    """What a request id gave to a hold."""

    hold_id: UUID
    credits: int
    ttl_seconds: int | None


class LongerHolds(BalanceHolds, Holds):
    """The rules of what happens to holds while they are open."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        super().__init__(now=now)
        self.extensions: dict[tuple[str | int, str], Extension] = {}

    def extend_hold(self, operation: ExtendHold) -> models.Hold:
        """Set more aside for a member's hold, give it more time, or both."""
        hold, wanted = self.find_hold(operation.hold_id, operation.org_id), _wanted(operation)
        earlier = self.extensions.get((hold.org_id, operation.request_id))
        if earlier is not None:
            if earlier != wanted:
                raise id_taken(hold.org_id, operation.request_id)
            return self._hold(hold, replayed=True)
        _require_open(hold.id, hold.status)
        if wanted.credits:
            self._set_more_aside(hold, wanted.credits)
        self._prolong(self.live_holds, (hold.org_id, hold.request_id), wanted.ttl_seconds)
        self.extensions[hold.org_id, operation.request_id] = wanted
        return self._hold(hold)

    def extend_balance_hold(self, operation: ExtendBalanceHold) -> models.Hold:
        """Set more aside for a user's hold, give it more time, or both."""
        hold, wanted = self._find_balance_hold(operation.hold_id, operation.user_id), _wanted(operation)
        earlier = self.extensions.get((hold.person.number, operation.request_id))
        if earlier is not None:
            if earlier != wanted:
                raise already_used(hold.person, operation.request_id)
            return self._shown(hold, replayed=True)
        _require_open(hold.id, hold.status)
        if wanted.credits:
            self._set_more_aside_of_user(hold, wanted.credits)
        key = hold.person.number, hold.request_id
        self._prolong(self.live_balance_holds, key, wanted.ttl_seconds)
        self.extensions[hold.person.number, operation.request_id] = wanted
        return self._shown(hold)

    def _prolong(self, live: dict[KeyT, HoldT], key: KeyT, ttl_seconds: int | None) -> None:
        """Let a hold last from now. Of holds that end together, the last that was prolonged ends last."""
        expires_at = self.moment + timedelta(seconds=ttl_seconds or 0)
        if expires_at >= live[key].expires_at:
            live[key] = live.pop(key)
            live[key].expires_at = expires_at

    def _set_more_aside(self, hold: Hold, credits: int) -> None:
        """Set more aside, decided like a new hold. The whole hold counts against caps from now on."""
        allocation = self.spendable(hold.org_id, hold.content[0])
        others = self.overdue(allocation, beside=hold)
        self.require_available(allocation, credits, beside=hold)
        self.require_caps(spender_of(hold), hold.credits + credits, given_back=[hold, *others])
        if self.is_capped(hold.org_id) or credits > self.free(allocation):
            self.give_back(others)
        allocation.held += credits
        allocation.updated_at = hold.counted_at = self.moment
        hold.added += credits

    def _set_more_aside_of_user(self, hold: BalanceHold, credits: int) -> None:
        person = hold.person
        require_active(person)
        others = [each for each in self.overdue_of(person) if each is not hold]
        free = person.credits - person.held
        available = free + sum(each.credits for each in others)
        if credits > available:
            raise too_few("balance", credits, available)
        if credits > free:
            self.let_expire(others)
        person.held += credits
        hold.added += credits


def _wanted(operation: ExtendHold | ExtendBalanceHold) -> Extension:
    credits = 0 if operation.credits is None else to_millicredits(operation.credits)
    return Extension(operation.hold_id, credits, operation.ttl_seconds)


def _require_open(hold_id: UUID, status: HoldStatus) -> None:
    if status == "expired":
        raise HoldExpiredError(f"The hold {hold_id} has expired.")
    if status != "held":
        raise HoldClosedError(f"The hold {hold_id} was {status}.")
