"""An end to every attempt on a blocking HTTP client.

httpx bounds each read. A server that sends a byte now and then, or interim responses for ever, ends
none of them late; so the reads and writes of an attempt share what is left of its time.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any

_ends_at: ContextVar[float] = ContextVar("_ends_at", default=inf)


@contextmanager
def ending_within(seconds: float) -> Iterator[None]:
    """Give whatever a bounded connection does in this block so much time, all together.

    What comes later raises `TimeoutError`, or the client's own error for a time-out.
    """
    token = _ends_at.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left(at_most: float | None = None) -> float | None:
    """Return how long the next step may take; None for ever. Raises `TimeoutError` when time is over."""
    left = _ends_at.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if left == inf:
        return at_most
    return left if at_most is None else min(at_most, left)


def bound_connections(client: Any) -> None:
    """Make the connections that an `httpx.Client` opens from now on obey `ending_within`.

    httpx has no public place for it: its transports make the pool of connections, and only the pool
    knows what opens them.
    """
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Network(pool._network_backend)  # noqa: SLF001


class _Network:
    """Opens connections, as httpcore's network backends do."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def connect_tcp(self, *address: Any, **options: Any) -> "_Stream":
        return _Stream(self._network.connect_tcp(*address, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


class _Stream:
    """A connection, whose reads and writes end with the attempt that they are part of."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        received: bytes = self._stream.read(max_bytes, seconds_left(timeout))
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, seconds_left(timeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, seconds_left(timeout)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
