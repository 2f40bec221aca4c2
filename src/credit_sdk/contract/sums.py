"""A model of one organisation's books that keeps nothing but what happened.

Every balance is summed from that anew, so that it shares no bookkeeping with the ledger that it is
compared with. Amounts are credits, times seconds since the beginning. Answers have those fields of the
results that the model knows about.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from credit_sdk.amounts import Amount
from credit_sdk.backends._statements import function_name
from credit_sdk.contract.sums_of_caps import CapSums
from credit_sdk.errors import (
    ConflictError,
    CreditError,
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NoAllocationError,
    NotFoundError,
    RefusedError,
)
from credit_sdk.operations import (
    AddCredits,
    Allocate,
    CaptureHold,
    ChargeHold,
    CheckCredits,
    Deduct,
    DeductBatch,
    ExpireHolds,
    ExtendHold,
    GetHold,
    GetPool,
    ListAllocations,
    ListCaps,
    Operation,
    PlaceHold,
    Refund,
    SetCap,
    VoidHold,
)

MEMBERS = ("ada", "bob", "eve")
POOL, SHARE = 400, 100


_order = count()


@dataclass(eq=False)
class Row:
    """A charge, a refund or a hold of the model."""

    user: str
    credits: Decimal
    service: str
    name: str | None
    request_id: str
    key: str | None = None
    placed: int = 0
    until: int = 0
    state: str = "held"
    captured: Decimal = Decimal(0)
    left: Decimal = Decimal(0)
    refund_of: "Row | None" = None
    id: UUID = field(default_factory=uuid4)

    added: Decimal = Decimal(0)
    order: int = field(default_factory=lambda: next(_order))

    def content(self) -> tuple[Any, ...]:
        return self.user, self.credits - self.added, self.service, self.name


class Sums:
    """What happened in one organisation; every balance is summed from it anew, in credits."""

    def __init__(self, org_id: str, overage: int | None) -> None:
        self.org_id, self.overage, self.time = org_id, overage or 0, 0
        self.caps = CapSums()
        self.pool = Decimal(POOL)
        self.allocated = {member: Decimal(SHARE) for member in MEMBERS}
        self.inactive: set[str] = set()
        self.charges: list[Row] = []
        self.holds: list[Row] = []
        self.extensions: dict[str, tuple[Any, ...]] = {}
        self.grants: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def begin(self, _: datetime) -> None:
        """Take the day's beginning for the beginning of all time."""

    def advance(self, seconds: int) -> None:
        self.time += seconds
        self.caps.time = self.time

    def taken(self) -> Counter[tuple[str, Decimal, str]]:
        return Counter((row.user, row.credits, row.request_id) for row in self.charges)

    def execute(self, operation: Operation[Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self, function_name(type(operation)))(operation)
        return answer

    # Balances

    def left(self, user: str) -> Decimal:
        return self.allocated[user] - sum(row.credits for row in self.charges if row.user == user)

    def held(self, user: str) -> list[Row]:
        return [row for row in self.holds if row.user == user and row.state == "held"]

    def overdue(self, user: str) -> list[Row]:
        return [row for row in self.held(user) if row.until <= self.time]

    def room(self, user: str, *, without: list[Row]) -> Decimal:
        held = sum(row.credits for row in self.held(user) if row not in without)
        return self.left(user) + self.overage - held

    def unallocated(self) -> Decimal:
        return self.pool - sum(self.allocated.values())

    # Rules

    def make_room(self, ask: Deduct | PlaceHold) -> None:
        overdue = self.overdue(ask.user_id)
        self.require_room(ask.user_id, ask.credits)
        self.caps.require(ask.user_id, ask.api_key_id, ask.credits, overdue)
        is_held = any(row.request_id == ask.request_id for row in self.held(ask.user_id))
        if is_held or self.caps.limits or ask.credits > self.room(ask.user_id, without=[]):
            self.expire(overdue)

    def require_room(self, user: str, credits: Decimal, *, beside: Row | None = None) -> None:
        if user in self.inactive:
            raise NoAllocationError(limit="inactive")
        room = self.room(user, without=[row for row in self.overdue(user) if row is not beside])
        if credits > room:
            limit: Any = "overage" if self.overage else "allocation"
            raise InsufficientCreditsError(limit=limit, required=credits, available=max(room, Decimal(0)))

    def expire(self, rows: list[Row]) -> None:
        for row in rows:
            self.close(row, "expired")

    def close(self, hold: Row, state: str) -> None:
        hold.state = state
        self.caps.give_back(hold)

    def charged(self, request_id: str, content: tuple[Any, ...]) -> Row | None:
        found = next((row for row in self.charges if row.request_id == request_id), None)
        if found is not None and found.content() != content:
            raise IdempotencyConflictError
        return found

    def refuse_held_id(self, user: str, request_id: str) -> None:
        overdue = self.overdue(user)
        live = [row for row in self.holds if row.state == "held" and row not in overdue]
        if any(row.request_id == request_id for row in live):
            raise IdempotencyConflictError

    def take(self, row: Row) -> Row:
        self.charges.append(row)
        row.left = self.left(row.user)
        return row

    # Operations

    def check_credits(self, ask: CheckCredits) -> dict[str, Any]:
        overdue = self.overdue(ask.user_id)
        room = self.room(ask.user_id, without=overdue)
        if ask.user_id in self.inactive:
            return {"has_sufficient_credits": False, "remaining_credits": 0, "available_credits": 0}
        return {
            "has_sufficient_credits": ask.credits <= room
            and self.caps.allow(ask.user_id, ask.credits, overdue),
            "remaining_credits": self.left(ask.user_id),
            "available_credits": room - self.overage,
        }

    def deduct(self, ask: Deduct) -> dict[str, Any]:
        content = ask.user_id, ask.credits, ask.service_type, ask.service_name
        earlier = self.charged(ask.request_id, content)
        if earlier is not None:
            return _receipt(earlier, replayed=True)
        self.refuse_held_id(ask.user_id, ask.request_id)
        self.make_room(ask)
        self.caps.count(ask.user_id, ask.api_key_id, ask.credits)
        return _receipt(self.take(Row(*content, ask.request_id)))

    def deduct_batch(self, ask: DeductBatch) -> dict[str, Any]:
        for charge in ask.charges:
            self.expire(self.overdue(charge.user_id))
        return {"outcomes": [self.outcome(charge) for charge in ask.charges]}

    def outcome(self, charge: Deduct) -> dict[str, Any]:
        try:
            return {"request_id": charge.request_id, "receipt": self.deduct(charge), "problem": None}
        except CreditError as error:
            problem = {"code": error.code, "status": error.status, **error.figures()}
            return {"request_id": charge.request_id, "receipt": None, "problem": problem}

    def place_hold(self, ask: PlaceHold) -> dict[str, Any]:
        content = ask.user_id, ask.credits, ask.service_type, ask.service_name
        overdue = self.overdue(ask.user_id)
        same_id = [row for row in self.holds if row.request_id == ask.request_id and row not in overdue]
        standing = [row for row in same_id if row.state in {"held", "captured"}]
        if standing:
            if standing[0].content() != content:
                raise IdempotencyConflictError
            self.expire(overdue)
            return _hold(standing[0], replayed=True)
        if any(row.request_id == ask.request_id for row in self.charges):
            raise IdempotencyConflictError
        self.make_room(ask)
        self.caps.count(ask.user_id, ask.api_key_id, ask.credits)
        until = self.time + ask.ttl_seconds
        self.holds.append(Row(*content, ask.request_id, ask.api_key_id, placed=self.time, until=until))
        return _hold(self.holds[-1])

    def capture_hold(self, ask: CaptureHold) -> dict[str, Any]:
        hold = self.find(ask.hold_id)
        credits = hold.credits if ask.credits is None else ask.credits
        charge = Row(hold.user, credits, hold.service, hold.name, hold.request_id)
        if hold.state == "voided":
            raise HoldClosedError
        if hold.state == "captured":
            if ask.credits not in {None, self.charge_of(hold.request_id).credits}:
                raise IdempotencyConflictError
            return _receipt(self.charge_of(hold.request_id), replayed=True)
        if hold.state == "expired":
            earlier = self.charged(hold.request_id, charge.content())
            if earlier is not None:
                return _receipt(earlier, replayed=True)
            _require_rest(credits)
            self.make_room_again(hold, credits)
            self.caps.count(hold.user, hold.key, credits)
        else:
            _require_rest(credits)
            self.make_room_beyond(hold, credits)
            self.count_capture(hold, credits)
        hold.state = "captured"
        hold.captured += credits
        return _receipt(self.take(charge))

    def make_room_again(self, hold: Row, credits: Decimal) -> None:
        self.refuse_held_id(hold.user, hold.request_id)
        try:
            self.require_room(hold.user, credits)
            self.caps.require(hold.user, hold.key, credits, self.overdue(hold.user))
        except RefusedError as error:
            raise HoldExpiredError from error
        self.expire(self.overdue(hold.user))

    def count_capture(self, hold: Row, credits: Decimal) -> None:
        """Count what is captured in time where the hold counted, and all else now."""
        in_time = min(credits, hold.credits) if self.time < hold.until else Decimal(0)
        self.caps.give_back(hold)
        self.caps.count(hold.user, hold.key, in_time, at=hold.placed)
        self.caps.count(hold.user, hold.key, credits - in_time)

    def make_room_beyond(self, hold: Row, credits: Decimal) -> None:
        if credits > hold.credits:
            self.require_room_beyond(hold, credits)
        decided = credits > hold.credits or hold.until <= self.time
        if decided:
            granted = hold.credits if self.time < hold.until else Decimal(0)
            self.caps.require(hold.user, hold.key, credits, self.overdue(hold.user), granted=granted)
        if any(row.request_id == hold.request_id for row in self.charges):
            raise IdempotencyConflictError
        capped = decided and self.caps.limits
        if capped or credits > max(hold.credits, self.room(hold.user, without=[hold])):
            self.expire([row for row in self.overdue(hold.user) if row is not hold])

    def require_room_beyond(self, hold: Row, credits: Decimal) -> None:
        if hold.user in self.inactive:
            raise NoAllocationError(limit="inactive")
        others = [row for row in self.overdue(hold.user) if row is not hold]
        room = self.room(hold.user, without=[hold, *others])
        if credits > room:
            raise InsufficientCreditsError(limit="hold", required=credits, available=max(room, hold.credits))

    def extend_hold(self, ask: ExtendHold) -> dict[str, Any]:
        hold, wanted = self.find(ask.hold_id), (ask.hold_id, ask.credits, ask.ttl_seconds)
        if self.extensions.get(ask.request_id, wanted) != wanted:
            raise IdempotencyConflictError
        if ask.request_id in self.extensions:
            return _hold(hold, replayed=True)
        if hold.state != "held":
            raise HoldExpiredError if hold.state == "expired" else HoldClosedError
        if ask.credits is not None:
            self.enlarge_hold(hold, ask.credits)
        if ask.ttl_seconds is not None and self.time + ask.ttl_seconds >= hold.until:
            hold.until = self.time + ask.ttl_seconds
            hold.order = next(_order)
        self.extensions[ask.request_id] = wanted
        return _hold(hold)

    def charge_hold(self, ask: ChargeHold) -> dict[str, Any]:
        hold = self.find(ask.hold_id)
        parts = {
            each.request_id: (
                hold.user, each.credits, each.service_type or hold.service, each.service_name or hold.name
            )
            for each in ask.charges
        }  # fmt: skip
        earlier = {each for each, content in parts.items() if self.charged(each, content) is not None}
        fresh = {each: content for each, content in parts.items() if each not in earlier}
        if fresh:
            self.require_parts(hold, fresh)
        for each, content in fresh.items():
            hold.credits -= content[1]
            hold.added -= content[1]
            hold.captured += content[1]
            self.take(Row(*content, each))
        if ask.close and hold.state == "held":
            self.close(hold, "voided")
        receipts = [_receipt(self.charge_of(each), replayed=each in earlier) for each in parts]
        return {"hold": _hold(hold, replayed=not fresh), "receipts": receipts}

    def require_parts(self, hold: Row, fresh: dict[str, tuple[Any, ...]]) -> None:
        if hold.state == "expired" or (hold.state == "held" and hold.until <= self.time):
            raise HoldExpiredError
        if hold.state != "held":
            raise HoldClosedError
        if any(row.request_id in fresh for row in self.holds if row.state == "held"):
            raise IdempotencyConflictError
        required = sum(content[1] for content in fresh.values())
        if required > hold.credits:
            raise InsufficientCreditsError(limit="hold", required=required, available=hold.credits)

    def enlarge_hold(self, hold: Row, credits: Decimal) -> None:
        others = [row for row in self.overdue(hold.user) if row is not hold]
        self.require_room(hold.user, credits, beside=hold)
        self.caps.require(hold.user, hold.key, hold.credits + credits, [hold, *others])
        if self.caps.limits or credits > self.room(hold.user, without=[]):
            self.expire(others)
        self.caps.give_back(hold)
        hold.credits += credits
        hold.added += credits
        hold.placed = self.time
        self.caps.count(hold.user, hold.key, hold.credits)

    def void_hold(self, ask: VoidHold) -> dict[str, Any]:
        hold = self.find(ask.hold_id)
        if hold.state == "captured":
            raise HoldClosedError
        replayed = hold.state != "held"
        if not replayed:
            self.close(hold, "voided")
        return _hold(hold, replayed=replayed)

    def get_hold(self, ask: GetHold) -> dict[str, Any]:
        return _hold(self.find(ask.hold_id))

    def expire_holds(self, ask: ExpireHolds) -> dict[str, Any]:
        # Of holds that end together, the one that was placed or given time first ends first.
        overdue = [row for row in self.holds if row.state == "held" and row.until <= self.time]
        overdue.sort(key=lambda row: (row.until, row.order))
        self.expire(overdue[: ask.limit])
        return {"expired": len(overdue[: ask.limit])}

    def refund(self, ask: Refund) -> dict[str, Any]:
        wanted = [row for row in self.charges if ask.charge_id == row.id or ask.request_id == row.request_id]
        if not wanted:
            raise NotFoundError
        charge = wanted[0]
        if charge.refund_of is not None:
            raise ConflictError
        for row in self.charges:
            if row.request_id == ask.idempotency_key:
                if row.refund_of is not charge or ask.credits not in {None, -row.credits}:
                    raise IdempotencyConflictError
                return _refund(row, replayed=True)
        if any(row.request_id == ask.idempotency_key for row in self.holds if row.state == "held"):
            raise IdempotencyConflictError
        refundable = charge.credits + sum(row.credits for row in self.charges if row.refund_of is charge)
        credits = refundable if ask.credits is None else ask.credits
        if credits > refundable or not credits:
            raise ConflictError
        refund = Row(charge.user, -credits, charge.service, charge.name, ask.idempotency_key)
        refund.refund_of, refund.captured = charge, refundable - credits
        return _refund(self.take(refund))

    def set_cap(self, ask: SetCap) -> dict[str, Any]:
        self.caps.set(ask)
        return self.caps.list()

    def list_caps(self, _: ListCaps) -> dict[str, Any]:
        return self.caps.list()

    def add_credits(self, ask: AddCredits) -> dict[str, Any]:
        return self.once(ask.request_id, ("pool", ask.credits), lambda: self.fill(ask.credits))

    def fill(self, credits: Decimal) -> dict[str, Any]:
        self.pool += credits
        return {"total_credits": self.pool, "available_credits": self.unallocated()}

    def allocate(self, ask: Allocate) -> dict[str, Any]:
        user, credits = ask.user_id, ask.allocated_credits
        return self.once(ask.request_id, (user, credits), lambda: self.enlarge(user, credits))

    def enlarge(self, user: str, credits: Decimal) -> dict[str, Any]:
        self.set_allocation(self.org_id, user, self.allocated[user] + credits)
        return {"allocated_credits": self.allocated[user], "remaining_credits": self.left(user)}

    def once(
        self, request_id: str, content: tuple[Any, ...], act: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        replayed = request_id in self.grants
        if not replayed:
            self.grants[request_id] = content, act()
        if self.grants[request_id][0] != content:
            raise IdempotencyConflictError
        return self.grants[request_id][1] | {"replayed": replayed}

    def set_allocation(self, _: str, user: str, credits: Amount) -> None:
        wanted, available = Decimal(credits) - self.allocated[user], self.unallocated()
        if wanted > available:
            raise InsufficientCreditsError(limit="pool", required=wanted, available=available)
        self.allocated[user] += wanted

    def deactivate(self, _: str, user: str) -> None:
        self.inactive.add(user)

    def list_allocations(self, _: ListAllocations) -> dict[str, Any]:
        return {"items": [self.allocation(member) for member in MEMBERS], "next_cursor": None}

    def allocation(self, user: str) -> dict[str, Any]:
        return {
            "user_id": user,
            "allocated_credits": self.allocated[user],
            "used_credits": self.allocated[user] - self.left(user),
            "held_credits": sum(row.credits for row in self.held(user)),
            "is_active": user not in self.inactive,
        }

    def get_pool(self, _: GetPool) -> dict[str, Any]:
        used = sum(row.credits for row in self.charges)
        return {"total_credits": self.pool, "used_credits": used, "available_credits": self.unallocated()}

    def find(self, hold_id: UUID) -> Row:
        return next(row for row in self.holds if row.id == hold_id)

    def charge_of(self, request_id: str) -> Row:
        return next(row for row in self.charges if row.request_id == request_id)


def _require_rest(credits: Decimal) -> None:
    if not credits:
        raise HoldClosedError


def _receipt(row: Row, *, replayed: bool = False) -> dict[str, Any]:
    return {
        "charge_id": row.id,
        "user_id": row.user,
        "credits_used": row.credits,
        "remaining_credits": row.left,
        "service_type": row.service,
        "service_name": row.name,
        "request_id": row.request_id,
        "replayed": replayed,
    }


def _hold(row: Row, *, replayed: bool = False) -> dict[str, Any]:
    return {
        "hold_id": row.id,
        "user_id": row.user,
        "credits": row.credits,
        "captured_credits": row.captured,
        "status": row.state,
        "request_id": row.request_id,
        "replayed": replayed,
    }


def _refund(row: Row, *, replayed: bool = False) -> dict[str, Any]:
    assert row.refund_of is not None
    return {
        "refund_id": row.id,
        "charge_id": row.refund_of.id,
        "credits_refunded": -row.credits,
        "refundable_credits": row.captured,
        "remaining_credits": row.left,
        "replayed": replayed,
    }
