"""Pools and allocations: what an organisation owns, and each member's share of it."""

from datetime import datetime, timedelta
from typing import Any

from credit_sdk import models
from credit_sdk.amounts import from_millicredits, to_millicredits
from credit_sdk.backends._memory_books import (
    Allocation,
    Books,
    Event,
    Organization,
    decode_cursor,
    encode_cursor,
)
from credit_sdk.errors import IdempotencyConflictError, InsufficientCreditsError, NotAMemberError
from credit_sdk.operations import AddCredits, Allocate, GetPool, ListAllocations


class Pools(Books):
    """The rules of pools and allocations."""

    def get_pool(self, operation: GetPool) -> models.CreditPool:
        """Look at a pool; what members use and hold is summed from their allocations."""
        organization = self.organization(operation.org_id)
        document = {
            "org_id": organization.id,
            "total_credits": organization.total,
            "allocated_credits": self.allocated(organization.id),
            "used_credits": sum(each.used for each in self.of_organization(organization.id)),
            "settled_credits": 0,
            "available_credits": self.unallocated(organization),
            "monthly_refresh_amount": 0,
            "allow_overage": organization.allow_overage,
            "overage_limit": organization.overage_limit,
            "lifetime_purchased_credits": organization.purchased,
            "updated_at": organization.updated_at,
        }
        return models.CreditPool.model_validate(document, context=self.SCALE)

    def add_credits(self, operation: AddCredits) -> models.PoolChange:
        """Add to a pool, once for each request id."""
        organization = self.organization(operation.org_id)
        content = ("pool", to_millicredits(operation.credits), operation.purchase_amount)
        earlier = self._done_before(operation, content)
        if earlier is None:
            organization.total += content[1]
            organization.purchased += content[1] if operation.purchase_amount else 0
            organization.updated_at = self.moment
            after = {
                "total_credits": organization.total,
                "available_credits": self.unallocated(organization),
            }
            event = self._write(operation, content, after)
        document = self._change(earlier or event, replayed=earlier is not None)
        return models.PoolChange.model_validate(document, context=self.SCALE)

    def allocate(self, operation: Allocate) -> models.AllocationChange:
        """Give a member more of the pool, once for each request id."""
        organization = self.organization(operation.org_id)
        content = (operation.user_id, to_millicredits(operation.allocated_credits))
        earlier = self._done_before(operation, content)
        if earlier is None:
            if (operation.org_id, operation.user_id) not in self.members:
                raise NotAMemberError
            self.require_unallocated(organization.id, content[1])
            allocation = self._enlarge(operation, content[1])
            after = {
                "user_id": allocation.user_id,
                "allocated_credits": allocation.allocated,
                "remaining_credits": allocation.remaining,
                "reset_period": allocation.reset_period,
            }
            event = self._write(operation, content, after)
        document = self._change(earlier or event, replayed=earlier is not None)
        return models.AllocationChange.model_validate(document, context=self.SCALE)

    def list_allocations(self, operation: ListAllocations) -> models.AllocationPage:
        """List allocations by user id."""
        self.organization(operation.org_id)
        after = decode_cursor(operation.cursor) if operation.cursor else ""
        rows = sorted(self.of_organization(operation.org_id), key=lambda each: each.user_id)
        rows = [each for each in rows if each.user_id > after][: operation.limit + 1]
        page, more = rows[: operation.limit], rows[operation.limit :]
        document = {
            "items": [_allocation(each) for each in page],
            "next_cursor": encode_cursor(page[-1].user_id) if more else None,
        }
        return models.AllocationPage.model_validate(document, context=self.SCALE)

    def allocated(self, org_id: str) -> int:
        """Return what of a pool is allocated."""
        return sum(each.allocated for each in self.of_organization(org_id))

    def unallocated(self, organization: Organization) -> int:
        """Return what of a pool can still be allocated."""
        return organization.total - self.allocated(organization.id)

    def require_unallocated(self, org_id: str, credits: int) -> None:
        """Refuse to allocate more than the pool has."""
        free = from_millicredits(self.unallocated(self.organizations[org_id]))
        required = from_millicredits(credits)
        if required > free:
            raise InsufficientCreditsError(
                f"Insufficient credits in the pool: {required:f} required, {free:f} available.",
                limit="pool",
                required=required,
                available=free,
            )

    def _enlarge(self, operation: Allocate, credits: int) -> Allocation:
        key = operation.org_id, operation.user_id
        allocation = self.allocations.setdefault(key, Allocation(*key, updated_at=self.moment))
        allocation.allocated += credits
        allocation.updated_at = self.moment
        if operation.reset_period is not None:
            allocation.reset_period = operation.reset_period
            allocation.next_reset_date = _next_reset(operation.reset_period, self.moment)
        if operation.notes is not None:
            allocation.notes = operation.notes
        return allocation

    def _done_before(self, operation: AddCredits | Allocate, content: tuple[Any, ...]) -> Event | None:
        event = self.event_by_request.get((operation.org_id, operation.request_id))
        if event is not None and event.content != content:
            raise IdempotencyConflictError
        return event

    def _write(
        self, operation: AddCredits | Allocate, content: tuple[Any, ...], after: dict[str, Any]
    ) -> Event:
        event = Event(operation.org_id, operation.request_id, content, content[1], after)
        self.events.append(event)
        self.event_by_request[event.org_id, event.request_id] = event
        return event

    def _change(self, event: Event, *, replayed: bool) -> dict[str, Any]:
        return {
            "org_id": event.org_id,
            "credits_added": event.credits,
            "request_id": event.request_id,
            "replayed": replayed,
            **event.after,
        }


def _allocation(row: Allocation) -> dict[str, Any]:
    return {
        "org_id": row.org_id,
        "user_id": row.user_id,
        "allocated_credits": row.allocated,
        "used_credits": row.used,
        "held_credits": row.held,
        "remaining_credits": row.remaining,
        "reset_period": row.reset_period,
        "next_reset_date": row.next_reset_date,
        "is_active": row.is_active,
        "notes": row.notes,
        "updated_at": row.updated_at,
    }


def _next_reset(period: models.ResetPeriod, moment: datetime) -> datetime | None:
    """Return the next midnight, Monday or first of the month (UTC)."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "daily":
            return midnight + timedelta(days=1)
        case "weekly":
            return midnight + timedelta(days=7 - midnight.weekday())
        case "monthly":
            return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        case "never":
            return None
