"""A TCP balancer as there is one before every fleet: it knows addresses, and nothing of what is said."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_Reader, _Writer = asyncio.StreamReader, asyncio.StreamWriter


class Balancer:
    """Gives each new connection to the next port of `ports` that accepts it; a thread of its own."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.given: Counter[int] = Counter()
        """How many connections each port was given."""
        self.port = 0
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="balancer")
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._listening.set()
            await self._ended.wait()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: _Reader, writer: _Writer) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(OSError, asyncio.CancelledError):
            await self._pass_on(reader, writer)
        writer.close()

    async def _pass_on(self, reader: _Reader, writer: _Writer) -> None:
        self._turn += 1
        for place in range(len(self.ports)):
            port = self.ports[(self._turn + place) % len(self.ports)]
            try:
                upstream = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            self.given[port] += 1
            try:
                await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))
            finally:
                upstream[1].close()
            return


async def _copy(reader: _Reader, writer: _Writer) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
