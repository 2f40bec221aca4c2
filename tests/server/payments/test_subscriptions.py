"""Subscriptions: credits for each paid invoice, once, and a state that follows Stripe's."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.fake_stripe import FIXTURES
from tests.server.payments.conftest import STRIPE, event

if TYPE_CHECKING:
    from tests.server.conftest import Organization
    from tests.server.payments.conftest import Buyer, Package, Sender, Shop

HUNDRED = Decimal(100)


@pytest.fixture
def monthly(books: Shop) -> Package:
    return books.make_package(renews_every="month")


@pytest.fixture
def subscriber(books: Shop, monthly: Package) -> Buyer:
    return books.buyer(*books.make_user(), monthly, mode="subscription")


def invoice(buyer: Buyer, package: Package, shape: str = "new", **changes: Any) -> dict[str, Any]:
    """Return a paid invoice, as a newer or an older version of the API shapes it."""
    line = {**FIXTURES["invoice"]["lines"]["data"][0], "quantity": 1, "parent": None}
    line |= (
        {"pricing": {"price_details": {"price": package.price_id}, "type": "price_details"}}
        if shape == "new"
        else {"pricing": None, "price": {"id": package.price_id}}
    )
    return FIXTURES["invoice"] | {
        "id": f"in_{secrets.token_hex(8)}",
        "customer": buyer.customer_id,
        "status": "paid",
        "currency": "usd",
        "total": 2_000,
        "amount_paid": 2_000,
        "lines": {"object": "list", "data": [line]},
        **changes,
    }


def subscription(buyer: Buyer, package: Package, status: str, **changes: Any) -> dict[str, Any]:
    item = FIXTURES["subscription"]["items"]["data"][0] | {"price": {"id": package.price_id}}
    return FIXTURES["subscription"] | {
        "id": f"sub_{buyer.payment_id}",
        "customer": buyer.customer_id,
        "status": status,
        "items": {"object": "list", "data": [item]},
        **changes,
    }


def listed(books: Shop, buyer: Buyer) -> list[dict[str, Any]]:
    answer = books.server.get(f"{STRIPE}/user-subscriptions", headers=buyer.headers)
    assert answer.status_code == 200
    rows: list[dict[str, Any]] = answer.json()
    return rows


@pytest.mark.parametrize("shape", ["new", "old"])
def test_each_paid_invoice_gives_its_credits_once(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package, shape: str
) -> None:
    first, second = (invoice(subscriber, monthly, shape) for _ in range(2))
    for paid in (first, first, second, first):
        assert sender.send(event("invoice.paid", paid)).json()["outcome"] == "applied"
    assert books.balance(subscriber.user_id) == 2 * HUNDRED


def test_the_checkout_of_a_subscription_gives_nothing_by_itself(
    sender: Sender, books: Shop, subscriber: Buyer
) -> None:
    done = subscriber.paid(mode="subscription", payment_intent=None)
    assert sender.send(event("checkout.session.completed", done)).json()["outcome"] == "applied"
    assert books.balance(subscriber.user_id) == 0


@pytest.mark.parametrize("changes", [{"total": 0}, {"status": "open"}], ids=["trial", "open"])
def test_an_invoice_that_nobody_paid_gives_nothing(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package, changes: dict[str, Any]
) -> None:
    sent = event("invoice.paid", invoice(subscriber, monthly, **changes))
    assert sender.send(sent).json()["outcome"] == "kept"
    assert books.balance(subscriber.user_id) == 0


def test_an_invoice_in_another_currency_is_refused(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package
) -> None:
    sent = event("invoice.paid", invoice(subscriber, monthly, currency="eur"))
    assert sender.send(sent).status_code == 422
    assert (books.balance(subscriber.user_id), books.outcome(sent)) == (0, "refused")


def test_an_invoice_for_something_else_is_kept_for_an_operator(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package
) -> None:
    of_nobody = invoice(subscriber, monthly, customer=f"cus_{secrets.token_hex(6)}")
    prorated = invoice(subscriber, monthly)
    prorated["lines"]["data"][0]["parent"] = {"subscription_item_details": {"proration": True}}
    once = invoice(subscriber, books.make_package())
    for paid in (of_nobody, prorated, once):
        assert sender.send(event("invoice.paid", paid)).json()["outcome"] == "unmatched"
    assert books.balance(subscriber.user_id) == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)], ids=str)
def test_a_refunded_invoice_takes_its_credits_back_in_any_order(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package, order: tuple[int, ...]
) -> None:
    paid = invoice(subscriber, monthly)
    payment = FIXTURES["invoice_payment"] | {
        "invoice": paid["id"],
        "payment": {"type": "payment_intent", "payment_intent": subscriber.payment_id},
    }
    events = [
        event("invoice.paid", paid),
        event("invoice_payment.paid", payment),
        event("charge.refunded", subscriber.refunded(2_000)),
    ]
    for place in order:
        assert sender.send(events[place]).status_code == 200
    assert books.balance(subscriber.user_id) == 0
    assert books.owed(paid["id"]) == (HUNDRED, 0)
    assert {books.outcome(sent) for sent in events} == {"applied"}


def test_an_older_shape_of_invoice_names_its_payment(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package
) -> None:
    paid = invoice(subscriber, monthly, "old", payment_intent=subscriber.payment_id)
    for sent in (event("invoice.paid", paid), event("charge.refunded", subscriber.refunded(1_000))):
        assert sender.send(sent).status_code == 200
    assert books.balance(subscriber.user_id) == 50


def test_subscriptions_are_as_stripe_said_last(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package
) -> None:
    told = [("created", "active", 100), ("updated", "past_due", 300), ("updated", "active", 200)]
    for kind, status, created in told:
        about = subscription(subscriber, monthly, status)
        sender.send(event(f"customer.subscription.{kind}", about, created=created))
    [row] = listed(books, subscriber)
    assert (row["package_id"], row["credits"], row["status"]) == (monthly.id, 100, "past_due")


def test_a_subscription_ends_once(sender: Sender, books: Shop, subscriber: Buyer, monthly: Package) -> None:
    about = {status: subscription(subscriber, monthly, status) for status in ("canceled", "active")}
    sender.send(event("customer.subscription.deleted", about["canceled"], created=500))
    for created in (400, 500, 600):
        sender.send(event("customer.subscription.updated", about["active"], created=created))
    [row] = listed(books, subscriber)
    assert row["status"] == "canceled"


def test_subscriptions_of_others_are_not_shown(
    sender: Sender, books: Shop, subscriber: Buyer, monthly: Package, organization: Organization
) -> None:
    sender.send(event("customer.subscription.created", subscription(subscriber, monthly, "active")))
    _, other = books.make_user()
    assert books.server.get(f"{STRIPE}/user-subscriptions", bearer=other).json() == []
    path = f"{STRIPE}/user-subscriptions?org_id={organization.org_id}"
    expected = {"owner": 200, "billing_admin": 200, "member": 403, "outsider": 403}
    found = {
        role: books.server.get(path, bearer=organization.sessions[role]).status_code for role in expected
    }
    assert found == expected
    nameless = f"{STRIPE}/user-subscriptions?org_id="
    assert books.server.get(nameless, bearer=organization.sessions["owner"]).status_code == 422


def test_an_organisation_subscribes(
    sender: Sender, books: Shop, monthly: Package, organization: Organization
) -> None:
    before = books.pool(organization)
    owner = organization.sessions["owner"]
    subscribed = books.buyer("", owner, monthly, mode="subscription", org_id=organization.org_id)
    sender.send(event("customer.subscription.created", subscription(subscribed, monthly, "active")))
    assert sender.send(event("invoice.paid", invoice(subscribed, monthly))).status_code == 200
    assert books.pool(organization) == before + 100
    path = f"{STRIPE}/user-subscriptions?org_id={organization.org_id}"
    [row] = books.server.get(path, bearer=owner).json()
    assert row["status"] == "active"
