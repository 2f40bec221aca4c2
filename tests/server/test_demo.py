"""The demonstration data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString, NoReturn

import psycopg
import pytest

from reference_server import serving
from reference_server.demo import BooksOfOthersError, load_demo, refuse_books_of_others

if TYPE_CHECKING:
    from tests.conftest import MakeDatabase
    from tests.server.conftest import Command, Running

EMAILS = [
    "admin@example.com",
    "loopnet-test-1@example.com",
    "loopnet-test-2@example.com",
    "sysadmin@example.com",
    "user@example.com",
]


def test_credentials(demo: dict[str, Any]) -> None:
    assert sorted(demo["sessions"]) == sorted(demo["user_ids"]) == EMAILS
    assert demo["user_ids"]["admin@example.com"] == "2d30c892-5140-48e9-87fa-899cbeb6c2fb"
    assert demo["user_ids"]["user@example.com"] == "123"
    assert list(demo["apps"]) == ["whatnot-autoprint"]
    assert sorted(demo["apps"]["whatnot-autoprint"]) == ["api_key", "app_id"]


def test_organisations(server: Running, demo: dict[str, Any]) -> None:
    session = demo["sessions"]["sysadmin@example.com"]
    for org_id, total, allocated in (("test-org-llm-001", 10_000, 5_000), ("test-loopnet", 10_000, 1_500)):
        pool = server.get(f"credits/{org_id}", bearer=session).json()
        assert (pool["total_credits"], pool["allocated_credits"]) == (total, allocated)


def test_members(server: Running, demo: dict[str, Any]) -> None:
    def standing(email: str) -> list[tuple[Any, ...]]:
        billing = server.get("billing/user", cookie=demo["sessions"][email]).json()
        names = ("org_id", "org_name", "role", "allocated_credits", "has_allocation")
        return [tuple(each[name] for name in names) for each in billing["organizations"]]

    assert standing("admin@example.com") == [
        ("test-org-llm-001", "LLM Test Organization", "owner", 5_000, True)
    ]
    assert standing("loopnet-test-1@example.com") == [
        ("test-loopnet", "test-loopnet", "member", 1_000, True),
        ("test-org-llm-001", "LLM Test Organization", "member", 0, False),
    ]
    assert standing("loopnet-test-2@example.com") == [("test-loopnet", "test-loopnet", "member", 500, True)]
    assert standing("user@example.com") == []


def test_loading_it_again_changes_secrets_only(database_url: str) -> None:
    first = load_demo(database_url)
    with psycopg.connect(database_url) as connection:
        # By hand in between: it is not undone.
        connection.execute(
            "update user_credit_allocations set allocated_credits = 7000 where user_id = %s",
            [first["user_ids"]["loopnet-test-2@example.com"]],
        )
        before = _books(connection)
    second = load_demo(database_url)
    with psycopg.connect(database_url) as connection:
        assert _books(connection) == before
    assert second["user_ids"] == first["user_ids"]
    assert second["service_api_key"] != first["service_api_key"]
    assert set(second["sessions"].values()).isdisjoint(first["sessions"].values())


def _books(connection: Any) -> list[Any]:
    queries = (
        "select id, total_credits from organizations join credit_pools on org_id = id order by id",
        "select org_id, user_id, allocated_credits from user_credit_allocations order by 1, 2",
        "select id, subject, email, credits from users order by id",
        "select org_id, user_id, role, is_default from organization_members order by 1, 2",
        "select org_id, subscription_plan from organization_subscriptions order by 1",
        "select id, name, scopes from api_keys",
        "select org_id, event_type, credits from org_billing_history order by 1, 2, 3",
    )
    return [connection.execute(query).fetchall() for query in queries]


def test_further_users_get_numbers_of_their_own(database_url: str) -> None:
    load_demo(database_url)
    load_demo(database_url)
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "insert into users (email) values ('new@example.com') returning id"
        ).fetchone()
    assert row is not None
    assert row[0] > 123


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')",
        "INSERT INTO users (subject, email) VALUES ('ada', 'ada@acme.example')",
    ],
    ids=["organisation", "user"],
)
def test_books_of_others_get_no_demonstration(
    command: Command, database_url: str, statement: LiteralString, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> NoReturn:
        pytest.fail("It serves.")

    monkeypatch.setattr(serving, "_run", run)
    with psycopg.connect(database_url) as connection:
        connection.execute(statement)
    for arguments, variables in (
        (["--database-url", database_url], {}),
        ([], {"DATABASE_URL": database_url}),
    ):
        code, out, err = command("serve", "--demo", "--port", "0", *arguments, **variables)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "leave --demo out" in err
    with psycopg.connect(database_url) as connection:
        known = connection.execute("SELECT count(*) FROM users WHERE password_hash IS NOT NULL").fetchone()
    assert known == (0,)


def test_tables_of_the_first_system_get_no_demonstration(make_database: MakeDatabase) -> None:
    url = make_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE organizations (id TEXT, name TEXT)")
        connection.execute("INSERT INTO organizations VALUES ('acme', 'Acme')")
    with pytest.raises(BooksOfOthersError):
        refuse_books_of_others(url)


def test_what_is_made_beside_the_demonstration_does_not_end_it(database_url: str) -> None:
    refuse_books_of_others(database_url)
    load_demo(database_url)
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        connection.execute("INSERT INTO users (subject, email) VALUES ('ada', 'ada@acme.example')")
    refuse_books_of_others(database_url)
    assert load_demo(database_url)["service_api_key"]
