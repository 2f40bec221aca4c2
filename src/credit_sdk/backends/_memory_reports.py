"""What can be read: a user's standing, usage, the attribution."""

import re
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

from credit_sdk import models
from credit_sdk.backends._memory_books import Allocation, Books, Entry, Member, decode_cursor, encode_cursor
from credit_sdk.errors import InvalidTokenError, ValidationFailedError
from credit_sdk.operations import GetUsage, GetUserBilling, GetUserCredits, ListCharges


class Reports(Books):
    """The questions that change nothing."""

    def get_user_credits(self, operation: GetUserCredits) -> models.UserCredits:
        """Look at a user's organisations, the default one first, then by joining date."""
        return models.UserCredits.model_validate(self._standing(operation.user_id), context=self.SCALE)

    def get_user_billing(self, operation: GetUserBilling) -> models.UserBilling:
        """Look at the billing screen of a user, or of whoever a session belongs to."""
        user_id = operation.user_id or self._session_user(operation.session_digest)
        since = self.moment - timedelta(days=30)
        used = sum(
            each.credits
            for each in self.entries.values()
            if each.content[0] == user_id and each.created_at >= since
        )
        document = {**self._standing(user_id), "total_usage_last_30_days": used}
        return models.UserBilling.model_validate(document, context=self.SCALE)

    def get_usage(self, operation: GetUsage) -> models.Usage:
        """Sum usage; refunds are subtracted from credits, not from counts."""
        self.organization(operation.org_id)
        since = self.moment - timedelta(days=operation.days)
        rows = [each for each in self._entries_of(operation.org_id) if each.created_at >= since]
        document = {
            "org_id": operation.org_id,
            "days": operation.days,
            "since": since,
            "total_credits_used": sum(each.credits for each in rows),
            "total_charges": sum(each.refund_of is None for each in rows),
            "by_service": _largest_first(_sums(rows, "service_type", lambda each: each.content[2])),
            "by_user": _largest_first(_sums(rows, "user_id", lambda each: each.content[0])),
            "by_day": sorted(
                _sums(rows, "day", lambda each: each.created_at.date()), key=lambda each: each["day"]
            ),
        }
        return models.Usage.model_validate(document, context=self.SCALE)

    def list_charges(self, operation: ListCharges) -> models.ChargePage:
        """List the attribution, newest first."""
        self.organization(operation.org_id)
        rows = [(position, each) for position, each in enumerate(self._entries_of(operation.org_id))]
        before = position_of(operation.cursor) if operation.cursor else len(rows)
        wanted = [row for row in rows[:before][::-1] if _wanted(row[1], operation)]
        page, more = wanted[: operation.limit], wanted[operation.limit :]
        document = {
            "items": [_charge(each) for _, each in page],
            "next_cursor": encode_cursor(str(page[-1][0])) if more else None,
        }
        return models.ChargePage.model_validate(document, context=self.SCALE)

    def _standing(self, user_id: str) -> dict[str, Any]:
        standing = {key[0] for key in [*self.members, *self.allocations] if key[1] == user_id}
        organizations = [
            self._organization_credits(org_id, user_id)
            for org_id in standing
            if self.organizations[org_id].status != "deleted"
        ]
        organizations.sort(
            key=lambda each: (
                self.organizations[each["org_id"]].status != "active",
                not each["is_default"],
                each["joined_at"],
                each["org_id"],
            )
        )
        email = self.emails.get(user_id)
        return {
            "user_id": user_id,
            "user_email": email,
            "has_balance": self.has_balance(user_id),
            "organizations": organizations,
        }

    def _organization_credits(self, org_id: str, user_id: str) -> dict[str, Any]:
        """Return a standing; an allocation without membership counts as a plain member's."""
        key = org_id, user_id
        allocation = self.allocations.get(key) or Allocation(*key, self.moment, self.moment, is_active=False)
        member = self.members.get(key) or Member(
            *key, "member", is_default=False, joined_at=allocation.created_at
        )
        return {
            "org_id": org_id,
            "org_name": self.organizations[org_id].name,
            "role": member.role,
            "is_default": member.is_default,
            "joined_at": member.joined_at,
            **self._plan(org_id),
            "allocated_credits": allocation.allocated,
            "used_credits": allocation.used,
            "held_credits": allocation.held,
            "remaining_credits": allocation.remaining,
            "has_allocation": allocation.is_active,
        }

    def _plan(self, org_id: str) -> dict[str, Any]:
        subscription = self.current_subscription(org_id)
        if subscription is None:
            return {}
        names = ("subscription_plan", "monthly_price")
        return {name: getattr(subscription, name) for name in names}

    def _session_user(self, session_digest: str | None) -> str:
        if session_digest is None:
            raise ValidationFailedError("Name the user by user_id or by session_digest.")
        if session_digest not in self.sessions:
            raise InvalidTokenError
        return self.sessions[session_digest]

    def _entries_of(self, org_id: str) -> list[Entry]:
        return [each for each in self.entries.values() if each.org_id == org_id]


def session_digest(token: str) -> str:
    """Return under what a session is kept."""
    return sha256(token.encode()).hexdigest()


def position_of(cursor: str) -> int:
    """Return the place in a list of what was appended that a cursor stands for."""
    position = decode_cursor(cursor)
    if not re.fullmatch("[0-9]{1,18}", position):
        raise ValidationFailedError("cursor: not a cursor of this list.")
    return int(position)


def _wanted(row: Entry, operation: ListCharges) -> bool:
    return (
        operation.user_id in {None, row.content[0]}
        and operation.service_type in {None, row.content[2]}
        and (operation.since is None or row.created_at >= operation.since)
        and (operation.until is None or row.created_at < operation.until)
    )


def _sums(rows: list[Entry], name: str, key: Callable[[Entry], Any]) -> list[dict[str, Any]]:
    credits: dict[Any, int] = defaultdict(int)
    charges: dict[Any, int] = defaultdict(int)
    for row in rows:
        credits[key(row)] += row.credits
        charges[key(row)] += row.refund_of is None
    return [{name: each, "credits_used": credits[each], "charges": charges[each]} for each in credits]


def _largest_first(sums: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(sums, key=lambda each: (-each["credits_used"], next(iter(each.values()))))


def _charge(row: Entry) -> dict[str, Any]:
    user_id, credits, service_type, service_name = row.content
    return {
        "charge_id": row.id,
        "org_id": row.org_id,
        "user_id": user_id,
        "credits_used": credits,
        "service_type": service_type,
        "service_name": service_name,
        "request_id": row.request_id,
        "request_metadata": row.metadata,
        "refund_of": row.refund_of,
        "created_at": row.created_at,
    }
