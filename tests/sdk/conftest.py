"""A ledger in memory with one organisation and one member, and services over it."""

from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from credit_sdk import Account, AsyncCreditDeductionService, CreditDeductionService, MemoryLedger
from credit_sdk.operations import AddCredits, Allocate, GetUserCredits, ListCharges


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def ledger() -> MemoryLedger:
    books = MemoryLedger()
    books.add_organization("acme", credits=10_000)
    books.add_member("acme", "ada", allocated=1_000)
    return books


@pytest.fixture
def ada() -> Account:
    return Account(org_id="acme", user_id="ada")


@pytest.fixture
def billing(ledger: MemoryLedger) -> CreditDeductionService:
    return CreditDeductionService(ledger)


@pytest.fixture
def async_billing(ledger: MemoryLedger) -> AsyncCreditDeductionService:
    return AsyncCreditDeductionService(ledger)


@pytest.fixture
def taken(ledger: MemoryLedger) -> Callable[[], list[Decimal]]:
    """What was charged so far, newest first; a hold left open fails here."""

    def look() -> list[Decimal]:
        [standing] = ledger.execute(GetUserCredits(user_id="ada")).organizations
        assert standing.held_credits == 0, "a hold was left open"
        return [charge.credits_used for charge in ledger.execute(ListCharges(org_id="acme")).items]

    return look


@pytest.fixture
def funded_url(database_url: str) -> str:
    """A database in which ada of acme may spend 1,000 credits."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES ('acme', 'ada')")
    with CreditDeductionService(database_url) as billing:
        billing.execute(AddCredits.model_validate({"org_id": "acme", "credits": 1_000}))
        fields = {"org_id": "acme", "user_id": "ada", "allocated_credits": 1_000}
        billing.execute(Allocate.model_validate(fields))
    return database_url
