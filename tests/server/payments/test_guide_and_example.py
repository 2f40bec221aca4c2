"""The guide's complete service, as it is written there and as the example has it, against real servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pypdf import PdfReader

from examples.whatnot_autoprint.labels import LabelError, Order, render
from reference_server.demo import CUSTOMER

if TYPE_CHECKING:
    from tests.server.conftest import Running
    from tests.server.payments.conftest import Shop

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "tests" / "documents" / "integration_guide.md").read_text()
STRIPE_BLOCKS = (ROOT / "tests" / "documents" / "integration_guide_http.md").read_text()


@pytest.fixture
def surroundings(shop: Running, demo: dict[str, Any]) -> dict[str, str]:
    """The variables that the guide and the example read."""
    app = demo["apps"]["whatnot-autoprint"]
    return {
        "API_BASE_URL": shop.base_url,
        "DATABASE_URL": shop.database_url,
        "APP_ID": app["app_id"],
        "API_KEY": app["api_key"],
    }


@pytest.fixture
def customer(books: Shop) -> Any:
    """The guide's user with 100 credits, whoever else has spent some; answers what is left."""

    def left() -> Any:
        return books.row("SELECT credits FROM users WHERE id = %s", CUSTOMER)[0]

    missing = 100 - left()
    if missing:
        books.database.execute(
            "INSERT INTO credits_transactions (user_id, amount, transaction_type)"
            " VALUES (%s, %s, 'credit_addition')"
            if missing > 0
            else "INSERT INTO credits_transactions (user_id, amount) VALUES (%s, %s)",
            [CUSTOMER, missing],
        )
    return left


def guides_code(page: str, heading: str) -> str:
    [code] = re.findall(rf"^## {re.escape(heading)}\n\n```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return str(code)


def run(program: list[str], variables: dict[str, str]) -> list[str]:
    environment = os.environ | variables | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    outcome = subprocess.run(
        [sys.executable, *program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.splitlines()


@pytest.fixture
def offered(books: Shop) -> None:
    """The price that the guide names is for sale."""
    books.database.execute(
        "INSERT INTO credit_packages (id, name, description, credits, price_cents, stripe_price_id)"
        " VALUES ('guide', 'Guide', 'What the guide sells', 100, 2500, 'price_1234567890')"
        " ON CONFLICT DO NOTHING"
    )


@pytest.mark.usefixtures("offered")
def test_the_guides_service_prints_charges_and_sells(
    surroundings: dict[str, str], customer: Any, books: Shop, tmp_path: Path
) -> None:
    program = tmp_path / "guide.py"
    program.write_text(guides_code(GUIDE, "Complete Integration Example"))
    said = run([str(program)], surroundings)
    assert [line.partition(" ")[2] for line in said] == [
        "Authentication successful",
        "Current credit balance: 100",
        "Print job completed: job_12345",
    ]
    assert customer() == 95
    books.database.execute("INSERT INTO credits_transactions (user_id, amount) VALUES (%s, -91)", [CUSTOMER])
    said = run([str(program)], surroundings)
    assert "Insufficient credits. Required: 5, Available: 4." in said[2]
    assert said[3].partition(" ")[2].startswith("Purchase credits: https://checkout.stripe.com/")


@pytest.mark.usefixtures("offered", "customer")
def test_the_guides_calls_of_stripe_addresses(
    surroundings: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {"__name__": "guide", "user_id": 123}
    for page, heading in (
        (STRIPE_BLOCKS, "Step 2: Authenticate Users"),
        (STRIPE_BLOCKS, "Option 1: Using API Endpoints (Recommended)"),
        (STRIPE_BLOCKS, "Getting Available Products"),
    ):
        exec(compile(guides_code(page, heading), heading, "exec"), names)  # noqa: S102 - the guide's own words
    printed = capsys.readouterr().out
    assert "Redirect user to: https://checkout.stripe.com/" in printed
    assert "Guide: What the guide sells\n  - $25.00 for 100 credits" in printed


def test_the_example_prints_fails_and_offers_more(
    surroundings: dict[str, str], customer: Any, books: Shop
) -> None:
    books.database.execute(
        "UPDATE credit_packages SET stripe_price_id = 'price_of_the_example'"
        " WHERE id = 'starter' AND stripe_price_id IS NULL"
    )
    said = run(["-m", "examples.whatnot_autoprint.main"], surroundings)
    assert said[0] == "Logged in; 100 credits."
    assert [line.rpartition(". ")[2] for line in said[1:4]] == ["95 credits left."] * 3
    assert "failed, not charged: order WN-1002 has no address" in said[3]
    assert "96 required, 95 available" in said[4]
    assert said[5].startswith("  Buy credits: https://checkout.stripe.com/")
    assert customer() == 95


@pytest.mark.usefixtures("customer")
def test_the_example_says_so_where_nothing_is_sold(
    surroundings: dict[str, str], server: Running, books: Shop
) -> None:
    books.database.execute("INSERT INTO credits_transactions (user_id, amount) VALUES (%s, -50)", [CUSTOMER])
    said = run(["-m", "examples.whatnot_autoprint.main"], surroundings | {"API_BASE_URL": server.base_url})
    assert said[-1] == "  Payments are not set up here: nothing can be bought."


def test_a_label_is_a_page_that_says_where_the_parcel_goes() -> None:
    order = Order("WN-7", "Maxi Muster", ("12 Example Street", "Springfield"), ("1 x card",))
    [page] = PdfReader(BytesIO(render(order))).pages
    text = page.extract_text()
    for words in ("Maxi Muster", "12 Example Street", "Springfield", "1 x card", "WN-7"):
        assert words in text
    assert (page.mediabox.width, page.mediabox.height) == (288, 432)


def test_an_order_without_an_address_has_no_label() -> None:
    with pytest.raises(LabelError, match="order WN-8 has no address"):
        render(Order("WN-8", "Kim", ()))
