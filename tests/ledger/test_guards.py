"""What the database itself refuses, whoever asks: rows 100 to 106 of the catalogue of attacks."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ledger.conftest import Books, Connection, Member

    Row = dict[str, Any]

SCHEMAS = ["ledger", "identity", "payments", "alerts", "cells", "public"]
SECRET = re.compile(r"hash|digest|secret|token")
HIJACKED = (
    "user_credit_allocations",
    "credit_pools",
    "organizations",
    "organization_members",
    "credit_holds",
)
APPEND_ONLY = ("credit_usage_attribution", "org_billing_history", "audit_log")
CHANGES = ("UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {}")


@pytest.fixture
def application(books: Books) -> Connection:
    """A connection with the rights of an application."""
    connection = books.connect()
    connection.execute("SET ROLE credits_app")
    return connection


def test_row_100_an_application_changes_no_table(books: Books, application: Connection) -> None:
    tables = books.execute(
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = 1"
        " WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text = ANY(%s)",
        SCHEMAS,
    )
    assert len(tables) > 10
    for row in tables:
        table, column = sql.Identifier(row["relname"]), sql.Identifier(row["attname"])
        for change in (
            sql.SQL("INSERT INTO {} DEFAULT VALUES").format(table),
            sql.SQL("UPDATE {} SET {} = NULL").format(table, column),
            sql.SQL("DELETE FROM {}").format(table),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                application.execute(change)


def test_row_100_an_application_reads_no_secret(books: Books) -> None:
    readable = books.execute(
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
        " WHERE relkind IN ('r', 'p', 'v') AND attnum > 0 AND relnamespace::regnamespace::text = ANY(%s)"
        " AND has_column_privilege('credits_app', pg_class.oid, attnum, 'SELECT')",
        SCHEMAS,
    )
    assert readable
    # The digests of a chain are there to be shown.
    kept = [row for row in readable if row["relname"] not in {"ledger_chain", "ledger_heads"}]
    assert [row for row in kept if SECRET.search(row["attname"])] == []


def test_row_101_no_function_with_the_owners_rights_looks_into_temporary_tables_first(books: Books) -> None:
    rows = books.execute(
        "SELECT oid::regprocedure::text AS name, array_to_string(proconfig, ';') AS settings FROM pg_proc"
        " WHERE prosecdef AND pronamespace::regnamespace::text = ANY(%s)",
        SCHEMAS,
    )
    fixed = re.compile(r"(^|;)search_path=pg_catalog, pg_temp(;|$)")
    assert len(rows) > 50
    assert [row["name"] for row in rows if not fixed.search(row["settings"] or "")] == []


def test_row_101_temporary_tables_and_functions_stand_in_for_nothing(books: Books, ann: Member) -> None:
    attacker = books.connect()
    for table in HIJACKED:
        for statement in (
            "CREATE TEMPORARY TABLE {0} AS SELECT * FROM public.{0}",
            "GRANT ALL ON pg_temp.{0} TO PUBLIC",
        ):
            attacker.execute(sql.SQL(statement).format(sql.Identifier(table)))
    for statement in (
        "UPDATE pg_temp.user_credit_allocations SET allocated_credits = 1000000000",
        "UPDATE pg_temp.credit_pools SET total_credits = 1000000000000",
        "CREATE FUNCTION pg_temp.is_amount(bigint) RETURNS boolean LANGUAGE sql RETURN TRUE",
        "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql RETURN 'epoch'::timestamptz",
        "SET ROLE credits_app",
        "SET search_path = pg_temp, public, ledger",
    ):
        attacker.execute(statement.encode())
    for call in (ann.deduct(100_001), ann.hold(100_001), ann.deduct(-1)):
        with pytest.raises(psycopg.Error) as refused:
            call.on(attacker)
        assert (refused.value.sqlstate or "").startswith("CR")
    assert ann.check(100_001).on(attacker)["has_sufficient_credits"] is False
    assert ann.deduct(100_000).on(attacker)["remaining_credits"] == 0
    assert books.balance(ann) == (100_000, 100_000, 0)
    assert books.differences() == []


@pytest.fixture
def nobody(books: Books) -> Iterator[Connection]:
    """A role that was granted nothing."""
    role = sql.Identifier(f"nobody_{secrets.token_hex(4)}")
    books.connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    connection = books.connect()
    connection.execute(sql.SQL("SET ROLE {}").format(role))
    yield connection
    connection.close()
    books.connection.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.parametrize("schema", ["ledger", "identity", "alerts", "public"])
def test_row_102_the_public_executes_nothing(books: Books, nobody: Connection, schema: str) -> None:
    functions = books.execute(
        "SELECT oid, oid::regprocedure::text AS name FROM pg_proc WHERE pronamespace = %s::regnamespace",
        schema,
    )
    assert len(functions) >= 5
    role = nobody.execute("SELECT current_user AS name").fetchone()
    assert role is not None
    for function in functions:
        [row] = books.execute(
            "SELECT has_function_privilege(%s, %s::oid, 'EXECUTE') AS may", role["name"], function["oid"]
        )
        assert row["may"] is False, function["name"]


def test_row_102_a_role_without_rights_deducts_nothing(books: Books, nobody: Connection, ann: Member) -> None:
    for statement in (
        "SELECT public.deduct_credits(%s, %s, 5000, 'valuation')",
        "SELECT ledger.deduct(%s, %s, 5000, 'valuation')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            nobody.execute(statement.encode(), [ann.org_id, ann.user_id])
    assert books.balance(ann) == (100_000, 0, 0)


@pytest.mark.parametrize("credits", [-1, -(10**12), 0])
def test_row_104_no_credits_are_minted_by_taking_fewer_than_none(
    books: Books, application: Connection, ann: Member, credits: int
) -> None:
    with pytest.raises(psycopg.errors.RaiseException):
        application.execute(
            "SELECT deduct_credits(%s, %s, %s, 'valuation')", [ann.org_id, ann.user_id, credits]
        )
    for call in (ann.deduct(credits), ann.hold(credits), ann.allocate(credits), books.add(credits)):
        assert books.refusal(call).state == "CR400"
    [outcome] = books.do(books.batch(ann.item(credits)))["outcomes"]
    assert outcome["problem"]["code"] == "invalid_amount"
    assert books.balance(ann) == (100_000, 0, 0)


def test_row_105_an_organisation_cannot_be_deleted_from_under_its_books(books: Books, ann: Member) -> None:
    books.do(ann.deduct(5))
    with pytest.raises(psycopg.errors.RestrictViolation):
        books.execute("DELETE FROM organizations WHERE id = %s", books.org_id)
    assert books.taken() == [5]


def test_row_105_every_key_to_an_organisation_restricts(books: Books) -> None:
    keys = books.execute(
        "SELECT conrelid::regclass::text AS table_name, confdeltype FROM pg_constraint"
        " WHERE contype = 'f' AND confrelid IN ('organizations'::regclass, 'users'::regclass)"
    )
    assert len(keys) >= 6
    assert [key for key in keys if key["confdeltype"] != "r"] == []


@pytest.mark.parametrize("table", [*APPEND_ONLY, "credit_holds"])
def test_row_106_what_happened_stays_written(
    books: Books, application: Connection, ann: Member, table: str
) -> None:
    books.do(ann.deduct(5))
    books.do(ann.hold(5))

    def rows() -> list[Row]:
        statement = sql.SQL("SELECT * FROM {} WHERE org_id = %s").format(sql.Identifier(table))
        return books.connection.execute(statement, [books.org_id]).fetchall()

    before = rows()
    assert before
    changes = [sql.SQL(change).format(sql.Identifier(table)) for change in CHANGES]
    for change in changes:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute(change)
    # A hold goes from state to state, and is never deleted.
    for change in changes if table in APPEND_ONLY else changes[1:]:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            books.connection.execute(change)
    assert rows() == before
