"""Answers leave as a whole: uvicorn writes headers and body apart, each with a system call of its own.

To send is the most expensive thing that a server does for a charge, and whoever waits is woken each time.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HoldingTransport:
    """A connection that holds what is written until more is, or until the event loop's next turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        self.is_closing = transport.is_closing
        self._call_soon = asyncio.get_running_loop().call_soon

    def __getattr__(self, name: str) -> Any:
        """Be the connection in all else."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send with what is held, or hold."""
        if self._held:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        elif data:
            self._held = data
            self._call_soon(self._let_go)

    def writelines(self, parts: Iterable[bytes]) -> None:
        """Send them behind what is held."""
        self.write(b"".join(parts))

    def close(self) -> None:
        """Send what is held, and close."""
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        data, self._held = self._held, b""
        if data and not self.is_closing():
            self._transport.write(data)


class WholeAnswers(HttpToolsProtocol):
    """HTTP on a connection, whose answers are sent as a whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Begin."""
        super().connection_made(HoldingTransport(transport))  # type: ignore[arg-type]  # it acts as one
