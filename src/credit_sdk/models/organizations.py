"""Organisations and their members."""

from datetime import datetime
from typing import Literal

from credit_sdk.amounts import Balance
from credit_sdk.models._base import Result, Role


class Organization(Result):
    """An organisation. `role` and `is_default` are the asking user's; None for others."""

    org_id: str
    name: str
    display_name: str | None = None
    slug: str | None = None
    plan_tier: str
    max_seats: int | None = None
    status: Literal["active", "suspended", "deleted"]
    role: Role | None = None
    is_default: bool = False
    created_at: datetime


class OrganizationPage(Result):
    """A page of organisations; `next_cursor` asks for the next one."""

    items: tuple[Organization, ...]
    next_cursor: str | None = None


class Member(Result):
    """A member of an organisation, with their share of its credits; zero without an allocation."""

    org_id: str
    user_id: str
    user_email: str | None = None
    name: str | None = None
    role: Role
    is_default: bool
    joined_at: datetime
    allocated_credits: Balance
    used_credits: Balance
    remaining_credits: Balance


class MemberPage(Result):
    """A page of members; `next_cursor` asks for the next one."""

    items: tuple[Member, ...]
    next_cursor: str | None = None
