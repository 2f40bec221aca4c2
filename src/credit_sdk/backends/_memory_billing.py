"""The billing screens of organisations and of the system, and the billing history."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from credit_sdk import models
from credit_sdk.amounts import from_millicredits, to_number
from credit_sdk.backends._memory_books import Event, Organization, encode_cursor
from credit_sdk.backends._memory_organizations import Organizations, organization_document
from credit_sdk.backends._memory_plans import Subscription
from credit_sdk.backends._memory_pools import Pools, allocation_document
from credit_sdk.backends._memory_reports import Reports, position_of
from credit_sdk.backends._memory_subscriptions import subscription
from credit_sdk.operations import (
    GetOrganizationBilling,
    GetPool,
    GetSystemBilling,
    GetUsage,
    ListBillingHistory,
)

MONTHS_A_YEAR = 12
LONGEST_RANKING = 10


class BillingScreens(Pools, Organizations, Reports):
    """What administrators look at."""

    def get_organization_billing(self, operation: GetOrganizationBilling) -> models.OrganizationBilling:
        """Put together the screen of an organisation."""
        org_id = operation.org_id
        organization = self.organization(org_id)
        current = self.current_subscription(org_id)
        shares = sorted(self.of_organization(org_id), key=lambda each: each.user_id)
        return models.OrganizationBilling(
            organization=models.Organization.model_validate(organization_document(organization)),
            subscription=subscription(current) if current else None,
            credit_pool=self.get_pool(GetPool(org_id=org_id)) if org_id in self.pools else None,
            user_allocations=tuple(
                models.Allocation.model_validate(allocation_document(each), context=self.SCALE)
                for each in shares
            ),
            usage_stats_30_days=self.get_usage(GetUsage(org_id=org_id, days=30)),
        )

    def get_system_billing(self, _: GetSystemBilling) -> models.SystemBilling:
        """Put together the screen of the system."""
        organizations = [each for each in self.organizations.values() if each.status != "deleted"]
        paying = [each for each in self.subscriptions.values() if each.status == "active"]
        monthly = sum((each.monthly_price for each in paying), Decimal(0))
        document = {
            "organizations": [
                self._line(each) for each in sorted(organizations, key=lambda each: (each.name, each.id))
            ],
            "revenue_metrics": {
                "total_mrr": monthly,
                "total_arr": monthly * MONTHS_A_YEAR,
                "active_subscriptions": len(paying),
            },
            "subscription_distribution": _distribution(paying),
            "top_organizations_by_usage": self._ranking(),
        }
        return models.SystemBilling.model_validate(document, context=self.SCALE)

    def list_billing_history(self, operation: ListBillingHistory) -> models.BillingHistoryPage:
        """List billing events, newest first."""
        self.organization(operation.org_id)
        rows = list(enumerate(each for each in self.events if each.org_id == operation.org_id))
        before = position_of(operation.cursor) if operation.cursor else len(rows)
        wanted = [row for row in rows[:before][::-1] if operation.event_type in {None, row[1].type}]
        page, more = wanted[: operation.limit], wanted[operation.limit :]
        document = {
            "items": [_event(each) for _, each in page],
            "next_cursor": encode_cursor(str(page[-1][0])) if more else None,
        }
        return models.BillingHistoryPage.model_validate(document, context=self.SCALE)

    def _line(self, row: Organization) -> dict[str, Any]:
        pool, current = self.pools.get(row.id), self.current_subscription(row.id)
        return {
            "org_id": row.id,
            "org_name": row.name,
            "status": row.status,
            "subscription_plan": current.subscription_plan if current else None,
            "monthly_price": current.monthly_price if current else None,
            "members": len(self.members_of(row.id)),
            "total_credits": pool.total if pool else 0,
            "used_credits": self.used(row.id),
            "available_credits": self.unallocated(row.id),
        }

    def _ranking(self) -> list[dict[str, Any]]:
        since = self.moment - timedelta(days=30)
        sums: dict[str, dict[str, Any]] = {}
        for entry in self.entries.values():
            if entry.created_at < since:
                continue
            name = self.organizations[entry.org_id].name
            fresh = {"org_id": entry.org_id, "org_name": name, "credits_used": 0, "charges": 0}
            line = sums.setdefault(entry.org_id, fresh)
            line["credits_used"] += entry.credits
            line["charges"] += entry.refund_of is None
        ranked = sorted(sums.values(), key=lambda each: (-each["credits_used"], each["org_id"]))
        return ranked[:LONGEST_RANKING]


def _distribution(paying: list[Subscription]) -> list[dict[str, Any]]:
    plans = {each.subscription_plan for each in paying}
    lines = [_share(plan, [each for each in paying if each.subscription_plan == plan]) for plan in plans]
    return sorted(lines, key=lambda each: (-each["subscriptions"], each["subscription_plan"]))


def _share(plan: models.SubscriptionPlan, paying: list[Subscription]) -> dict[str, Any]:
    return {
        "subscription_plan": plan,
        "subscriptions": len(paying),
        "monthly_revenue": sum((each.monthly_price for each in paying), Decimal(0)),
    }


def _event(row: Event) -> dict[str, Any]:
    return {
        "event_id": row.id,
        "org_id": row.org_id,
        "event_type": row.type,
        "amount": row.amount,
        "currency": "USD",
        "credits": row.credits,
        "subscription_id": row.subscription_id,
        "period_start": row.period_start,
        "period_end": row.period_end,
        "event_metadata": {name: _plain(name, value) for name, value in row.metadata.items()},
        "notes": row.notes,
        "created_at": row.created_at,
    }


def _plain(name: str, value: Any) -> Any:
    """Return a figure as JSON: amounts are kept in millicredits and answered in credits."""
    if name.endswith("_credits") and isinstance(value, int):
        return to_number(from_millicredits(value))
    return to_number(value) if isinstance(value, Decimal) else value
