"""`credits migrate` on a database of the first system: everything is kept, and the books add up."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from credit_sdk import Account, CreditDeductionService, CreditSDK, IdempotencyConflictError
from credit_sdk.cli._app import application
from reference_server.adoption import AdoptionError, FirstSystem
from reference_server.migrate import migrate
from reference_server.schema_dump import dump

if TYPE_CHECKING:
    from tests.conftest import MakeDatabase

ACME = "11111111-1111-4111-8111-111111111111"
ADA = Account(org_id=ACME, user_id="ada")
SCHEMA = Path(__file__).with_name("ops_center.sql").read_text()
SMALLEST = (Path(__file__).parents[2] / "benchmarks" / "sql" / "naive.sql").read_text()
TABLES = (
    *("organizations", "organization_members", "organization_subscriptions", "organization_credit_pools"),
    *("user_credit_allocations", "credit_usage_attribution", "org_billing_history"),
    *("users", "credits_transactions"),
)
BALANCES = """
    SELECT 'pool', total_credits, allocated_credits, used_credits, available_credits
    FROM organization_credit_pools
    UNION ALL
    SELECT user_id, allocated_credits, used_credits, remaining_credits, 0 FROM user_credit_allocations
    UNION ALL
    SELECT user_id::text, sum(amount), 0, 0, 0 FROM credits_transactions GROUP BY user_id
    ORDER BY 1
"""


def run(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(params=["VARCHAR(36)", "UUID"])
def ops_center(request: pytest.FixtureRequest, make_database: MakeDatabase) -> str:
    url = make_database()
    run(url, SCHEMA.replace("ORG_ID", request.param))
    return url


@pytest.fixture
def plain(make_database: MakeDatabase) -> str:
    """One with ids of organisations as the documents deployed them."""
    url = make_database()
    run(url, SCHEMA.replace("ORG_ID", "VARCHAR(36)"))
    return url


def test_balances_and_rows_are_what_they_were(ops_center: str) -> None:
    balances = run(ops_center, BALANCES)
    rows = {table: len(run(ops_center, f"TABLE {table}")) for table in TABLES}
    report = migrate(ops_center)
    assert report.adopted
    assert report.adopted.rows == rows
    # Who had credits and no transactions has an opening one.
    assert run(ops_center, BALANCES) == sorted([*balances, ("2", 7, 0, 0, 0)], key=lambda row: str(row[0]))
    assert run(ops_center, "SELECT id, credits FROM users ORDER BY id") == [(1, 95), (2, 7)]
    [(books,)] = run(ops_center, "SELECT verify_ledger()")
    assert (books["differences"], books["charges"], books["transactions"]) == ([], 3, 3)


def test_the_old_tables_stay_as_they_were(ops_center: str) -> None:
    before = {table: run(ops_center, f"TABLE {table}") for table in TABLES}
    migrate(ops_center)
    assert {table: run(ops_center, f"TABLE first_system.{table}") for table in TABLES} == before
    assert run(ops_center, "SELECT to_regclass('first_system.org_billing_summary') IS NOT NULL") == [(True,)]


def test_columns_of_the_applications_own_are_kept_with_their_rules(plain: str) -> None:
    migrate(plain)
    assert run(plain, "SELECT billing_email FROM organizations ORDER BY name") == [
        ("money@acme.example",),
        (None,),
    ]
    assert run(plain, "SELECT stripe_invoice_id FROM org_billing_history WHERE amount > 0") == [("in_1",)]
    assert run(plain, "INSERT INTO users (email) VALUES ('new@example.com') RETURNING id, locale") == [
        (3, "en")
    ]
    member = (
        "INSERT INTO organization_members (org_id, user_id, badge) VALUES ('{}', 'cy', '{}') RETURNING id"
    )
    assert run(plain, member.format(ACME, "C3")) == [(3,)]
    with pytest.raises(psycopg.errors.UniqueViolation, match="badge"):
        run(plain, member.format(ACME.replace("1", "2"), "A1"))


def test_what_the_application_built_around_the_tables_sees_the_ledger(plain: str) -> None:
    migrate(plain)
    run(plain, "INSERT INTO users (email) VALUES ('new@example.com')")
    run(plain, "INSERT INTO print_jobs (user_id) VALUES (3)")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        run(plain, "INSERT INTO print_jobs (user_id) VALUES (4)")
    run(plain, "INSERT INTO credits_transactions (user_id, amount) VALUES (1, -10)")
    assert run(plain, "SELECT * FROM spending_of_users") == [(1, 15)]


def test_code_written_by_hand_goes_on(ops_center: str) -> None:
    migrate(ops_center)
    charge_by_hand(ops_center, ACME)
    assert run(ops_center, "SELECT total_credits FROM organization_credit_pools") == [(10_001_000,)]
    run(
        ops_center,
        "INSERT INTO credits_transactions (user_id, amount, description, transaction_type, created_at) "
        "VALUES (1, -5, 'Job', 'service', NOW())",
    )
    assert run(ops_center, "SELECT COALESCE(SUM(amount), 0) FROM credits_transactions WHERE user_id = 1") == [
        (90,)
    ]
    assert run(ops_center, "SELECT verify_ledger() -> 'differences'") == [([],)]


def test_callers_that_send_ids_as_uuids_go_on(make_database: MakeDatabase) -> None:
    url = make_database()
    run(url, SCHEMA.replace("ORG_ID", "UUID"))
    migrate(url)
    charge_by_hand(url, uuid.UUID(ACME))
    charge_by_hand(url, ACME)


def charge_by_hand(url: str, org_id: object) -> None:
    with psycopg.connect(url) as connection:
        for statement, *arguments in (
            ("SELECT has_sufficient_credits(%s, %s, %s)", "ada", 50),
            (
                "SELECT deduct_credits(%s, %s, %s, %s, %s, %s, %s::jsonb)",
                "ada",
                50,
                "valuation",
                "V",
                None,
                "{}",
            ),
            ("SELECT add_credits_to_pool(%s, 1000)",),
            ("SELECT allocate_credits_to_user(%s, 'bob', 1000)",),
        ):
            assert connection.execute(statement.encode(), [org_id, *arguments]).fetchone() == (True,)


def test_the_library_charges_on_and_knows_the_old_request_ids(ops_center: str) -> None:
    migrate(ops_center)
    with CreditDeductionService(ops_center, outbox=False) as billing:
        again = billing.deduct(
            ADA, 50, service_type="company_enrichment", service_name="v2", request_id="req_1"
        )
        assert again.replayed
        with pytest.raises(IdempotencyConflictError):
            billing.deduct(ADA, 51, service_type="company_enrichment", service_name="v2", request_id="req_1")
        with billing.charge(ADA, 10, service_type="contact_lookup") as charge:
            """Do the work."""
        assert charge.receipt.remaining == 5000 - 60 - 10
        assert billing.usage(ACME).total_credits_used == 50 + 10 + 2 + 10
    with CreditSDK(ops_center) as sdk:
        assert sdk.consume_credits(user_id=1, credits=5, description="Job")
        assert sdk.get_balance(1) == 90


def test_migrating_again_finds_nothing_to_do(ops_center: str) -> None:
    migrate(ops_center)
    before = dump(ops_center)
    again = migrate(ops_center)
    assert (again.applied, again.repeatable_applied, again.adopted) == ((), False, None)
    assert dump(ops_center) == before


def test_a_dry_run_tells_and_changes_nothing(plain: str) -> None:
    before = dump(plain)
    done = CliRunner().invoke(application(), ["migrate", "--dry-run", "--url", plain])
    assert done.exit_code == 0
    assert "Would adopt credit_usage_attribution (3), credits_transactions (2)" in done.stdout
    assert (
        "Note: the trigger touch_pools of organization_credit_pools stays with the old table." in done.stdout
    )
    assert "Note: users.hashed_password can be empty for rows that the ledger writes." in done.stdout
    assert dump(plain) == before


def test_a_database_without_organisations_gets_them_from_its_rows(make_database: MakeDatabase) -> None:
    url = make_database()
    run(url, SMALLEST)
    run(url, "INSERT INTO organization_credit_pools VALUES ('acme', 1000000, 100000)")
    run(
        url,
        "INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits)"
        " VALUES ('acme', 'ada', 100000)",
    )
    migrate(url)
    assert run(url, "SELECT id, name FROM organizations") == [("acme", "acme")]
    assert run(url, "SELECT org_id, user_id FROM organization_members") == [("acme", "ada")]
    with CreditDeductionService(url, outbox=False) as billing:
        assert billing.deduct(Account(org_id="acme", user_id="ada"), 1, service_type="x").remaining == 99


@pytest.mark.parametrize(
    ("change", "used", "settled", "total"),
    [
        ("UPDATE user_credit_allocations SET used_credits = 0 WHERE user_id = 'ada'", 0, 60_000, 10_060_000),
        ("DELETE FROM credit_usage_attribution WHERE user_id = 'ada'", 60_000, 0, 10_000_000),
    ],
    ids=["after a reset", "after rows were deleted"],
)
def test_use_and_attribution_that_differ_are_explained(
    plain: str, change: str, used: int, settled: int, total: int
) -> None:
    run(plain, change)
    available = run(plain, "SELECT available_credits FROM organization_credit_pools")
    migrate(plain)
    account = "SELECT used_credits, settled_credits FROM user_credit_allocations WHERE user_id = 'ada'"
    assert run(plain, account) == [(used, settled)]
    assert run(plain, "SELECT total_credits FROM organization_credit_pools") == [(total,)]
    assert run(plain, "SELECT available_credits FROM organization_credit_pools") == available


def test_charges_of_a_deleted_allocation_are_kept(plain: str) -> None:
    run(plain, "DELETE FROM user_credit_allocations WHERE user_id = 'bob'")
    run(plain, "UPDATE organization_credit_pools SET allocated_credits = 5000000")
    migrate(plain)
    closed = "SELECT is_active, settled_credits, remaining_credits FROM user_credit_allocations"
    assert run(plain, f"{closed} WHERE user_id = 'bob'") == [(False, 2_000, 0)]
    assert run(plain, "SELECT available_credits FROM organization_credit_pools") == [(5_000_000,)]


@pytest.mark.parametrize("step", ["put_aside", "carry", "finish"])
def test_a_connection_that_is_killed_leaves_everything_as_it_was(
    plain: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, balances = dump(plain), run(plain, BALANCES)
    whole = getattr(FirstSystem, step)

    def killed(self: FirstSystem) -> None:
        whole(self)
        backend = self._connection.info.backend_pid
        run(plain, f"SELECT pg_terminate_backend({backend}, 10000)")

    monkeypatch.setattr(FirstSystem, step, killed)
    with pytest.raises((AdoptionError, psycopg.OperationalError)):
        migrate(plain)
    assert (dump(plain), run(plain, BALANCES)) == (before, balances)
    monkeypatch.undo()
    assert migrate(plain).adopted
    assert run(plain, "SELECT verify_ledger() -> 'differences'") == [([],)]
