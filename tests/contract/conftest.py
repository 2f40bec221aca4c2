"""The contract on what this package has: memory, direct SQL and HTTP, blocking and awaiting.

Direct SQL runs with the rights of an application, on one database for the whole session, whose clock
is this package's own function replaced by one that can be moved. HTTP is a real server on a real socket
over the same database. Tests share them, each in organisations of its own.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest
import uvicorn
from anyio.from_thread import start_blocking_portal
from psycopg import sql

from credit_sdk import (
    AsyncBillingClient,
    AsyncCreditDeductionService,
    AsyncCreditSDK,
    BillingClient,
    CreditDeductionService,
    CreditSDK,
    MemoryLedger,
)
from credit_sdk.amounts import parse_credits, to_millicredits
from credit_sdk.backends._postgres_errors import statement_error
from credit_sdk.backends.sql import SqlBackend
from credit_sdk.contract import Harness, blocking, blocking_client, blocking_sdk
from credit_sdk.operations import (
    AddCredits,
    AddMember,
    Allocate,
    CancelSubscription,
    CreateSubscription,
    GetOrganizationBilling,
    GetProof,
    GetSubscription,
    GetSystemBilling,
    GrantCredits,
    ListBillingHistory,
    ListCaps,
    ListMembers,
    ListOrganizations,
    ListSubscriptions,
    SetCap,
    UpdateSubscription,
    UpgradeSubscription,
)
from credit_sdk.wire import ADDRESS_OF
from reference_server.app import create_app
from reference_server.credentials import create_api_key, open_session
from reference_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio.from_thread import BlockingPortal

    from credit_sdk.amounts import Amount
    from credit_sdk.models import Role
    from credit_sdk.operations import Operation

    Connection = psycopg.Connection[tuple[Any, ...]]
    Serve = Callable[..., CreditDeductionService]

BACKENDS = ("memory", "sql", "http")
COLOURS = ("blocking", "awaiting")
ADMINISTRATION = (
    AddCredits, Allocate, GetProof,
    AddMember, ListMembers, ListOrganizations,
    SetCap, ListCaps,
    CreateSubscription, GetSubscription, ListSubscriptions, UpdateSubscription, UpgradeSubscription,
    CancelSubscription, GetOrganizationBilling, GetSystemBilling, ListBillingHistory,
    GrantCredits,
)  # fmt: skip
A_CENTURY = timedelta(days=36_500)
A_LOT = 1_000_000

MOVABLE_CLOCK = """
    CREATE SCHEMA movable_clock;
    CREATE TABLE movable_clock.ahead (by INTERVAL NOT NULL);
    INSERT INTO movable_clock.ahead VALUES ('0');
    GRANT USAGE ON SCHEMA movable_clock TO credits_app;
    GRANT SELECT ON movable_clock.ahead TO credits_app;
    CREATE OR REPLACE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE
    RETURN clock_timestamp() + (SELECT ahead.by FROM movable_clock.ahead AS ahead);
"""


class Clock:
    """The present, as far ahead as it was moved."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Owner:
    """The administrator of a database: the documents' plain SQL, as its owner."""

    connection: Connection
    backend: SqlBackend

    def add_organization(self, org_id: str, name: str | None = None, *, credits: Amount = 0) -> None:
        self._execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", org_id, name or org_id)
        self._execute("INSERT INTO credit_pools (org_id) VALUES (%s)", org_id)
        if credits:
            self.backend.execute(AddCredits(org_id=org_id, credits=parse_credits(credits)))

    def add_member(
        self,
        org_id: str,
        user_id: str,
        *,
        role: Role = "member",
        is_default: bool = False,
        allocated: Amount | None = None,
        email: str | None = None,
    ) -> None:
        self._execute(
            "INSERT INTO organization_members (org_id, user_id, role, is_default) VALUES (%s, %s, %s, %s)",
            org_id, user_id, role, is_default,
        )  # fmt: skip
        if email is not None:
            self._execute("INSERT INTO users (subject, email) VALUES (%s, %s)", user_id, email)
        if allocated is not None:
            credits = parse_credits(allocated)
            self.backend.execute(Allocate(org_id=org_id, user_id=user_id, allocated_credits=credits))

    def set_allocation(self, org_id: str, user_id: str, credits: Amount) -> None:
        statement = (
            "UPDATE user_credit_allocations SET allocated_credits = %s WHERE org_id = %s AND user_id = %s"
        )
        try:
            self._execute(statement, to_millicredits(parse_credits(credits)), org_id, user_id)
        except psycopg.Error as error:
            raise statement_error(error, "test", 1_000) from error

    def deactivate(self, org_id: str, user_id: str) -> None:
        statement = "UPDATE user_credit_allocations SET is_active = FALSE WHERE org_id = %s AND user_id = %s"
        self._execute(statement, org_id, user_id)

    def suspend(self, org_id: str) -> None:
        self._execute("UPDATE organizations SET status = 'suspended' WHERE id = %s", org_id)

    def set_overage(self, org_id: str, limit: Amount | None) -> None:
        statement = "UPDATE credit_pools SET allow_overage = %s, overage_limit = %s WHERE org_id = %s"
        self._execute(
            statement, limit is not None, to_millicredits(parse_credits(limit)) if limit else 0, org_id
        )

    def set_seats(self, org_id: str, seats: int) -> None:
        self._execute("UPDATE organizations SET max_seats = %s WHERE id = %s", seats, org_id)

    def set_refresh(self, org_id: str, credits: Amount, *, days: float) -> None:
        statement = (
            "UPDATE credit_pools SET monthly_refresh_amount = %s, next_refresh_date = ledger.now() + %s"
            " WHERE org_id = %s"
        )
        self._execute(statement, to_millicredits(parse_credits(credits)), timedelta(days=days), org_id)

    def add_user(self, user_id: str, *, credits: Amount = 0) -> None:
        statement = (
            "INSERT INTO users (id, email) VALUES (%s, %s)"
            if user_id.isdecimal()
            else "INSERT INTO users (subject, email) VALUES (%s, %s)"
        )
        self._execute(statement, user_id, f"{user_id}@users.invalid")
        if credits:
            self.backend.execute(GrantCredits(user_id=user_id, credits=parse_credits(credits)))

    def switch_off(self, user_id: str) -> None:
        self._execute("UPDATE users SET is_active = FALSE WHERE %s IN (subject, id::text)", user_id)

    def open_session(self, user_id: str) -> str:
        return open_session(self.connection, user_id)

    def open_holds(self) -> list[UUID]:
        statement = "SELECT id FROM credit_holds WHERE status = 'held'"
        return [row[0] for row in self.connection.execute(statement)]

    def open_balance_holds(self) -> list[UUID]:
        statement = "SELECT id FROM user_credit_holds WHERE status = 'held'"
        return [row[0] for row in self.connection.execute(statement)]

    def advance(self, seconds: float) -> None:
        self._execute("UPDATE movable_clock.ahead SET by = by + %s", timedelta(seconds=seconds))

    def _execute(self, statement: str, *values: object) -> None:
        self.connection.execute(statement.encode(), values)


@dataclass(frozen=True)
class Server:
    """A running server and the credentials of an application and of an administrator."""

    url: str
    api_key: str
    api_key_id: UUID
    admin_session: str


@pytest.fixture(scope="session")
def books_url(admin: Connection, migrated_template: str, postgres_url: str) -> Iterator[str]:
    """The owner's URL of the database that all tests of the contract share."""
    name = sql.Identifier(f"credits_contract_{secrets.token_hex(8)}")
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(migrated_template)))
    yield urlsplit(postgres_url)._replace(path=f"/{name._obj[0]}").geturl()
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="session")
def owner(books_url: str) -> Iterator[Owner]:
    backend = SqlBackend(books_url)
    with psycopg.connect(books_url, autocommit=True) as connection:
        connection.execute(MOVABLE_CLOCK)
        yield Owner(connection, backend)
    backend.close()


@pytest.fixture(scope="session")
def app_url(books_url: str, owner: Owner) -> str:
    """The URL with the rights of an application: it executes functions and reads."""
    separator = "&" if "?" in books_url else "?"
    return f"{books_url}{separator}options={quote('-c role=credits_app')}"


@pytest.fixture(scope="session")
def server(app_url: str, owner: Owner) -> Iterator[Server]:
    settings = Settings(
        database_url=app_url, safe_per_minute=A_LOT, unsafe_per_minute=A_LOT, sweep_seconds=86_400
    )
    key_id = uuid4()
    with serving(settings) as url:
        yield Server(
            url,
            api_key=create_api_key(
                owner.connection, "contract", ["consume_credits", "manage_credits"], key_id=key_id
            ),
            api_key_id=key_id,
            admin_session=open_session(owner.connection, "admin", is_system_admin=True, ttl=A_CENTURY),
        )


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Run a server in a thread and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(settings), log_level="warning", lifespan="on", ws="none")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not running.started and thread.is_alive():
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@dataclass(frozen=True)
class Colour:
    """How services and clients of one colour are made; all of them block."""

    service: Serve
    client: Callable[..., BillingClient]
    sdk: Callable[..., CreditSDK]


@pytest.fixture(scope="session")
def colours(portal: BlockingPortal) -> Iterator[dict[str, Colour]]:
    made: list[CreditDeductionService | BillingClient | CreditSDK] = []

    def keep(thing: Any) -> Any:
        made.append(thing)
        return thing

    yield {
        "blocking": Colour(
            lambda *args, **kwargs: keep(CreditDeductionService(*args, **kwargs)),
            lambda *args, **kwargs: keep(BillingClient(*args, **kwargs)),
            lambda *args, **kwargs: keep(CreditSDK(*args, **kwargs)),
        ),
        "awaiting": Colour(
            lambda *args, **kwargs: keep(blocking(AsyncCreditDeductionService(*args, **kwargs), portal)),
            lambda *args, **kwargs: keep(blocking_client(AsyncBillingClient(*args, **kwargs), portal)),
            lambda *args, **kwargs: keep(blocking_sdk(AsyncCreditSDK(*args, **kwargs), portal)),
        ),
    }
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def harnesses(request: pytest.FixtureRequest, colours: dict[str, Colour]) -> Callable[[str, str], Harness]:
    """Makes the harness of a backend in a colour, once."""
    made: dict[tuple[str, str], Harness] = {}

    def make(backend: str, colour: str) -> Harness:
        if (backend, colour) not in made:
            made[backend, colour] = _MAKERS[backend](request, colours[colour])
        return made[backend, colour]

    return make


def _memory(_: pytest.FixtureRequest, colour: Colour) -> Harness:
    clock = Clock()
    books = MemoryLedger(now=clock.now)
    billing = colour.service(books)
    return Harness(books, billing, billing.execute, clock.advance, colour.client(books), colour.sdk(books))


def _sql(request: pytest.FixtureRequest, colour: Colour) -> Harness:
    owner: Owner = request.getfixturevalue("owner")
    app_url: str = request.getfixturevalue("app_url")
    billing = colour.service(app_url)
    return Harness(
        owner, billing, billing.execute, owner.advance, colour.client(app_url), colour.sdk(app_url)
    )


def _http(request: pytest.FixtureRequest, colour: Colour) -> Harness:
    server: Server = request.getfixturevalue("server")
    over_sql = _sql(request, colour)
    billing = colour.service(server.url, api_key=server.api_key)
    managing = colour.service(server.url, bearer_token=server.admin_session)
    client = colour.client(server.url, bearer_token=server.admin_session)
    sdk = colour.sdk(server.url, api_key=server.api_key)

    def carry_out(operation: Operation[Any]) -> Any:
        if type(operation) not in ADDRESS_OF:
            return over_sql.execute(operation)
        service = managing if isinstance(operation, ADMINISTRATION) else billing
        return service.execute(operation)

    own_key = str(server.api_key_id)
    return replace(over_sql, billing=billing, carry_out=carry_out, client=client, sdk=sdk, own_key=own_key)


_MAKERS = {"memory": _memory, "sql": _sql, "http": _http}


@pytest.fixture(params=[f"{backend}-{colour}" for backend in BACKENDS for colour in COLOURS])
def ledger(request: pytest.FixtureRequest, harnesses: Callable[[str, str], Harness]) -> Harness:
    backend, _, colour = request.param.partition("-")
    return harnesses(backend, colour)
