"""Counting requests within a sliding minute."""

from dataclasses import dataclass
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.storage.base import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter


@dataclass(frozen=True, slots=True)
class Count:
    """What became of a request: `reset_time` is when there will be room again, in seconds since 1970."""

    accepted: bool
    remaining: int
    reset_time: float


class Counter(Protocol):
    """Counts the requests of callers."""

    async def count(self, per_minute: int, *whose: str) -> Count:
        """Count a request, unless there were `per_minute` already in the last minute."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class StorageCounter:
    """Counts in a storage of `limits`."""

    def __init__(self, storage: Storage) -> None:
        self._window = SlidingWindowCounterRateLimiter(storage)

    async def count(self, per_minute: int, *whose: str) -> Count:
        """Count a request, unless there were `per_minute` already in the last minute."""
        item = RateLimitItemPerMinute(per_minute)
        accepted = await self._window.hit(item, *whose)
        window = await self._window.get_window_stats(item, *whose)
        return Count(accepted, window.remaining, window.reset_time)

    async def close(self) -> None:
        """Do nothing: the storage belongs to who made it."""


def own_counter() -> StorageCounter:
    """Return a counter in this process's memory."""
    return StorageCounter(MemoryStorage())
