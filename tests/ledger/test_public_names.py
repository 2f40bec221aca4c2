"""The functions and views of the source documents, under their names, for their callers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Member

RaiseException = psycopg.errors.RaiseException


def value(books: Books, function: str, *arguments: object, **named: object) -> Any:
    """Call a function by position and name, and return what it answers."""
    places = ["%s"] * len(arguments) + [f"{name} => %s" for name in named]
    [row] = books.execute(
        f"SELECT {function}({', '.join(places)}) AS value",
        *arguments,
        *named.values(),
    )
    return row["value"]


def test_sufficient_credits_counts_holds(books: Books, ann: Member) -> None:
    books.do(ann.hold(30_000))
    assert value(books, "has_sufficient_credits", books.org_id, ann.user_id, 70_000) is True
    assert value(books, "has_sufficient_credits", books.org_id, ann.user_id, 70_001) is False


def test_sufficient_credits_is_false_without_an_active_allocation(books: Books, ann: Member) -> None:
    for user_id in books.member(allocated=None).user_id, "nobody":
        assert value(books, "has_sufficient_credits", books.org_id, user_id, 1) is False
    books.execute("UPDATE user_credit_allocations SET is_active = FALSE WHERE org_id = %s", books.org_id)
    assert value(books, "has_sufficient_credits", books.org_id, ann.user_id, 1) is False


def test_deduct_is_true_and_true_again(books: Books, ann: Member) -> None:
    arguments = books.org_id, ann.user_id, 50_000, "company_enrichment", "Enrichment v2", "job-7", '{"n": 1}'
    assert value(books, "deduct_credits", *arguments) is True
    assert value(books, "deduct_credits", *arguments) is True
    assert books.taken() == [50_000]
    [row] = books.execute("SELECT * FROM credit_usage_attribution WHERE org_id = %s", books.org_id)
    assert (row["service_name"], row["request_metadata"]) == ("Enrichment v2", {"n": 1})


def test_deduct_has_the_documents_defaults(books: Books, ann: Member) -> None:
    assert value(books, "deduct_credits", books.org_id, ann.user_id, 5, "valuation") is True
    assert value(
        books, "deduct_credits", org_id=books.org_id, user_id=ann.user_id, credits=5, service_type="valuation"
    )
    assert books.taken() == [5, 5]


def test_deduct_raises_what_existing_callers_look_for(books: Books, ann: Member) -> None:
    for user_id, words in (
        (ann.user_id, "Insufficient credits"),
        (books.member(allocated=None).user_id, "No credit allocation"),
        ("nobody", "No credit allocation"),
    ):
        with pytest.raises(RaiseException, match=words):
            value(books, "deduct_credits", books.org_id, user_id, 200_000, "valuation")
    with pytest.raises(RaiseException, match="No credit allocation"):
        value(books, "deduct_credits", "no-such-organisation", ann.user_id, 1, "valuation")


@pytest.mark.parametrize("credits", [0, -5])
def test_amounts_that_cannot_move_raise(books: Books, ann: Member, credits: int) -> None:
    for function, arguments in (
        ("deduct_credits", (ann.user_id, credits, "valuation")),
        ("has_sufficient_credits", (ann.user_id, credits)),
        ("add_credits_to_pool", (credits,)),
        ("allocate_credits_to_user", (ann.user_id, credits)),
    ):
        with pytest.raises(RaiseException, match="more than zero"):
            value(books, function, books.org_id, *arguments)


def test_adding_makes_the_pool(own_books: Books) -> None:
    own_books.execute("INSERT INTO organizations (id, name) VALUES ('new', 'New')")
    assert value(own_books, "add_credits_to_pool", "new", 5_000) is True
    assert value(own_books, "add_credits_to_pool", "new", 7_000, Decimal("12.5")) is True
    [pool] = own_books.execute("SELECT * FROM organization_credit_pools WHERE org_id = 'new'")
    assert (pool["total_credits"], pool["available_credits"]) == (12_000, 12_000)
    assert (pool["lifetime_purchased_credits"], pool["lifetime_spent_amount"]) == (7_000, Decimal("12.5"))
    events = own_books.execute(
        "SELECT event_type, amount, credits FROM org_billing_history WHERE org_id = 'new' ORDER BY created_at"
    )
    assert [tuple(event.values()) for event in events] == [
        ("credit_grant", 0, 5_000),
        ("credit_purchase", Decimal("12.5"), 7_000),
    ]


def test_adding_to_nothing_raises(books: Books) -> None:
    with pytest.raises(RaiseException, match="There is no organisation"):
        value(books, "add_credits_to_pool", "no-such-organisation", 5)


def test_allocating_adds_and_needs_no_membership(books: Books) -> None:
    for _ in range(2):
        assert value(books, "allocate_credits_to_user", books.org_id, "guest", 5_000, "an-admin") is True
    [row] = books.execute("SELECT * FROM user_credit_allocations WHERE org_id = %s", books.org_id)
    assert (row["allocated_credits"], row["allocated_by"]) == (10_000, "an-admin")
    assert value(books, "deduct_credits", books.org_id, "guest", 10_000, "valuation") is True
    with pytest.raises(RaiseException, match="Insufficient credits"):
        value(books, "allocate_credits_to_user", books.org_id, "guest", 10**12)


def test_the_other_functions_under_their_public_names(books: Books, ann: Member) -> None:
    hold = "SELECT * FROM hold_credits(%s, %s, 10, 'valuation', request_id => %s)"
    [held] = books.execute(hold, books.org_id, ann.user_id, "job-1")
    [captured] = books.execute("SELECT * FROM capture_hold(%s)", held["hold_id"])
    [refund] = books.execute("SELECT * FROM refund_credits(charge_id => %s)", captured["charge_id"])
    [again] = books.execute(hold, books.org_id, ann.user_id, "job-2")
    [voided] = books.execute("SELECT * FROM void_hold(%s)", again["hold_id"])
    assert (captured["credits_used"], refund["credits_refunded"], voided["status"]) == (10, 10, "voided")


def test_batch_sweep_and_verification_under_their_public_names(books: Books, ann: Member) -> None:
    charges = psycopg.types.json.Jsonb([ann.item(5), ann.item(200_000)])
    outcomes = value(books, "deduct_credits_batch", books.org_id, charges)["outcomes"]
    assert ["receipt" in outcome for outcome in outcomes] == [True, False]
    assert isinstance(value(books, "expire_holds"), int)
    assert value(books, "verify_ledger", books.org_id)["differences"] == []


@pytest.mark.parametrize(
    ("name", "second_name"),
    [
        ("org_billing_summary", "v_org_billing_summary"),
        ("user_multi_org_credits", "v_user_credit_status"),
        ("top_credit_users_by_org", "v_org_member_allocations"),
        ("org_billing_metrics", "v_credit_usage_by_service"),
    ],
)
def test_views_have_two_names(books: Books, ann: Member, name: str, second_name: str) -> None:
    books.do(ann.deduct(5))
    rows = books.execute(f"SELECT * FROM {name} WHERE org_id = %s", books.org_id)  # noqa: S608
    assert len(rows) == 1
    assert books.execute(f"SELECT * FROM {second_name} WHERE org_id = %s", books.org_id) == rows  # noqa: S608


@pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
def test_the_summary_shows_the_subscription_of_now(books: Books, status: str) -> None:
    for row in ("canceled", 1), (status, 2):
        books.execute(
            "INSERT INTO organization_subscriptions (org_id, subscription_plan, status, monthly_price)"
            " VALUES (%s, 'hybrid', %s, %s)",
            books.org_id, *row,
        )  # fmt: skip
    [summary] = books.execute("SELECT * FROM org_billing_summary WHERE org_id = %s", books.org_id)
    assert (summary["subscription_status"], summary["monthly_price"]) == (status, 2)


def test_views_say_what_happened(books: Books, ann: Member) -> None:
    bob = books.member(allocated=50_000)
    books.do(books.refund(books.do(ann.deduct(30_000)), 10_000))
    books.do(bob.deduct(40_000, service_type="valuation"))
    [summary] = books.execute("SELECT * FROM org_billing_summary WHERE org_id = %s", books.org_id)
    assert (summary["used_credits"], summary["credits_used_last_30_days"]) == (60_000, 60_000)
    assert (summary["member_count"], summary["active_allocations"]) == (2, 2)
    ranks = books.execute(
        "SELECT user_id, usage_rank, used_percent FROM top_credit_users_by_org WHERE org_id = %s"
        " ORDER BY usage_rank",
        books.org_id,
    )
    assert [tuple(row.values()) for row in ranks] == [(bob.user_id, 1, 80), (ann.user_id, 2, 20)]
    metrics = books.execute(
        "SELECT service_type, charges, credits_used FROM org_billing_metrics WHERE org_id = %s"
        " ORDER BY credits_used",
        books.org_id,
    )
    assert [tuple(row.values()) for row in metrics] == [
        ("contact_lookup", 1, 20_000),
        ("valuation", 1, 40_000),
    ]
