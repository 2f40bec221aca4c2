"""Subscriptions to plans, their history, and the billing screens."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk import models
from tests.ledger.conftest import Call, Refusal

if TYPE_CHECKING:
    from datetime import timedelta

    from tests.ledger.conftest import Books, Member

    Row = dict[str, Any]

MILLI = {"scale": 1000}


def subscribe(books: Books, plan: str | None = "platform", **more: Any) -> Call:
    return Call("create_subscription", {"org_id": books.org_id, "subscription_plan": plan} | more)


def look(id: object) -> Call:
    return Call("get_subscription", {"subscription_id": str(id)})


def update(row: Row, **more: Any) -> Call:
    return Call("update_subscription", {"subscription_id": str(row["subscription_id"])} | more)


def upgrade(row: Row, plan: str) -> Call:
    return Call("upgrade_subscription", {"subscription_id": str(row["subscription_id"]), "new_plan": plan})


def cancel(row: Row, **more: Any) -> Call:
    return Call("cancel_subscription", {"subscription_id": str(row["subscription_id"])} | more)


def history(books: Books, **more: Any) -> list[Row]:
    items: list[Row] = books.do(Call("list_billing_history", {"org_id": books.org_id} | more))["items"]
    return items


def subscription_events(books: Books) -> list[Row]:
    return [event for event in reversed(history(books)) if event["subscription_id"]]


def months(row: Row) -> int:
    """Return how many months the present period has."""
    length: timedelta = row["current_period_end"] - row["current_period_start"]
    return round(length.days / 30.4)


@pytest.mark.parametrize(("plan", "price"), [("byok", 30), ("platform", 50), ("hybrid", 99)])
def test_a_plan_costs_what_it_costs(books: Books, plan: str, price: int) -> None:
    row = books.do(subscribe(books, plan))
    assert (row["monthly_price"], row["billing_cycle"], row["status"]) == (price, "monthly", "active")
    assert months(row) == 1
    assert models.Subscription.model_validate(row).subscription_plan == plan


def test_a_year_costs_twelve_months(books: Books) -> None:
    row = books.do(subscribe(books, billing_cycle="yearly", monthly_price=Decimal("40.50")))
    assert (row["monthly_price"], months(row)) == (Decimal("40.50"), 12)
    [event] = subscription_events(books)
    assert (event["event_type"], event["amount"]) == ("subscription_created", 486)


def test_a_custom_cycle_has_no_end(books: Books) -> None:
    assert books.do(subscribe(books, billing_cycle="custom"))["current_period_end"] is None


def test_a_subscription_makes_the_pool(own_books: Books) -> None:
    own_books.execute("INSERT INTO organizations (id, name) VALUES ('new', 'new')")
    own_books.do(Call("create_subscription", {"org_id": "new", "subscription_plan": "byok"}))
    assert own_books.do(Call("get_pool", {"org_id": "new"}))["total_credits"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"subscription_plan": "gold"},
        {"subscription_plan": None},
        {"monthly_price": -1},
        {"monthly_price": Decimal("0.001")},
        {"monthly_price": 10**12},
        {"billing_cycle": "daily"},
        {"trial_days": 366},
        {"trial_days": -1},
    ],
    ids=str,
)
def test_strange_terms_are_refused(books: Books, more: Row) -> None:
    terms = {"org_id": books.org_id, "subscription_plan": "byok"} | more
    assert books.refusal(Call("create_subscription", terms)).state == "CR422"


def test_unknown_and_deleted_organizations_subscribe_to_nothing(books: Books) -> None:
    unknown = Call("create_subscription", {"org_id": "nowhere", "subscription_plan": "byok"})
    assert books.refusal(unknown).figures["code"] == "not_a_member"
    books.execute("UPDATE organizations SET status = 'deleted' WHERE id = %s", books.org_id)
    assert books.refusal(subscribe(books)).figures["limit"] == "inactive"


@pytest.mark.parametrize("trial_days", [0, 14])
def test_there_is_one_at_most(books: Books, trial_days: int) -> None:
    books.do(subscribe(books, trial_days=trial_days))
    refusal = books.refusal(subscribe(books, "byok"))
    assert (refusal.state, refusal.figures["code"]) == ("CR408", "conflict")


def test_of_many_at_once_one_subscribes(books: Books) -> None:
    calls = [subscribe(books, plan, trial_days=days) for plan in ("byok", "hybrid") for days in (0, 7)] * 3
    outcomes = books.at_once(calls)
    assert sorted(each.state for each in outcomes if isinstance(each, Refusal)) == ["CR408"] * 11
    assert [event["event_type"] for event in subscription_events(books)] == ["subscription_created"]


def test_one_waits_for_the_other_and_is_refused(books: Books) -> None:
    late = books.meanwhile(subscribe(books), subscribe(books))
    assert isinstance(late, Refusal)
    assert late.state == "CR408"


def test_it_is_found_by_its_id_and_by_its_organization(books: Books) -> None:
    row = books.do(subscribe(books))
    assert books.do(look(row["subscription_id"])) == row
    assert books.do(look(str(row["subscription_id"]).upper())) == row
    assert books.do(look(books.org_id)) == row


def test_an_organization_whose_id_is_a_uuid_is_found(books: Books) -> None:
    org_id = str(uuid.uuid4())
    books.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", org_id, org_id)
    row = books.do(Call("create_subscription", {"org_id": org_id, "subscription_plan": "byok"}))
    assert books.do(look(org_id)) == row


def test_what_is_not_there_is_not_found(books: Books) -> None:
    for id in books.org_id, "nowhere", uuid.uuid4(), "{" + uuid.uuid4().hex + "}", "%s":
        refusal = books.refusal(look(id))
        assert (refusal.state, refusal.sentence) == ("CR404", f"There is no subscription {id} here.")


def test_all_are_listed_the_newest_first(books: Books) -> None:
    first = books.do(subscribe(books))
    books.do(cancel(first))
    second = books.do(subscribe(books, "hybrid"))
    listed = books.do(Call("list_subscriptions", {"org_id": books.org_id}))
    ids = [item.subscription_id for item in models.SubscriptionList.model_validate(listed).items]
    assert ids == [second["subscription_id"], first["subscription_id"]]
    assert books.refusal(Call("list_subscriptions", {"org_id": "nowhere"})).state == "CR413"


@pytest.mark.parametrize(
    ("plan", "event_type"), [("hybrid", "subscription_upgraded"), ("byok", "subscription_downgraded")]
)
def test_the_price_says_whether_it_is_an_upgrade(books: Books, plan: str, event_type: str) -> None:
    row = books.do(subscribe(books, "platform"))
    moved = books.do(upgrade(row, plan))
    assert (moved["subscription_plan"], moved["monthly_price"]) == (plan, {"hybrid": 99, "byok": 30}[plan])
    _, event = subscription_events(books)
    assert event["event_type"] == event_type
    assert event["event_metadata"]["previous_plan"] == "platform"


def test_a_price_of_ones_own_counts(books: Books) -> None:
    row = books.do(subscribe(books, "byok", monthly_price=200))
    books.do(upgrade(row, "hybrid"))
    assert subscription_events(books)[-1]["event_type"] == "subscription_downgraded"


def test_the_same_plan_is_a_conflict(books: Books) -> None:
    row = books.do(subscribe(books, "platform"))
    assert books.refusal(upgrade(row, "platform")).state == "CR408"
    assert books.refusal(upgrade(row, "gold")).state == "CR422"
    outcomes = books.at_once([upgrade(row, "hybrid")] * 5)
    assert sum(isinstance(each, dict) for each in outcomes) == 1
    assert len(subscription_events(books)) == 2


def test_what_is_given_is_updated(books: Books) -> None:
    row = books.do(subscribe(books, "platform", monthly_price=45))
    assert books.do(update(row))["monthly_price"] == 45
    assert books.do(update(row, subscription_plan="platform"))["monthly_price"] == 45
    assert books.do(update(row, monthly_price=Decimal("12.34")))["monthly_price"] == Decimal("12.34")
    assert len(subscription_events(books)) == 1
    moved = books.do(update(row, subscription_plan="hybrid"))
    assert (moved["subscription_plan"], moved["monthly_price"]) == ("hybrid", 99)
    assert subscription_events(books)[-1]["event_type"] == "subscription_upgraded"
    yearly = books.do(update(row, billing_cycle="yearly"))
    assert (yearly["billing_cycle"], months(yearly)) == ("yearly", 12)
    assert yearly["current_period_start"] == row["current_period_start"]
    for more in {"status": "canceled"}, {"subscription_plan": "gold"}, {"monthly_price": -1}:
        assert books.refusal(update(row, **more)).state == "CR422"


def test_it_pauses_and_resumes(books: Books) -> None:
    row = books.do(subscribe(books))
    assert books.do(update(row, status="paused"))["status"] == "paused"
    assert books.refusal(look(books.org_id)).state == "CR404"
    assert books.do(update(row, status="active"))["status"] == "active"


def test_it_does_not_resume_beside_another(books: Books) -> None:
    row = books.do(subscribe(books))
    books.do(update(row, status="past_due"))
    other = books.do(subscribe(books, "byok", trial_days=3))
    assert books.refusal(update(row, status="active")).state == "CR408"
    assert books.do(look(row["subscription_id"]))["status"] == "past_due"
    assert books.do(look(books.org_id)) == other


def test_a_trial_can_become_active_early(books: Books) -> None:
    row = books.do(subscribe(books, trial_days=14))
    assert row["status"] == "trialing"
    assert row["trial_ends_at"] == row["current_period_end"]
    assert (row["trial_ends_at"] - row["created_at"]).days == 14
    active = books.do(update(row, status="active"))
    assert active["status"] == "active"
    assert active["trial_ends_at"] == active["current_period_start"]
    assert months(active) == 1


def test_canceled_at_once(books: Books) -> None:
    row = books.do(subscribe(books))
    canceled = books.do(cancel(row))
    assert canceled["status"] == "canceled"
    assert canceled["canceled_at"] is not None
    for call in cancel(row), cancel(row, at_period_end=True), update(row), upgrade(row, "byok"):
        assert books.refusal(call).state == "CR408"
    assert books.refusal(look(books.org_id)).state == "CR404"
    assert books.do(look(row["subscription_id"])) == canceled
    assert [event["event_type"] for event in subscription_events(books)] == [
        "subscription_created", "subscription_canceled",
    ]  # fmt: skip
    books.do(subscribe(books, "byok"))


def test_canceled_at_the_end_of_the_period(books: Books) -> None:
    row = books.do(subscribe(books))
    leaving = books.do(cancel(row, at_period_end=True))
    assert leaving["status"] == "active"
    assert leaving["canceled_at"] is not None
    assert books.refusal(cancel(row, at_period_end=True)).state == "CR408"
    assert books.refusal(subscribe(books)).state == "CR408"
    assert books.do(update(row, billing_cycle="custom"))["current_period_end"] == row["current_period_end"]
    assert books.do(cancel(row))["status"] == "canceled"
    assert [event["event_type"] for event in subscription_events(books)].count("subscription_canceled") == 1


def test_a_period_without_an_end_ends_at_once(books: Books) -> None:
    row = books.do(subscribe(books, billing_cycle="custom"))
    assert books.do(cancel(row, at_period_end=True))["status"] == "canceled"


def test_many_cancel_once(books: Books) -> None:
    row = books.do(subscribe(books))
    outcomes = books.at_once([cancel(row)] * 6)
    assert sum(isinstance(each, dict) for each in outcomes) == 1
    assert len(subscription_events(books)) == 2


def test_the_history_comes_page_by_page_and_by_kind(books: Books, ann: Member) -> None:
    for _ in range(4):
        books.do(books.add(1_500))
    seen: list[Row] = []
    cursor = None
    while cursor or not seen:
        call = Call("list_billing_history", {"org_id": books.org_id, "limit": 2, "cursor": cursor})
        page = books.do(call)
        seen += page["items"]
        cursor = page["next_cursor"]
    assert seen == history(books)
    assert [event["event_type"] for event in seen] == ["credit_grant"] * 4 + [
        "credit_allocation", "credit_grant",
    ]  # fmt: skip
    [allocated] = history(books, event_type="credit_allocation")
    assert allocated["event_metadata"]["user_id"] == ann.user_id
    assert history(books, event_type="nothing") == []
    validated = models.BillingHistoryPage.model_validate({"items": seen}, context=MILLI)
    assert validated.items[0].credits == Decimal("1.5")
    refused = Call("list_billing_history", {"org_id": books.org_id, "cursor": "AAAA"})
    assert books.refusal(refused).state == "CR422"
    assert books.refusal(Call("list_billing_history", {"org_id": "nowhere"})).state == "CR413"


def test_amounts_in_the_metadata_are_credits(books: Books, ann: Member) -> None:
    """They are the only ones that nobody converts later."""
    [event] = history(books, event_type="credit_allocation")
    assert (event["credits"], event["event_metadata"]["allocated_credits"]) == (100_000, 100)


def test_the_screen_of_an_organization(books: Books, ann: Member) -> None:
    books.do(ann.deduct(2_500))
    row = books.do(subscribe(books, "hybrid"))
    screen = models.OrganizationBilling.model_validate(
        books.do(Call("get_organization_billing", {"org_id": books.org_id})), context=MILLI
    )
    assert screen.organization.org_id == books.org_id
    assert screen.organization.role is None
    assert screen.subscription is not None
    assert screen.subscription.subscription_id == row["subscription_id"]
    assert screen.credit_pool is not None
    assert screen.credit_pool.available_credits == Decimal(999_900)
    [share] = screen.user_allocations
    assert (share.user_id, share.used_credits) == (ann.user_id, Decimal("2.5"))
    assert screen.usage_stats_30_days.total_credits_used == Decimal("2.5")
    assert books.refusal(Call("get_organization_billing", {"org_id": "nowhere"})).state == "CR413"


def test_the_screen_of_an_organization_without_anything(books: Books) -> None:
    books.execute("INSERT INTO organizations (id, name) VALUES ('bare', 'bare') ON CONFLICT DO NOTHING")
    document = books.do(Call("get_organization_billing", {"org_id": "bare"}))
    screen = models.OrganizationBilling.model_validate(document, context=MILLI)
    assert (screen.subscription, screen.credit_pool, screen.user_allocations) == (None, None, ())


def test_the_screen_of_the_system(own_books: Books) -> None:
    plans = ["byok", "hybrid", "hybrid", "platform", "byok", "byok"]
    for number, plan in enumerate(plans):
        own_books.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", f"o{number}", f"o{number}")
        own_books.do(Call(
            "create_subscription",
            {"org_id": f"o{number}", "subscription_plan": plan, "trial_days": 7 * (plan == "platform")},
        ))  # fmt: skip
    own_books.do(Call("cancel_subscription", {"subscription_id": "o5"}))
    for _ in range(12):
        member = own_books.member()
        charge = own_books.do(member.deduct(1_000))
    own_books.do(own_books.refund(charge))
    own_books.execute("UPDATE organizations SET status = 'deleted' WHERE id = 'o5'")

    screen = models.SystemBilling.model_validate(own_books.do(Call("get_system_billing", {})), context=MILLI)
    assert screen.revenue_metrics == models.RevenueMetrics(
        total_mrr=Decimal(258), total_arr=Decimal(3096), active_subscriptions=4
    )
    assert screen.subscription_distribution == (
        models.PlanShare(subscription_plan="byok", subscriptions=2, monthly_revenue=Decimal(60)),
        models.PlanShare(subscription_plan="hybrid", subscriptions=2, monthly_revenue=Decimal(198)),
    )
    [top] = screen.top_organizations_by_usage
    assert (top.org_id, top.credits_used, top.charges) == (own_books.org_id, Decimal(11), 12)
    lines = {each.org_id: each for each in screen.organizations}
    assert lines.keys() == {own_books.org_id, "o0", "o1", "o2", "o3", "o4"}
    assert (lines["o3"].subscription_plan, lines["o3"].monthly_price) == ("platform", Decimal(50))
    assert lines[own_books.org_id].members == 12
    assert lines[own_books.org_id].available_credits == Decimal(998_800)


def test_ten_organizations_are_ranked(own_books: Books) -> None:
    for number in range(12):
        own_books.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", f"o{number}", f"o{number}")
        own_books.do(Call("add_credits", {"org_id": f"o{number}", "credits": 100_000}))
        own_books.execute("INSERT INTO organization_members (org_id, user_id) VALUES (%s, 'u')", f"o{number}")
        given = {"org_id": f"o{number}", "user_id": "u"}
        own_books.do(Call("allocate", given | {"allocated_credits": 100_000}))
        own_books.do(Call("deduct", given | {"credits": 1_000 + number, "service_type": "x"}))
    screen = own_books.do(Call("get_system_billing", {}))
    ranked = [line["org_id"] for line in screen["top_organizations_by_usage"]]
    assert ranked == [f"o{number}" for number in range(11, 1, -1)]
