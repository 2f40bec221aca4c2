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
    """Create an API key, for one organisation or for all, and return it; replace the key of that id."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        "INSERT INTO api_keys (id, key_digest, name, scopes, org_id, requests_per_minute)"
        " VALUES (%s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET key_digest = excluded.key_digest, revoked_at = NULL",
        [key_id or uuid4(), digest(key), name, list(scopes), org_id, requests_per_minute],
    )
    return key
