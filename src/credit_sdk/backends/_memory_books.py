"""The rows of a ledger in memory, and what every rule asks of them. Amounts are integer millicredits.

What is append-only in the database (`Entry`, `Event`) is frozen here.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import UUID, uuid4

from pydantic import JsonValue

from credit_sdk.amounts import MILLICREDITS_PER_CREDIT, format_credits, from_millicredits
from credit_sdk.backends._memory_plans import Subscription
from credit_sdk.errors import (
    IdempotencyConflictError,
    InsufficientCreditsError,
    Limit,
    NoAllocationError,
    NotAMemberError,
    NotFoundError,
    ValidationFailedError,
)
from credit_sdk.models import CapPeriod, CapScope, HoldStatus, ResetPeriod, Role

OrganizationStatus = Literal["active", "suspended", "deleted"]
Content = tuple[str, int, str, str | None]
"""What a request id stands for: user, millicredits, service type, service name."""


@dataclass(slots=True)
class Organization:
    """An organisation; one that is deleted keeps its books."""

    id: str
    name: str
    status: OrganizationStatus
    created_at: datetime
    display_name: str | None = None
    slug: str | None = None
    plan_tier: str = "platform"
    max_seats: int | None = None


@dataclass(slots=True)
class Pool:
    """What an organisation owns; what of it is allocated and used follows from the allocations."""

    updated_at: datetime
    total: int = 0
    purchased: int = 0
    allow_overage: bool = False
    overage_limit: int = 0
    monthly_refresh: int = 0
    next_refresh_date: datetime | None = None


@dataclass(slots=True)
class Member:
    """A user's place in an organisation."""

    org_id: str
    user_id: str
    role: Role
    is_default: bool
    joined_at: datetime


@dataclass(slots=True)
class Allocation:
    """A member's share. `held` is kept beside the holds it sums, as the database keeps it.

    `settled` is what closed periods used, `shortfall` what the last reset could not refill.
    """

    org_id: str
    user_id: str
    created_at: datetime
    updated_at: datetime
    allocated: int = 0
    settled: int = 0
    shortfall: int = 0
    used: int = 0
    held: int = 0
    reset_period: ResetPeriod = "never"
    last_reset_date: datetime | None = None
    next_reset_date: datetime | None = None
    is_active: bool = True
    notes: str | None = None

    @property
    def remaining(self) -> int:
        """What is not used up; holds are not counted."""
        return self.allocated - self.used


@dataclass(slots=True)
class Hold:
    """Credits set aside: those of its content at first and what was added since, without its parts.

    `grown_at` is when it was given more: it counts against caps from then on. `parts` were charged.
    """

    org_id: str
    content: Content
    request_id: str
    metadata: dict[str, JsonValue]
    created_at: datetime
    expires_at: datetime
    status: HoldStatus = "held"
    captured: int = 0
    api_key_id: str | None = None
    added: int = 0
    parts: int = 0
    grown_at: list[datetime] = field(default_factory=list)
    by_payer: bool = False
    id: UUID = field(default_factory=uuid4)

    @property
    def credits(self) -> int:
        """What is set aside."""
        return self.content[1] + self.added - self.parts

    def counted_at(self, moment: datetime | None = None) -> datetime:
        """Return since when it counts against caps, now or at an earlier moment."""
        grown = [each for each in self.grown_at if moment is None or each <= moment]
        return max(grown, default=self.created_at)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the attribution: a charge, or a refund with negative credits.

    `remaining` is what was left of the allocation right after it, `refundable` of the refunded charge.
    """

    org_id: str
    content: Content
    request_id: str
    metadata: dict[str, JsonValue]
    created_at: datetime
    remaining: int
    hold_id: UUID | None = None
    refund_of: UUID | None = None
    refundable: int = 0
    api_key_id: str | None = None
    id: UUID = field(default_factory=uuid4)

    @property
    def credits(self) -> int:
        """What was taken; negative for a refund."""
        return self.content[1]


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the billing history; `metadata` are the figures right after it.

    `content` is what the request id stands for, if the event has one.
    """

    org_id: str
    type: str
    created_at: datetime
    metadata: Mapping[str, Any]
    credits: int | None = None
    amount: Decimal = Decimal(0)
    notes: str | None = None
    subscription_id: UUID | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    request_id: str | None = None
    content: tuple[Any, ...] = ()
    id: UUID = field(default_factory=uuid4)


class CapKey(NamedTuple):
    """What a cap bounds; `subject` is a user, an API key, or empty for the organisation."""

    org_id: str
    scope: CapScope
    subject: str
    period: CapPeriod


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that may be spent in one period."""

    credits: int
    updated_by: str | None
    updated_at: datetime


class Books:
    """The ledger's tables as dictionaries, and the questions that all its rules ask."""

    moment: datetime
    """When the operation that is being carried out began: one operation knows one time."""

    SCALE: ClassVar[dict[str, int]] = {"scale": MILLICREDITS_PER_CREDIT}

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self.now = now
        self.organizations: dict[str, Organization] = {}
        self.pools: dict[str, Pool] = {}
        self.members: dict[tuple[str, str], Member] = {}
        self.allocations: dict[tuple[str, str], Allocation] = {}
        self.emails: dict[str, str] = {}
        self.sessions: dict[str, str] = {}
        self.holds: dict[UUID, Hold] = {}
        self.entries: dict[UUID, Entry] = {}
        self.subscriptions: dict[UUID, Subscription] = {}
        self.events: list[Event] = []
        self.caps: dict[CapKey, Cap] = {}
        self.live_holds: dict[tuple[str, str], Hold] = {}
        self.entry_by_request: dict[tuple[str, str], Entry] = {}
        self.event_by_request: dict[tuple[str, str], Event] = {}

    def organization(self, org_id: str) -> Organization:
        """Return an organisation; one that is unknown is answered like one of others."""
        if org_id not in self.organizations:
            raise not_a_member(org_id)
        return self.organizations[org_id]

    def require_open(self, org_id: str) -> None:
        """Refuse what is deleted; a suspended organisation can still be administered."""
        organization = self.organization(org_id)
        if organization.status == "deleted":
            raise inactive(organization)

    def of_organization(self, org_id: str) -> list[Allocation]:
        """Return an organisation's allocations."""
        return [each for each in self.allocations.values() if each.org_id == org_id]

    def current_subscription(self, org_id: str) -> Subscription | None:
        """Return the subscription that an organisation has now, rather not one that is not paid for."""
        found = [each for each in self.subscriptions.values() if each.org_id == org_id and each.is_current]
        return max(found, key=lambda each: (each.status != "past_due", each.created_at), default=None)

    def has_balance(self, _user_id: str) -> bool:
        """Whether a user has credits of their own: of that the books of organisations know nothing."""
        return False

    def require_standing(self, org_id: str, user_id: str) -> None:
        """Tell nothing to whoever has no place in the organisation."""
        key = org_id, user_id
        if key not in self.members and key not in self.allocations:
            raise not_a_member(org_id, user_id)

    def spendable(self, org_id: str, user_id: str) -> Allocation:
        """Return the allocation that may be spent from, or say why there is none."""
        self.require_standing(org_id, user_id)
        allocation = self.allocations.get((org_id, user_id))
        status = self.organizations[org_id].status
        if status != "active":
            raise NoAllocationError(
                f"No credit allocation: organisation {org_id} is {status}.", limit="inactive"
            )
        if allocation is None:
            raise NoAllocationError(
                f"No credit allocation: user {user_id} has no share of the credits of organisation {org_id}.",
                limit="no_allocation",
            )
        if not allocation.is_active:
            raise NoAllocationError(
                f"No credit allocation: that of user {user_id} in organisation {org_id} is not active.",
                limit="inactive",
            )
        return allocation

    def overage(self, org_id: str) -> int:
        """Return by how much members may each spend more than they are allocated."""
        pool = self.pools.get(org_id)
        return pool.overage_limit if pool is not None and pool.allow_overage else 0

    def free(self, allocation: Allocation) -> int:
        """Return what is neither used nor held, overage included; negative when too much is."""
        ceiling = allocation.allocated + self.overage(allocation.org_id)
        return ceiling - allocation.used - allocation.held

    def overdue(self, allocation: Allocation, *, beside: Hold | None = None) -> list[Hold]:
        """Return the allocation's holds whose time is over, but which were not given back yet."""
        return [
            hold
            for hold in self.live_holds.values()
            if (hold.org_id, hold.content[0]) == (allocation.org_id, allocation.user_id)
            and hold.expires_at <= self.moment
            and hold is not beside
        ]

    def available(self, allocation: Allocation, *, beside: Hold | None = None) -> int:
        """Return what a charge could take now: overdue holds stand in nobody's way."""
        overdue = self.overdue(allocation, beside=beside)
        return self.free(allocation) + sum(hold.credits for hold in overdue)

    def require_available(self, allocation: Allocation, credits: int, *, beside: Hold | None = None) -> None:
        """Refuse what the balance would not cover after overdue holds beside this one were given back."""
        available = self.available(allocation, beside=beside)
        if available < credits:
            limit: Limit = "overage" if self.overage(allocation.org_id) else "allocation"
            raise insufficient(allocation, limit, credits, available)

    def give_back(self, holds: list[Hold]) -> None:
        """Let holds expire."""
        for hold in holds:
            self.close_hold(hold, "expired")

    def blocking_hold(self, org_id: str, user_id: str, request_id: str) -> Hold | None:
        """Return the hold under this id that is not to be given back as the member's own and overdue."""
        hold = self.live_holds.get((org_id, request_id))
        if hold is not None and hold.expires_at <= self.moment and hold.content[0] == user_id:
            return None
        return hold

    def close_hold(self, hold: Hold, status: HoldStatus) -> None:
        """End a live hold: what it set aside is free again."""
        allocation = self.allocations[hold.org_id, hold.content[0]]
        allocation.held -= hold.credits
        allocation.updated_at = self.moment
        hold.status = status
        del self.live_holds[hold.org_id, hold.request_id]

    def charged(self, org_id: str, request_id: str, content: Content) -> Entry | None:
        """Return the charge that was taken under this request id.

        Raises `IdempotencyConflictError` if the id stands for something else.
        """
        entry = self.entry_by_request.get((org_id, request_id))
        if entry is not None and (entry.refund_of is not None or entry.content != content):
            raise id_taken(org_id, request_id)
        return entry

    def record(self, entry: Entry) -> Entry:
        """Append a row to the attribution. Its request id is unique for ever."""
        self.entries[entry.id] = entry
        self.entry_by_request[entry.org_id, entry.request_id] = entry
        return entry

    def write_event(self, event: Event) -> Event:
        """Append a row to the billing history. A request id in it is unique for ever."""
        self.events.append(event)
        if event.request_id is not None:
            self.event_by_request[event.org_id, event.request_id] = event
        return event

    def find_hold(self, hold_id: UUID, org_id: str | None) -> Hold:
        """Return a hold; one of another organisation than the named one does not exist."""
        hold = self.holds.get(hold_id)
        if hold is None or org_id not in {None, hold.org_id}:
            raise NotFoundError(f"There is no hold {hold_id} here.")
        return hold


def insufficient(
    allocation: Allocation, limit: Limit, required: int, available: int
) -> InsufficientCreditsError:
    """Return the refusal that names the limit, with its figures in credits."""
    free = from_millicredits(max(available, 0))
    needed = from_millicredits(required)
    return InsufficientCreditsError(
        f"Insufficient credits: {format_credits(needed)} required, {format_credits(free)} available.",
        limit=limit,
        required=needed,
        available=free,
        resets_at=allocation.next_reset_date,
    )


def not_a_member(org_id: str, user_id: str | None = None) -> NotAMemberError:
    """Return the refusal of a user, or where none is named, of an organisation that does not exist."""
    if user_id is None:
        return NotAMemberError(f"There is no organisation '{org_id}'.")
    return NotAMemberError(f"User {user_id} is not a member of organisation {org_id}.")


def inactive(organization: Organization) -> NoAllocationError:
    """Return the refusal of an organisation in which nothing moves."""
    return NoAllocationError(
        f"No credit allocation: organisation {organization.id} is {organization.status}.", limit="inactive"
    )


def id_taken(org_id: str, request_id: str) -> IdempotencyConflictError:
    """Return the refusal of a request id that stands for something else."""
    return IdempotencyConflictError(
        f"The request id {request_id} was used before in organisation {org_id}, for something else."
    )


def id_held(hold: Hold) -> IdempotencyConflictError:
    """Return the refusal of a request id under which credits are held."""
    return IdempotencyConflictError(
        f"The request id {hold.request_id} holds credits; capture or void the hold {hold.id}."
    )


def encode_cursor(position: str) -> str:
    """Return an opaque cursor."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return the position in a cursor; raise `ValidationFailedError` for what is none of ours."""
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValidationFailedError("cursor: not a cursor of this list.") from None
