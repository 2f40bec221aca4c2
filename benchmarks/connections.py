"""Charges over many connections at once, each of which sends the next one when the last is answered.

Bare sockets, so that the server is what is measured, and not the client beside it.
"""

import json
import math
import selectors
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from credit_sdk.wire import API_KEY_HEADER, BASE_PATH

_END_OF_HEADERS = b"\r\n\r\n"
_LARGEST_READ = 65_536


@dataclass(frozen=True)
class Load:
    """What came of it: charges in a second, and how long the slowest hundredth took at least, in ms."""

    rate: float
    p99: float


class Connection:
    """One connection, which sends a request and reads the response; only successes are expected."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._read = b""
        self.sent_at = 0.0

    def send(self) -> None:
        self._read = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Read what there is; answer whether the response is complete."""
        self._read += self.socket.recv(_LARGEST_READ)
        headers, end, body = self._read.partition(_END_OF_HEADERS)
        if not end:
            return False
        if not headers.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self._read.decode(errors="replace"))
        length = headers.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)


def charge_over(
    base_url: str, api_key: str, charge: Mapping[str, Any], *, connections: int, charges: int
) -> Load:
    """Send `charges` requests over so many connections; the first one of each is not measured.

    To accept a connection takes longer than to charge over one that is kept. Raises `RuntimeError` if a
    request is refused.
    """
    parts = urlsplit(base_url)
    address = (parts.hostname or "", parts.port or 80)
    request = _request(address, api_key, charge)
    with selectors.DefaultSelector() as selector:
        crowd = [Connection(address, request) for _ in range(connections)]
        for each in crowd:
            selector.register(each.socket, selectors.EVENT_READ, each)
        _exchanged(crowd, selector, connections)
        began = time.perf_counter()
        waits = _exchanged(crowd, selector, charges - connections)
        spent = time.perf_counter() - began
        for each in crowd:
            each.socket.close()
    return Load(len(waits) / spent, sorted(waits)[math.ceil(len(waits) * 0.99) - 1] * 1_000)


def _exchanged(crowd: list[Connection], selector: selectors.BaseSelector, charges: int) -> list[float]:
    """Charge so often, each connection anew when it has its answer; return how long each charge took."""
    waits: list[float] = []
    for each in crowd:
        each.send()
    unsent = charges - len(crowd)
    while len(waits) < charges:
        for key, _ in selector.select():
            connection: Connection = key.data
            if not connection.receive():
                continue
            waits.append(time.perf_counter() - connection.sent_at)
            if unsent > 0:
                unsent -= 1
                connection.send()
    return waits


def _request(address: tuple[str, int], api_key: str, charge: Mapping[str, Any]) -> bytes:
    body = json.dumps(charge).encode()
    lines = (
        f"POST {BASE_PATH}/credits/deduct HTTP/1.1",
        f"Host: {address[0]}:{address[1]}",
        f"{API_KEY_HEADER}: {api_key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + _END_OF_HEADERS + body
