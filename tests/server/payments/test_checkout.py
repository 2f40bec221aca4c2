"""Checkouts and products: the official client against the fake Stripe, and who may buy for whom."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import NotFoundError, PaymentsUnavailableError, ValidationFailedError
from reference_server.payments.books import Books
from reference_server.payments.checkouts import Seller
from reference_server.payments.stripe_api import StripeApi
from tests.peers.fake_stripe import FIXTURES, KEY
from tests.server.payments.conftest import SECRET, STRIPE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.server.conftest import Organization, Running, StartServer
    from tests.server.payments.conftest import Shop

ADDRESSES = [
    ("POST", f"{STRIPE}/create-checkout-session"),
    ("GET", f"{STRIPE}/products"),
    ("GET", f"{STRIPE}/user-subscriptions"),
    ("POST", f"{STRIPE}/webhook"),
]


def asked(fake_stripe: str, path: str, **fields: str) -> list[dict[str, str]]:
    """Return the forms with these fields that Stripe got at a path."""
    requests = httpx.get(f"{fake_stripe}/requests").json()
    forms = [request["form"] for request in requests if request["path"] == path]
    return [form for form in forms if fields.items() <= form.items()]


def test_a_checkout_sells_the_price_to_the_callers_customer(books: Shop, fake_stripe: str) -> None:
    user_id, session = books.make_user()
    package = books.make_package()
    answer = books.checkout(session, package).json()
    assert answer == {
        "id": answer["id"],
        "session_id": answer["id"],
        "url": f"https://checkout.stripe.com/c/pay/{answer['id']}",
    }
    [customer] = asked(fake_stripe, "/v1/customers", email=f"{user_id}@x.invalid")
    [form] = asked(fake_stripe, "/v1/checkout/sessions", **{"line_items[0][price]": package.price_id})
    customer_id, checkout_id = books.row(
        "SELECT customer_id, id::text FROM stripe_checkouts WHERE session_id = %s", answer["id"]
    )
    assert customer["metadata[buyer]"].startswith("user-")
    assert form == {
        "mode": "payment",
        "customer": customer_id,
        "client_reference_id": checkout_id,
        "line_items[0][price]": package.price_id,
        "line_items[0][quantity]": "1",
        "success_url": "https://app.example/success",
        "cancel_url": "https://app.example/cancel",
    }


def test_a_buyer_is_one_customer_however_often_they_buy(books: Shop) -> None:
    _, session = books.make_user()
    package = books.make_package()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: books.checkout(session, package), range(6)))
    ids = [answer.json()["id"] for answer in answers]
    assert len(set(ids)) == 6
    rows = books.database.execute(
        "SELECT DISTINCT customer_id FROM stripe_checkouts WHERE session_id = ANY(%s)", [ids]
    ).fetchall()
    assert len(rows) == 1


def test_a_package_that_renews_is_sold_as_a_subscription(books: Shop, fake_stripe: str) -> None:
    _, session = books.make_user()
    package = books.make_package(renews_every="month")
    wrong = books.checkout(session, package)
    assert (wrong.status_code, wrong.json()["errors"][0]["loc"]) == (422, ["mode"])
    assert books.checkout(session, package, mode="subscription").status_code == 200
    [form] = asked(fake_stripe, "/v1/checkout/sessions", **{"line_items[0][price]": package.price_id})
    assert form["mode"] == "subscription"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"price_id": "price_unknown"}, 404, "not_found"),
        ({"price_id": 5}, 422, "validation_failed"),
        ({"mode": "setup"}, 422, "validation_failed"),
        ({"success_url": "javascript:alert(1)"}, 422, "validation_failed"),
        ({"cancel_url": "https://[broken"}, 422, "validation_failed"),
        ({"cancel_url": "/here"}, 422, "validation_failed"),
        ({"success_url": "https://app.example/\n"}, 422, "validation_failed"),
        ({"user_id": "123"}, 422, "validation_failed"),
        ({"org_id": "of-nobody"}, 403, "not_a_member"),
        ({"org_id": "of\u0089nobody"}, 422, "validation_failed"),
    ],
)
def test_a_wrong_request_opens_nothing(books: Shop, changes: dict[str, Any], status: int, code: str) -> None:
    _, session = books.make_user()
    answer = books.checkout(session, books.make_package(), **changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_package_that_is_not_sold_any_more_is_unknown(books: Shop) -> None:
    package = books.make_package()
    books.database.execute("UPDATE credit_packages SET is_active = FALSE WHERE id = %s", [package.id])
    _, session = books.make_user()
    assert books.checkout(session, package).status_code == 404


def test_what_stripe_refuses_is_not_available(books: Shop) -> None:
    package = books.make_package()
    price = f"price_of_nobody_{package.id}"
    books.database.execute(
        "UPDATE credit_packages SET stripe_price_id = %s WHERE id = %s", [price, package.id]
    )
    _, session = books.make_user()
    answer = books.checkout(session, package, price_id=price)
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize(
    ("caller", "status"),
    [("owner", 200), ("admin", 200), ("billing_admin", 200), ("system_admin", 200), ("member", 403),
     ("outsider", 403)],
)  # fmt: skip
def test_managers_buy_for_their_organisation(
    books: Shop, organization: Organization, caller: str, status: int
) -> None:
    session = organization.sessions[caller]
    answer = books.checkout(session, books.make_package(), org_id=organization.org_id)
    assert answer.status_code == status


@pytest.mark.parametrize(("key", "status"), [("manage", 200), ("consume", 403), ("none", 403)])
def test_keys_buy_for_their_organisation_only(
    books: Shop, organization: Organization, key: str, status: int
) -> None:
    package = books.make_package()
    secret = organization.keys[key]
    assert books.checkout(secret, package, org_id=organization.org_id).status_code == status
    assert books.checkout(secret, package).status_code == 403


@pytest.fixture
async def seller(shop: Running, fake_stripe: str) -> AsyncIterator[Seller]:
    """What other parts of the server sell with."""
    backend, api = AsyncSqlBackend(shop.database_url), StripeApi(KEY, fake_stripe)
    yield Seller(Books(backend), api)
    await api.close()
    await backend.close()


@pytest.mark.anyio
async def test_a_purchase_names_a_package_or_how_many_credits_it_needs(books: Shop, seller: Seller) -> None:
    user_id, _ = books.make_user()
    package = books.make_package()
    bought = await seller.purchase(user_id, return_url="https://a.example", package_id=package.id)
    assert bought.url.endswith(bought.session_id)
    enough = await seller.purchase(user_id, return_url="https://a.example", credits=Decimal("99.5"))
    [credits, mode] = books.row(
        "SELECT credits, mode FROM stripe_checkouts WHERE session_id = %s", enough.session_id
    )
    assert (credits, mode) == (100, "payment")
    with pytest.raises(NotFoundError, match="1000000 credits is not for sale"):
        await seller.purchase(user_id, return_url="https://a.example", credits=Decimal(1_000_000))
    with pytest.raises(ValidationFailedError, match="return_url"):
        await seller.purchase(user_id, return_url="nowhere", package_id=package.id)
    with pytest.raises(NotFoundError, match="no user"):
        await seller.purchase("nobody", return_url="https://a.example", package_id=package.id)
    with pytest.raises(PaymentsUnavailableError):
        await Seller(seller.books, None).purchase(user_id, return_url="https://a.example")


def test_products_are_shown_to_everybody(books: Shop) -> None:
    package = books.make_package(renews_every="year")
    answer = books.server.get(f"{STRIPE}/products")
    [product] = [product for product in answer.json() if product["id"] == package.id]
    assert product == {
        "id": package.id,
        "name": "Hundred credits",
        "description": "",
        "prices": [
            {
                "id": package.price_id,
                "amount": 2_000,
                "currency": "usd",
                "credits": 100,
                "mode": "subscription",
                "interval": "year",
            }
        ],
    }


@pytest.mark.parametrize(("method", "path"), [ADDRESSES[0], ADDRESSES[2]])
def test_who_is_unknown_is_told_nothing(shop: Running, method: str, path: str) -> None:
    assert shop.request(method, path, content=b"{").json()["code"] == "not_authenticated"
    assert shop.request(method, path, bearer="cst_unknown").json()["code"] == "invalid_token"


def test_another_site_buys_nothing(books: Shop) -> None:
    _, session = books.make_user()
    foreign = {"Origin": "https://evil.example"}
    answer = books.server.post(ADDRESSES[0][1], {}, cookie=session, headers=foreign)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_without_a_key_nothing_is_sold_and_all_else_works(
    server: Running, books: Shop, method: str, path: str
) -> None:
    user_id, session = books.make_user()
    body = {"price_id": "p", "success_url": "https://a.example", "cancel_url": "https://a.example"}
    answer = server.request(method, path, bearer=session, json=body if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert server.get(f"/api/financial/credits/{user_id}", bearer=session).status_code == 200


@pytest.mark.parametrize("key", ["sk_test_wrong", KEY])
def test_a_wrong_key_and_a_silent_stripe_are_one_refusal(
    start_server: StartServer, books: Shop, fake_stripe: str, key: str
) -> None:
    address = "http://127.0.0.1:1" if key == KEY else fake_stripe
    other = start_server(stripe_secret_key=key, stripe_webhook_secret=SECRET, stripe_api_base=address)
    _, session = books.make_user()
    package = books.make_package()
    body = {
        "price_id": package.price_id,
        "success_url": "https://a.example",
        "cancel_url": "https://a.example",
    }
    answer = other.post(f"{STRIPE}/create-checkout-session", body, bearer=session)
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert key not in answer.text


def test_the_fake_answers_as_stripe_publishes(fake_stripe: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    for path, kind in (
        ("customers", "customer"),
        ("prices", "price"),
        ("checkout/sessions", "checkout.session"),
    ):
        made = httpx.post(f"{fake_stripe}/v1/{path}", headers=headers, data={"mode": "payment"}).json()
        assert made.keys() == FIXTURES[kind].keys()
        assert made["object"] == kind
