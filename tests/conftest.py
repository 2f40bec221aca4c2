"""One PostgreSQL for the whole run, and a database of its own for each test that asks for one.

The server is `DATABASE_URL`'s, or an embedded one that is started when it is first needed.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
from psycopg import sql

from reference_server.embedded import EmbeddedPostgres
from reference_server.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    Admin = psycopg.Connection[tuple[Any, ...]]

_SERVER = pytest.StashKey[EmbeddedPostgres]()
_MIGRATING = 0x74657374  # an advisory lock: roles belong to the server, so migrations of two databases meet

hypothesis.settings.register_profile("quick", deadline=None)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("CREDITS_TEST_PROFILE", "quick"))


class MakeDatabase(Protocol):
    """Creates a database, empty or a copy of `template`, and returns its URL."""

    def __call__(self, template: str | None = None) -> str: ...


def _server_url(config: pytest.Config) -> str:
    given = os.environ.get("DATABASE_URL")
    if given:
        return given
    if _SERVER not in config.stash:
        server = EmbeddedPostgres()
        server.start()
        config.stash[_SERVER] = server
    return config.stash[_SERVER].url()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hand each xdist worker the URL of the controller's server."""
    node.workerinput["postgres_url"] = _server_url(node.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SERVER in config.stash:
        config.stash[_SERVER].stop()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database whose user may create others."""
    from_controller: str | None = getattr(request.config, "workerinput", {}).get("postgres_url")
    return from_controller or _server_url(request.config)


@pytest.fixture(scope="session")
def admin(postgres_url: str) -> Iterator[Admin]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def make_database(admin: Admin, postgres_url: str) -> Iterator[MakeDatabase]:
    made: list[str] = []

    def make(template: str | None = None) -> str:
        made.append(_create_database(admin, template))
        return _on_database(postgres_url, made[-1])

    yield make
    for name in made:
        _drop_database(admin, name)


@pytest.fixture(scope="session")
def migrated_template(admin: Admin, postgres_url: str) -> Iterator[str]:
    """The name of a database with the schema and no data, to be copied, not used."""
    name = _create_database(admin)
    admin.execute("select pg_advisory_lock(%s)", [_MIGRATING])
    try:
        migrate(_on_database(postgres_url, name))
    finally:
        admin.execute("select pg_advisory_unlock(%s)", [_MIGRATING])
    yield name
    _drop_database(admin, name)


@pytest.fixture
def database_url(make_database: MakeDatabase, migrated_template: str) -> str:
    """The URL of a fresh database with the schema and no data."""
    return make_database(migrated_template)


def _on_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/{name}{query}"


def _create_database(admin: Admin, template: str | None = None) -> str:
    name = f"credits_test_{secrets.token_hex(8)}"
    statement = sql.SQL("create database {} template {}")
    admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template0")))
    return name


def _drop_database(admin: Admin, name: str) -> None:
    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
