"""What `make schema` writes: the schema that all migrations add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from reference_server.schema_dump import dump

if TYPE_CHECKING:
    from tests.conftest import MakeDatabase


@pytest.fixture
def another_database_url(make_database: MakeDatabase, migrated_template: str) -> str:
    return make_database(migrated_template)


def test_alike_schemas_have_alike_dumps(database_url: str, another_database_url: str) -> None:
    schema = dump(database_url)
    assert "CREATE TABLE public.credit_holds (" in schema
    assert "CREATE FUNCTION ledger.deduct(" in schema
    assert dump(another_database_url) == schema
    with psycopg.connect(another_database_url) as connection:
        connection.execute("alter table credit_holds add column note text")
    assert dump(another_database_url) != schema


def test_a_dump_makes_a_database_that_works(database_url: str, make_database: MakeDatabase) -> None:
    with psycopg.connect(make_database()) as connection:
        connection.execute("set check_function_bodies = off")
        connection.execute(dump(database_url).encode())
        connection.execute("insert into organizations (id, name) values ('new', 'New')")
        row = connection.execute("select add_credits_to_pool('new', 5000)").fetchone()
    assert row == (True,)
