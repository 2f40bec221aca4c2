"""From a token to claims that can be believed. The verification itself is PyJWT's."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any

import jwt

from credit_sdk.errors import InvalidTokenError, TokenExpiredError
from reference_server.oidc.keys import ALGORITHMS, KeyCache

LEEWAY = 60
"""Seconds by which the provider's clock may differ from ours."""
_LONGEST = 255
_LONGEST_EMAIL = 320
_OWN_KEYS = frozenset({"jku", "jwk", "x5u", "x5c"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
Claims = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider's signature vouches for."""

    subject: str
    email: str | None
    name: str | None
    roles: frozenset[str]
    expires_at: float

    @classmethod
    def of(cls, claims: Claims) -> "Person":
        """Read the claims of a verified token."""
        subject = _text(claims.get("sub"), _LONGEST)
        if subject is None:
            raise InvalidTokenError
        name = _text(claims.get("name") or claims.get("preferred_username"), _LONGEST)
        email = _text(claims.get("email"), _LONGEST_EMAIL)
        return cls(subject, email, name, _realm_roles(claims), float(claims["exp"]))

    @property
    def seconds_left(self) -> float:
        """How long the token is still good."""
        return self.expires_at - time.time()


@dataclass(frozen=True, slots=True)
class Verifier:
    """Believes tokens that one issuer signed with a key that it publishes."""

    issuer: str
    keys: KeyCache

    async def access_claims(self, token: str, audience: str | None) -> Claims:
        """Return the claims of an access token; without an audience, of one made for anyone.

        Raises `InvalidTokenError` or `TokenExpiredError`; `UnavailableError` when the key has to be
        fetched and the provider does not answer.
        """
        claims = await self._claims(token, audience)
        # An id token is proof for one log-in, and travels in addresses when one logs out.
        is_id_token = "typ" not in claims and ("nonce" in claims or "at_hash" in claims)
        if claims.get("typ", "Bearer") != "Bearer" or is_id_token:
            raise InvalidTokenError
        return claims

    async def id_claims(self, token: str, client_id: str, nonce: str) -> Claims:
        """Return the claims of the id token that answers a log-in; raise as for an access token."""
        claims = await self._claims(token, client_id)
        said = str(claims.get("nonce", ""))
        if not compare_digest(said.encode(), nonce.encode()) or claims.get("azp", client_id) != client_id:
            raise InvalidTokenError
        return claims

    async def _claims(self, token: str, audience: str | None) -> Claims:
        key = await self.keys.get(_key_id(token))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self.issuer,
                audience=audience,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "sub"], "verify_aud": audience is not None},
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError from None
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
            raise InvalidTokenError from None
        return claims


def _key_id(token: str) -> str:
    """Return which of the provider's keys a token names; a token that brings its own is refused."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidTokenError from None
    kid = header.get("kid")
    known_type = str(header.get("typ", "JWT")).lower() in _TYPES
    if not isinstance(kid, str) or header.get("alg") not in ALGORITHMS or not known_type:
        raise InvalidTokenError
    if not _OWN_KEYS.isdisjoint(header):
        raise InvalidTokenError
    return kid


def _realm_roles(claims: Claims) -> frozenset[str]:
    access = claims.get("realm_access")
    roles = access.get("roles") if isinstance(access, dict) else None
    return frozenset(filter(_is_text, roles)) if isinstance(roles, list) else frozenset()


def _text(value: object, longest: int) -> str | None:
    """Return a claim that a column can hold."""
    return value if isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() else None


def _is_text(value: object) -> bool:
    return isinstance(value, str)
