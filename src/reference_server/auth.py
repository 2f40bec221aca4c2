"""Finding out who is calling, in at most one round trip to the database.

Credentials are 256 random bits; the database keeps only their SHA-256 and finds it by index, so
that neither a copy of the tables nor the time of an answer helps to guess one. API keys are
believed for a few seconds without asking again (`Settings.key_cache_seconds`); sessions never.
"""

import asyncio
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal, Protocol

from starlette.requests import Request

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import InvalidTokenError, NotAuthenticatedError, TokenExpiredError
from credit_sdk.wire import API_KEY_HEADER, SESSION_COOKIE
from reference_server.callers import ApiKey, Caller, Session
from reference_server.headers import header_values
from reference_server.identities import find_caller
from reference_server.remembering import Remembered

LONGEST_TOKEN = 8_192
"""An access token of an identity provider carries its user's roles; our own are short."""
_JWT_DOTS = 2
_API_KEY = API_KEY_HEADER.lower().encode()


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request says to prove who sent it, and where it says so."""

    token: str
    place: Literal["bearer", "key", "cookie"]


def credential_of(request: Request) -> Credential:
    """Return the request's credential; what is said explicitly goes before the cookie.

    Raises `NotAuthenticatedError` when there is none, `InvalidTokenError` when there are several.
    """
    explicit = [_bearer(value) for value in header_values(request.scope, b"authorization")]
    explicit += [Credential(value.strip(), "key") for value in header_values(request.scope, _API_KEY)]
    cookie = None if explicit else request.cookies.get(SESSION_COOKIE)
    if not explicit and not cookie:
        raise NotAuthenticatedError
    credential = explicit[0] if explicit else Credential(cookie or "", "cookie")
    if len(explicit) > 1 or not 0 < len(credential.token) <= LONGEST_TOKEN or not credential.token.isascii():
        raise InvalidTokenError
    return credential


def _bearer(value: str) -> Credential:
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError("The Authorization header must be a bearer token.")
    return Credential(token.strip(), "bearer")


class AccessTokens(Protocol):
    """What reads the access tokens of an identity provider."""

    async def session_of(self, token: str) -> Session:
        """Return whose token it is; raise what `Authenticator.caller_of` raises."""
        ...


@dataclass(slots=True)
class Authenticator:
    """Knows the callers behind credentials."""

    backend: AsyncSqlBackend
    key_cache_seconds: float
    provider: AccessTokens | None = None
    """Knows the access tokens of an identity provider, if one is configured."""
    _keys: Remembered[ApiKey] = field(default_factory=Remembered)
    _lookups: dict[bytes, asyncio.Task[Caller]] = field(default_factory=dict)
    """Keys that are being asked for. Hundreds of requests with one key ask once when its time is over."""

    async def caller_of(self, credential: Credential) -> Caller:
        """Return who sent the credential.

        Raises `InvalidTokenError` (unknown, revoked, in the wrong place), `TokenExpiredError`, or
        `UnavailableError` when the database does not answer.
        """
        if self.provider and credential.place == "bearer" and credential.token.count(".") == _JWT_DOTS:
            return await self.provider.session_of(credential.token)
        digest = sha256(credential.token.encode()).digest()
        known = self._keys.get(digest)
        caller = known or await self._look_up(digest, credential)
        if isinstance(caller, ApiKey):
            if credential.place == "cookie":
                raise InvalidTokenError
            if not known:
                self._keys.keep(digest, caller, self.key_cache_seconds)
            return caller
        if credential.place == "key":
            raise InvalidTokenError
        return replace(caller, from_cookie=credential.place == "cookie")

    async def _look_up(self, digest: bytes, credential: Credential) -> Caller:
        """Ask the database; those who come with the same key meanwhile share the answer, if any is kept."""
        if credential.place != "key" or not self.key_cache_seconds:
            return _caller(await find_caller(self.backend, digest))
        lookup = self._lookups.get(digest)
        if lookup is None:
            lookup = self._lookups[digest] = asyncio.ensure_future(self._find(digest))
        return await asyncio.shield(lookup)

    async def _find(self, digest: bytes) -> Caller:
        try:
            return _caller(await find_caller(self.backend, digest))
        finally:
            del self._lookups[digest]


def _caller(found: dict[str, Any] | None) -> Caller:
    if found is None:
        raise InvalidTokenError
    if found["expired"]:
        raise TokenExpiredError
    if found["kind"] == "session":
        return Session(found["user_id"], is_system_admin=found["is_system_admin"], roles=found["roles"])
    return ApiKey(
        found["key_id"],
        scopes=frozenset(found["scopes"]),
        org_id=found["org_id"],
        requests_per_minute=found["requests_per_minute"],
    )
