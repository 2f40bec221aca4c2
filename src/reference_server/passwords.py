"""Passwords as the database keeps them."""

import hashlib
import secrets

_COST, _BLOCK_SIZE, _PARALLEL = 2**15, 8, 1
_MEMORY = 2 * 128 * _COST * _BLOCK_SIZE


def hash_password(password: str) -> str:
    """Return a password's scrypt hash with salt and parameters: `$scrypt$ln=15,r=8,p=1$salt$hash`."""
    salt = secrets.token_bytes(16)
    hashed = hashlib.scrypt(
        password.encode(), salt=salt, n=_COST, r=_BLOCK_SIZE, p=_PARALLEL, maxmem=_MEMORY, dklen=32
    )
    parameters = f"ln={_COST.bit_length() - 1},r={_BLOCK_SIZE},p={_PARALLEL}"
    return f"$scrypt${parameters}${salt.hex()}${hashed.hex()}"
