"""Buying by itself: once, below the threshold, within the month's most, and given up after three failures."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from decimal import Decimal
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from reference_server.payments.top_ups import LEASE_SECONDS, TopUps
from tests.peers.fake_stripe import FIXTURES, UNKNOWN
from tests.server.payments.conftest import Customer, event

if TYPE_CHECKING:
    from tests.server.conftest import Command
    from tests.server.payments.conftest import Buyer, Sender, Shop

pytestmark = pytest.mark.anyio


async def test_below_the_threshold_it_is_bought_once(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    assert [await top_ups.run() for _ in range(3)] == [1, 0, 0]
    assert len(customer.all()) == 1
    sent = event("payment_intent.succeeded", customer.paid())
    for each in (sent, sent, event("payment_intent.succeeded", customer.paid())):
        assert sender.send(each).status_code == 200
    assert books.balance(customer.user_id) == Decimal(100)
    assert customer.all()[0][0] == "paid"
    assert await top_ups.run() == 0
    assert books.verified() == []


async def test_several_processes_buy_once(customer: Customer, top_ups: TopUps) -> None:
    customer.set()
    assert sum(await asyncio.gather(*(top_ups.run() for _ in range(6)))) == 1
    assert len(customer.all()) == 1


async def test_who_died_after_asking_asks_again_and_is_charged_once(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    await top_ups.run()
    [(_, payment_id, _)] = customer.all()
    books.database.execute("UPDATE top_ups SET payment_id = NULL WHERE customer_id = %s", [customer.id])
    early = event("payment_intent.succeeded", customer.paid(id=payment_id))
    assert sender.send(early).status_code == 422
    books.database.execute(
        "UPDATE top_ups SET leased_until = '-infinity' WHERE customer_id = %s", [customer.id]
    )
    assert await top_ups.run() == 1
    assert [row[1] for row in customer.all()] == [payment_id]
    assert sender.send(early).status_code == 200
    assert books.balance(customer.user_id) == Decimal(100)


@pytest.mark.parametrize("other_payments", [0, 3])
async def test_who_was_away_for_longer_than_keys_are_kept_does_not_charge_again(
    customer: Customer, books: Shop, top_ups: TopUps, fake_stripe: str, other_payments: int
) -> None:
    customer.set()
    await top_ups.run()
    [(_, payment_id, _)] = customer.all()
    card = {"customer": customer.id, "payment_method": "pm_good", "amount": 100, "currency": "usd"}
    for _ in range(other_payments):
        await top_ups.stripe.charge_saved(secrets.token_hex(8), **card)
    async with httpx.AsyncClient() as http:
        (await http.post(f"{fake_stripe}/forget")).raise_for_status()
    books.database.execute(
        "UPDATE top_ups SET payment_id = NULL, leased_until = ledger.now() - INTERVAL '1 day',"
        " created_at = created_at - INTERVAL '30 hours' WHERE customer_id = %s",
        [customer.id],
    )
    assert await top_ups.run() == 1
    assert [row[1] for row in customer.all()] == [payment_id]


@pytest.mark.parametrize("looks_in_time", [1, 2], ids=["leased", "confirmed"])
async def test_who_has_had_it_for_longer_than_its_lease_does_not_ask(
    customer: Customer, top_ups: TopUps, fake_stripe: str, looks_in_time: int
) -> None:
    """It was stopped in between: somebody else has had the top-up, and Stripe may have forgotten the key."""
    customer.set()
    clock = chain([0.0] * looks_in_time, repeat(LEASE_SECONDS + 1.0))
    assert await replace(top_ups, now=lambda: next(clock)).run() == 0
    async with httpx.AsyncClient() as http:
        asked = (await http.get(f"{fake_stripe}/requests")).json()
    assert customer.id not in {each["form"].get("customer") for each in asked if "intents" in each["path"]}
    assert customer.all()[0][:2] == ("open", None)


async def test_a_failure_that_is_told_before_its_payment_is_written_down_is_told_again(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    await top_ups.run()
    [(_, payment_id, _)] = customer.all()
    failed = customer.paid(last_payment_error={"code": "insufficient_funds"})
    told = event("payment_intent.payment_failed", failed)
    books.database.execute("UPDATE top_ups SET payment_id = NULL WHERE customer_id = %s", [customer.id])
    assert sender.send(told).status_code == 422
    books.database.execute(
        "UPDATE top_ups SET payment_id = %s WHERE customer_id = %s", [payment_id, customer.id]
    )
    assert sender.send(told).status_code == 200
    assert customer.all()[0][::2] == ("failed", "insufficient_funds")


async def test_a_payment_that_nobody_wrote_down_says_which_top_up_it_is(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    [leased] = [await top_ups.books.open_top_ups(), *await top_ups.books.lease_top_ups(60)][1:]
    paid = FIXTURES["payment_intent"] | {"customer": customer.id, "currency": "usd", "amount_received": 2_000}
    paid |= {"id": f"pi_{secrets.token_hex(8)}", "metadata": {"top_up": str(leased["id"])}}
    assert sender.send(event("payment_intent.succeeded", paid)).status_code == 200
    assert books.balance(customer.user_id) == Decimal(100)
    assert await top_ups.run() == 0


async def test_a_second_payment_of_a_top_up_is_for_a_person(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps, command: Command
) -> None:
    customer.set()
    await top_ups.run()
    [top_up_id] = books.row("SELECT id FROM top_ups WHERE customer_id = %s", customer.id)
    first = event("payment_intent.succeeded", customer.paid())
    again = {"id": f"pi_{secrets.token_hex(8)}", "metadata": {"top_up": str(top_up_id)}}
    second = event("payment_intent.succeeded", customer.paid(**again))
    assert [sender.send(each).json()["outcome"] for each in (first, second, second)] == [
        "applied", "unmatched", "unmatched",
    ]  # fmt: skip
    assert books.balance(customer.user_id) == Decimal(100)
    _, shown, _ = command("payments", "open", "--url", books.server.database_url)
    assert f"{again['id']} " in shown


async def test_a_payment_of_another_customer_is_no_top_ups(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    [leased] = [await top_ups.books.open_top_ups(), *await top_ups.books.lease_top_ups(60)][1:]
    named = {"id": f"pi_{secrets.token_hex(8)}", "metadata": {"top_up": str(leased["id"])}}
    foreign = event("payment_intent.succeeded", customer.paid(**named, customer="cus_other"))
    assert sender.send(foreign).json()["outcome"] == "unmatched"
    assert customer.all() == [("open", None, None)]
    named["id"] = f"pi_{secrets.token_hex(8)}"
    assert sender.send(event("payment_intent.succeeded", customer.paid(**named))).status_code == 200
    assert books.balance(customer.user_id) == Decimal(100)


async def test_no_more_than_the_months_most(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set(monthly_cents=3_999)
    assert await top_ups.run() == 1
    sender.send(event("payment_intent.succeeded", customer.paid()))
    books.database.execute(
        "INSERT INTO credits_transactions (user_id, amount) SELECT id, -99 FROM users WHERE subject = %s",
        [customer.user_id],
    )
    assert await top_ups.run() == 0


async def test_only_who_holds_the_settings_opens_for_them(
    customer: Customer, books: Shop, top_ups: TopUps
) -> None:
    """Another process may have counted what was paid this month, and not have written down what it buys."""
    customer.set()
    with psycopg.connect(books.server.database_url) as other:
        other.execute("SELECT FROM top_up_settings WHERE customer_id = %s FOR NO KEY UPDATE", [customer.id])
        assert await top_ups.run() == 0
        assert customer.all() == []
    assert await top_ups.run() == 1


@pytest.mark.parametrize("reason", ["card_declined", "authentication_required", UNKNOWN])
async def test_three_failures_switch_it_off_and_raise_one_alert(
    customer: Customer, books: Shop, top_ups: TopUps, reason: str
) -> None:
    customer.set(card=f"pm_{reason}")
    books.row("SELECT alerts.open_endpoint(NULL, 'https://us.example', '[\"top_up.failed\"]', %s)", reason)
    for _ in range(5):
        await top_ups.run()
        books.database.execute(
            "UPDATE top_ups SET created_at = created_at - INTERVAL '2 hours' WHERE customer_id = %s",
            [customer.id],
        )
    assert customer.all() == [("failed", None, reason)] * 3
    alerts = books.database.execute(
        "SELECT detail, payload FROM credit_alerts AS a JOIN webhook_deliveries AS d ON d.alert_id = a.id"
        " JOIN webhook_endpoints AS e ON e.id = d.endpoint_id WHERE a.subject = %s AND e.request_id = %s",
        [customer.user_id, reason],
    ).fetchall()
    [(detail, payload)] = alerts
    assert reason in detail
    assert json.loads(payload)["data"]["user_id"] == customer.user_id
    customer.set()
    assert await top_ups.run() == 1


async def test_what_is_wrong_with_the_sellers_own_request_fails_no_top_up(
    customer: Customer, top_ups: TopUps
) -> None:
    customer.set(card="pm_currency")
    await top_ups.run()
    assert [status for status, *_ in customer.all()] == ["open"]


@pytest.mark.parametrize("was_asked", [False, True], ids=["new", "asked, and lost"])
async def test_a_customer_whom_stripe_does_not_know_fails_like_a_card(
    books: Shop, top_ups: TopUps, *, was_asked: bool
) -> None:
    customer = Customer(books, f"cus_unknown_{secrets.token_hex(6)}", books.make_user()[0])
    books.database.execute(
        "INSERT INTO stripe_customers (customer_id, user_id) SELECT %s, id FROM users WHERE subject = %s",
        [customer.id, customer.user_id],
    )
    customer.set()
    if was_asked:
        await top_ups.books.open_top_ups()
        await top_ups.books.lease_top_ups(1)
        customer.let_lease_end()
    await top_ups.run()
    customer.remove()
    assert customer.all() == [("failed", None, UNKNOWN)]


async def test_what_its_owner_allows_later_is_given_once(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps
) -> None:
    customer.set(card="pm_authentication_required")
    await top_ups.run()
    [(top_up_id, status)] = books.database.execute(
        "SELECT id, status FROM top_ups WHERE customer_id = %s", [customer.id]
    ).fetchall()
    assert status == "failed"
    told = {"id": f"pi_{secrets.token_hex(8)}", "metadata": {"top_up": str(top_up_id)}}
    for _ in range(2):
        paid = event("payment_intent.succeeded", customer.paid(**told))
        assert sender.send(paid).status_code == 200
    assert books.balance(customer.user_id) == Decimal(100)
    assert books.verified() == []


async def test_a_refused_card_is_not_tried_again_at_once(customer: Customer, top_ups: TopUps) -> None:
    customer.set(card="pm_card_declined")
    assert [await top_ups.run() for _ in range(3)] == [1, 0, 0]


@pytest.mark.parametrize(
    "changes", [{"amount_received": 1_999}, {"currency": "eur"}, {"customer": "cus_other"}], ids=str
)
async def test_another_payment_than_what_was_asked_for_gives_nothing(
    customer: Customer, books: Shop, sender: Sender, top_ups: TopUps, changes: dict[str, Any]
) -> None:
    customer.set()
    await top_ups.run()
    assert sender.send(event("payment_intent.succeeded", customer.paid(**changes))).status_code == 422
    assert books.balance(customer.user_id) == 0


async def test_a_payment_that_fails_later_fails_the_top_up(
    customer: Customer, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    await top_ups.run()
    failed = customer.paid(last_payment_error={"code": "insufficient_funds"})
    assert sender.send(event("payment_intent.payment_failed", failed)).status_code == 200
    assert customer.all()[0][::2] == ("failed", "insufficient_funds")


async def test_a_payment_that_is_canceled_later_does_not_stay_open(
    customer: Customer, sender: Sender, top_ups: TopUps
) -> None:
    customer.set()
    await top_ups.run()
    canceled = customer.paid(cancellation_reason="abandoned")
    assert sender.send(event("payment_intent.canceled", canceled)).status_code == 200
    assert customer.all()[0][::2] == ("failed", "abandoned")


async def test_payments_of_checkouts_are_none_of_its_business(buyer: Buyer, sender: Sender) -> None:
    intent = FIXTURES["payment_intent"] | {"id": buyer.payment_id, "customer": buyer.customer_id}
    assert sender.send(event("payment_intent.succeeded", intent)).json()["outcome"] == "kept"


def test_the_command(customer: Customer, books: Shop, command: Command) -> None:
    environment = {"DATABASE_URL": books.server.database_url}
    package = books.make_package().id
    terms = ("--package", package, "--payment-method", "pm_x", "--below", "5", "--monthly-cents", "4000")
    about = ("payments", "top-up", "--user", customer.user_id)
    assert command(*about, *terms, **environment) == (0, f"Buys {package} by itself.\n", "")
    settings = books.row(
        "SELECT threshold, monthly_cents, is_active FROM top_up_settings WHERE customer_id = %s", customer.id
    )
    assert settings == (5_000, 4_000, True)
    assert command(*about, **environment) == (0, "Nothing is bought by itself.\n", "")
    refused = command(*about, *terms[:-1], "1999", **environment)
    assert (refused[0], "monthly_cents" in refused[2]) == (1, True)
    unknown = command(*about, "--package", "nothing", *terms[2:], **environment)
    assert (unknown[0], "No package nothing is for sale once" in unknown[2]) == (1, True)
    stranger = ("payments", "top-up", "--user", secrets.token_hex(4), *terms)
    code, _, error = command(*stranger, **environment)
    assert (code, "no customer at Stripe" in error) == (1, True)
