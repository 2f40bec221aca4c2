"""Session tokens: EdDSA JWTs with a `kid`. Signing and verifying are PyJWT's."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeGuard
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credit_sdk.errors import InvalidTokenError, TokenExpiredError

LIFETIME_SECONDS = 24 * 60 * 60
LATE_SECONDS = 60 * 60
"""How long after its end a token may still be exchanged for a new one."""
ALGORITHM = "EdDSA"
ISSUER = "credits"
_CLAIMS = ["iss", "aud", "sub", "jti", "iat", "exp"]
_OWN_KEYS = frozenset({"jku", "jwk", "x5u", "x5c", "crit"})
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_APP_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A pair of keys, as PEM."""

    kid: str
    private_key: str
    public_key: str

    @classmethod
    def new(cls) -> "SigningKey":
        """Make a pair."""
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(uuid4().hex, private.decode(), public.decode())


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says of itself. Nothing of it counts before `verify`."""

    token: str
    kid: str
    jti: UUID
    app_id: str

    @classmethod
    def of(cls, token: str) -> "Claim":
        """Read a token; raise `InvalidTokenError` for what is none of ours."""
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
            header, payload = unverified["header"], unverified["payload"]
            kid, app_id, jti = header["kid"], payload["aud"], UUID(payload["jti"])
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError):
            raise InvalidTokenError from None
        if header.get("alg") != ALGORITHM or not _OWN_KEYS.isdisjoint(header):
            raise InvalidTokenError
        if not isinstance(kid, str) or not _KID.fullmatch(kid) or not is_app_id(app_id):
            raise InvalidTokenError
        return cls(token, kid, jti, app_id)

    def verify(self, public_key: str | None, app_id: str, *, late: float = 0) -> datetime:
        """Return when the token ends; raise `InvalidTokenError` or `TokenExpiredError`.

        `late` is how many seconds ago it may have ended.
        """
        if public_key is None:
            raise InvalidTokenError
        try:
            claims: dict[str, Any] = jwt.decode(
                self.token,
                public_key,
                algorithms=[ALGORITHM],
                audience=app_id,
                issuer=ISSUER,
                leeway=late,
                options={"require": _CLAIMS},
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError from None
        except jwt.PyJWTError:
            raise InvalidTokenError from None
        return datetime.fromtimestamp(claims["exp"], UTC)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token."""

    token: str
    jti: UUID
    expires_at: datetime


def issue(kid: str, private_key: str, app_id: str, user_id: int) -> Issued:
    """Sign a token of a user for an application."""
    now, jti = int(time.time()), uuid4()
    expires = now + LIFETIME_SECONDS
    claims = {
        "iss": ISSUER,
        "aud": app_id,
        "sub": str(user_id),
        "jti": str(jti),
        "iat": now,
        "exp": expires,
    }
    token = jwt.encode(claims, private_key, algorithm=ALGORITHM, headers={"kid": kid})
    return Issued(token, jti, datetime.fromtimestamp(expires, UTC))


def is_app_id(value: object) -> TypeGuard[str]:
    """Whether an application could be called so; the database is asked for nothing else."""
    return isinstance(value, str) and _APP_ID.fullmatch(value) is not None


def is_ours(token: str) -> bool:
    """Whether a token says that it is one of these. What it says is not verified."""
    try:
        payload = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return False
    return payload.get("iss") == ISSUER
