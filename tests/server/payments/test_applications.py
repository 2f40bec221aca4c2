"""Users of other applications buy with the token that they logged in with, where the application may sell."""

from __future__ import annotations

import secrets
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from reference_server.credentials import register_app
from reference_server.passwords import hash_password
from tests.server.payments.conftest import STRIPE, event

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.payments.conftest import Sender, Shop

PASSWORD = "correct horse"


@pytest.fixture
def make_token(books: Shop) -> Callable[..., tuple[int, str]]:
    """Log a new user in from an application with some permissions; return their id and the token."""
    hashed = hash_password(PASSWORD)

    def make(*permissions: str) -> tuple[int, str]:
        app_id, email = f"app-{secrets.token_hex(6)}", f"{secrets.token_hex(6)}@example.com"
        register_app(books.database, app_id, "An application", permissions, key_required=False)
        [user_id] = books.row(
            "INSERT INTO users (email, password_hash) VALUES (%s, %s) RETURNING id", email, hashed
        )
        body = {"email": email, "password": PASSWORD, "app_id": app_id}
        answer = books.server.post("/api/cross-app/auth", body)
        assert answer.status_code == 200, answer.text
        return user_id, answer.json()["session_token"]

    return make


def balance(books: Shop, user_id: int) -> Any:
    return books.row("SELECT credits FROM users WHERE id = %s", user_id)[0]


def test_the_token_of_an_application_opens_a_checkout(
    books: Shop, sender: Sender, make_token: Callable[..., tuple[int, str]]
) -> None:
    user_id, token = make_token("purchase_credits", "manage_subscriptions")
    bought = books.buyer(str(user_id), token, books.make_package())
    assert sender.send(event("checkout.session.completed", bought.paid())).status_code == 200
    assert balance(books, user_id) == Decimal(100)
    assert books.server.get(f"{STRIPE}/user-subscriptions", bearer=token).json() == []


def test_a_purchase_of_an_application_opens_a_checkout(
    books: Shop, make_token: Callable[..., tuple[int, str]]
) -> None:
    _, token = make_token("purchase_credits")
    package = books.make_package()
    app_id = jwt.decode(token, options={"verify_signature": False})["aud"]
    body = {"session_token": token, "app_id": app_id, "package_id": package.id}
    body |= {"return_url": "https://app.example/back"}
    answer = books.server.post("/api/cross-app/credits/purchase", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["checkout_url"].endswith(answer.json()["session_id"])


def test_an_application_sells_only_what_it_may(
    books: Shop, make_token: Callable[..., tuple[int, str]]
) -> None:
    _, token = make_token("read_credits")
    answer = books.checkout(token, books.make_package())
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert books.server.get(f"{STRIPE}/user-subscriptions", bearer=token).status_code == 403


def test_a_token_that_was_changed_buys_nothing(
    books: Shop, make_token: Callable[..., tuple[int, str]]
) -> None:
    _, token = make_token("purchase_credits")
    head, claims, signature = token.split(".")
    answer = books.checkout(f"{head}.{claims}.{signature[::-1]}", books.make_package())
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


def test_users_of_applications_buy_for_themselves_only(
    books: Shop, make_token: Callable[..., tuple[int, str]]
) -> None:
    _, token = make_token("purchase_credits")
    answer = books.checkout(token, books.make_package(), org_id="test-loopnet")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_a_member")
