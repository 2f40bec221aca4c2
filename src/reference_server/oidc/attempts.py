"""A log-in that was begun: what the way back from the provider is checked against.

It travels in a cookie that is signed and not encrypted: its browser may read it, and gains nothing.
"""

import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass
from hashlib import sha256

import jwt

from reference_server.problems import LogInError

SECONDS = 600
_PURPOSE = "urn:credits:log-in"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One log-in of one browser."""

    state: str
    nonce: str
    verifier: str
    return_to: str

    @classmethod
    def begin(cls, return_to: str) -> "Attempt":
        """Return a new one, with secrets of its own."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, return_to)

    @property
    def challenge(self) -> str:
        """What the provider hears of the verifier beforehand (PKCE, S256)."""
        digest = sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def sealed(self, key: str) -> str:
        """Return it as a cookie's value."""
        claims = asdict(self) | {"aud": _PURPOSE, "exp": int(time.time()) + SECONDS}
        return jwt.encode(claims, key, algorithm="HS256")

    @classmethod
    def opened(cls, cookie: str, key: str) -> "Attempt":
        """Return what was sealed; raise `LogInError` for what was not, or too long ago."""
        options: jwt.types.Options = {"require": ["exp", *cls.__slots__]}
        try:
            claims = jwt.decode(cookie, key, algorithms=["HS256"], audience=_PURPOSE, options=options)
        except jwt.PyJWTError:
            raise LogInError from None
        return cls(*(claims[name] for name in cls.__slots__))
