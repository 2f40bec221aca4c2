"""A server that sells, a fake Stripe as a process, a sender of Stripe's events, and who buys."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stripe

from credit_sdk.backends.sql import AsyncSqlBackend
from reference_server.credentials import open_session
from reference_server.payments.books import Books
from reference_server.payments.stripe_api import StripeApi
from reference_server.payments.top_ups import TopUps
from reference_server.settings import Settings
from tests.peers.fake_stripe import FIXTURES, KEY
from tests.server.conftest import Running, _running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import httpx
    import psycopg

    from tests.server.conftest import Organization

    Connection = psycopg.Connection[tuple[Any, ...]]

SECRET = "whsec_of_the_tests"
STRIPE = "/api/stripe"
PEER = Path(__file__).parents[2] / "peers" / "fake_stripe.py"
Event = dict[str, Any]


@pytest.fixture(scope="session")
def fake_stripe() -> Iterator[str]:
    """The address of a fake Stripe; the process ends when its standard input does."""
    with subprocess.Popen(
        [sys.executable, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.communicate()


@pytest.fixture(scope="session")
def shop(server_database: str, fake_stripe: str) -> Iterator[Running]:
    """A server that sells."""
    settings = Settings(
        database_url=server_database,
        stripe_secret_key=KEY,
        stripe_webhook_secret=SECRET,
        stripe_api_base=fake_stripe,
        # What is bought by itself is bought when a test says so.
        alert_seconds=3_600,
        unsafe_per_minute=1_000_000,
        safe_per_minute=1_000_000,
        refused_per_minute=1_000_000,
        key_cache_seconds=0,
    )
    with _running(settings) as running:
        yield running


@dataclass(frozen=True)
class Sender:
    """Sends events as Stripe does: signed, more than once, in any order, at the same time."""

    shop: Running

    def send(self, event: Event, *, at: float | None = None) -> httpx.Response:
        body = json.dumps(event)
        return self.send_raw(body, signature(body, at=at))

    def send_raw(self, body: str | bytes, signed: str | None) -> httpx.Response:
        headers = {b"Content-Type": b"application/json; charset=utf-8"}
        if signed is not None:
            headers[b"Stripe-Signature"] = signed.encode("latin-1")
        return self.shop.http.post(f"{self.shop.base_url}{STRIPE}/webhook", content=body, headers=headers)

    def send_all(self, events: Sequence[Event]) -> list[httpx.Response]:
        """Send events at the same time."""
        with ThreadPoolExecutor(max_workers=8) as threads:
            return list(threads.map(self.send, events))


def signature(body: str, *, at: float | None = None, secret: str = SECRET) -> str:
    moment = None if at is None else int(at)
    header: str = stripe.WebhookSignature.generate_signature_header(body, secret, moment)
    return header


@pytest.fixture
def sender(shop: Running) -> Sender:
    return Sender(shop)


def event(kind: str, subject: dict[str, Any], *, created: int | None = None) -> Event:
    """Return an event about an object, as Stripe shapes it."""
    return FIXTURES["event"] | {
        "id": f"evt_{secrets.token_hex(12)}",
        "type": kind,
        "created": int(time.time()) if created is None else created,
        "data": {"object": subject},
    }


@dataclass(frozen=True)
class Package:
    id: str
    price_id: str


@dataclass(frozen=True)
class Buyer:
    """Someone who opened a checkout of 100 credits for 20.00 USD."""

    user_id: str
    session: str
    headers: dict[str, str]
    session_id: str
    customer_id: str
    payment_id: str

    def paid(self, **changes: Any) -> dict[str, Any]:
        """Return the checkout session as Stripe shows it when it is paid."""
        return FIXTURES["checkout.session"] | {
            "id": self.session_id,
            "customer": self.customer_id,
            "payment_intent": self.payment_id,
            "payment_status": "paid",
            "status": "complete",
            "currency": "usd",
            "amount_total": 2_000,
            **changes,
        }

    def refunded(self, cents: int) -> dict[str, Any]:
        """Return the charge of the payment when so much of it was refunded."""
        return FIXTURES["charge"] | {
            "id": f"ch_{self.payment_id}",
            "payment_intent": self.payment_id,
            "amount": 2_000,
            "amount_refunded": cents,
        }

    def disputed(self, status: str, cents: int = 2_000) -> dict[str, Any]:
        return FIXTURES["dispute"] | {
            "id": f"dp_{self.payment_id}",
            "payment_intent": self.payment_id,
            "amount": cents,
            "status": status,
        }


@dataclass(frozen=True)
class Shop:
    """The server's database and its buyers."""

    server: Running
    database: Connection

    def row(self, statement: str, *parameters: object) -> tuple[Any, ...]:
        found = self.database.execute(statement.encode(), parameters).fetchone()
        assert found is not None
        return found

    def make_package(self, *, renews_every: str | None = None) -> Package:
        package_id = f"pack-{secrets.token_hex(6)}"
        self.database.execute(
            "INSERT INTO credit_packages (id, name, credits, price_cents, renews_every, stripe_price_id)"
            " VALUES (%s, 'Hundred credits', 100, 2000, %s, %s)",
            [package_id, renews_every, f"price_{package_id}"],
        )
        return Package(package_id, f"price_{package_id}")

    def make_user(self) -> tuple[str, str]:
        """Return a new user and their session."""
        user_id = f"buyer-{secrets.token_hex(6)}"
        self.database.execute(
            "INSERT INTO users (subject, email) VALUES (%s, %s)", [user_id, f"{user_id}@x.invalid"]
        )
        return user_id, open_session(self.database, user_id)

    def checkout(self, session: str, package: Package, **changes: Any) -> httpx.Response:
        body = {
            "price_id": package.price_id,
            "success_url": "https://app.example/success",
            "cancel_url": "https://app.example/cancel",
            **changes,
        }
        return self.server.post(f"{STRIPE}/create-checkout-session", body, bearer=session)

    def buyer(self, user_id: str, session: str, package: Package, **changes: Any) -> Buyer:
        """Open a checkout."""
        answer = self.checkout(session, package, **changes)
        assert answer.status_code == 200, answer.text
        session_id = answer.json()["session_id"]
        [customer_id] = self.row("SELECT customer_id FROM stripe_checkouts WHERE session_id = %s", session_id)
        headers = {"Authorization": f"Bearer {session}"}
        return Buyer(user_id, session, headers, session_id, customer_id, f"pi_{secrets.token_hex(8)}")

    def balance(self, user_id: str) -> Any:
        return self.row("SELECT credits FROM users WHERE subject = %s", user_id)[0]

    def owed(self, source_id: str) -> tuple[Any, ...]:
        """Return what was taken back of a purchase, and what is owed."""
        return self.row(
            "SELECT taken_back_credits, owed_credits FROM stripe_grants WHERE source_id = %s", source_id
        )

    def outcome(self, sent: Event) -> Any:
        return self.row("SELECT outcome FROM stripe_events WHERE event_id = %s", sent["id"])[0]

    def pool(self, organization: Organization) -> Any:
        return self.row(
            "SELECT available_credits / 1000.0 FROM organization_credit_pools WHERE org_id = %s",
            organization.org_id,
        )[0]

    def verified(self, org_id: str | None = None) -> list[Any]:
        """Return what of the books does not add up."""
        document = self.row("SELECT ledger.verify_ledger(%s)", org_id)[0]
        differences: list[Any] = document["differences"]
        return differences


@pytest.fixture
def books(shop: Running, database: Connection) -> Shop:
    return Shop(shop, database)


@pytest.fixture
def buyer(books: Shop) -> Buyer:
    """A user with an open checkout."""
    return books.buyer(*books.make_user(), books.make_package())


@pytest.fixture
async def top_ups(books: Shop, fake_stripe: str) -> AsyncIterator[TopUps]:
    backend = AsyncSqlBackend(books.server.database_url)
    stripe = StripeApi(KEY, fake_stripe)
    yield TopUps(Books(backend), stripe)
    await stripe.close()
    await backend.close()


@dataclass(frozen=True)
class Customer:
    """A user with a saved card, whose balance is 0."""

    books: Shop
    id: str
    user_id: str

    def set(self, card: str = "pm_good", monthly_cents: int = 10_000, package: str | None = None) -> str:
        """Let it buy by itself, and return the package."""
        package_id = package or self.books.make_package().id
        self.books.row(
            "SELECT payments.set_top_up(%s, %s, %s, 5000, %s)", self.id, package_id, card, monthly_cents
        )
        return package_id

    def remove(self) -> None:
        """Let it buy nothing by itself any more."""
        self.books.row("SELECT payments.set_top_up(%s, NULL, NULL, NULL, NULL)", self.id)

    def let_lease_end(self) -> None:
        """Let whoever asks Stripe for its top-ups be late."""
        self.books.database.execute(
            "UPDATE top_ups SET leased_until = ledger.now() - INTERVAL '1 second' WHERE customer_id = %s",
            [self.id],
        )

    def all(self) -> list[tuple[Any, ...]]:
        """Return the status of each, its payment and why it failed."""
        return self.books.database.execute(
            "SELECT status, payment_id, error FROM top_ups WHERE customer_id = %s ORDER BY created_at",
            [self.id],
        ).fetchall()

    def paid(self, **changes: Any) -> dict[str, Any]:
        """Return the payment of the last top-up, as Stripe shows it when it is paid."""
        intent = {"id": self.all()[-1][1], "customer": self.id, "currency": "usd", "amount_received": 2_000}
        return FIXTURES["payment_intent"] | intent | changes


@pytest.fixture
def customer(books: Shop, buyer: Buyer) -> Iterator[Customer]:
    """A customer who leaves nothing to be bought."""
    customer = Customer(books, buyer.customer_id, buyer.user_id)
    yield customer
    customer.remove()
    books.database.execute(
        "UPDATE top_ups SET status = 'failed' WHERE customer_id = %s AND status = 'open'", [customer.id]
    )
