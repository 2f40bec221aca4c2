"""Making sessions and API keys. The secret is told once; the database keeps its digest.

These run as the database's owner, on a connection of their own: the server's role can only look
callers up.
"""

import secrets
from collections.abc import Collection
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg

from credit_sdk.errors import NotFoundError

SESSION_PREFIX = "cst_"
KEY_PREFIX = "csk_"
SESSION_TTL = timedelta(hours=24)

Connection = psycopg.Connection[tuple[Any, ...]]


def digest(token: str) -> bytes:
    """Return what the database keeps of a token: enough to recognise 256 random bits by, no more."""
    return sha256(token.encode()).digest()


def open_session(
    connection: Connection, user_id: str, *, is_system_admin: bool = False, ttl: timedelta = SESSION_TTL
) -> str:
    """Open a session of a user and return its token."""
    token = SESSION_PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO auth_sessions (token_digest, user_id, is_system_admin, expires_at)"
        " VALUES (%s, %s, %s, ledger.now() + %s)",
        [digest(token), user_id, is_system_admin, ttl],
    )
    return token


def create_api_key(
    connection: Connection,
    name: str,
    scopes: Collection[str],
    *,
    org_id: str | None = None,
    requests_per_minute: int | None = None,
    key_id: UUID | None = None,
) -> str:
    """Create an API key, for one organisation or for all, and return it; replace the key of that id.

    Raises `NotFoundError` for an organisation that does not exist.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    try:
        connection.execute(
            "INSERT INTO api_keys (id, key_digest, name, scopes, org_id, requests_per_minute)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (id) DO UPDATE SET key_digest = excluded.key_digest, revoked_at = NULL",
            [key_id or uuid4(), digest(key), name, list(scopes), org_id, requests_per_minute],
        )
    except psycopg.errors.ForeignKeyViolation:
        raise NotFoundError(f"There is no organisation {org_id!r}.") from None
    return key


def register_app(
    connection: Connection,
    app_id: str,
    name: str,
    permissions: Collection[str],
    *,
    domain: str | None = None,
    key_required: bool = False,
) -> str:
    """Register an application, or change it, and return its new API key."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO app_integrations"
        " (app_id, app_name, app_domain, api_key_hash, api_key_required, permissions)"
        " VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (app_id) DO UPDATE SET app_name = excluded.app_name, app_domain = excluded.app_domain,"
        " api_key_hash = excluded.api_key_hash, api_key_required = excluded.api_key_required,"
        " permissions = excluded.permissions",
        [app_id, name, domain, digest(key), key_required, list(permissions)],
    )
    return key


def rotate_signing_key(connection: Connection, kid: str, private_key: str, public_key: str) -> None:
    """Let a new key sign the tokens of applications' users; what older ones have signed stays valid."""
    connection.execute("UPDATE cross_app_signing_keys SET retired_at = ledger.now() WHERE retired_at IS NULL")
    connection.execute(
        "INSERT INTO cross_app_signing_keys (kid, private_key, public_key) VALUES (%s, %s, %s)",
        [kid, private_key, public_key],
    )


def is_known(connection: Connection, user_id: str) -> bool:
    """Whether somebody has that id: in the table of users, or as a member of an organisation."""
    found = connection.execute(
        "SELECT FROM users WHERE subject = %(id)s"
        " UNION ALL SELECT FROM organization_members WHERE user_id = %(id)s"
        " UNION ALL SELECT FROM user_credit_allocations WHERE user_id = %(id)s LIMIT 1",
        {"id": user_id},
    )
    return found.fetchone() is not None
