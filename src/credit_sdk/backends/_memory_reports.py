"""What can be read: a user's standing, usage, the attribution, and whether the books are right."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from hashlib import sha256
from typing import Any

from credit_sdk import models
from credit_sdk.backends._memory_books import Books, Entry, Member, decode_cursor, encode_cursor
from credit_sdk.errors import InvalidTokenError, ValidationFailedError
from credit_sdk.operations import GetUsage, GetUserBilling, GetUserCredits, ListCharges, VerifyLedger


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
        rows = [each for each in self._entries_of(operation.org_id) if _wanted(each, operation)]
        rows.reverse()
        start = self._position(rows, operation.cursor)
        page, more = rows[start : start + operation.limit], rows[start + operation.limit :]
        document = {
            "items": [_charge(each) for each in page],
            "next_cursor": encode_cursor(str(page[-1].id)) if more else None,
        }
        return models.ChargePage.model_validate(document, context=self.SCALE)

    def verify_ledger(self, operation: VerifyLedger) -> models.Verification:
        """Recompute every balance from the append-only rows."""
        wanted = [each for each in self.organizations if operation.org_id in {None, each}]
        allocations = [each for org_id in wanted for each in self.of_organization(org_id)]
        return models.Verification(
            organizations=len(wanted),
            allocations=len(allocations),
            charges=sum(each.org_id in wanted for each in self.entries.values()),
            open_holds=sum(each.org_id in wanted for each in self.live_holds.values()),
            differences=tuple(
                models.Difference(
                    org_id=org_id, subject=subject, figure=figure, recorded=recorded, recomputed=recomputed
                )
                for org_id, subject, figure, recorded, recomputed in self._figures(wanted)
                if recorded != recomputed
            ),
        )

    def _standing(self, user_id: str) -> dict[str, Any]:
        memberships = [each for each in self.members.values() if each.user_id == user_id]
        memberships.sort(key=lambda each: (not each.is_default, each.joined_at, each.org_id))
        return {
            "user_id": user_id,
            "user_email": self.emails.get(user_id),
            "organizations": [self._organization_credits(each) for each in memberships],
        }

    def _organization_credits(self, member: Member) -> dict[str, Any]:
        allocation = self.allocations.get((member.org_id, member.user_id))
        return {
            "org_id": member.org_id,
            "org_name": self.organizations[member.org_id].name,
            "role": member.role,
            "is_default": member.is_default,
            "joined_at": member.joined_at,
            "allocated_credits": allocation.allocated if allocation else 0,
            "used_credits": allocation.used if allocation else 0,
            "held_credits": allocation.held if allocation else 0,
            "remaining_credits": allocation.remaining if allocation else 0,
            "has_allocation": allocation is not None,
        }

    def _session_user(self, session_digest: str | None) -> str:
        if session_digest is None:
            raise ValidationFailedError("user_id: name a user, or come with a session.")
        if session_digest not in self.sessions:
            raise InvalidTokenError
        return self.sessions[session_digest]

    def _entries_of(self, org_id: str) -> list[Entry]:
        return [each for each in self.entries.values() if each.org_id == org_id]

    def _position(self, rows: list[Entry], cursor: str | None) -> int:
        if cursor is None:
            return 0
        ids = [str(each.id) for each in rows]
        try:
            return ids.index(decode_cursor(cursor)) + 1
        except ValueError:
            raise ValidationFailedError("cursor: not a cursor of this list") from None

    def _figures(self, org_ids: list[str]) -> Iterable[tuple[str, str, str, int, int]]:
        """Yield each figure that is kept beside the rows it follows from: recorded and recomputed."""
        for org_id in org_ids:
            added = sum(
                each.credits for each in self.events if each.org_id == org_id and each.content[0] == "pool"
            )
            yield org_id, "pool", "total_credits", self.organizations[org_id].total, added
            for each in self.allocations.values():
                if each.org_id == org_id:
                    key = org_id, each.user_id
                    used = sum(
                        row.credits for row in self.entries.values() if (row.org_id, row.content[0]) == key
                    )
                    held = sum(
                        hold.credits
                        for hold in self.live_holds.values()
                        if (hold.org_id, hold.content[0]) == key
                    )
                    yield org_id, each.user_id, "used_credits", each.used, used
                    yield org_id, each.user_id, "held_credits", each.held, held


def session_digest(token: str) -> str:
    """Return under what a session is kept."""
    return sha256(token.encode()).hexdigest()


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
