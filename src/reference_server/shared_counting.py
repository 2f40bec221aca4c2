"""Counting in a Redis that all worker processes share.

Without its Redis a server goes on, and each process counts for itself until Redis answers again: a
limit that is looser for a while does less harm than a ledger that refuses its callers or hangs.
"""

import asyncio
import logging
import time
from typing import cast

from limits.aio.storage import RedisStorage
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from reference_server.counting import Count, StorageCounter, own_counter

ANSWER_SECONDS = 0.5
"""How long a request waits for Redis, all together."""
PAUSE_SECONDS = 2.0
"""How long Redis is left alone after it did not answer; then one request tries."""
LARGEST_POOL = 100
_PREFIX = "credits"

logger = logging.getLogger(__name__)


class SharedCounter:
    """Counts in Redis, and in this process while Redis is away."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool.from_url(
            url,
            max_connections=LARGEST_POOL,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            # Connections that a restarted Redis has forgotten are made anew, at once.
            retry=Retry(NoBackoff(), 1),
        )
        storage = RedisStorage(
            url,
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=cast("str", self._pool),  # it is declared as an option of other types
        )
        self._shared = StorageCounter(storage)
        self._own = own_counter()
        self._away = False
        self._next_try = 0.0

    async def count(self, per_minute: int, *whose: str) -> Count:
        """Count a request, unless there were `per_minute` already in the last minute."""
        if time.monotonic() >= self._next_try:
            try:
                return await self._count_together(per_minute, *whose)
            except (RedisError, OSError) as error:
                self._lost(error)
        return await self._own.count(per_minute, *whose)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._pool.aclose()

    async def _count_together(self, per_minute: int, *whose: str) -> Count:
        if self._away:
            # This request tries; those that come meanwhile do not wait for it.
            self._next_try = time.monotonic() + PAUSE_SECONDS
        async with asyncio.timeout(ANSWER_SECONDS):
            count = await self._shared.count(per_minute, *whose)
        if self._away:
            self._away, self._next_try = False, 0.0
            logger.warning("Redis answers again: rate limits hold across processes.")
        return count

    def _lost(self, error: Exception) -> None:
        self._next_try = time.monotonic() + PAUSE_SECONDS
        if not self._away:
            self._away = True
            # Only the kind of error: texts of the client may quote what it was configured with.
            reason = type(error).__name__
            logger.warning(
                "Redis does not answer (%s): each process counts requests for itself until it does.", reason
            )
