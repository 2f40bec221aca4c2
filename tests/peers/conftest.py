"""Identity providers as processes of their own, and servers that trust them.

The providers are npm packages, installed once beside this file. Without Node.js these tests are
skipped: a machine with only git, make and Python runs the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from reference_server.app import create_app
from reference_server.serving import DrainingServer, server_config
from reference_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

HERE = Path(__file__).parent
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""To load the machine's certificates for each request takes longer than the request."""
NODE = (20, 19)


def _missing() -> str | None:
    """What this machine lacks, or None."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return program
    told = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    major, minor = map(int, re.findall(r"\d+", told)[:2])
    return (
        None if (major, minor) >= NODE else f"Node.js {NODE[0]}.{NODE[1]} or newer (this is {told.strip()})"
    )


@pytest.fixture(scope="session")
def packages() -> None:
    """The packages of package-lock.json are installed."""
    missing = _missing()
    if missing:
        pytest.skip(f"{missing} is missing here: the identity providers of these tests are npm packages")
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    with (HERE / "package.json").open() as file:
        # Several workers may come at once.
        fcntl.flock(file, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True)
            installed.touch()


@contextlib.contextmanager
def _peer(script: str, *arguments: str) -> Iterator[str]:
    """A provider, and its issuer; it ends when its standard input does, also if this process is killed."""
    process = subprocess.Popen(
        ["node", HERE / script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        yield json.loads(process.stdout.readline())["issuer"]
        process.communicate()


@dataclass(frozen=True)
class MockProvider:
    """oauth2-mock-server: signs whatever it is told to."""

    issuer: str
    http: httpx.Client

    def _control(self, path: str, **body: Any) -> Any:
        return self.http.post(f"{self.issuer}/control/{path}", json=body).json()

    def new_key(self, alg: str = "RS256") -> str:
        """Publish a key and return its id."""
        kid: str = self._control("keys", alg=alg)["kid"]
        return kid

    def retire(self, kid: str) -> None:
        self._control("retire", kid=kid)

    def requests(self, path: str) -> int:
        """How often an address was asked for."""
        count: int = self._control("requests").get(path, 0)
        return count

    def token(
        self,
        kid: str,
        *,
        header: dict[str, Any] | None = None,
        expires_in: int = 300,
        **claims: Any,
    ) -> str:
        """Return a token for the audience `credits`; a claim of None is left out."""
        given = {"aud": "credits", "sub": "ada"} | claims
        body = {"kid": kid, "header": header or {}, "claims": given, "expiresIn": expires_in}
        token: str = self._control("tokens", **body)["token"]
        return token

    def answer_next(self, status: int, changes: dict[str, Any]) -> None:
        """Change what the token endpoint answers next."""
        self._control("answer", status=status, changes=changes)

    def public_key(self, kid: str) -> dict[str, Any]:
        keys = self.http.get(f"{self.issuer}/jwks").json()["keys"]
        return next(key for key in keys if key["kid"] == kid)


@pytest.fixture(scope="module")
def mock_provider(packages: None) -> Iterator[MockProvider]:
    with _peer("mock_provider.mjs") as issuer, httpx.Client() as http:
        yield MockProvider(issuer, http)


@dataclass(frozen=True)
class Site:
    """A server of ours, where browsers reach it."""

    base_url: str
    settings: Settings

    def get(
        self, path: str, *, bearer: str | None = None, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        credential = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return httpx.get(self.base_url + path, headers=credential | (headers or {}), verify=NO_TLS, **more)

    def billing(self, bearer: str | None = None, **more: Any) -> httpx.Response:
        """The billing screen of whoever asks."""
        return self.get("/api/v1/org-billing/billing/user", bearer=bearer, **more)


class StartSite(Protocol):
    """Starts a server."""

    def __call__(self, **settings: Any) -> Site: ...


def address_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def _serving(settings: Settings, listener: socket.socket) -> Iterator[Site]:
    app = create_app(settings)
    server = DrainingServer(server_config(settings, app), app.state.traffic)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Site(address_of(listener), settings)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def peers_database(admin: Connection, postgres_url: str, migrated_template: str) -> Iterator[str]:
    name = f"credits_peers_{secrets.token_hex(8)}"
    statement = sql.SQL("create database {} template {}")
    admin.execute(statement.format(sql.Identifier(name), sql.Identifier(migrated_template)))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def database(peers_database: str) -> Iterator[Connection]:
    """A connection of the owner."""
    with psycopg.connect(peers_database, autocommit=True) as connection:
        yield connection


@contextlib.contextmanager
def _site(database_url: str, listener: socket.socket, settings: dict[str, Any]) -> Iterator[Site]:
    common = {"database_url": database_url, "public_url": address_of(listener)}
    given = {"safe_per_minute": 1_000_000, "refused_per_minute": 1_000_000, **common, **settings}
    with _serving(Settings(**given), listener) as running:
        yield running


class Join(Protocol):
    """Makes an organisation with a member and returns its id."""

    def __call__(self, user_id: str, role: str = "member") -> str: ...


@pytest.fixture(scope="module")
def join(database: Connection) -> Join:
    def make(user_id: str, role: str = "member") -> str:
        org_id = f"org-{secrets.token_hex(6)}"
        database.execute("insert into organizations (id, name) values (%s, %s)", [org_id, org_id])
        insert = "insert into organization_members (org_id, user_id, role) values (%s, %s, %s)"
        database.execute(insert, [org_id, user_id, role])
        return org_id

    return make


@pytest.fixture
def start_site(peers_database: str) -> Iterator[StartSite]:
    """Start servers with settings of one's own; they stop after the test."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Site:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            return stack.enter_context(_site(peers_database, listener, settings))

        yield start


@pytest.fixture(scope="module")
def kid(mock_provider: MockProvider) -> str:
    """One of the mock provider's keys."""
    return mock_provider.new_key()


@pytest.fixture
def site(start_site: StartSite, mock_provider: MockProvider) -> Site:
    """A server that trusts the mock provider."""
    return start_site(oidc_issuer=mock_provider.issuer, oidc_client_id="credits")


CONFIDENTIAL = {"oidc_client_id": "with-secret", "oidc_client_secret": "s/e+c:r%e t"}
PUBLIC = {"oidc_client_id": "public"}


@pytest.fixture(scope="module", params=[PUBLIC, CONFIDENTIAL], ids=["public client", "confidential client"])
def code_site(request: pytest.FixtureRequest, packages: None, peers_database: str) -> Iterator[Site]:
    """A server that is a client of oidc-provider."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = _client(address_of(listener), **request.param)
        with (
            _peer("code_provider.mjs", json.dumps([client])) as issuer,
            _site(peers_database, listener, {"oidc_issuer": issuer, **request.param}) as site,
        ):
            yield site


def _client(base_url: str, oidc_client_id: str, oidc_client_secret: str = "") -> dict[str, Any]:
    secret = {"client_secret": oidc_client_secret} if oidc_client_secret else {}
    return secret | {
        "client_id": oidc_client_id,
        "redirect_uris": [f"{base_url}/auth/callback"],
        "post_logout_redirect_uris": [f"{base_url}/"],
        "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
    }
