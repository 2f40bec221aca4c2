"""Pools and allocations: what an organisation owns, and each member's share of it."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from credit_sdk import models
from credit_sdk.amounts import LARGEST_AMOUNT, format_credits, from_millicredits, to_millicredits
from credit_sdk.backends._memory_books import (
    Allocation,
    Books,
    Event,
    Pool,
    decode_cursor,
    encode_cursor,
    id_taken,
    not_a_member,
)
from credit_sdk.backends._memory_lots import refuse_lots
from credit_sdk.errors import InsufficientCreditsError, InvalidAmountError, NotFoundError
from credit_sdk.operations import AddCredits, Allocate, GetPool, ListAllocations

LARGEST_POOL = to_millicredits(LARGEST_AMOUNT)


class Pools(Books):
    """The rules of pools and allocations."""

    def get_pool(self, operation: GetPool) -> models.CreditPool:
        """Look at a pool; what members use and hold is summed from their allocations."""
        self.organization(operation.org_id)
        pool = self.pools.get(operation.org_id)
        if pool is None:
            raise NotFoundError(f"Organisation {operation.org_id} has no credit pool yet.")
        document = {
            "org_id": operation.org_id,
            "total_credits": pool.total,
            "allocated_credits": self.allocated(operation.org_id),
            "used_credits": self.used(operation.org_id),
            "settled_credits": self.settled(operation.org_id),
            "available_credits": self.unallocated(operation.org_id),
            "monthly_refresh_amount": pool.monthly_refresh,
            "next_refresh_date": pool.next_refresh_date,
            "allow_overage": pool.allow_overage,
            "overage_limit": pool.overage_limit,
            "lifetime_purchased_credits": pool.purchased,
            "updated_at": pool.updated_at,
        }
        return models.CreditPool.model_validate(document, context=self.SCALE)

    def add_credits(self, operation: AddCredits) -> models.PoolChange:
        """Add to a pool, once for each request id."""
        refuse_lots(operation)
        self.require_open(operation.org_id)
        content = ("pool", to_millicredits(operation.credits), operation.purchase_amount)
        event = self._done_before(operation, content)
        replayed = event is not None
        if event is None:
            after = self._fill(operation.org_id, content[1], content[2])
            kind = "credit_purchase" if content[2] else "credit_grant"
            event = self._write(operation, kind, content, after, amount=content[2])
        return models.PoolChange.model_validate(_change(event, replayed=replayed), context=self.SCALE)

    def allocate(self, operation: Allocate) -> models.AllocationChange:
        """Give a member more of the pool, once for each request id."""
        if (operation.org_id, operation.user_id) not in self.members:
            raise not_a_member(operation.org_id, operation.user_id)
        self.require_open(operation.org_id)
        credits = to_millicredits(operation.allocated_credits)
        content = (operation.user_id, credits, operation.reset_period)
        event = self._done_before(operation, content)
        replayed = event is not None
        if event is None:
            self.require_unallocated(operation.org_id, credits)
            after = self._enlarge(operation, credits)
            event = self._write(operation, "credit_allocation", content, after, notes=operation.notes)
        return models.AllocationChange.model_validate(_change(event, replayed=replayed), context=self.SCALE)

    def list_allocations(self, operation: ListAllocations) -> models.AllocationPage:
        """List allocations by user id."""
        self.organization(operation.org_id)
        after = decode_cursor(operation.cursor) if operation.cursor else ""
        rows = sorted(self.of_organization(operation.org_id), key=lambda each: each.user_id)
        rows = [each for each in rows if each.user_id > after][: operation.limit + 1]
        page, more = rows[: operation.limit], rows[operation.limit :]
        document = {
            "items": [allocation_document(each) for each in page],
            "next_cursor": encode_cursor(page[-1].user_id) if more else None,
        }
        return models.AllocationPage.model_validate(document, context=self.SCALE)

    def allocated(self, org_id: str) -> int:
        """Return what of a pool is allocated."""
        return sum(each.allocated for each in self.of_organization(org_id))

    def settled(self, org_id: str) -> int:
        """Return what of a pool was used in closed periods."""
        return sum(each.settled for each in self.of_organization(org_id))

    def used(self, org_id: str) -> int:
        """Return what of a pool was used, in closed periods and in those that are open."""
        return self.settled(org_id) + sum(each.used for each in self.of_organization(org_id))

    def unallocated(self, org_id: str) -> int:
        """Return what of a pool can still be allocated."""
        pool = self.pools.get(org_id)
        total = pool.total if pool is not None else 0
        return total - self.settled(org_id) - self.allocated(org_id)

    def require_unallocated(self, org_id: str, credits: int) -> None:
        """Refuse to allocate more than the pool has."""
        free, required = from_millicredits(self.unallocated(org_id)), from_millicredits(credits)
        if required > free:
            raise InsufficientCreditsError(
                f"Insufficient credits: {format_credits(required)} required, "
                f"{format_credits(free)} available in the pool of organisation {org_id}.",
                limit="pool",
                required=required,
                available=free,
            )

    def open_allocation(self, org_id: str, user_id: str) -> Allocation:
        """Return a member's allocation, an empty one if there was none."""
        key = org_id, user_id
        if key not in self.allocations:
            self.allocations[key] = Allocation(*key, created_at=self.moment, updated_at=self.moment)
        return self.allocations[key]

    def _fill(self, org_id: str, credits: int, purchase_amount: Decimal) -> dict[str, Any]:
        pool = self.pools.get(org_id, Pool(self.moment))
        if pool.total + credits > LARGEST_POOL:
            raise InvalidAmountError(
                f"A pool holds at most {format_credits(LARGEST_AMOUNT)} credits; that of {org_id} "
                f"has {format_credits(from_millicredits(pool.total))}."
            )
        pool.total += credits
        pool.purchased += credits if purchase_amount else 0
        pool.updated_at = self.moment
        self.pools[org_id] = pool
        return {"total_credits": pool.total, "available_credits": self.unallocated(org_id)}

    def _enlarge(self, operation: Allocate, credits: int) -> dict[str, Any]:
        allocation = self.open_allocation(operation.org_id, operation.user_id)
        allocation.allocated += credits
        allocation.updated_at = self.moment
        allocation.notes = allocation.notes if operation.notes is None else operation.notes
        period = operation.reset_period
        # A period that stays the same keeps its date: an overdue reset is not skipped.
        if period is not None and period != allocation.reset_period:
            allocation.reset_period = period
            allocation.next_reset_date = next_reset(period, self.moment)
        return {
            "user_id": allocation.user_id,
            "allocated_credits": allocation.allocated,
            "remaining_credits": allocation.remaining,
            "reset_period": allocation.reset_period,
            "allocated_by": operation.allocated_by,
            "asked_reset_period": operation.reset_period,
        }

    def _done_before(self, operation: AddCredits | Allocate, content: tuple[Any, ...]) -> Event | None:
        event = self.event_by_request.get((operation.org_id, operation.request_id))
        if event is not None and event.content != content:
            raise id_taken(operation.org_id, operation.request_id)
        return event

    def _write(
        self,
        operation: AddCredits | Allocate,
        kind: str,
        content: tuple[Any, ...],
        after: dict[str, Any],
        **more: Any,
    ) -> Event:
        event = Event(operation.org_id, kind, self.moment, after, content[1], content=content, **more)
        return self.write_event(replace(event, request_id=operation.request_id))


def _change(event: Event, *, replayed: bool) -> dict[str, Any]:
    return {
        "org_id": event.org_id,
        "credits_added": event.credits,
        "request_id": event.request_id,
        "replayed": replayed,
        **event.metadata,
    }


def allocation_document(row: Allocation) -> dict[str, Any]:
    """Return an allocation as it is answered, in millicredits."""
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


def next_reset(period: models.ResetPeriod, moment: datetime) -> datetime | None:
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
