"""The contract of the billing screens, the history, and the client for administrators."""

from decimal import Decimal

import pytest

from credit_sdk.contract.harness import Harness, assert_shows, make, refused, shown, unique
from credit_sdk.contract.subscribing import cancel, subscribe
from credit_sdk.errors import ConflictError, NotAMemberError, ValidationFailedError
from credit_sdk.operations import (
    AddCredits,
    GetOrganizationBilling,
    GetPool,
    GetSystemBilling,
    GetUsage,
    ListAllocations,
    ListBillingHistory,
)


class TestOrganizationBilling:
    """The screen of an organisation's administrator."""

    def test_shows_all_there_is(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=300)
        ledger.join(payer.org_id, allocated=100)
        ledger.execute(payer.deduct("12.5"))
        subscription = subscribe(ledger, "hybrid", org_id=payer.org_id)
        screen = ledger.execute(GetOrganizationBilling(org_id=payer.org_id))
        assert_shows(screen.organization, org_id=payer.org_id, role=None, status="active")
        assert screen.subscription == subscription
        assert screen.credit_pool == ledger.execute(GetPool(org_id=payer.org_id))
        assert screen.user_allocations == ledger.execute(ListAllocations(org_id=payer.org_id)).items
        usage = ledger.execute(GetUsage(org_id=payer.org_id, days=30))
        assert screen.usage_stats_30_days.model_copy(update={"since": usage.since}) == usage
        assert screen.usage_stats_30_days.total_credits_used == Decimal("12.5")

    def test_of_a_new_organisation(self, ledger: Harness) -> None:
        org_id = unique("org")
        ledger.administrator.add_organization(org_id)
        screen = ledger.execute(GetOrganizationBilling(org_id=org_id))
        assert_shows(screen, subscription=None, user_allocations=())
        assert screen.usage_stats_30_days.total_charges == 0

    def test_an_unknown_organisation_is_someone_elses(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(GetOrganizationBilling(org_id=unique("org")))


class TestSystemBilling:
    """The screen of the system administrator. Other tests leave their traces on it."""

    def test_lists_organisations(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=300)
        ledger.join(payer.org_id, allocated=None)
        ledger.execute(payer.deduct(25))
        subscribe(ledger, "byok", org_id=payer.org_id)
        screen = ledger.execute(GetSystemBilling())
        [line] = [each for each in screen.organizations if each.org_id == payer.org_id]
        assert_shows(line, org_name=payer.org_id, status="active", members=2)
        assert_shows(line, subscription_plan="byok", monthly_price=30)
        assert_shows(line, total_credits=1_000, used_credits=25, available_credits=700)

    def test_sums_what_subscriptions_bring_in(self, ledger: Harness) -> None:
        before = ledger.execute(GetSystemBilling())
        subscribe(ledger, "hybrid")
        subscribe(ledger, "hybrid", monthly_price="80.50")
        ledger.execute(cancel(subscribe(ledger, "hybrid")))
        after = ledger.execute(GetSystemBilling())
        earned = after.revenue_metrics.total_mrr - before.revenue_metrics.total_mrr
        assert earned == Decimal("179.50")
        assert after.revenue_metrics.total_arr == 12 * after.revenue_metrics.total_mrr
        counted = after.revenue_metrics.active_subscriptions - before.revenue_metrics.active_subscriptions
        assert counted == 2

    def test_shares_it_out_among_plans(self, ledger: Harness) -> None:
        subscribe(ledger, "hybrid")
        screen = ledger.execute(GetSystemBilling())
        shares, metrics = screen.subscription_distribution, screen.revenue_metrics
        assert sum(each.subscriptions for each in shares) == metrics.active_subscriptions
        assert sum(each.monthly_revenue for each in shares) == metrics.total_mrr
        assert "hybrid" in {each.subscription_plan for each in shares}

    def test_ranks_organisations_by_what_they_used(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=10**9, allocated=10**9)
        ledger.execute(payer.deduct(10**8))
        ledger.execute(payer.deduct(1))
        ranking = ledger.execute(GetSystemBilling()).top_organizations_by_usage
        [line] = [each for each in ranking if each.org_id == payer.org_id]
        assert_shows(line, org_name=payer.org_id, credits_used=10**8 + 1, charges=2)
        assert list(ranking) == sorted(ranking, key=lambda each: -each.credits_used)
        assert len(ranking) <= 10


class TestBillingHistory:
    """What happened to an organisation's money and pool."""

    def test_newest_first(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=100)
        ledger.execute(make(AddCredits, org_id=payer.org_id, credits=500, purchase_amount="4.99"))
        subscription = subscribe(ledger, org_id=payer.org_id)
        page = ledger.execute(ListBillingHistory(org_id=payer.org_id))
        assert shown(page.items, "event_type", "credits") == [
            ("subscription_created", None),
            ("credit_purchase", 500),
            ("credit_allocation", 100),
            ("credit_grant", 1_000),
        ]
        assert_shows(page.items[0], subscription_id=subscription.subscription_id, currency="USD", amount=50)
        assert_shows(page.items[1], amount=Decimal("4.99"), org_id=payer.org_id)
        assert page.next_cursor is None

    def test_says_what_a_period_costs(self, ledger: Harness) -> None:
        for cycle, amount in ("monthly", "49.95"), ("yearly", "599.40"), ("custom", "49.95"):
            fields = {"billing_cycle": cycle, "monthly_price": "49.95"}
            subscription = subscribe(ledger, "hybrid", **fields)
            [event] = ledger.execute(ListBillingHistory(org_id=subscription.org_id)).items[:1]
            assert event.amount == Decimal(amount)
            assert event.event_metadata == {"subscription_plan": "hybrid", **fields, "monthly_price": 49.95}

    def test_its_details_are_in_credits(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated="12.5")
        allocated, granted = ledger.execute(ListBillingHistory(org_id=payer.org_id)).items
        assert granted.event_metadata == {"total_credits": 1_000, "available_credits": 1_000}
        assert allocated.event_metadata["allocated_credits"] == 12.5

    def test_page_by_page_and_by_kind(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=10, allocated=None)
        for credits in 20, 30, 40:
            ledger.execute(make(AddCredits, org_id=payer.org_id, credits=credits))
        first = make(ListBillingHistory, org_id=payer.org_id, event_type="credit_grant", limit=3)
        page = ledger.execute(first)
        assert [each.credits for each in page.items] == [40, 30, 20]
        rest = ledger.execute(first.model_copy(update={"cursor": page.next_cursor}))
        assert [each.credits for each in rest.items] == [10]
        assert rest.next_cursor is None
        nothing = ListBillingHistory(org_id=payer.org_id, event_type="invoice_paid")
        assert ledger.execute(nothing).items == ()

    def test_is_everyones_own(self, ledger: Harness) -> None:
        with refused(NotAMemberError):
            ledger.execute(ListBillingHistory(org_id=unique("org")))
        payer = ledger.prepare()
        with pytest.raises(ValidationFailedError):
            ledger.execute(ListBillingHistory(org_id=payer.org_id, cursor="____"))


class TestBillingClient:
    """The same operations, resource by resource."""

    def test_subscriptions(self, ledger: Harness) -> None:
        org_id, subscriptions = ledger.prepare().org_id, ledger.client.subscriptions
        created = subscriptions.create(org_id, "platform", trial_days=7)
        assert_shows(created, status="trialing", monthly_price=50)
        id = str(created.subscription_id)
        assert_shows(subscriptions.update(id, status="active"), status="active")
        assert_shows(subscriptions.upgrade(id, "hybrid"), subscription_plan="hybrid", monthly_price=99)
        assert_shows(subscriptions.cancel(id, at_period_end=True), status="active")
        assert subscriptions.list(org_id) == (subscriptions.get(org_id),)
        with refused(ConflictError):
            subscriptions.create(org_id, "byok")

    def test_credits(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=None)
        credits = ledger.client.credits
        credits.add(payer.org_id, 500, purchase_amount="4.99")
        credits.allocate(payer.org_id, payer.user_id, 100, reset_period="monthly")
        for number in range(3):
            ledger.execute(payer.deduct(10, request_id=f"job-{number}"))
        assert_shows(credits.pool(payer.org_id), total_credits=1_500, used_credits=30)
        [share] = credits.allocations(payer.org_id)
        assert_shows(share, user_id=payer.user_id, remaining_credits=70, reset_period="monthly")
        assert [each.request_id for each in credits.charges(payer.org_id)] == ["job-2", "job-1", "job-0"]
        assert credits.usage(payer.org_id, days=1).total_charges == 3
        assert credits.of_user(payer.user_id).organizations[0].remaining_credits == 70

    def test_screens(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=1_000, allocated=100)
        billing = ledger.client.billing
        assert billing.of_user(payer.user_id).organizations[0].org_id == payer.org_id
        assert billing.of_organization(payer.org_id).organization.org_id == payer.org_id
        assert payer.org_id in {each.org_id for each in billing.of_system().organizations}
        kinds = [each.event_type for each in billing.history(payer.org_id)]
        assert kinds == ["credit_allocation", "credit_grant"]

    def test_organizations(self, ledger: Harness) -> None:
        org_id, user_id = ledger.prepare().org_id, unique("user")
        organizations = ledger.client.organizations
        assert_shows(organizations.add_member(org_id, user_id, role="owner"), role="owner")
        assert user_id in {each.user_id for each in organizations.members(org_id)}
        assert [each.org_id for each in organizations.list(user_id=user_id)] == [org_id]

    def test_lists_go_on_page_after_page(self, ledger: Harness) -> None:
        org_id = ledger.prepare(allocated=None).org_id
        users = [f"user-{number:03}" for number in range(101)]
        for user_id in users:
            ledger.administrator.add_member(org_id, user_id)
        found = [each.user_id for each in ledger.client.organizations.members(org_id)]
        assert set(users) <= set(found)
        assert len(found) == 102
