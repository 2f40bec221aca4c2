"""`credits serve` as a process: it logs in with the rights of an application, or says why it does not."""

from __future__ import annotations

import secrets
import signal
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from reference_server.credentials import create_api_key
from tests.server import test_serving
from tests.server.test_serving import CREDITS, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import MakeDatabase
    from tests.server.conftest import Connection
    from tests.server.test_serving import Serve

serve = test_serving.serve
LOGGED_IN = """
    SELECT DISTINCT usename::text, rolsuper OR rolbypassrls
    FROM pg_stat_activity JOIN pg_roles ON rolname = usename
    WHERE datname = current_database() AND application_name = 'credit-sdk'
"""


def refused(*arguments: str, **changes: str) -> str:
    """Run `credits serve`, which must fail; return the one line that says why."""
    command = [str(CREDITS), "serve", "--port", "0", *arguments]
    done = subprocess.run(
        command, env=environment(**changes), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line


def logged_in(database_url: str) -> list[tuple[Any, ...]]:
    """Return as whom a server talks to its database, and whether that is too much."""
    with psycopg.connect(database_url) as connection:
        return connection.execute(LOGGED_IN).fetchall()


def user_of(database_url: str) -> str:
    return str(conninfo_to_dict(database_url)["user"])


@pytest.fixture
def make_role(admin: Connection, database_url: str) -> Iterator[Callable[[str], str]]:
    """Makes a login role with some attributes and returns its URL of the test's database."""
    made: list[sql.Identifier] = []

    def make(attributes: str) -> str:
        name, password = f"role_{secrets.token_hex(6)}", secrets.token_hex(16)
        made.append(sql.Identifier(name))
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} {}")
        admin.execute(statement.format(made[-1], sql.Literal(password), sql.SQL(attributes)))
        parts = urlsplit(database_url)
        netloc = f"{name}:{password}@{parts.hostname}:{parts.port}"
        return parts._replace(netloc=netloc).geturl()

    yield make
    for role in made:
        admin.execute(sql.SQL("DROP ROLE {}").format(role))


def test_row_103_a_superuser_is_refused(database_url: str) -> None:
    line = refused("--database-url", database_url)
    assert f"logs in as the role {user_of(database_url)}, which is a superuser" in line
    assert "CREATE ROLE credits_server LOGIN PASSWORD '...' IN ROLE credits_app" in line
    assert "--allow-superuser" in line
    assert str(conninfo_to_dict(database_url).get("password")) not in line


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("SUPERUSER", "which is a superuser"),
        ("NOSUPERUSER BYPASSRLS IN ROLE credits_app", "which bypasses row security"),
        ("IN ROLE {owner}", "which may become {owner}, which is a superuser"),
    ],
)
def test_row_103_who_can_be_too_much_is_refused(
    make_role: Callable[[str], str], database_url: str, attributes: str, words: str
) -> None:
    owner = user_of(database_url)
    url = make_role(attributes.replace("{owner}", owner))
    assert f"the role {user_of(url)}, {words.replace('{owner}', owner)}" in refused(DATABASE_URL=url)


def test_what_the_refusal_advises_works(
    serve: Serve, make_role: Callable[[str], str], database_url: str
) -> None:
    url = make_role("IN ROLE credits_app")
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        key = create_api_key(owner, "any", ["manage_credits"])
    process = serve("--database-url", url)
    answer = httpx.post(
        f"{process.base_url}/api/v1/org-billing/credits/acme/add",
        params={"credits": 5},
        headers={"X-API-Key": key},
    )
    assert answer.json()["total_credits"] == 5
    assert logged_in(database_url) == [(user_of(url), False)]
    assert process.stop() == (0, f"Credits are served at {process.base_url} (stop with Ctrl+C).\n", "")


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [(["--allow-superuser"], {}), ([], {"CREDITS_ALLOW_SUPERUSER": "1"}), (["--demo"], {})],
    ids=["option", "variable", "demo"],
)
def test_a_superuser_serves_where_that_was_asked_for(
    serve: Serve, database_url: str, arguments: list[str], changes: dict[str, str]
) -> None:
    process = serve("--database-url", database_url, *arguments, **changes)
    assert process.report["database_url"] == database_url
    assert process.stop()[0] == 0


def test_the_owner_of_the_tables_serves_and_is_warned(
    serve: Serve, make_role: Callable[[str], str], database_url: str
) -> None:
    """As on a managed database, where nobody is a superuser."""
    url = make_role("IN ROLE credits_app")
    with psycopg.connect(database_url, autocommit=True) as owner:
        give = "ALTER TABLE credit_holds OWNER TO {}"
        owner.execute(sql.SQL(give).format(sql.Identifier(user_of(url))))
    code, _, err = serve("--database-url", url).stop()
    assert code == 0
    assert f"logs in as {user_of(url)}, which owns the tables" in err
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE credit_holds OWNER TO CURRENT_USER")


def test_with_a_database_of_its_own_the_server_is_no_superuser(serve: Serve, tmp_path: Path) -> None:
    for _ in range(2):
        process = serve("--data-directory", str(tmp_path / "data"))
        assert logged_in(process.report["database_url"]) == [("credits_server", False)]
        assert user_of(process.report["database_url"]) == "postgres"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(process.report["database_url"], user="credits_server")
        assert process.stop(signal.SIGINT)[0] == 0


def test_a_database_without_the_schema_is_the_owners_to_migrate(
    make_database: MakeDatabase, make_role: Callable[[str], str]
) -> None:
    empty = make_database()
    url = urlsplit(make_role("IN ROLE credits_app"))._replace(path=urlsplit(empty).path).geturl()
    line = refused("--database-url", url)
    assert "may not migrate the database" in line
    assert "run `credits migrate` with the owner's URL first" in line
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT to_regnamespace('ledger')").fetchone() == (None,)


def test_an_older_schema_is_the_owners_to_migrate(database_url: str, make_role: Callable[[str], str]) -> None:
    with psycopg.connect(database_url) as owner:
        owner.execute("UPDATE credit_sdk_migrations SET checksum = 'older' WHERE version = 0")
    assert "may not migrate the database" in refused(DATABASE_URL=make_role("IN ROLE credits_app"))
