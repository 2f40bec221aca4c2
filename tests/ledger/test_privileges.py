"""The role of the server and the SDK reads and executes functions; nobody else may do anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Call, Connection

    Row = dict[str, Any]

NAMES = ("ledger", "identity", "payments", "alerts", "cells", "public")
OURS = f"(SELECT oid FROM pg_namespace WHERE nspname IN {NAMES})"  # noqa: S608
# PostgreSQL binds names in these bodies, and what aggregates are made of, when they are created, so that no
# search path matters to them.
BOUND_WHEN_CREATED = "(prosqlbody IS NOT NULL OR prokind = 'a')"


def functions(books: Books, condition: str) -> list[str]:
    rows = books.execute(
        f"SELECT proname FROM pg_proc AS routine WHERE pronamespace IN {OURS} AND {condition}"  # noqa: S608
    )
    return [row["proname"] for row in rows]


def relations(books: Books, condition: str) -> list[str]:
    rows = books.execute(
        f"SELECT relname FROM pg_class AS relation WHERE relnamespace IN {OURS} AND {condition}"  # noqa: S608
        " AND relkind IN ('r', 'p', 'v', 'm')"
    )
    return [row["relname"] for row in rows]


@pytest.fixture
def application(books: Books) -> Connection:
    """A connection with the rights of an application."""
    connection = books.connect()
    connection.execute("SET ROLE credits_app")
    return connection


def test_every_function_fixes_its_search_path(books: Books) -> None:
    assert functions(books, "TRUE")
    unbound = f"NOT {BOUND_WHEN_CREATED}"
    loose = "NOT coalesce(proconfig::text LIKE '%search_path=pg_catalog%pg_temp%', FALSE)"
    assert functions(books, f"{unbound} AND {loose}") == []


def test_the_public_may_execute_nothing(books: Books) -> None:
    everyone = """EXISTS (
        SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) AS granted
        WHERE granted.grantee = 0
    )"""
    assert functions(books, everyone) == []


def test_the_public_may_read_nothing(books: Books) -> None:
    everyone = "EXISTS (SELECT FROM aclexplode(relacl) AS granted WHERE granted.grantee = 0)"
    assert relations(books, everyone) == []


def test_an_application_executes_the_operations_and_no_parts_of_them(books: Books) -> None:
    granted = set(functions(books, "has_function_privilege('credits_app', routine.oid, 'EXECUTE')"))
    assert {"deduct", "place_hold", "capture_hold", "deduct_credits", "has_sufficient_credits"} <= granted
    parts = {
        "enlarge_allocation",
        "refuse",
        "take_plain_batch",
        "expire_holds_of",
        "capture_expired",
        "lock_caps",
    }
    parts |= {"find_user", "lock_user", "keep_balance", "expire_balance_holds_of", "verify_balances"}
    assert not parts & granted


@pytest.mark.parametrize("right", ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"])
def test_an_application_writes_no_table(books: Books, right: str) -> None:
    assert relations(books, f"has_table_privilege('credits_app', relation.oid, '{right}')") == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE user_credit_allocations SET allocated_credits = 1000000000",
        "INSERT INTO credit_pools (org_id, total_credits) VALUES ('mine', 1000000)",
        "DELETE FROM credit_usage_attribution",
        "UPDATE credit_holds SET status = 'voided'",
        "UPDATE credit_caps SET credits = 1000000000",
        "INSERT INTO org_billing_history (org_id, event_type) VALUES ('mine', 'credit_grant')",
        "INSERT INTO credits_transactions (user_id, amount) VALUES (1, 1000000)",
        "UPDATE user_credit_holds SET status = 'voided'",
        "UPDATE users SET credits = 1000000",
        "SELECT nextval('credits_transactions_id_seq')",
        "SELECT ledger.enlarge_allocation('mine', 'me', 1000000, NULL, NULL, NULL, NULL)",
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql RETURN 'epoch'",
        "SELECT password_hash FROM users",
        "SELECT * FROM users",
        "SELECT token_digest FROM auth_sessions",
        "SELECT key_digest FROM api_keys",
    ],
)
def test_an_application_is_denied(application: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute(statement.encode())


@pytest.mark.parametrize(
    "relation",
    [
        "organizations", "organization_members", "organization_subscriptions", "organization_credit_pools",
        "user_credit_allocations", "credit_usage_attribution", "credit_holds", "credit_caps",
        "org_billing_history", "org_billing_summary", "user_multi_org_credits", "top_credit_users_by_org",
        "org_billing_metrics", "v_org_billing_summary", "v_user_credit_status", "v_org_member_allocations",
        "v_credit_usage_by_service",
        "credits_transactions", "user_credit_holds",
    ],
)  # fmt: skip
def test_an_application_reads(application: Connection, relation: str) -> None:
    application.execute(f"TABLE {relation}".encode())


def test_a_temporary_table_of_users_gives_nobody_credits(own_books: Books, make_call: type[Call]) -> None:
    own_books.execute("INSERT INTO users (id, email, credits) VALUES (7, 'ann@example.com', 5)")
    attacker = own_books.connect()
    for statement in (
        "CREATE TEMPORARY TABLE users AS SELECT * FROM public.users",
        "UPDATE pg_temp.users SET credits = 1000000000",
        "GRANT ALL ON pg_temp.users TO PUBLIC",
        "SET ROLE credits_app",
        "SET search_path = pg_temp, public",
    ):
        attacker.execute(statement.encode())
    with pytest.raises(psycopg.Error, match="Insufficient credits"):
        make_call("spend", {"user_id": "7", "credits": 5_001}).on(attacker)
    assert make_call("spend", {"user_id": "7", "credits": 5_000}).on(attacker)["remaining_credits"] == 0


def test_a_function_in_public_does_not_run_with_the_owners_rights(
    own_books: Books, make_call: type[Call]
) -> None:
    """An application may keep tables of its own there; an overload that fits better would be taken."""
    own_books.member()
    attacker = own_books.connect()
    for statement in (
        "GRANT CREATE ON SCHEMA public TO credits_app",
        "SET ROLE credits_app",
        (
            "CREATE FUNCTION public.to_jsonb(public.organization_members) RETURNS jsonb LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$"
        ),
    ):
        attacker.execute(statement.encode())
    added = make_call("add_member", {"org_id": own_books.org_id, "user_id": "victim"}).on(attacker)
    assert added["user_id"] == "victim"


def test_a_function_of_the_attackers_does_not_stand_in_for_ours(own_books: Books) -> None:
    member = own_books.member()
    attacker = own_books.connect()
    for statement in (
        "CREATE SCHEMA trap",
        "CREATE FUNCTION trap.least(bigint, bigint) RETURNS bigint LANGUAGE sql RETURN 0",
        "CREATE FUNCTION trap.plus(bigint, bigint) RETURNS bigint LANGUAGE sql RETURN 0",
        "CREATE OPERATOR trap.+ (FUNCTION = trap.plus, LEFTARG = bigint, RIGHTARG = bigint)",
        "SET search_path = trap, pg_catalog, public",
    ):
        attacker.execute(statement.encode())
    member.deduct(10).on(attacker)
    assert own_books.balance(member) == (100_000, 10, 0)
