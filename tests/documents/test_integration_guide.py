"""The integration guide's code runs as it is written there, hosts and credentials aside."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from credit_sdk import CreditSDK
from credit_sdk.operations import VerifyLedger

GUIDE = Path(__file__).with_name("integration_guide.md").read_text()
USER = 123
Run = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def customer(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """User 123 with 100 credits, in the database that `DATABASE_URL` names."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO users (id, email) VALUES (%s, 'user@example.com')", [USER])
    with CreditSDK(database_url) as sdk:
        sdk.add_credits(USER, 100, "Opening balance")


@pytest.fixture
def sdk(database_url: str) -> Iterator[CreditSDK]:
    with CreditSDK(database_url) as sdk:
        yield sdk
        assert sdk.execute(VerifyLedger()).ok


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs the block under a heading of the guide, and closes afterwards what the guide leaves open."""
    opened: list[dict[str, Any]] = []

    def run(heading: str, **surroundings: Any) -> dict[str, Any]:
        title = re.escape(heading)
        [block] = re.findall(rf"^## {title}\n\n```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
        names = {"__name__": "guide", **surroundings}
        opened.append(names)
        exec(compile(block, heading, "exec"), names)  # noqa: S102 - the guide's own words
        return names

    yield run
    for names in opened:
        if "credit_sdk" in names:
            names["credit_sdk"].close()
        if "engine" in names:
            names["engine"].dispose()


def process_autoprint_job(user_id: int, print_data: object) -> SimpleNamespace:
    assert (user_id, print_data) == (USER, "labels")
    return SimpleNamespace(job_id="job-1", page_count=2)


def test_option_1_using_the_credit_sdk(run: Run, sdk: CreditSDK, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "Option 1: Using the Credit SDK (Recommended)",
        process_autoprint_job=process_autoprint_job,
        print_data="labels",
    )
    assert capsys.readouterr().out == "User has 100 credits\n"
    added, consumed, _ = sdk.transactions(USER)
    assert (consumed.amount, consumed.description, consumed.transaction_type) == (
        -5,
        "Whatnot Autoprint Job",
        "service",
    )
    assert consumed.request_metadata == {"job_id": "job-1", "pages": 2}
    assert (added.amount, added.balance_after, added.transaction_type) == (100, 195, "credit_addition")


def test_option_1_without_credits_says_so(run: Run, sdk: CreditSDK) -> None:
    assert sdk.consume_credits(USER, 96, "Everything but four")
    with pytest.raises(Exception, match=r"Insufficient credits\. Please purchase more credits\."):
        run("Option 1: Using the Credit SDK (Recommended)")
    assert sdk.get_balance(USER) == 4


def test_option_2_direct_database_access(run: Run, sdk: CreditSDK) -> None:
    guide = run("Option 2: Direct Database Access")
    assert guide["get_user_credits"](USER) == 100
    assert guide["consume_credits"](USER, 30, "By hand") is True
    assert guide["get_user_credits"](USER) == sdk.get_balance(USER) == 70
    assert guide["consume_credits"](USER, 71, "Too much") is False
    newest = next(sdk.transactions(USER))
    assert (newest.amount, newest.balance_after, newest.description) == (-30, 70, "By hand")


def test_option_2_cannot_overdraw_what_others_take_meanwhile(run: Run, sdk: CreditSDK) -> None:
    """Its check and its insert are two steps: the database refuses what came too late."""
    guide = run("Option 2: Direct Database Access")

    def consume(n: int) -> bool:
        try:
            consumed: bool = guide["consume_credits"](USER, 30, f"Job {n}")
        except Exception as error:  # noqa: BLE001 - whatever SQLAlchemy makes of the refusal
            assert "Insufficient credits" in str(error)  # noqa: PT017
            return False
        return consumed

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(consume, range(16))) == 3
    assert guide["get_user_credits"](USER) == sdk.get_balance(USER) == 10


def test_option_2_cannot_overdraw_past_its_check(run: Run, sdk: CreditSDK) -> None:
    guide = run("Option 2: Direct Database Access")
    guide["get_user_credits"] = lambda _: 10**6
    with pytest.raises(Exception, match="Insufficient credits"):
        guide["consume_credits"](USER, 101, "Past the check")
    assert sdk.get_balance(USER) == 100


def test_the_webhook_adds_credits(run: Run, sdk: CreditSDK, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide was written when Stripe's events were dictionaries, which they are no more."""
    webhook = SimpleNamespace(construct_event=lambda payload, *_: json.loads(payload))
    monkeypatch.setitem(sys.modules, "stripe", SimpleNamespace(Webhook=webhook))
    guide = run("Option 2: Direct Stripe Integration", credit_sdk=sdk)
    payment = {"id": "pi_1", "amount": 2_500, "metadata": {"user_id": str(USER)}}
    payload = json.dumps({"type": "payment_intent.succeeded", "data": {"object": payment}})
    assert guide["handle_webhook"](payload, "signature") == {"status": "success"}
    newest = next(sdk.transactions(USER))
    assert (newest.amount, newest.description) == (25, "Credit purchase via Stripe - Payment pi_1")


class TestCompleteExample:
    """The guide's service, without the calls to other hosts."""

    @pytest.fixture
    def service(self, run: Run) -> Iterator[Any]:
        service = run("Complete Integration Example")["WhatnotAutoprintService"]()
        service.user_id = USER
        yield service
        service.credit_sdk.close()

    def test_a_job_that_succeeds_is_charged(self, service: Any, sdk: CreditSDK) -> None:
        assert service.get_credit_balance() == 100
        result = service.process_autoprint_job({"content": "Hello, World!", "format": "pdf"})
        assert result["status"] == "completed"
        assert service.get_credit_balance() == 95
        newest = next(sdk.transactions(USER))
        assert newest.description == "Whatnot Autoprint Job - job_12345"
        assert newest.request_metadata == {"job_id": "job_12345", "pages": 1, "print_type": "standard"}

    def test_a_job_that_fails_costs_nothing(self, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def jam(_: object) -> None:
            raise OSError("paper jam")

        monkeypatch.setattr(service, "_execute_print_job", jam)
        with pytest.raises(Exception, match="Print job failed: paper jam"):
            service.process_autoprint_job({})
        assert service.get_credit_balance() == Decimal(100)

    def test_too_few_credits_are_named(self, service: Any) -> None:
        with pytest.raises(Exception, match=r"Required: 101, Available: 100\."):
            service.process_autoprint_job({}, credits_required=101)
