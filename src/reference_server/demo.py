"""The demonstration data of SPEC section 9: fixed ids, fresh secrets, loaded as often as one likes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from credit_sdk.backends.sql import SqlBackend
from credit_sdk.models import Role
from credit_sdk.operations import AddCredits, Allocate, GrantCredits
from reference_server.callers import APP_PERMISSIONS, CONSUME, READ
from reference_server.credentials import Connection, create_api_key, open_session, register_app
from reference_server.passwords import hash_password

ADMIN = "2d30c892-5140-48e9-87fa-899cbeb6c2fb"
LOOPNET_1 = "7b1f6c1e-52a4-4d0f-9c3e-0c5a4e1d0001"
LOOPNET_2 = "7b1f6c1e-52a4-4d0f-9c3e-0c5a4e1d0002"
SYSTEM_ADMIN = "7b1f6c1e-52a4-4d0f-9c3e-0c5a4e1d0009"
CUSTOMER = "123"
SERVICE_KEY_ID = UUID("7b1f6c1e-52a4-4d0f-9c3e-0c5a4e1d00aa")
APP = "whatnot-autoprint"
LLM_ORG = "test-org-llm-001"
LOOPNET_ORG = "test-loopnet"


@dataclass(frozen=True, slots=True)
class _User:
    email: str
    name: str
    user_type: str = "customer"
    id: int | None = None
    password: str | None = None
    credits: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Organization:
    name: str
    display_name: str
    slug: str
    members: dict[str, Role]
    credits: Decimal = Decimal(10_000)
    allocations: dict[str, Decimal] = field(default_factory=dict)


_USERS: dict[str, _User] = {
    ADMIN: _User("admin@example.com", "Ada Admin"),
    LOOPNET_1: _User("loopnet-test-1@example.com", "LoopNet Test 1"),
    LOOPNET_2: _User("loopnet-test-2@example.com", "LoopNet Test 2"),
    SYSTEM_ADMIN: _User("sysadmin@example.com", "System Administrator", user_type="admin"),
    CUSTOMER: _User("user@example.com", "Example User", id=123, password="password123", credits=Decimal(100)),  # noqa: S106 - SPEC 9
}
_ORGANIZATIONS: dict[str, _Organization] = {
    LLM_ORG: _Organization(
        name="LLM Test Organization",
        display_name="LLM Test Organization",
        slug="llm-test-org",
        members={ADMIN: "owner", LOOPNET_1: "member"},
        allocations={ADMIN: Decimal(5_000)},
    ),
    LOOPNET_ORG: _Organization(
        name="test-loopnet",
        display_name="LoopNet Test Organization",
        slug="test-loopnet",
        members={LOOPNET_1: "member", LOOPNET_2: "member"},
        allocations={LOOPNET_1: Decimal(1_000), LOOPNET_2: Decimal(500)},
    ),
}
_DEFAULT_ORGANIZATIONS = {ADMIN: LLM_ORG, LOOPNET_1: LOOPNET_ORG, LOOPNET_2: LOOPNET_ORG}


_PACKAGES = (
    ("starter", "Starter", Decimal(1_000), 1_000, None),
    ("standard", "Standard", Decimal(5_000), 4_500, None),
    ("monthly", "Monthly", Decimal(5_000), 4_000, "month"),
)
"""Id, name, credits, price in cents, and how often it renews. `credits packages sync` makes their prices."""


_FOREIGN = """
    WITH owner AS (SELECT to_jsonb(present) AS fields FROM {} AS present)
    SELECT 1 FROM owner
    WHERE NOT coalesce(fields ->> %(key)s = ANY(%(known)s), FALSE)
    AND coalesce((fields ->> 'created_at')::timestamptz, '-infinity') < (
      SELECT coalesce(min((fields ->> 'created_at')::timestamptz), 'infinity')
      FROM owner WHERE fields ->> %(key)s = ANY(%(known)s)
    ) LIMIT 1
"""
"""Rows read as JSON, since the tables may still be those of the first system."""


class BooksOfOthersError(Exception):
    """The database has books of its own, in which demonstration data has no place."""


def refuse_books_of_others(database_url: str) -> None:
    """Raise `BooksOfOthersError` if there was an organisation or a user before the demonstration's own.

    Its password is known to everybody. What is made beside its data later is no reason to refuse.
    """
    owners = {"organizations": ("id", list(_ORGANIZATIONS)), "users": ("email", [*_emails()])}
    with psycopg.connect(database_url, prepare_threshold=None) as connection:
        for table, (key, known) in owners.items():
            if connection.execute("SELECT to_regclass(%s)", [f"public.{table}"]).fetchone() == (None,):
                continue
            statement = sql.SQL(_FOREIGN).format(sql.Identifier("public", table))
            if connection.execute(statement, {"key": key, "known": known}).fetchone():
                raise BooksOfOthersError(
                    f"--demo loads {table} with a password that everybody knows, and this database has "
                    f"{table} of its own: leave --demo out, or name an empty database (without "
                    "--database-url and DATABASE_URL an embedded one is made)."
                )


def _emails() -> Iterator[str]:
    return (user.email for user in _USERS.values())


def load_demo(database_url: str) -> dict[str, Any]:
    """Load what of the data is missing and return fresh `credentials`. The URL is the owner's."""
    # A pooler gives the session, with what is prepared in it, to others.
    with psycopg.connect(database_url, prepare_threshold=None) as connection:
        for subject, user in _USERS.items():
            _load_user(connection, subject, user)
        _number_on(connection)
        for org_id, organization in _ORGANIZATIONS.items():
            _load_organization(connection, org_id, organization)
        _load_packages(connection)
        credentials = _issue(connection)
    _load_credits(database_url)
    return credentials


def _load_user(connection: Connection, subject: str, user: _User) -> None:
    password_hash = hash_password(user.password) if user.password else None
    connection.execute(
        "INSERT INTO users (id, subject, email, name, user_type, password_hash) VALUES"
        " (COALESCE(%s, nextval(pg_get_serial_sequence('users', 'id'))), %s, %s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING",
        [user.id, subject, user.email, user.name, user.user_type, password_hash],
    )


def _number_on(connection: Connection) -> None:
    """Give further users numbers beyond the fixed ones."""
    connection.execute(
        "SELECT setval(sequence, greatest(nextval(sequence), (SELECT max(id) FROM users)))"
        " FROM pg_get_serial_sequence('users', 'id') AS sequence"
    )


def _load_organization(connection: Connection, org_id: str, organization: _Organization) -> None:
    connection.execute(
        "INSERT INTO organizations (id, name, display_name, slug, plan_tier)"
        " VALUES (%s, %s, %s, %s, 'platform') ON CONFLICT DO NOTHING",
        [org_id, organization.name, organization.display_name, organization.slug],
    )
    connection.execute(
        "INSERT INTO organization_subscriptions (org_id, subscription_plan, monthly_price)"
        " VALUES (%s, 'platform', 50) ON CONFLICT DO NOTHING",
        [org_id],
    )
    for user_id, role in organization.members.items():
        connection.execute(
            "INSERT INTO organization_members (org_id, user_id, role, is_default) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [org_id, user_id, role, _DEFAULT_ORGANIZATIONS[user_id] == org_id],
        )


def _register(connection: Connection) -> str:
    """Register the application of the integration guide, with the permissions that the guide selects."""
    return register_app(
        connection, APP, "Whatnot Autoprint", APP_PERMISSIONS, domain="whatnot-autoprint.example"
    )


def _load_packages(connection: Connection) -> None:
    for package_id, name, credits, price_cents, renews_every in _PACKAGES:
        connection.execute(
            "INSERT INTO credit_packages (id, name, credits, price_cents, renews_every)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [package_id, name, credits, price_cents, renews_every],
        )


def _load_credits(database_url: str) -> None:
    """Grant and allocate under fixed request ids, which do it once."""
    backend = SqlBackend(database_url, pool_size=1)
    try:
        for subject, user in _USERS.items():
            if user.credits:
                _grant(backend, subject, user.credits)
        for org_id, organization in _ORGANIZATIONS.items():
            backend.execute(
                AddCredits(org_id=org_id, credits=organization.credits, request_id=f"demo:{org_id}:pool")
            )
            for user_id, credits in organization.allocations.items():
                backend.execute(
                    Allocate(
                        org_id=org_id,
                        user_id=user_id,
                        allocated_credits=credits,
                        allocated_by=SYSTEM_ADMIN,
                        request_id=f"demo:{org_id}:{user_id}",
                    )
                )
    finally:
        backend.close()


def _grant(backend: SqlBackend, subject: str, credits: Decimal) -> None:
    backend.execute(
        GrantCredits(
            user_id=subject,
            credits=credits,
            description="Demonstration credits",
            admin_id=SYSTEM_ADMIN,
            request_id=f"demo:{subject}:credits",
        )
    )


def _issue(connection: Connection) -> dict[str, Any]:
    return {
        "sessions": {user.email: open_session(connection, subject) for subject, user in _USERS.items()},
        "service_api_key": create_api_key(connection, "demo service", [CONSUME, READ], key_id=SERVICE_KEY_ID),
        "apps": {APP: {"app_id": APP, "api_key": _register(connection)}},
        "user_ids": {user.email: subject for subject, user in _USERS.items()},
    }
