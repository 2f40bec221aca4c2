"""What an organisation buys by itself is set over HTTP and in Python, by whoever manages it, and audited."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from credit_sdk import BillingClient
from credit_sdk.errors import NotFoundError, PermissionDeniedError, ValidationFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credit_sdk.client import Credits
    from tests.server.conftest import Command, MakeOrganization, Organization
    from tests.server.payments.conftest import Shop


@pytest.fixture
def customer(books: Shop, make_organization: MakeOrganization) -> Organization:
    """An organisation that has bought before."""
    made = make_organization()
    books.database.execute(
        "INSERT INTO stripe_customers (customer_id, org_id) VALUES (%s, %s)",
        [f"cus_{made.org_id}", made.org_id],
    )
    return made


@pytest.fixture(params=["http", "sql"])
def credits(books: Shop, customer: Organization, request: pytest.FixtureRequest) -> Iterator[Credits]:
    address, token = books.server.base_url, customer.sessions["billing_admin"]
    if request.param == "sql":
        address, token = books.server.database_url, None
    with BillingClient(address, session_token=token) as client:
        yield client.credits


@dataclass(frozen=True)
class Wish:
    package_id: str
    payment_method: str = "pm_good"
    threshold: Decimal = Decimal("2.5")
    monthly_cents: int = 4_000

    def set(self, credits: Credits, org_id: str) -> object:
        return credits.set_top_up(
            org_id,
            package_id=self.package_id,
            payment_method=self.payment_method,
            threshold=self.threshold,
            monthly_cents=self.monthly_cents,
        )


def test_it_is_set_looked_at_and_removed(books: Shop, customer: Organization, credits: Credits) -> None:
    assert credits.top_up(customer.org_id).package_id is None
    wish = Wish(books.make_package().id)
    made = wish.set(credits, customer.org_id)
    found = credits.top_up(customer.org_id)
    assert found == made
    assert (found.package_id, found.payment_method) == (wish.package_id, "pm_good")
    assert (found.threshold, found.monthly_cents) == (Decimal("2.5"), 4_000)
    assert (found.failures, found.is_active) == (0, True)
    for _ in range(2):
        gone = credits.remove_top_up(customer.org_id)
        assert (gone.package_id, gone.is_active) == (None, False)


def test_what_is_set_is_bought(books: Shop, customer: Organization, credits: Credits) -> None:
    Wish(books.make_package().id, threshold=Decimal(10**6)).set(credits, customer.org_id)
    books.row("SELECT payments.open_top_ups()")
    [count] = books.row("SELECT count(*) FROM top_ups WHERE customer_id = %s", f"cus_{customer.org_id}")
    books.database.execute(
        "UPDATE top_ups SET status = 'failed' WHERE customer_id = %s", [f"cus_{customer.org_id}"]
    )
    credits.remove_top_up(customer.org_id)
    assert count == 1


@pytest.mark.parametrize("lacking", ["package", "package for ever", "customer"])
def test_what_cannot_be_bought_cannot_be_set(
    books: Shop,
    customer: Organization,
    make_organization: MakeOrganization,
    lacking: str,
    server_database: str,
) -> None:
    org_id = make_organization().org_id if lacking == "customer" else customer.org_id
    package_id = books.make_package(renews_every="month" if lacking == "package for ever" else None).id
    wish = Wish("nothing" if lacking == "package" else package_id)
    with BillingClient(server_database) as client, pytest.raises(NotFoundError):
        wish.set(client.credits, org_id)


def test_what_the_months_most_would_never_buy_cannot_be_set(
    books: Shop, customer: Organization, credits: Credits
) -> None:
    package = books.make_package().id
    with pytest.raises(ValidationFailedError, match=rf"monthly_cents.*{package}.*2000"):
        Wish(package, monthly_cents=1_999).set(credits, customer.org_id)
    assert credits.top_up(customer.org_id).package_id is None
    Wish(package, monthly_cents=2_000).set(credits, customer.org_id)
    assert credits.top_up(customer.org_id).package_id == package


def test_a_member_neither_sees_nor_sets_it(books: Shop, customer: Organization) -> None:
    with BillingClient(books.server.base_url, session_token=customer.sessions["member"]) as client:
        with pytest.raises(PermissionDeniedError):
            client.credits.top_up(customer.org_id)
        with pytest.raises(PermissionDeniedError):
            Wish(books.make_package().id).set(client.credits, customer.org_id)


def test_the_audit_says_who_set_it_and_not_the_payment_method(books: Shop, customer: Organization) -> None:
    token = customer.sessions["billing_admin"]
    with BillingClient(books.server.base_url, session_token=token) as client:
        package = books.make_package().id
        Wish(package).set(client.credits, customer.org_id)
        Wish(package, payment_method="pm_other", threshold=Decimal(3)).set(client.credits, customer.org_id)
    owner = customer.sessions["owner"]
    with BillingClient(books.server.base_url, session_token=owner) as client:
        changed, made = list(client.organizations.audit(customer.org_id))[:2]
    assert (made.action, made.actor) == ("top_up.created", customer.users["billing_admin"])
    assert made.after == {
        "package_id": package, "threshold": 2.5, "monthly_cents": 4_000, "is_active": True,
    }  # fmt: skip
    assert (changed.action, changed.before, changed.after) == (
        "top_up.updated", {"threshold": 2.5}, {"threshold": 3},
    )  # fmt: skip
    assert changed.secrets == ("payment_method",)


def test_the_command_does_the_same(books: Shop, customer: Organization, command: Command) -> None:
    environment = {"DATABASE_URL": books.server.database_url}
    package = books.make_package().id
    about = ("payments", "top-up", "--org", customer.org_id)
    terms = ("--package", package, "--payment-method", "pm_x", "--below", "5", "--monthly-cents", "4000")
    assert command(*about, *terms, **environment) == (0, f"Buys {package} by itself.\n", "")
    with BillingClient(books.server.database_url) as client:
        assert client.credits.top_up(customer.org_id).threshold == 5
        assert command(*about, **environment) == (0, "Nothing is bought by itself.\n", "")
        assert client.credits.top_up(customer.org_id).package_id is None
    stranger = ("payments", "top-up", "--org", secrets.token_hex(4), *terms)
    code, _, error = command(*stranger, **environment)
    assert (code, stranger[3] in error) == (1, True)
