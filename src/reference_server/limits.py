"""How often a caller may call (SPEC section 6).

Processes that are given the same `Settings.rate_limit_url` share the figures; without one each
counts for itself.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Network, ip_address

from starlette.requests import Request

from reference_server.alerting.settings import Network
from reference_server.callers import ApiKey, Caller
from reference_server.counting import Counter, own_counter
from reference_server.problems import TooManyRequestsError
from reference_server.settings import Settings

OWN_BITS = 64
"""How much of an IPv6 address says whose it is."""
_WITH_PORT = re.compile(r"^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::\d+)?$")
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
    counter: Counter

    async def spend(self, caller: Caller, method: str, *, charging: bool) -> Mapping[str, str]:
        """Count a request of a caller; return the headers that say what is left (draft-10).

        Raises `TooManyRequestsError` when nothing is. What is `charging` does not limit keys by default.
        """
        quota = self._quota(caller, method, charging=charging)
        return await self._count(quota, caller.id) if quota else {}

    async def count_refusal(self, address: str) -> None:
        """Count a request without a valid credential; raise `TooManyRequestsError` at too many."""
        await self._count(Quota("refused", self.settings.refused_per_minute), address)

    async def count_log_in(self, whose: str, per_minute: int, who: str) -> Mapping[str, str]:
        """Count an attempt to log in; raise `TooManyRequestsError` at too many."""
        return await self._count(Quota(f"logins-{whose}", per_minute), who)

    def _quota(self, caller: Caller, method: str, *, charging: bool) -> Quota | None:
        if isinstance(caller, ApiKey):
            if caller.requests_per_minute is not None:
                return Quota("key", caller.requests_per_minute)
            if charging:
                return None
        if method in SAFE_METHODS:
            return Quota("safe", self.settings.safe_per_minute)
        return Quota("unsafe", self.settings.unsafe_per_minute)

    async def _count(self, quota: Quota, who: str) -> Mapping[str, str]:
        count = await self.counter.count(quota.per_minute, quota.name, who)
        seconds = max(1, math.ceil(count.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"{quota.name}";q={quota.per_minute};w=60',
            "RateLimit": f'"{quota.name}";r={count.remaining};t={seconds}',
        }
        if not count.accepted:
            raise TooManyRequestsError(seconds, headers)
        return headers


def counter_of(settings: Settings) -> Counter:
    """Return what counts: together with other processes where that is configured."""
    if settings.rate_limit_url is None:
        return own_counter()
    from reference_server.shared_counting import SharedCounter  # noqa: PLC0415 - most servers have no Redis

    return SharedCounter(settings.rate_limit_url)


def client_address(request: Request, trusted: Sequence[Network]) -> str:
    """Return where a request comes from: the last hop of `X-Forwarded-For` that no trusted proxy wrote.

    Of an IPv6 address it is the network: whoever has one has 2^64, and would be somebody else each time.
    """
    address = request.client.host if request.client else "unknown"
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    while hops and _is_within(address, trusted):
        # Some proxies write the port as well, which is another one for each connection.
        address = _WITH_PORT.sub(r"\1\2", hops.pop())
    return _network_of(address)


def _network_of(address: str) -> str:
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or IPv6Network((int(ip), OWN_BITS), strict=False))


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)
