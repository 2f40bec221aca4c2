"""What the database knows of users and sessions: the functions of its schema `identity`.

The server's role can call these and cannot write the tables behind them.
"""

import secrets
from typing import Any

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import CreditError, InvalidTokenError, UnavailableError
from reference_server.credentials import SESSION_PREFIX, SESSION_TTL, digest

_FIND_CALLER = "SELECT identity.find_caller($1)"
_RECOGNISE = "SELECT identity.recognise($1, $2, $3)"
_OPEN_SESSION = "SELECT identity.open_session($1, $2, $3, $4, $5)"
_CLOSE_SESSION = "SELECT identity.close_session($1)"

Found = dict[str, Any] | None


async def find_caller(backend: AsyncSqlBackend, token_digest: bytes) -> Found:
    """Return whose session or API key it is; None when it is not known."""
    found: Found = await ask(backend, _FIND_CALLER, token_digest)
    return found


async def recognise(backend: AsyncSqlBackend, subject: str, email: str | None, name: str | None) -> Found:
    """Return who the identity provider's subject is here; None for someone who was switched off."""
    found: Found = await ask(backend, _RECOGNISE, subject, email, name)
    return found


async def open_session(
    backend: AsyncSqlBackend, user_id: str, *, is_system_admin: bool, password_hash: str | None = None
) -> str:
    """Open a session of a user and return its token.

    Raises `InvalidTokenError` if `password_hash` is no longer the user's.
    """
    token = SESSION_PREFIX + secrets.token_urlsafe(32)
    seconds = int(SESSION_TTL.total_seconds())
    if not await ask(backend, _OPEN_SESSION, digest(token), user_id, is_system_admin, seconds, password_hash):
        raise InvalidTokenError
    return token


async def close_session(backend: AsyncSqlBackend, token: str) -> None:
    """End the session of a token, if it is one's."""
    await ask(backend, _CLOSE_SESSION, digest(token))


async def ask(backend: AsyncSqlBackend, statement: str, *parameters: object) -> Any:
    """Return the value of a statement that commits by itself, in one round trip; `$1` is the first parameter.

    Raises `UnavailableError`.
    """
    try:
        return await backend.ask(statement, *parameters)
    except CreditError as error:
        reason = type(error.__cause__ or error).__name__
        raise UnavailableError(f"The database cannot be asked ({reason}).") from error
