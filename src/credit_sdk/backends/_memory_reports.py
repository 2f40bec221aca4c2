"""What can be read: a user's standing, usage, the attribution, and whether the books are right."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from hashlib import sha256
from typing import Any

from credit_sdk import models
from credit_sdk.backends._memory_books import Books, Entry, Member, decode_cursor, encode_cursor
from credit_sdk.errors import InvalidTokenError, NotAuthenticatedError, ValidationFailedError
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
