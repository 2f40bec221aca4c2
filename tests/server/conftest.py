"""A server on a real socket, and organisations of their own for the tests that change something."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import psycopg
import pytest
import redis
from psycopg import sql
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from sqlalchemy import make_url

from credit_sdk._connect import API_KEY_VARIABLES, URL_VARIABLES
from credit_sdk.backends.sql import SqlBackend
from credit_sdk.cli import main
from credit_sdk.operations import AddCredits, Allocate
from reference_server.app import create_app
from reference_server.credentials import create_api_key, open_session
from reference_server.demo import load_demo
from reference_server.serving import DrainingServer, server_config
from reference_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

API = "/api/v1/org-billing"


@dataclass(frozen=True)
class Running:
    """A server that answers, and how to speak to it."""

    base_url: str
    database_url: str
    settings: Settings
    http: httpx.Client

    def request(
        self,
        method: str,
        path: str,
        *,
        bearer: str | None = None,
        key: str | None = None,
        cookie: str | None = None,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Send a request; a path that does not start with a slash is one of the ledger's."""
        credentials = {
            "Authorization": bearer and f"Bearer {bearer}",
            "X-API-Key": key,
            "Cookie": cookie and f"session_token={cookie}",
        }
        given = {name: value for name, value in credentials.items() if value}
        url = path if path.startswith("/") else f"{API}/{path}"
        return self.http.request(method, self.base_url + url, headers=given | (headers or {}), **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more if json is None else {"json": json, **more})


class StartServer(Protocol):
    """Starts a server on the session's database, or on another."""

    def __call__(self, **settings: Any) -> Running: ...


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[Running]:
    app = create_app(settings)
    with socket.create_server((settings.host, 0)) as listener, httpx.Client(timeout=30) as http:
        server = DrainingServer(server_config(settings, app), app.state.traffic)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.start()
        try:
            yield Running(base_url, settings.database_url, settings, http)
        finally:
            http.close()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def server_database(admin: Connection, postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of the database that the session's server serves."""
    name = f"credits_server_{secrets.token_hex(8)}"
    statement = sql.SQL("create database {} template {}")
    admin.execute(statement.format(sql.Identifier(name), sql.Identifier(migrated_template)))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def demo(server_database: str) -> dict[str, Any]:
    """The credentials of the demonstration data."""
    return load_demo(server_database)


@pytest.fixture(scope="session")
def server(server_database: str, demo: dict[str, Any]) -> Iterator[Running]:
    """A server with the demonstration data, and with limits that no test meets."""
    assert demo
    settings = Settings(
        database_url=server_database,
        cors_origins=("https://app.example",),
        top_up_url="https://shop.example/buy?org={org_id}",
        unsafe_per_minute=1_000_000,
        safe_per_minute=1_000_000,
        refused_per_minute=1_000_000,
        key_cache_seconds=0,
        body_seconds=2,
    )
    with _running(settings) as running:
        yield running


@pytest.fixture
def start_server(server_database: str) -> Iterator[StartServer]:
    """Start servers with settings of one's own; they stop after the test."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Running:
            given = {"database_url": server_database, "key_cache_seconds": 0, **settings}
            return stack.enter_context(_running(Settings(**given)))

        yield start


@pytest.fixture(scope="session")
def database(server_database: str) -> Iterator[Connection]:
    """A connection of the owner to the server's database."""
    with psycopg.connect(server_database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def application_url(admin: Connection, database_url: str) -> Iterator[str]:
    """The test's database, for a login with the rights of an application."""
    name, password = f"server_{secrets.token_hex(6)}", secrets.token_hex(16)
    role = sql.Identifier(name)
    admin.execute(
        sql.SQL("create role {} login password {} in role credits_app").format(role, sql.Literal(password))
    )
    yield make_url(database_url).set(username=name, password=password).render_as_string(hide_password=False)
    admin.execute(sql.SQL("drop role {}").format(role))


@pytest.fixture(scope="session")
def owner_ledger(server_database: str) -> Iterator[SqlBackend]:
    """The ledger behind the server, directly."""
    backend = SqlBackend(server_database)
    yield backend
    backend.close()


class RedisServer:
    """A Redis of one's own, which ends with its standard input, also when this process is killed."""

    COMMAND = 'redis-server "$0" & echo $!; read -r _; kill -9 $!'

    def __init__(self, directory: Path) -> None:
        self.password = "hunter2-" + secrets.token_hex(8)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._configuration = directory / "redis.conf"
        settings = [f"port {self.port}", "bind 127.0.0.1", f"requirepass {self.password}", 'save ""']
        settings += [f"dir {directory}", f"logfile {directory / 'redis.log'}"]
        self._configuration.write_text("\n".join(settings))

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", self.COMMAND, self._configuration],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._shell.stdout
        self._pid = int(self._shell.stdout.readline())
        patient = Retry(ConstantBackoff(0.05), 600)
        with redis.Redis(port=self.port, password=self.password, retry=patient) as client:
            client.ping()

    def suspend(self) -> None:
        """Let it be there and not answer."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        self._shell.communicate()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that answers."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is missing here: these tests share limits between processes through it")
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@dataclass(frozen=True)
class Organization:
    """An organisation with a pool of 1,000 credits, of which each of its people has 100."""

    org_id: str
    users: dict[str, str] = field(default_factory=dict)
    """User ids by role; `outsider` is in another organisation."""
    sessions: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def member(self) -> str:
        return self.users["member"]

    def charge(self, /, **changes: Any) -> dict[str, Any]:
        """Return the body of a charge of the member."""
        body = {
            "org_id": self.org_id,
            "user_id": self.member,
            "credits": 5,
            "service_type": "contact_lookup",
        }
        return {name: value for name, value in (body | changes).items() if value is not ...}


class MakeOrganization(Protocol):
    """Makes an organisation that nobody else uses."""

    def __call__(self) -> Organization: ...


ROLES = ("owner", "admin", "billing_admin", "member")


def _make_organization(connection: Connection, ledger: SqlBackend) -> Organization:
    org_id = f"org-{secrets.token_hex(6)}"
    connection.execute("insert into organizations (id, name) values (%s, %s)", [org_id, f"Name of {org_id}"])
    ledger.execute(AddCredits(org_id=org_id, credits=Decimal(1000), purchase_amount=Decimal(1)))
    users = {role: f"{role}-of-{org_id}" for role in (*ROLES, "outsider", "colleague")}
    for role in (*ROLES, "colleague"):
        connection.execute(
            "insert into organization_members (org_id, user_id, role) values (%s, %s, %s)",
            [org_id, users[role], role if role in ROLES else "member"],
        )
        ledger.execute(Allocate(org_id=org_id, user_id=users[role], allocated_credits=Decimal(100)))
    sessions = {role: open_session(connection, user_id) for role, user_id in users.items()}
    sessions["system_admin"] = open_session(connection, f"root-of-{org_id}", is_system_admin=True)
    return Organization(org_id, users, sessions, _make_keys(connection, org_id))


def _make_keys(connection: Connection, org_id: str) -> dict[str, str]:
    return {
        "consume": create_api_key(connection, "consume", ["consume_credits"], org_id=org_id),
        "read": create_api_key(connection, "read", ["read_credits"], org_id=org_id),
        "manage": create_api_key(connection, "manage", ["manage_credits"], org_id=org_id),
        "none": create_api_key(connection, "none", [], org_id=org_id),
        "everywhere": create_api_key(connection, "everywhere", ["consume_credits"]),
    }


@pytest.fixture(scope="session")
def make_organization(database: Connection, owner_ledger: SqlBackend) -> MakeOrganization:
    return lambda: _make_organization(database, owner_ledger)


@pytest.fixture
def organization(make_organization: MakeOrganization) -> Organization:
    """An organisation that only this test uses."""
    return make_organization()


@pytest.fixture(scope="module")
def shared_organization(make_organization: MakeOrganization) -> Organization:
    """An organisation for tests that change nothing that others look at."""
    return make_organization()


class Command(Protocol):
    """Runs the command line in this process; returns exit code, output and errors."""

    def __call__(self, *arguments: str, **environment: str) -> tuple[int, str, str]: ...


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(*arguments: str, **changes: str) -> tuple[int, str, str]:
        for name in (*URL_VARIABLES, *API_KEY_VARIABLES):
            monkeypatch.delenv(name, raising=False)
        for name, value in changes.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["credits", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
