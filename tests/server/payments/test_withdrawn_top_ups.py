"""What is to be bought by itself is asked for only while its owner still wants it, with that card."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import chain, repeat
from typing import TYPE_CHECKING

import httpx
import pytest

from reference_server.payments.top_ups import LEASE_SECONDS
from tests.server.payments.conftest import Customer, event

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference_server.payments.top_ups import TopUps
    from tests.server.conftest import Organization
    from tests.server.payments.conftest import Sender, Shop

pytestmark = pytest.mark.anyio
WITHDRAWN = ("failed", None, "withdrawn")


async def cards_asked(customer: Customer, fake_stripe: str) -> list[str]:
    """Return which cards of a customer Stripe was asked to charge."""
    async with httpx.AsyncClient() as http:
        asked = (await http.get(f"{fake_stripe}/requests")).json()
    forms = [each["form"] for each in asked if each["path"] == "/v1/payment_intents"]
    return [form["payment_method"] for form in forms if form["customer"] == customer.id]


def lower_the_limit(customer: Customer, package: str) -> None:
    """Set less than what was bought before and this package cost."""
    customer.books.database.execute(
        "INSERT INTO top_ups (customer_id, package_id, payment_method, credits, price_cents, currency,"
        " status) VALUES (%s, %s, 'pm_good', 100, 2000, 'usd', 'paid')",
        [customer.id, package],
    )
    customer.set(monthly_cents=3_999, package=package)


@pytest.mark.parametrize(
    "change",
    [
        lambda customer, _: customer.remove(),
        lambda customer, package: customer.set(card="pm_other", package=package),
        lambda customer, _: customer.set(),
        lambda customer, _: customer.books.database.execute(
            "UPDATE top_up_settings SET is_active = FALSE WHERE customer_id = %s", [customer.id]
        ),
        lower_the_limit,
    ],
    ids=["removed", "other card", "other package", "inactive", "lower limit"],
)
@pytest.mark.parametrize("was_asked", [False, True], ids=["new", "asked, and lost"])
async def test_what_its_owner_withdraws_before_stripe_hears_of_it_is_not_charged(
    customer: Customer,
    top_ups: TopUps,
    fake_stripe: str,
    change: Callable[[Customer, str], object],
    *,
    was_asked: bool,
) -> None:
    package = customer.set()
    await top_ups.books.open_top_ups()
    if was_asked:
        await top_ups.books.lease_top_ups(1)
        customer.let_lease_end()
    change(customer, package)
    assert await top_ups.run() == 0
    assert [row for row in customer.all() if row[0] != "paid"] == [WITHDRAWN]
    assert await cards_asked(customer, fake_stripe) == []


async def test_who_has_had_it_for_longer_than_its_lease_does_not_give_it_up(
    customer: Customer, top_ups: TopUps
) -> None:
    """Somebody else has it, and may be asking Stripe."""
    customer.set()
    await top_ups.books.open_top_ups()
    customer.remove()
    clock = chain([0.0], repeat(LEASE_SECONDS + 1.0))
    assert await replace(top_ups, now=lambda: next(clock)).run() == 0
    assert customer.all() == [("open", None, None)]


async def test_what_stripe_has_charged_before_it_was_withdrawn_is_given(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    await top_ups.run()
    paid = customer.paid()
    books.database.execute("UPDATE top_ups SET payment_id = NULL WHERE customer_id = %s", [customer.id])
    customer.let_lease_end()
    customer.remove()
    await top_ups.run()
    assert [row[:2] for row in customer.all()] == [("open", paid["id"])]
    assert sender.send(event("payment_intent.succeeded", paid)).status_code == 200
    assert books.balance(customer.user_id) == Decimal(100)


async def test_with_another_card_it_is_bought_with_that_one(
    customer: Customer, top_ups: TopUps, fake_stripe: str
) -> None:
    package = customer.set(card="pm_old")
    await top_ups.books.open_top_ups()
    customer.set(card="pm_new", package=package)
    assert [await top_ups.run() for _ in range(3)] == [0, 1, 0]
    assert await cards_asked(customer, fake_stripe) == ["pm_new"]


async def test_what_fails_with_the_card_before_is_no_failure_of_the_new_one(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    package = customer.set(card="pm_old")
    await top_ups.run()
    customer.set(card="pm_new", package=package)
    failed = customer.paid(last_payment_error={"code": "insufficient_funds"})
    assert sender.send(event("payment_intent.payment_failed", failed)).status_code == 200
    assert customer.all()[0][0] == "failed"
    assert books.row("SELECT failures FROM top_up_settings WHERE customer_id = %s", customer.id) == (0,)
    assert await top_ups.run() == 1


async def test_who_was_switched_off_meanwhile_is_not_charged(
    customer: Customer, books: Shop, top_ups: TopUps, fake_stripe: str
) -> None:
    customer.set()
    await top_ups.books.open_top_ups()
    books.database.execute("UPDATE users SET is_active = FALSE WHERE subject = %s", [customer.user_id])
    assert [await top_ups.run() for _ in range(2)] == [0, 0]
    assert customer.all() == [WITHDRAWN]
    assert await cards_asked(customer, fake_stripe) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "UPDATE organizations SET status = 'deleted' WHERE id = %s",
            "UPDATE organizations SET status = 'active' WHERE id = %s",
        ),
        (
            "INSERT INTO organization_cells (org_id, is_here, cell) VALUES (%s, FALSE, 'b')",
            "DELETE FROM organization_cells WHERE org_id = %s",
        ),
    ],
    ids=["deleted", "moved"],
)
async def test_an_organisation_that_could_be_given_nothing_is_not_charged(
    books: Shop, organization: Organization, top_ups: TopUps, fake_stripe: str, *, before: str, after: str
) -> None:
    customer = Customer(books, f"cus_{organization.org_id}", "")
    books.database.execute(
        "INSERT INTO stripe_customers (customer_id, org_id) VALUES (%s, %s)",
        [customer.id, organization.org_id],
    )
    customer.set()
    books.database.execute(
        "UPDATE top_up_settings SET threshold = 1000000000 WHERE customer_id = %s", [customer.id]
    )
    await top_ups.books.open_top_ups()
    books.database.execute(before.encode(), [organization.org_id])
    asked = [await top_ups.run() for _ in range(2)]
    books.database.execute(after.encode(), [organization.org_id])
    customer.remove()
    assert asked == [0, 0]
    assert customer.all() == [WITHDRAWN]
    assert await cards_asked(customer, fake_stripe) == []
