"""The provider's public keys.

A key id that is not known makes one look at the provider, which is how a new key is picked up at
once. Who sends tokens with made-up key ids causes a few requests a minute, not one each. Keys that
the provider no longer publishes are forgotten within `LIFETIME`.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from jwt import PyJWK, PyJWTError

from credit_sdk.errors import ConfigurationError, InvalidTokenError, UnavailableError
from reference_server.problems import ProviderUnavailableError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""With two keys only: what one may verify with, one cannot sign with."""
LIFETIME = 300.0
RETRY = 10.0
"""How long keys that have outlived this are used on while the provider does not answer."""
LOOKS = 5
"""How often within a `WINDOW` an unknown key id makes one look."""
WINDOW = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class KeyCache:
    """Keys by their ids. `fetch` returns the provider's key set, or raises `UnavailableError`."""

    fetch: Callable[[], Awaitable[dict[str, Any]]]
    clock: Callable[[], float] = time.monotonic
    _keys: dict[str, PyJWK] = field(default_factory=dict)
    _due: float = 0.0
    _looks: deque[float] = field(default_factory=lambda: deque(maxlen=LOOKS))
    _look_count: int = 0
    _failing: bool = False
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, kid: str) -> PyJWK:
        """Return the key; raise `InvalidTokenError` when the provider has no such key."""
        # Keys that are due do not hold up more than the one request that renews them.
        is_due = self.clock() >= self._due and not self._lock.locked()
        if kid not in self._keys or is_due:
            await self._look()
        key = self._keys.get(kid)
        if key is None:
            raise ProviderUnavailableError if self._failing else InvalidTokenError
        return key

    async def _look(self) -> None:
        before = self._look_count
        async with self._lock:
            # Who waited here has the answer that another one fetched meanwhile.
            if self._look_count == before and self._may_look():
                await self._fetch()
                self._look_count += 1

    def _may_look(self) -> bool:
        now = self.clock()
        spent = len(self._looks) == LOOKS and now - self._looks[0] < WINDOW
        if spent and now < self._due:
            return False
        self._looks.append(now)
        return True

    async def _fetch(self) -> None:
        try:
            self._keys = _public_keys(await self.fetch())
        except (UnavailableError, ConfigurationError) as error:
            logger.warning("no keys of the identity provider: %s", error)
            self._failing = True
            self._due = self.clock() + RETRY
        else:
            self._failing = False
            self._due = self.clock() + LIFETIME


def _public_keys(document: dict[str, Any]) -> dict[str, PyJWK]:
    """Return the keys that verify signatures; what this version cannot use is passed over."""
    keys: dict[str, PyJWK] = {}
    published = document.get("keys")
    for jwk in published if isinstance(published, list) else []:
        try:
            key = PyJWK(jwk)
        except (PyJWTError, AttributeError, TypeError, ValueError):
            continue
        if key.key_id and key.public_key_use in {None, "sig"} and key.algorithm_name in ALGORITHMS:
            keys[key.key_id] = key
    return keys
