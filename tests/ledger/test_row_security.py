"""Organisations cannot read each other: row-level security, and functions that answer for one only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from tests.ledger.conftest import Call

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Connection

    Row = dict[str, Any]

SCHEMAS = ["ledger", "identity", "payments", "alerts", "cells", "public"]
OF_ORGANISATIONS = (
    "organizations", "organization_members", "organization_subscriptions", "credit_pools",
    "user_credit_allocations", "credit_holds", "credit_usage_attribution", "org_billing_history", "audit_log",
    "alert_rules", "credit_alerts", "webhook_deliveries",
    "organization_credit_pools",
    "org_billing_summary", "user_multi_org_credits", "top_credit_users_by_org", "org_billing_metrics",
    "v_org_billing_summary", "v_user_credit_status", "v_org_member_allocations", "v_credit_usage_by_service",
)  # fmt: skip
SECRET = re.compile(r"hash|digest|secret|token")
SHAREABLE_COLUMNS = {
    "api_keys": "id, org_id",
    "users": "id, subject",
    "llm_provider_keys": "org_id, provider",
    "webhook_endpoints": "org_id, url",
}
READING_OF_AN_ORGANISATION = (
    "get_burn_down", "get_forecast", "get_organization_billing", "get_pool", "get_top_up", "get_usage",
    "list_alerts", "list_allocations", "list_audit", "list_billing_history", "list_caps", "list_charges",
    "list_members", "list_subscriptions", "list_webhook_deliveries", "list_webhooks",
)  # fmt: skip


@pytest.fixture
def neighbours(own_books: Books) -> tuple[str, str]:
    """Two organisations with a row in every table; return their ids."""
    own_books.execute("INSERT INTO organizations (id, name) VALUES ('theirs', 'The neighbours')")
    for org_id in (own_books.org_id, "theirs"):
        user_id = f"user of {org_id}"
        for call in (
            Call("add_member", {"org_id": org_id, "user_id": user_id}),
            Call("add_credits", {"org_id": org_id, "credits": 1_000_000}),
            Call("allocate", {"org_id": org_id, "user_id": user_id, "allocated_credits": 100_000}),
            Call("create_subscription", {"org_id": org_id, "subscription_plan": "byok"}),
            Call(
                "set_cap",
                {
                    "org_id": org_id,
                    "scope": "member",
                    "subject": user_id,
                    "period": "day",
                    "credits": 900_000,
                },
            ),
        ):
            own_books.do(call)
        spent = {"org_id": org_id, "user_id": user_id, "credits": 5, "service_type": "valuation"}
        own_books.do(Call("deduct", spent))
        own_books.do(Call("place_hold", spent))
        own_books.execute(
            "INSERT INTO api_keys (key_digest, name, org_id) VALUES (sha256(%s::bytea), 'a key', %s)",
            org_id, org_id,
        )  # fmt: skip
        endpoint = {"org_id": org_id, "url": f"https://{org_id}.example", "events": ["pool.low"]}
        webhook = own_books.do(Call("create_webhook", endpoint))
        own_books.do(Call("test_webhook", {"org_id": org_id, "webhook_id": webhook["webhook_id"]}))
        for kind, subject in (("pool.low", None), ("allocation.low", user_id)):
            watched = {"org_id": org_id, "kind": kind, "subject": subject, "threshold": 10**10}
            own_books.do(Call("set_alert", watched))
        own_books.execute("SELECT alerts.detect()")
        own_books.execute(
            "INSERT INTO llm_provider_keys (org_id, provider, sealed, hint, updated_by)"
            " VALUES (%s, 'openai', 'sealed', 'abcd', 'ada')",
            org_id,
        )
        own_books.execute(
            "INSERT INTO users (subject, email) VALUES (%s, %s)", user_id, f"{org_id}@example.com"
        )
    return own_books.org_id, "theirs"


def read(connection: Connection, relation: str) -> list[Row]:
    columns = SHAREABLE_COLUMNS.get(relation, "*")
    statement = sql.SQL("SELECT {} FROM {}").format(sql.SQL(columns), sql.Identifier(relation))
    return connection.execute(statement).fetchall()


def relations(books: Books, kinds: str) -> list[Row]:
    """Return the relations of some kinds in our schemas, with their columns."""
    return books.execute(
        "SELECT relname, relrowsecurity, relforcerowsecurity, reloptions, ARRAY("
        "  SELECT attname::text FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0"
        ") AS columns, EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid) AS has_policy"
        " FROM pg_class WHERE relnamespace::regnamespace::text = ANY(%s) AND relkind = ANY(%s)",
        SCHEMAS, list(kinds),
    )  # fmt: skip


def test_every_table_of_an_organisation_is_closed_to_others(books: Books) -> None:
    tables = relations(books, "rp")
    of_organisations = {table["relname"] for table in tables if "org_id" in table["columns"]}
    closed = {table["relname"] for table in tables if table["relrowsecurity"] and table["has_policy"]}
    assert {"credit_pools", "audit_log"} <= of_organisations
    assert of_organisations | {"organizations", "users"} <= closed


def test_tables_with_secrets_are_closed(books: Books) -> None:
    secret = [table for table in relations(books, "rp") if any(map(SECRET.search, table["columns"]))]
    assert {table["relname"] for table in secret} >= {"users", "auth_sessions", "api_keys"}
    assert all(table["relrowsecurity"] for table in secret)


def test_the_owner_is_not_held_to_row_level_security(books: Books) -> None:
    """The functions have the owner's rights, and so do the statements that are written by hand."""
    assert not any(table["relforcerowsecurity"] for table in relations(books, "rp"))
    [plan] = books.execute(
        "EXPLAIN (FORMAT JSON) UPDATE user_credit_allocations SET used_credits = used_credits + 1"
        " WHERE org_id = 'o' AND user_id = 'u' AND is_active"
    )
    assert "current_setting" not in str(plan)


def test_every_view_looks_with_the_rights_of_whoever_asks(books: Books) -> None:
    views = {view["relname"]: view["reloptions"] or [] for view in relations(books, "vm")}
    assert views
    assert [name for name, options in views.items() if "security_invoker=true" not in options] == []


@pytest.fixture
def neighbourly(own_books: Books, neighbours: tuple[str, str]) -> Connection:
    """The rights of an application, where both neighbours live."""
    assert neighbours
    connection = own_books.connect()
    connection.execute("SET ROLE credits_app")
    return connection


def test_who_names_no_organisation_reads_nothing(own_books: Books, neighbourly: Connection) -> None:
    for relation in (*OF_ORGANISATIONS, *SHAREABLE_COLUMNS):
        assert read(own_books.connection, relation), f"{relation} has no row that could have been read"
        assert read(neighbourly, relation) == [], relation
    neighbourly.execute("SET credits.org_id = ''")
    assert read(neighbourly, "organizations") == []


def test_who_names_an_organisation_reads_its_rows_only(
    neighbourly: Connection, neighbours: tuple[str, str]
) -> None:
    for org_id in neighbours:
        neighbourly.execute("SELECT set_config('credits.org_id', %s, FALSE)", [org_id])
        for relation in (*OF_ORGANISATIONS, "api_keys", "llm_provider_keys", "webhook_endpoints"):
            key = "id" if relation == "organizations" else "org_id"
            assert {row[key] for row in read(neighbourly, relation)} == {org_id}, relation
        assert [row["subject"] for row in read(neighbourly, "users")] == [f"user of {org_id}"]


def test_the_organisation_ends_with_the_transaction(
    neighbourly: Connection, neighbours: tuple[str, str]
) -> None:
    with neighbourly.transaction():
        neighbourly.execute("SELECT set_config('credits.org_id', %s, TRUE)", [neighbours[0]])
        assert read(neighbourly, "organizations")
    assert read(neighbourly, "organizations") == []


@pytest.mark.parametrize("function", READING_OF_AN_ORGANISATION)
def test_a_function_answers_for_its_organisation_only(
    own_books: Books, neighbourly: Connection, function: str
) -> None:
    answers = {
        org_id: str(Call(function, {"org_id": org_id}).on(neighbourly))
        for org_id in (own_books.org_id, "theirs")
    }
    assert "theirs" in answers["theirs"]
    assert own_books.org_id not in answers["theirs"]
    assert "theirs" not in answers[own_books.org_id]


def test_every_function_that_reads_an_organisation_was_asked(books: Books) -> None:
    found = books.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'ledger'::regnamespace"
        " AND proname ~ '^(get|list)_' AND 'org_id' = ANY(proargnames)"
        " AND has_function_privilege('credits_app', oid, 'EXECUTE')"
    )
    # Asked by the id of the hold or the charge, and for a chain that is empty here: tested below.
    others = {"get_hold", "get_proof", "list_chain"}
    assert {row["proname"] for row in found} - others == set(READING_OF_AN_ORGANISATION)


def test_a_hold_is_not_found_in_another_organisation(own_books: Books, neighbourly: Connection) -> None:
    [hold] = own_books.execute("SELECT id FROM credit_holds WHERE org_id = 'theirs'")
    for function in ("get_hold", "extend_hold", "capture_hold", "void_hold"):
        elsewhere = Call(function, {"hold_id": hold["id"], "org_id": own_books.org_id})
        with pytest.raises(psycopg.Error, match="There is no hold"):
            elsewhere.on(neighbourly)


def test_a_chain_and_its_proofs_are_of_one_organisation(own_books: Books, neighbourly: Connection) -> None:
    own_books.execute("SELECT ledger.seal()")
    own_books.execute("SELECT ledger.seal()")
    [charge] = own_books.execute("SELECT request_id FROM credit_usage_attribution WHERE org_id = 'theirs'")
    links = str(Call("list_chain", {"org_id": own_books.org_id}).on(neighbourly))
    assert own_books.org_id in links
    assert "theirs" not in links
    elsewhere = Call("get_proof", {"org_id": own_books.org_id, "request_id": charge["request_id"]})
    with pytest.raises(psycopg.Error, match="There is no charge"):
        elsewhere.on(neighbourly)
