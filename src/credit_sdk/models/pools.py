"""Pools, allocations and what changed in them."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from credit_sdk.amounts import Balance
from credit_sdk.models._base import ResetPeriod, Result


class CreditPool(Result):
    """An organisation's credits. `available_credits` is what is not yet allocated to members.

    `expiring_credits` expire next, at `expires_at`, if they are not used before.
    """

    org_id: str
    total_credits: Balance
    allocated_credits: Balance
    used_credits: Balance
    settled_credits: Balance
    available_credits: Balance
    monthly_refresh_amount: Balance
    next_refresh_date: datetime | None = None
    allow_overage: bool = False
    overage_limit: Balance
    lifetime_purchased_credits: Balance
    updated_at: datetime
    expiring_credits: Balance = Decimal(0)
    expires_at: datetime | None = None


class Allocation(Result):
    """A member's share of an organisation's credits."""

    org_id: str
    user_id: str
    allocated_credits: Balance
    used_credits: Balance
    held_credits: Balance
    remaining_credits: Balance
    reset_period: ResetPeriod
    next_reset_date: datetime | None = None
    is_active: bool
    notes: str | None = None
    updated_at: datetime


class AllocationPage(Result):
    """A page of allocations; `next_cursor` asks for the next one."""

    items: tuple[Allocation, ...]
    next_cursor: str | None = None


class PoolChange(Result):
    """An addition to a pool."""

    success: Literal[True] = True
    org_id: str
    credits_added: Balance
    total_credits: Balance
    available_credits: Balance
    request_id: str
    replayed: bool = False


class AllocationChange(Result):
    """An addition to a member's allocation."""

    success: Literal[True] = True
    org_id: str
    user_id: str
    credits_added: Balance
    allocated_credits: Balance
    remaining_credits: Balance
    reset_period: ResetPeriod
    request_id: str
    replayed: bool = False
