"""Every SQL statement of the source documents runs unchanged, with the drivers that they use."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # has no stubs
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

STATEMENT = re.compile(r"^-- (\S+\.md: [^\n]*)\n(.*?)(?=\n\n-- \S+\.md: |\Z)", re.MULTILINE | re.DOTALL)
STATEMENTS = STATEMENT.findall(Path(__file__).with_name("seed_statements.sql").read_text())
OF_USERS = {title: statement for title, statement in STATEMENTS if ":user_id" in statement}
FROM_PROGRAMS = {title: statement for title, statement in STATEMENTS if "$1" in statement}
BY_HAND = {
    title: statement
    for title, statement in STATEMENTS
    if title not in OF_USERS and title not in FROM_PROGRAMS
}
CHECK, DEDUCT = (
    {title: statement for title, statement in FROM_PROGRAMS.items() if name in statement}
    for name in ("has_sufficient_credits", "deduct_credits")
)

OWNER = "2d30c892-5140-48e9-87fa-899cbeb6c2fb"
DEMO = """
INSERT INTO organizations (id, name) SELECT id, id FROM unnest(ARRAY[
  'ORG_UUID', 'TEST_ORG_UUID', 'test-org-llm-001'
]) AS id;
SELECT add_credits_to_pool(id, 10000000, 10), allocate_credits_to_user(id, '{owner}', 5000000)
FROM organizations;
SELECT deduct_credits(
  id, '{owner}', 1500, 'llm_inference', 'gpt-4', 'req_1', '{"model": "gpt-4", "company_id": "c-1"}'
)
FROM organizations;
"""


@pytest.fixture
def owner(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(DEMO.replace("{owner}", OWNER).encode())
        yield connection


@pytest.fixture
async def application(owner: Connection, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the quick-start card opens it."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


def the_charge(service_type: str = "company_enrichment", credits: int = 50_000) -> tuple[object, ...]:
    """Return the arguments of a deduct as the card writes them."""
    name, metadata = f"LoopNet {service_type.title()}", json.dumps({"company_id": "c-2"})
    return "test-org-llm-001", OWNER, credits, service_type, name, "req_2", metadata


def test_the_statements_are_all_there() -> None:
    assert (len(BY_HAND), len(CHECK), len(DEDUCT), len(OF_USERS)) == (13, 2, 2, 2)


@pytest.mark.parametrize("title", BY_HAND)
def test_a_statement_runs_by_hand(owner: Connection, title: str) -> None:
    cursor = owner.execute(BY_HAND[title].encode())
    assert cursor.rowcount > 0


def test_what_the_statements_answer(owner: Connection) -> None:
    def answer(about: str) -> list[tuple[Any, ...]]:
        [statement] = [text for title, text in BY_HAND.items() if about in title]
        return owner.execute(statement.encode()).fetchall()

    thousand = Decimal(1_000)
    assert answer("verification query") == [
        ("Total Credits", 10 * thousand),
        ("User Allocation", 5 * thousand),
        ("User Remaining", 5 * thousand - Decimal("1.5")),
    ]
    assert answer("check user's remaining") == [(5 * thousand, Decimal("1.5"), 5 * thousand - Decimal("1.5"))]
    assert answer("usage by model") == [("gpt-4", 3, Decimal("4.5"))]
    assert answer("view recent credit usage")[0][:3] == ("llm_inference", 1_500, "c-1")


def test_an_allocation_is_taken_away_and_restored(owner: Connection) -> None:
    for about, remaining in ("temporarily reduce", -1_500), ("restore", 4_998_500):
        [statement] = [text for title, text in BY_HAND.items() if about in title]
        owner.execute(statement.encode())
        query = "SELECT remaining_credits FROM user_credit_allocations WHERE org_id = 'test-org-llm-001'"
        assert owner.execute(query.encode()).fetchone() == (remaining,)


@pytest.mark.anyio
@pytest.mark.parametrize("title", CHECK)
async def test_a_program_checks(application: asyncpg.Connection, title: str) -> None:
    for credits, sufficient in (50, True), (4_998_500, True), (4_998_501, False):
        assert await application.fetchval(CHECK[title], "test-org-llm-001", OWNER, credits) is sufficient
    assert await application.fetchval(CHECK[title], "test-org-llm-001", "nobody", 50) is False


@pytest.mark.anyio
@pytest.mark.parametrize("title", DEDUCT)
async def test_a_program_deducts(application: asyncpg.Connection, title: str) -> None:
    for _ in range(2):
        assert await application.execute(DEDUCT[title], *the_charge()) == "SELECT 1"
    rows = await application.fetch(
        "SELECT credits_used, service_name, request_metadata->>'company_id' AS company_id"
        " FROM credit_usage_attribution WHERE request_id = 'req_2'"
    )
    assert [tuple(row) for row in rows] == [(50_000, "LoopNet Company_Enrichment", "c-2")]


@pytest.mark.anyio
@pytest.mark.parametrize("title", DEDUCT)
async def test_a_program_catches_what_the_card_looks_for(application: asyncpg.Connection, title: str) -> None:
    """The card writes `RaiseException`, which asyncpg calls `RaiseError`."""
    with pytest.raises(asyncpg.exceptions.RaiseError) as caught:
        await application.execute(DEDUCT[title], *the_charge(credits=5_000_000))
    assert "Insufficient credits" in str(caught.value)
    organization, _, *rest = the_charge()
    with pytest.raises(asyncpg.exceptions.RaiseError) as caught:
        await application.execute(DEDUCT[title], organization, "nobody", *rest)
    assert "No credit allocation" in str(caught.value)


@pytest.mark.anyio
async def test_the_card_charges_a_thousandth(application: asyncpg.Connection) -> None:
    """It passes credits where the database counts millicredits; the SDK is there to do that right."""
    [statement] = set(DEDUCT.values())
    await application.execute(statement, *the_charge(credits=50))
    taken = await application.fetchval(
        "SELECT credits_used / 1000.0 FROM credit_usage_attribution WHERE request_id = 'req_2'"
    )
    assert taken == Decimal("0.05")


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """A session as the integration guide opens it, of a database whose user 123 has 100 credits."""
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with sessionmaker(bind=engine)() as session:
        session.execute(
            text(
                "INSERT INTO users (id, subject, email, credits) VALUES (123, '123', 'user@example.com', 100)"
            )
        )
        yield session
    engine.dispose()


def test_the_guide_reads_and_takes_credits_of_a_user(session: Session) -> None:
    read, take = (text(statement) for statement in OF_USERS.values())
    job = {"user_id": 123, "amount": -5, "description": "Whatnot Autoprint Job"}
    assert session.execute(read, {"user_id": 123}).scalar() == 100
    session.execute(take, job)
    session.commit()
    assert session.execute(read, {"user_id": 123}).scalar() == 95
    assert session.execute(text("SELECT credits FROM users WHERE id = 123")).scalar() == 95
    assert session.execute(read, {"user_id": 124}).scalar() == 0


def test_the_guides_insert_does_not_overdraw(session: Session) -> None:
    """Its check of the balance comes before, so another job may have spent the credits meanwhile."""
    read, take = (text(statement) for statement in OF_USERS.values())
    job = {"user_id": 123, "amount": -60, "description": "Whatnot Autoprint Job"}
    session.execute(take, job)
    session.commit()
    with pytest.raises(DBAPIError, match="Insufficient credits") as caught:
        session.execute(take, job)
    assert isinstance(caught.value.orig, psycopg.errors.RaiseException)
    session.rollback()
    assert session.execute(read, {"user_id": 123}).scalar() == 40
