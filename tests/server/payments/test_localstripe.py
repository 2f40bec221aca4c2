"""Stripe's official client and this server against localstripe: customers, plans, subscriptions, webhooks.

localstripe is a program of others (GPL) that runs as a process in an environment of its own; nothing here
imports it. Where it cannot be installed these tests are skipped.
"""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import stripe

from tests.server.payments.conftest import SECRET, STRIPE, Shop
from tests.server.test_outage import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.conftest import StartServer
    from tests.server.payments.conftest import Connection

VERSION = "1.15.10"
ENVIRONMENT = Path(__file__).parents[3] / ".tools" / f"localstripe-{VERSION}"
KEY = "sk_test_12345"


@pytest.fixture(scope="session")
def program() -> Path:
    """The program localstripe, installed once."""
    installed = ENVIRONMENT / "bin" / "localstripe"
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with (ENVIRONMENT.parent / "localstripe.lock").open("w") as lock:
        # Several workers may come at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists():
            made = [sys.executable, "-m", "venv", ENVIRONMENT]
            install = [ENVIRONMENT / "bin" / "pip", "install", "--quiet", f"localstripe=={VERSION}"]
            for step in (made, install):
                done = subprocess.run(step, capture_output=True, text=True, check=False)
                if done.returncode:
                    pytest.skip(f"localstripe cannot be installed here: {done.stderr.strip()[-200:]}")
    return installed


@pytest.fixture(scope="session")
def localstripe(program: Path) -> Iterator[str]:
    """The address of a localstripe that answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [program, "--from-scratch", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return httpx.get(f"{address}/v1/customers", auth=(KEY, "")).is_success
            except httpx.TransportError:
                assert process.poll() is None
                return False

        eventually(answers)
        yield address
        process.kill()


def test_a_subscription_at_localstripe_gives_its_credits(
    start_server: StartServer, database: Connection, localstripe: str
) -> None:
    """The customer is made by the server's own call, the events are signed by localstripe."""
    server = start_server(stripe_secret_key=KEY, stripe_webhook_secret=SECRET, stripe_api_base=localstripe)
    httpx.post(
        f"{localstripe}/_config/webhooks/ours",
        data={"url": f"{server.base_url}{STRIPE}/webhook", "secret": SECRET},
        auth=(KEY, ""),
    ).raise_for_status()
    books = Shop(server, database)
    user_id, session = books.make_user()
    package = books.make_package(renews_every="month")
    # localstripe knows no checkouts, so the purchase ends there; the customer is known by then.
    assert books.checkout(session, package, mode="subscription").status_code == 503
    [customer_id] = books.row(
        "SELECT customer_id FROM stripe_customers INNER JOIN users ON users.id = user_id WHERE subject = %s",
        user_id,
    )

    client = stripe.StripeClient(KEY, base_addresses={"api": localstripe}).v1
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    method = client.payment_methods.create({"type": "card", "card": card})  # type: ignore[typeddict-item]  # a test card's number
    client.payment_methods.attach(method.id, {"customer": customer_id})
    client.customers.update(customer_id, {"invoice_settings": {"default_payment_method": method.id}})
    plan = client.plans.create(
        {"amount": 2_000, "currency": "usd", "interval": "month", "product": {"name": "Monthly"}}
    )
    database.execute("UPDATE credit_packages SET stripe_price_id = %s WHERE id = %s", [plan.id, package.id])
    subscription = client.subscriptions.create({"customer": customer_id, "items": [{"plan": plan.id}]})

    eventually(lambda: books.balance(user_id) == 100)

    def states() -> list[str]:
        rows = server.get(f"{STRIPE}/user-subscriptions", bearer=session).json()
        return [row["status"] for row in rows]

    eventually(lambda: states() == ["active"])
    client.subscriptions.cancel(subscription.id)
    eventually(lambda: states() == ["canceled"])
    assert books.balance(user_id) == 100
