"""How often a caller may call (SPEC section 6), counted by `limits` in this process's memory.

Several worker processes count each for themselves, until a shared storage is configured.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.requests import Request

from reference_server.callers import ApiKey, Caller
from reference_server.problems import TooManyRequestsError
from reference_server.routes import Route
from reference_server.settings import Network, Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Quota:
    """A caller's figure for one kind of request. `name` is what the headers call it."""

    name: str
    per_minute: int


@dataclass(slots=True)
class Limiter:
    """Counts requests by caller and by client address."""

    settings: Settings
    _counter: SlidingWindowCounterRateLimiter = field(
        default_factory=lambda: SlidingWindowCounterRateLimiter(MemoryStorage())
    )

    async def spend(self, caller: Caller, method: str, route: Route | None) -> Mapping[str, str]:
        """Count a request of a caller; return the headers that say what is left (draft-10).

        Raises `TooManyRequestsError` when nothing is. `route` is None for an unknown address.
        """
        quota = self._quota(caller, method, route)
        return await self._count(quota, caller.id) if quota else {}

    async def count_refusal(self, address: str) -> None:
        """Count a request without a valid credential; raise `TooManyRequestsError` at too many."""
        await self._count(Quota("refused", self.settings.refused_per_minute), address)

    def _quota(self, caller: Caller, method: str, route: Route | None) -> Quota | None:
        if isinstance(caller, ApiKey):
            if caller.requests_per_minute is not None:
                return Quota("key", caller.requests_per_minute)
            if route is not None and route.terms.charging:
                return None
        if method in SAFE_METHODS:
            return Quota("safe", self.settings.safe_per_minute)
        return Quota("unsafe", self.settings.unsafe_per_minute)

    async def _count(self, quota: Quota, who: str) -> Mapping[str, str]:
        item = RateLimitItemPerMinute(quota.per_minute)
        accepted = await self._counter.hit(item, quota.name, who)
        window = await self._counter.get_window_stats(item, quota.name, who)
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"{quota.name}";q={quota.per_minute};w=60',
            "RateLimit": f'"{quota.name}";r={window.remaining};t={seconds}',
        }
        if not accepted:
            raise TooManyRequestsError(seconds, headers)
        return headers


def client_address(request: Request, trusted: Sequence[Network]) -> str:
    """Return where a request comes from: the last hop of `X-Forwarded-For` that no trusted proxy wrote."""
    address = request.client.host if request.client else "unknown"
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    while hops and _is_within(address, trusted):
        address = hops.pop()
    return address


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)
