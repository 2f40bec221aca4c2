"""The SQL that distributes the schema on Citus, against the catalogue of a migrated database."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from reference_server.citus import LOCAL, REFERENCE, CannotDistributeError, layout, script


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as owner:
        cursor = owner.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def written(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as owner:
        return "\n".join(script(layout(owner)))


def distributed(text: str) -> set[str]:
    return set(re.findall(r"create_distributed_table\('public\.(\w+)', 'org_id'", text))


def test_every_table_has_its_place(database_url: str) -> None:
    text = written(database_url)
    places = distributed(text), REFERENCE.keys(), LOCAL.keys()
    tables = {
        name for (name,) in ask(database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    }
    assert set[str]().union(*places) == tables
    assert sum(map(len, places)) == len(tables)
    for name in LOCAL:
        assert f"citus_add_local_table_to_metadata('public.{name}')" in text
    for name in REFERENCE:
        assert f"create_reference_table('public.{name}')" in text


def test_what_a_charge_writes_is_distributed_and_kept_together(database_url: str) -> None:
    text = written(database_url)
    for name in (
        "credit_pools", "credit_holds", "credit_usage_attribution", "credit_caps", "org_billing_history",
    ):  # fmt: skip
        assert f"'public.{name}', 'org_id', colocate_with => 'user_credit_allocations'" in text
    assert re.search(r"create_distributed_function\('ledger\.deduct\(.*\)', 'org_id'", text)


def test_every_key_of_a_distributed_table_has_the_organisation(database_url: str) -> None:
    """Asked of PostgreSQL's own descriptions, not as the script asks."""
    names = distributed(written(database_url))
    keys = ask(
        database_url,
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype IN ('p', 'u') AND connamespace = 'public'::regnamespace "
        "UNION SELECT tablename, indexdef FROM pg_indexes "
        "WHERE schemaname = 'public' AND indexdef LIKE 'CREATE UNIQUE%'",
    )
    assert [key for name, key in keys if name in names and "org_id" not in key] == []
    references = ask(
        database_url,
        "SELECT conrelid::regclass::text, confrelid::regclass::text, pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace",
    )
    for name, target, key in references:
        if name in names and target not in REFERENCE:
            own, other = re.findall(r"\(([^)]*)\)", key)[:2]
            assert target in names
            assert own.split(", ").index("org_id") == other.split(", ").index("org_id")


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("CREATE TABLE notes (id INT PRIMARY KEY)", "notes has no org_id that is always there"),
        (
            "CREATE TABLE notes (id INT PRIMARY KEY, org_id VARCHAR(36) NOT NULL)",
            "notes has a unique key without org_id",
        ),
        (
            "CREATE TABLE notes (org_id VARCHAR(36), id INT, hold_id UUID UNIQUE, PRIMARY KEY (org_id, id))",
            "notes has a unique key without org_id",
        ),
        (
            "CREATE TABLE notes (org_id VARCHAR(36), id BIGINT REFERENCES users, PRIMARY KEY (org_id, id))",
            "notes refers to users without org_id",
        ),
    ],
    ids=["no organisation", "primary key", "unique key", "foreign key"],
)
def test_a_table_that_does_not_fit_is_named(database_url: str, table: str, complaint: str) -> None:
    ask(database_url, table)
    with pytest.raises(CannotDistributeError, match=re.escape(complaint)):
        written(database_url)


def test_triggers_of_statements_are_dropped_where_tables_are_distributed(database_url: str) -> None:
    text = written(database_url)
    assert "DROP TRIGGER keep_history_of_table ON public.credit_usage_attribution;" in text
    assert "ON public.credits_transactions;" not in text


def test_the_command_prints_the_script_or_says_why_not(database_url: str) -> None:
    command = [sys.executable, "-m", "reference_server.citus"]
    done = subprocess.run([*command, database_url], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip("\n") == written(database_url)
    ask(database_url, "CREATE TABLE notes (id INT PRIMARY KEY)")
    refused = subprocess.run([*command, database_url], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("citus: notes has no org_id")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
