"""The commands of whoever sells: packages, their prices at Stripe, and what needs a person."""

from __future__ import annotations

import json
import secrets
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from credit_sdk.operations import Spend
from tests.peers.fake_stripe import KEY
from tests.server.payments.conftest import event

if TYPE_CHECKING:
    from credit_sdk.backends.sql import SqlBackend
    from tests.server.conftest import Command
    from tests.server.payments.conftest import Buyer, Sender, Shop

ADD = ("packages", "add", "--name", "A pack", "--credits", "12.5", "--price-cents", "250")


def test_a_package_gets_its_price_once_and_is_for_sale(
    command: Command, books: Shop, database_url: str, fake_stripe: str
) -> None:
    environment = {
        "DATABASE_URL": database_url,
        "STRIPE_SECRET_KEY": KEY,
        "STRIPE_API_BASE": fake_stripe,
    }
    package_id = f"pack-{secrets.token_hex(4)}"
    added = command(*ADD, "--id", package_id, "--renews-every", "month", **environment)
    assert added == (0, f"Added {package_id}.\n", "")
    code, said, _ = command(*ADD, "--id", package_id, **environment)
    assert code == 1
    assert said == ""
    _, listed, _ = command("packages", "list", **environment)
    assert f"{package_id}: 12.5 credits for 250 usd cents each month (without a price" in listed
    code, said, _ = command("packages", "sync", **environment)
    assert (code, said.startswith(f"{package_id}: price_")) == (0, True)
    assert command("packages", "sync", **environment)[1].startswith("Nothing to do")
    [package] = json.loads(command("packages", "list", "--json", **environment)[1])
    assert package["stripe_price_id"] == said.split()[-1]
    assert (package["credits"], package["renews_every"]) == (12.5, "month")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("packages", "sync"), (1, "Set STRIPE_SECRET_KEY")),
        ((*ADD, "--id", "x", "--renews-every", "day"), (2, "must be month or year")),
        ((*ADD, "--id", "x", "--credits", "0.0001"), (1, "credits")),
        ((*ADD, "--id", "no blanks"), (2, "must be letters, digits")),
        ((*ADD, "--id", "x", "--currency", "USD"), (2, "three small letters")),
    ],
    ids=["no key", "another interval", "too fine", "a bad id", "a bad currency"],
)
def test_wrong_use_is_one_line(
    command: Command, database_url: str, arguments: tuple[str, ...], expected: tuple[int, str]
) -> None:
    code, said, complaint = command(*arguments, DATABASE_URL=database_url)
    assert (code, said) == (expected[0], "")
    assert expected[1] in complaint


def test_an_operator_sees_what_is_owed_and_what_could_not_be_applied(
    command: Command, sender: Sender, books: Shop, buyer: Buyer, owner_ledger: SqlBackend
) -> None:
    environment = {"DATABASE_URL": books.server.database_url}
    sender.send(event("checkout.session.completed", buyer.paid()))
    owner_ledger.execute(Spend(user_id=buyer.user_id, credits=Decimal(30), description="A print job"))
    sender.send(event("charge.refunded", buyer.refunded(2_000)))
    refused = event("checkout.session.completed", buyer.paid(currency="eur"))
    sender.send(refused)
    _, said, _ = command("payments", "open", **environment)
    assert f"owes 30 credits of {buyer.session_id}\n" in said
    assert f"{refused['id']} (checkout.session.completed) is refused: The session" in said
    found = json.loads(command("payments", "open", "--json", **environment)[1])
    [owed] = [row for row in found["owed"] if row["source_id"] == buyer.session_id]
    assert (owed["taken_back_credits"], owed["owed_credits"]) == (70, 30)


def test_nothing_is_open_in_the_beginning(command: Command, database_url: str) -> None:
    assert command("payments", "open", DATABASE_URL=database_url) == (0, "Nothing is open.\n", "")
