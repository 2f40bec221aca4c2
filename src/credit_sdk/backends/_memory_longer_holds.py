"""Holds that live longer: more credits and more time for what is open, and charges for parts of it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from credit_sdk import models
from credit_sdk.amounts import format_credits, from_millicredits, to_millicredits
from credit_sdk.backends._memory_balance_holds import BalanceHolds
from credit_sdk.backends._memory_books import Content, Entry, Hold, id_taken
from credit_sdk.backends._memory_caps import spender_of
from credit_sdk.backends._memory_charges import receipt
from credit_sdk.backends._memory_holds import Holds
from credit_sdk.backends._memory_people import BalanceHold, already_used, require_active, too_few
from credit_sdk.errors import (
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    InsufficientCreditsError,
)
from credit_sdk.models import HoldStatus
from credit_sdk.operations import ChargeHold, ExtendBalanceHold, ExtendHold, Part

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

    def charge_hold(self, operation: ChargeHold) -> models.HoldCharges:
        """Take parts of a member's hold, all or none."""
        hold = self.find_hold(operation.hold_id, operation.org_id)
        contents = {part.request_id: _content(hold, part) for part in operation.charges}
        earlier = {
            request_id: entry
            for request_id, content in contents.items()
            if (entry := self.charged(hold.org_id, request_id, content)) is not None
        }
        fresh = [part for part in operation.charges if part.request_id not in earlier]
        if fresh:
            self._require_parts(hold, [contents[part.request_id] for part in fresh], fresh)
        taken = earlier | {part.request_id: self._take_part(hold, part) for part in fresh}
        if operation.close and hold.status == "held":
            self.close_hold(hold, "voided")
        receipts = [
            models.Receipt.model_validate(receipt(entry, replayed=request_id in earlier), context=self.SCALE)
            for request_id, entry in ((each, taken[each]) for each in contents)
        ]
        return models.HoldCharges(hold=self._hold(hold, replayed=not fresh), receipts=tuple(receipts))

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

    def _require_parts(self, hold: Hold, contents: list[Content], parts: list[Part]) -> None:
        if hold.status == "held" and hold.expires_at <= self.moment:
            raise HoldExpiredError(f"The hold {hold.id} has expired.")
        _require_open(hold.id, hold.status)
        for part in parts:
            if (hold.org_id, part.request_id) in self.live_holds:
                raise IdempotencyConflictError(f"The request id {part.request_id} holds credits.")
        wanted = sum(content[1] for content in contents)
        if wanted > hold.credits:
            needed, left = from_millicredits(wanted), from_millicredits(hold.credits)
            raise InsufficientCreditsError(
                f"Insufficient credits: {format_credits(needed)} required, {format_credits(left)} left in "
                f"the hold {hold.id}.",
                limit="hold",
                required=needed,
                available=left,
            )

    def _take_part(self, hold: Hold, part: Part) -> Entry:
        content = _content(hold, part)
        allocation = self.allocations[hold.org_id, hold.content[0]]
        allocation.held -= content[1]
        hold.parts += content[1]
        hold.captured += content[1]
        return self.charge(
            allocation,
            content,
            part.request_id,
            part.request_metadata,
            hold_id=hold.id,
            api_key_id=hold.api_key_id,
        )

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
        allocation.updated_at = self.moment
        hold.grown_at.append(self.moment)
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


def _content(hold: Hold, part: Part) -> Content:
    user_id, _, service_type, service_name = hold.content
    credits = to_millicredits(part.credits)
    return user_id, credits, part.service_type or service_type, part.service_name or service_name


def _wanted(operation: ExtendHold | ExtendBalanceHold) -> Extension:
    credits = 0 if operation.credits is None else to_millicredits(operation.credits)
    return Extension(operation.hold_id, credits, operation.ttl_seconds)


def _require_open(hold_id: UUID, status: HoldStatus) -> None:
    if status == "expired":
        raise HoldExpiredError(f"The hold {hold_id} has expired.")
    if status != "held":
        raise HoldClosedError(f"The hold {hold_id} was {status}.")
