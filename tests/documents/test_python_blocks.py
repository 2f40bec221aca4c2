"""Python of the pages that needs books of its own, run as it stands there."""

from __future__ import annotations

import importlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import standardwebhooks

from credit_sdk import BillingClient, CreditSDK
from tests.documents.test_blocks import ROOT, blocks, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator


def run(page: str, first_line: str, **names: Any) -> dict[str, Any]:
    """Run a block of a page and return its names."""
    [block] = [
        each for each in blocks() if each.page == page and each.text.splitlines()[0].startswith(first_line)
    ]
    exec(block.text, names)  # noqa: S102 - a page of this repository
    return names


@pytest.fixture
def books(database_url: str) -> str:
    """The URL of books that have whom the pages speak of."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        prepare(connection)
        connection.execute("INSERT INTO stripe_customers (customer_id, org_id) VALUES ('cus_1', 'acme')")
        connection.execute(
            "INSERT INTO credit_packages (id, name, credits, price_cents)"
            " VALUES ('standard', 'Standard', 5000, 4900) ON CONFLICT DO NOTHING"
        )
    return database_url


@pytest.fixture
def client(books: str) -> Iterator[BillingClient]:
    with BillingClient(books) as client:
        yield client


def test_alerts_are_set(client: BillingClient) -> None:
    run("docs/alerts.md", "client.alerts.set(", client=client)
    kept = {rule.kind: rule.threshold for rule in client.alerts.list("acme").rules}
    assert kept == {"spend.spike": Decimal(3), "exhaustion.near": Decimal(14)}


def test_a_webhook_is_made_and_tried(client: BillingClient, capsys: pytest.CaptureFixture[str]) -> None:
    names = run("docs/alerts.md", "webhook = client.alerts.create_webhook(", client=client)
    assert names["webhook"].secret.startswith("whsec_")
    assert capsys.readouterr().out == "webhook.test pending 0 None\n"


def test_what_is_received_is_verified() -> None:
    secret, payload = "whsec_" + "c2VjcmV0" * 4, json.dumps({"event": "pool.low"})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": standardwebhooks.Webhook(secret).sign("msg_1", now, payload),
    }
    request = SimpleNamespace(body=payload, headers=headers)
    block = "said = standardwebhooks.Webhook(secret)"
    names = run("docs/alerts.md", block, standardwebhooks=standardwebhooks, secret=secret, request=request)
    assert names["said"] == {"event": "pool.low"}
    request.headers |= {"webhook-id": "msg_2"}
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        run("docs/alerts.md", block, standardwebhooks=standardwebhooks, secret=secret, request=request)


def test_a_top_up_is_set_looked_at_and_removed(client: BillingClient) -> None:
    run("docs/payments.md", "client.credits.set_top_up(", client=client)
    done = [entry.action for entry in client.organizations.audit("acme")][:2]
    assert done == ["top_up.deleted", "top_up.created"]


def test_credits_come_in_lots(client: BillingClient, books: str) -> None:
    in_march = datetime.now(UTC) + timedelta(days=10)
    with CreditSDK(books, outbox=False) as sdk:
        run(
            "docs/expiring-credits.md",
            'client.credits.add("acme", 5_000',
            client=client,
            sdk=sdk,
            end_of_march=in_march,
        )
    with psycopg.connect(books) as connection:
        [(lots,)] = connection.execute("SELECT count(*) FROM credit_lots").fetchall()
    assert lots == 3


def test_what_the_settings_of_django_name_is_there() -> None:
    names = run("docs/frameworks.md", "MIDDLEWARE = [")
    for path in names["MIDDLEWARE"]:
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))
    assert names["CREDITS_BILLING"] in (ROOT / "docs/frameworks.md").read_text()
