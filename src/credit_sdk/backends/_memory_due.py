"""What time brings: holds expire, pools are refreshed, allocations reset, subscriptions end and go on.

Each thing is done once for all the periods that have passed, however late.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from credit_sdk import models
from credit_sdk.backends._memory_books import Allocation, Event, Pool
from credit_sdk.backends._memory_holds import Holds
from credit_sdk.backends._memory_plans import Subscription, end_of_period
from credit_sdk.backends._memory_pools import LARGEST_POOL, Pools, next_reset
from credit_sdk.backends._memory_subscriptions import Subscriptions
from credit_sdk.operations import ExpireHolds, RunDue


class Due(Holds, Pools, Subscriptions):
    """The rules of time."""

    def run_due(self, operation: RunDue) -> models.DueRun:
        """Do what is due: of each kind as much as the limit allows."""
        limit = operation.limit
        expired = self.expire_holds(ExpireHolds(limit=limit)).expired
        # Pools go first: allocations are refilled out of them.
        refreshed = [self._refresh(*each) for each in self._pools_due()[:limit]]
        allocations = self._allocations_due()[:limit]
        for allocation in allocations:
            self._reset(allocation)
        ended, renewed = self._renew(limit)
        return models.DueRun(
            holds_expired=expired,
            allocations_reset=len(allocations),
            pools_refreshed=sum(refreshed),
            subscriptions_ended=ended,
            subscriptions_renewed=renewed,
        )

    def _pools_due(self) -> list[tuple[str, Pool]]:
        due = [(org_id, pool) for org_id, pool in self.pools.items() if self._is_due(org_id, pool)]
        return sorted(due, key=lambda each: each[0])

    def _is_due(self, org_id: str, pool: Pool) -> bool:
        date = pool.next_refresh_date
        is_active = self.organizations[org_id].status == "active"
        return is_active and pool.monthly_refresh > 0 and date is not None and date <= self.moment

    def _refresh(self, org_id: str, pool: Pool) -> bool:
        """Let a pool grow, once a month; return whether this was the first time in this month."""
        pool.next_refresh_date = next_reset("monthly", self.moment)
        pool.updated_at = self.moment
        # No caller can use this request id: theirs do not begin with a space.
        request_id = f" pool_refresh {self.moment:%Y-%m}"
        if (org_id, request_id) in self.event_by_request:
            return False
        credits = min(pool.monthly_refresh, LARGEST_POOL - pool.total)
        pool.total += credits
        self._note_refresh(org_id, pool, credits, request_id)
        return True

    def _note_refresh(self, org_id: str, pool: Pool, credits: int, request_id: str) -> None:
        midnight = self.moment.replace(hour=0, minute=0, second=0, microsecond=0)
        event = Event(
            org_id,
            "pool_refresh",
            self.moment,
            {"total_credits": pool.total, "available_credits": self.unallocated(org_id)},
            credits,
            period_start=midnight.replace(day=1),
            period_end=pool.next_refresh_date,
            request_id=request_id,
        )
        self.write_event(event)

    def _allocations_due(self) -> list[Allocation]:
        """Return what is to be reset: first what gives back to the pool."""
        due = [
            each
            for each in self.allocations.values()
            if each.next_reset_date is not None
            and each.next_reset_date <= self.moment
            and each.is_active
            and self._can_reset(each.org_id)
        ]
        return sorted(due, key=lambda each: _wanted(each) > 0)

    def _can_reset(self, org_id: str) -> bool:
        pool = self.pools.get(org_id)
        is_active = self.organizations[org_id].status == "active"
        return pool is not None and is_active and not self._is_due(org_id, pool)

    def _reset(self, row: Allocation) -> None:
        """Close the allocation's period.

        What was used leaves the share, which the pool fills up again as far as it can. What is left of an
        overdraft that the pool cannot cover is the next period's use.
        """
        used, remaining, target = row.used, row.remaining, row.allocated + row.shortfall
        refill = min(_wanted(row), max(self.unallocated(row.org_id), 0))
        share = remaining + refill
        row.allocated, row.used = max(share, 0), max(-share, 0)
        row.settled += used - row.used
        row.shortfall = target - row.allocated
        self._note_reset(row, used - row.used, refill)
        row.last_reset_date = row.updated_at = self.moment
        row.next_reset_date = next_reset(row.reset_period, self.moment)

    def _note_reset(self, row: Allocation, settled: int, refill: int) -> None:
        metadata: dict[str, Any] = {
            "user_id": row.user_id,
            "settled_credits": settled,
            "refilled_credits": refill,
            "allocated_credits": row.allocated,
            "shortfall_credits": row.shortfall,
            "reset_period": row.reset_period,
        }
        began = row.last_reset_date or row.created_at
        event = Event(row.org_id, "allocation_reset", self.moment, metadata, refill)
        self.write_event(replace(event, period_start=began, period_end=self.moment))

    def _renew(self, limit: int) -> tuple[int, int]:
        """End what was canceled for the end of its period, begin the next period of others; count both."""
        due = [each for each in self.subscriptions.values() if _is_over(each, self.moment)][:limit]
        for row in due:
            row.updated_at = self.moment
            if row.canceled_at is not None:
                row.status = "canceled"
            else:
                _roll(row, self.moment)
        ended = sum(each.status == "canceled" for each in due)
        return ended, len(due) - ended


def _wanted(row: Allocation) -> int:
    """Return what a refill would be if the pool had it all; open holds stay covered."""
    return max(row.allocated + row.shortfall, row.held) - row.remaining


def _is_over(row: Subscription, moment: datetime) -> bool:
    end = row.current_period_end
    if end is None or end > moment or row.status == "canceled":
        return False
    return row.canceled_at is not None or row.status in {"trialing", "active"}


def _roll(row: Subscription, moment: datetime) -> None:
    row.status = "active"
    while row.current_period_end is not None and row.current_period_end <= moment:
        row.current_period_start = row.current_period_end
        row.current_period_end = end_of_period(row.current_period_start, row.billing_cycle, row.anchor)
