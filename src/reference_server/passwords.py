"""Passwords as the database keeps them: Argon2id; what was hashed by scrypt once is still recognised."""

import hashlib
import re
from hmac import compare_digest

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()
_SCRYPT = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d)\$([0-9a-f]+)\$([0-9a-f]{64})")
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
"""What the password of nobody is compared with, so that it takes as long as anybody's."""
_AT_ONCE = 2
"""Comparisons at once in a process; each takes 64 MiB."""


def hash_password(password: str) -> str:
    """Return a password's Argon2id hash, with salt and parameters."""
    return _HASHER.hash(password)


class PasswordCheck:
    """Compares passwords outside of the event loop, a few at a time."""

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None

    async def fits(self, password: str, password_hash: str | None) -> bool:
        """Whether it is the password; without a hash it never is, after the same work."""
        return await to_thread.run_sync(_fits, password, password_hash, limiter=self._few())

    async def rehashed(self, password: str, password_hash: str) -> str | None:
        """Return the hash that should replace one of an older kind; None when it is as good as new."""
        if not password_hash.startswith("$scrypt$") and not _HASHER.check_needs_rehash(password_hash):
            return None
        return await to_thread.run_sync(hash_password, password, limiter=self._few())

    def _few(self) -> CapacityLimiter:
        if self._limiter is None:
            self._limiter = CapacityLimiter(_AT_ONCE)
        return self._limiter


def _fits(password: str, password_hash: str | None) -> bool:
    scrypt = _SCRYPT.fullmatch(password_hash or "")
    if scrypt:
        return _fits_scrypt(password, scrypt)
    try:
        return _HASHER.verify(password_hash or _NOBODYS, password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def _fits_scrypt(password: str, parts: re.Match[str]) -> bool:
    cost, block, parallel = 2 ** int(parts[1]), int(parts[2]), int(parts[3])
    hashed = hashlib.scrypt(
        password.encode(),
        salt=bytes.fromhex(parts[4]),
        n=cost,
        r=block,
        p=parallel,
        maxmem=2 * 128 * cost * block,
        dklen=32,
    )
    return compare_digest(hashed, bytes.fromhex(parts[5]))
