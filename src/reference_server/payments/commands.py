"""The commands of whoever sells: what is for sale, and which payments need a person."""

import asyncio
import json
import os
import re
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

import typer

from credit_sdk.amounts import format_credits, parse_credits, to_millicredits, to_number
from credit_sdk.errors import ConfigurationError, ConflictError, NotFoundError
from credit_sdk.operations._base import UserId
from credit_sdk.operations.topping_up import DEAREST_CENTS, PackageId, PaymentMethod
from reference_server.command_arguments import Name, PriceId, Text, checked, checked_if_given
from reference_server.command_database import DatabaseUrl, one_line_errors, rows_of, url_of

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Terms: TypeAlias = tuple[str, str, Decimal, int]
"""Which package, with which payment method, below how many credits, for how many cents a month."""

_LIST = """
    SELECT
      id, name, credits, price_cents, currency, renews_every, stripe_price_id, is_active, description
    FROM credit_packages
    ORDER BY price_cents, id
"""
_ADD = """
    INSERT INTO credit_packages (
      id, name, description, credits, price_cents, currency, renews_every, stripe_price_id, expires_in_days
    ) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_SET_PRICE = """
    UPDATE credit_packages SET stripe_price_id = %s, updated_at = ledger.now()
    WHERE id = %s AND stripe_price_id IS NULL
"""
_CUSTOMER = """
    SELECT customer.customer_id
    FROM stripe_customers AS customer
    LEFT JOIN users AS person ON person.id = customer.user_id
    WHERE person.subject = %s OR person.id::text = %s
"""
_TOP_UP = "SELECT payments.set_top_up(%s, %s, %s, %s, %s)"
_OWED = """
    SELECT
      paid.source_id, customer.customer_id, customer.user_id, customer.org_id,
      paid.credits, paid.taken_back_credits, paid.owed_credits
    FROM stripe_grants AS paid
    INNER JOIN stripe_customers AS customer ON customer.customer_id = paid.customer_id
    WHERE paid.owed_credits > 0
    ORDER BY paid.updated_at
"""
_OPEN = """
    SELECT event_id, type, outcome, detail, received_at
    FROM stripe_events
    WHERE outcome IN ('unmatched', 'refused')
    ORDER BY received_at
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    packages = typer.Typer(help="What is for sale, on the database.", no_args_is_help=True)
    packages.command("list")(list_packages)
    packages.command("add")(add_package)
    packages.command("sync")(sync_packages)
    app.add_typer(packages, name="packages")
    payments = typer.Typer(help="Payments through Stripe, on the database.", no_args_is_help=True)
    payments.command("open")(list_open)
    payments.command("top-up")(set_top_up)
    app.add_typer(payments, name="payments")


def set_top_up(
    *,
    org: Annotated[str | None, typer.Option("--org", help="For this organisation's pool.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="For this user's own balance.")] = None,
    package: Annotated[str | None, typer.Option(help="What is bought; else nothing any more.")] = None,
    payment_method: Annotated[str, typer.Option(help="The one that is kept at Stripe, pm_...")] = "",
    below: Annotated[str, typer.Option(help="Credits: it is bought when fewer are left.")] = "0",
    monthly_cents: Annotated[
        int, typer.Option(min=0, max=DEAREST_CENTS, help="The most that is paid in a month.")
    ] = 0,
    database_url: DatabaseUrl = None,
) -> None:
    """Buy a package by itself whenever fewer credits are left. The buyer must have bought once before."""
    if (org is None) == (user is None):
        raise typer.BadParameter("give either --org or --user.", param_hint="--org")
    terms: Terms | None = None
    if package is not None:
        if not payment_method or monthly_cents == 0:
            raise typer.BadParameter("give --payment-method and --monthly-cents.", param_hint="--package")
        checked(PackageId, package, "--package")
        checked(PaymentMethod, payment_method, "--payment-method")
        threshold = parse_credits(below, argument="below")
        terms = package, payment_method, threshold, monthly_cents
    if user is not None:
        _set_for_user(database_url, user, terms)
    else:
        _set_for_organization(database_url, str(org), terms)
    typer.echo("Nothing is bought by itself." if package is None else f"Buys {package} by itself.")


def _set_for_user(database_url: str | None, user: str, terms: Terms | None) -> None:
    checked(UserId, user, "--user")
    found = rows_of(database_url, _CUSTOMER, user, user)
    if not found:
        raise NotFoundError("This buyer is no customer at Stripe yet: let them buy once.")
    package_id, payment_method, threshold, monthly_cents = terms or (None, None, None, None)
    millicredits = None if threshold is None else to_millicredits(threshold)
    rows_of(
        database_url,
        _TOP_UP,
        found[0]["customer_id"],
        package_id,
        payment_method,
        millicredits,
        monthly_cents,
    )


def _set_for_organization(database_url: str | None, org_id: str, terms: Terms | None) -> None:
    from credit_sdk import BillingClient  # noqa: PLC0415 - other commands need no ledger

    url = url_of(database_url)
    with one_line_errors(url), BillingClient(url) as client:
        if terms is None:
            client.credits.remove_top_up(org_id)
            return
        package_id, payment_method, threshold, monthly_cents = terms
        client.credits.set_top_up(
            org_id,
            package_id=package_id,
            payment_method=payment_method,
            threshold=threshold,
            monthly_cents=monthly_cents,
        )


def list_packages(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show all packages, cheapest first."""
    rows = rows_of(database_url, _LIST)
    if as_json:
        typer.echo(json.dumps(rows, default=_json))
        return
    for row in rows:
        typer.echo(_package_line(row))


def add_package(
    *,
    package_id: Annotated[str, typer.Option("--id", help="By which applications ask for it.")],
    name: Annotated[str, typer.Option(help="What buyers see.")],
    credits: Annotated[str, typer.Option(help="How many credits it gives.")],
    price_cents: Annotated[
        int, typer.Option(min=1, max=DEAREST_CENTS, help="In the currency's smallest unit.")
    ],
    currency: Annotated[str, typer.Option(help="Three small letters.")] = "usd",
    description: Annotated[str, typer.Option(help="What buyers read.")] = "",
    renews_every: Annotated[str | None, typer.Option(help="month or year; else it is sold once.")] = None,
    price_id: Annotated[str | None, typer.Option(help="A price that Stripe has already.")] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="What is not used by then expires; else never.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Add a package. Without --price-id, `credits packages sync` makes its price at Stripe."""
    if not re.fullmatch("[A-Za-z0-9_.-]{1,100}", package_id):
        raise typer.BadParameter("must be letters, digits, _, . and - only.", param_hint="--id")
    if not re.fullmatch("[a-z]{3}", currency):
        raise typer.BadParameter("must be three small letters.", param_hint="--currency")
    if renews_every not in {None, "month", "year"}:
        raise typer.BadParameter("must be month or year.", param_hint="--renews-every")
    checked(Name, name, "--name")
    checked(Text, description, "--description")
    checked_if_given(PriceId, price_id, "--price-id")
    amount = parse_credits(credits)
    fields = (
        package_id, name, description, amount, price_cents, currency, renews_every, price_id, expires_in_days,
    )  # fmt: skip
    if not rows_of(database_url, _ADD, *fields):
        raise ConflictError(f"There is a package {package_id} already, or one with this price.")
    typer.echo(f"Added {package_id}.")


def sync_packages(database_url: DatabaseUrl = None) -> None:
    """Make the prices at Stripe that packages lack. Needs STRIPE_SECRET_KEY; safe to repeat."""
    key = os.environ.get("STRIPE_SECRET_KEY")
    if not key:
        raise ConfigurationError("Set STRIPE_SECRET_KEY: prices are made in its account.")
    lacking = [row for row in rows_of(database_url, _LIST) if row["is_active"] and not row["stripe_price_id"]]
    for row in lacking:
        price_id = asyncio.run(_make_price(key, row))
        rows_of(database_url, _SET_PRICE, price_id, row["id"])
        typer.echo(f"{row['id']}: {price_id}")
    if not lacking:
        typer.echo("Nothing to do: every package has its price.")


def list_open(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Show credits that are owed after refunds and disputes, and events that could not be applied."""
    found = {"owed": rows_of(database_url, _OWED), "events": rows_of(database_url, _OPEN)}
    if as_json:
        typer.echo(json.dumps(found, default=_json))
        return
    for row in found["owed"]:
        who = f"organisation {row['org_id']}" if row["org_id"] else f"user {row['user_id']}"
        typer.echo(f"{who} owes {format_credits(row['owed_credits'])} credits of {row['source_id']}")
    for row in found["events"]:
        typer.echo(f"{row['event_id']} ({row['type']}) is {row['outcome']}: {row['detail']}")
    if not any(found.values()):
        typer.echo("Nothing is open.")


async def _make_price(key: str, package: dict[str, Any]) -> str:
    from reference_server.payments.stripe_api import StripeApi  # noqa: PLC0415 - others need no Stripe

    stripe = StripeApi(key, os.environ.get("STRIPE_API_BASE") or None)
    try:
        return (await stripe.make_price(package)).id
    finally:
        await stripe.close()


def _package_line(row: dict[str, Any]) -> str:
    price = f"{row['price_cents']} {row['currency']} cents"
    renewal = f" each {row['renews_every']}" if row["renews_every"] else ""
    state = row["stripe_price_id"] or "without a price at Stripe"
    inactive = "" if row["is_active"] else ", not for sale"
    return f"{row['id']}: {format_credits(row['credits'])} credits for {price}{renewal} ({state}{inactive})"


def _json(value: object) -> Any:
    return to_number(value) if isinstance(value, Decimal) else str(value)
