"""What cannot be adopted is said, with table and column, and nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from credit_sdk.cli._app import application
from credit_sdk.errors import ConfigurationError
from reference_server.adoption import AdoptionError
from reference_server.migrate import migrate
from reference_server.schema_dump import dump
from tests.adoption.test_adoption import ACME, SCHEMA, TABLES, run

if TYPE_CHECKING:
    from tests.conftest import MakeDatabase


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    made = make_database()
    run(made, SCHEMA.replace("ORG_ID", "VARCHAR(36)"))
    return made


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "DROP VIEW spending_of_users; ALTER TABLE credits_transactions ALTER amount TYPE FLOAT",
            "credits_transactions.amount is double precision, where an integer or NUMERIC is needed",
        ),
        (
            "ALTER TABLE organization_credit_pools ADD COLUMN budget_code TEXT",
            "organization_credit_pools.budget_code is not of the first system",
        ),
        (
            "ALTER TABLE org_billing_history DROP COLUMN event_type",
            "org_billing_history.event_type is missing",
        ),
        (
            "ALTER TABLE org_billing_history DROP CONSTRAINT org_billing_history_pkey",
            "org_billing_history has no primary key",
        ),
        (
            "UPDATE credit_usage_attribution SET request_id = 'req_1'",
            f"used by more than one charge of an organisation: 1 row, such as {ACME}: req_1",
        ),
        (
            "INSERT INTO credits_transactions (user_id, amount) VALUES (1, -96)",
            "credits_transactions.amount is negative in sum, for a user: 1 row, such as 1: -1",
        ),
        (
            "UPDATE user_credit_allocations SET allocated_credits = -1 WHERE user_id = 'bob'",
            "organization_credit_pools.allocated_credits is not the sum of what its members are allocated",
        ),
        (
            "UPDATE organization_credit_pools SET total_credits = 5999999",
            "organization_credit_pools.total_credits is less than its members are allocated",
        ),
        (
            "UPDATE organization_credit_pools SET used_credits = 1",
            "organization_credit_pools.used_credits is not the sum of what its members used",
        ),
        (
            "UPDATE organization_members SET role = 'BOSS' WHERE user_id = 'ada'",
            "organization_members.role is none of owner, admin, billing_admin, member: 1 row, such as ada: B",
        ),
        (
            "UPDATE users SET credits = -1 WHERE id = 2",
            "users.credits is negative: 1 row, such as 2",
        ),
        (
            "CREATE TABLE refunds (charge UUID REFERENCES credit_usage_attribution)",
            "refunds.charge refers to credit_usage_attribution (id), which is not a key of the ledger",
        ),
        (
            "CREATE MATERIALIZED VIEW totals AS SELECT sum(amount) FROM credits_transactions",
            "totals is a materialized view over tables that are replaced",
        ),
        (
            "CREATE TABLE api_keys (id INTEGER PRIMARY KEY)",
            "api_keys is a table that the ledger has too, and not one of the first system: rename it",
        ),
        (
            "UPDATE credit_usage_attribution SET user_id = 'bob' WHERE user_id = 'ada'",
            "credit_usage_attribution.allocation_id is of another organisation or user",
        ),
    ],
    ids=lambda text: text[:50],
)
def test_a_database_that_cannot_be_adopted_says_why_and_stays(url: str, change: str, reason: str) -> None:
    run(url, change)
    before = dump(url), [run(url, f"TABLE {table}") for table in TABLES]
    with pytest.raises(AdoptionError) as caught:
        migrate(url)
    assert any(reason in each for each in caught.value.reasons), caught.value.reasons
    assert (dump(url), [run(url, f"TABLE {table}") for table in TABLES]) == before


def test_every_reason_is_listed_by_a_dry_run_and_one_by_the_refusal(url: str) -> None:
    run(url, "UPDATE credit_usage_attribution SET request_id = 'req_1'")
    run(url, "UPDATE users SET credits = -1 WHERE id = 2")
    runner = CliRunner()
    dry = runner.invoke(application(), ["migrate", "--dry-run", "--url", url])
    assert dry.stdout.count("Cannot be adopted: ") == 2
    wet = runner.invoke(application(), ["migrate", "--url", url])
    assert isinstance(wet.exception, ConfigurationError)
    assert "credit_usage_attribution.request_id" in str(wet.exception)
    assert "and 1 more, which --dry-run lists" in str(wet.exception)


def test_the_ids_of_tables_that_refer_to_organisations_must_be_text(make_database: MakeDatabase) -> None:
    url = make_database()
    run(url, SCHEMA.replace("ORG_ID", "UUID"))
    run(url, "CREATE TABLE invitations (org UUID REFERENCES organizations)")
    with pytest.raises(
        AdoptionError, match=r"invitations.org is a UUID that refers to organizations, whose ids"
    ):
        migrate(url)
