"""Two databases, and an organisation that lives in the first."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from credit_sdk import Account, CreditDeductionService
from credit_sdk.operations import AddCredits, AddMember, Allocate
from reference_server.credentials import create_api_key

if TYPE_CHECKING:
    from tests.conftest import MakeDatabase
    from tests.server.conftest import Running, StartServer

ORG = "acme"
ANN = Account(org_id=ORG, user_id="ann")
HOME = "home"


def ask(url: str, query: str, *values: Any) -> Any:
    """Return what a statement of the owner's answers, row by row."""
    with psycopg.connect(url, autocommit=True) as owner:
        cursor = owner.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []


def furnish(url: str, org_id: str, user_id: str = "ann") -> None:
    """Give an organisation a member with 1,000 credits."""
    with CreditDeductionService(url, outbox=False) as billing:
        billing.execute(AddMember(org_id=org_id, user_id=user_id))
        billing.execute(AddCredits(org_id=org_id, credits=Decimal(10_000)))
        billing.execute(Allocate(org_id=org_id, user_id=user_id, allocated_credits=Decimal(1_000)))


def sound(url: str) -> bool:
    """Whether a database's books follow from their rows."""
    [[books]] = ask(url, "SELECT ledger.verify_ledger()")
    return bool(books["differences"] == [])


@pytest.fixture
def urls(make_database: MakeDatabase, migrated_template: str) -> dict[str, str]:
    made = {name: make_database(migrated_template) for name in (HOME, "b")}
    ask(made[HOME], "INSERT INTO organizations (id, name) VALUES (%s, 'Acme')", ORG)
    furnish(made[HOME], ORG)
    return made


@pytest.fixture
def key(urls: dict[str, str]) -> str:
    with psycopg.connect(urls[HOME], autocommit=True) as owner:
        return create_api_key(owner, "tests", ["consume_credits", "read_credits", "manage_credits"])


@pytest.fixture
def running(start_server: StartServer, urls: dict[str, str]) -> Running:
    """A server of both databases, which believes for a minute where an organisation lives."""
    return start_server(
        database_url=urls[HOME], cells=f"b={urls['b']}", cells_cache_seconds=60, sweep_seconds=0.05
    )


@pytest.fixture
def billing(running: Running, key: str) -> Any:
    with CreditDeductionService(running.base_url, api_key=key, outbox=False) as service:
        yield service
