"""A database that has only the first system's functions: check, perform, deduct, and one warning."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ConfigurationError,
    CreditDeductionService,
    InsufficientCreditsError,
    NoAllocationError,
)

pytestmark = pytest.mark.anyio
ADA = Account(org_id="acme", user_id="ada")
SCHEMA = Path(__file__).parents[2].joinpath("benchmarks", "sql", "naive.sql").read_text()
ADA_HAS_100_CREDITS = """
INSERT INTO organization_credit_pools (org_id, total_credits, allocated_credits)
VALUES ('acme', 1000000, 100000);
INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits) VALUES ('acme', 'ada', 100000);
"""


@pytest.fixture
def first_system(make_database: Callable[[], str]) -> str:
    url = make_database()
    with psycopg.connect(url) as owner:
        owner.execute((SCHEMA + ADA_HAS_100_CREDITS).encode())
    return url


def test_a_block_is_checked_before_and_deducted_after(
    first_system: str, caplog: pytest.LogCaptureFixture
) -> None:
    with CreditDeductionService(first_system) as billing:
        for _ in range(2):
            with billing.charge(ADA, "12.5", service_type="contact_lookup") as charge:
                charge.metadata["company_id"] = "c1"
        assert charge.receipt.remaining == 75
        with pytest.raises(KeyError), billing.charge(ADA, 10, service_type="contact_lookup"):
            raise KeyError
        assert billing.check(ADA, 75)
        assert not billing.check(ADA, 76)
    assert caplog.text.count("knows no holds") == 1


async def test_the_async_service_does_the_same(first_system: str) -> None:
    async with AsyncCreditDeductionService(first_system) as billing:
        async with billing.charge(ADA, 10, service_type="contact_lookup") as charge:
            """Do the work."""
        assert charge.receipt.remaining == 90


def test_a_request_that_is_sent_again_is_charged_once(first_system: str) -> None:
    with CreditDeductionService(first_system) as billing:
        receipts = [billing.deduct(ADA, 10, service_type="x", request_id="r-1") for _ in range(3)]
        assert [receipt.replayed for receipt in receipts] == [False, True, True]
        assert {receipt.remaining for receipt in receipts} == {90}


def test_refusals_are_the_same_errors(first_system: str) -> None:
    with CreditDeductionService(first_system) as billing:
        with pytest.raises(InsufficientCreditsError) as caught:
            billing.deduct(ADA, 101, service_type="x")
        assert caught.value.required == 101
        with pytest.raises(NoAllocationError):
            billing.deduct(Account(org_id="acme", user_id="bob"), 1, service_type="x")


def test_what_it_cannot_do_says_what_to_do(first_system: str) -> None:
    with CreditDeductionService(first_system) as billing, pytest.raises(ConfigurationError, match="migrate"):
        billing.usage("acme")
