"""A TCP proxy that fails on purpose: it knows where a request ends, in HTTP and in PostgreSQL's protocol.

Requests are counted over all connections. Each may meet a mishap, which `on_request` decides; without
one it is passed on as it is.
"""

import asyncio
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any, Self

LATE_SECONDS = 0.6
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_ENDS_A_REQUEST = b"SQX"


class Mishap(Enum):
    """What becomes of one request."""

    REQUEST_LOST = "the connection is cut before the request arrives"
    ANSWER_LOST = "the request is carried out, and its answer never arrives"
    ANSWER_CUT = "half of the answer arrives"
    ANSWER_LATE = "the answer arrives when nobody waits for it"
    SILENCE = "the request is swallowed, and nothing is ever said"
    TWICE = "the request arrives twice"
    AGAIN_LATER = "the request arrives once more, later"


OnRequest = Callable[[int], Mishap | None]
_Reader, _Writer = asyncio.StreamReader, asyncio.StreamWriter


class Proxy:
    """Stands between a client and a server on 127.0.0.1, in a thread of its own."""

    def __init__(self, upstream_port: int, *, speaks: str) -> None:
        """`speaks` is `http` or `postgresql`."""
        self.upstream_port = upstream_port
        self.port = 0
        self.requests = 0
        self.still_coming = 0
        """How many requests have yet to arrive once more."""
        self.on_request: OnRequest = lambda _: None
        self.is_refusing = False
        self._read_request = {"http": _http_request, "postgresql": _postgresql_request}[speaks]
        self._has_startup = speaks == "postgresql"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"{speaks} proxy", daemon=True)
        self._listening = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def heal(self) -> None:
        """Let everything pass again, counting anew."""
        self.requests, self.is_refusing, self.on_request = 0, False, lambda _: None

    def cut(self) -> None:
        """Cut every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for task in self._connections:
            task.cancel()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._stopping.wait()
        server.close()
        self._cut()
        while self._connections:
            await asyncio.wait(self._connections)
            await asyncio.sleep(0)

    async def _accept(self, reader: _Reader, writer: _Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # A peer that goes away, however it goes, ends the connection and nothing else.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                if not self.is_refusing:
                    await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _connect(self, reader: _Reader, writer: _Writer) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        try:
            if self._has_startup:
                await _pass_startup(reader, there, back, writer)
            passing_on = _Answers(there, writer)
            await _until_one_ends(passing_on.run(), self._pass_requests(reader, back, passing_on))
        finally:
            back.transport.abort()

    async def _pass_requests(self, reader: _Reader, back: _Writer, answers: "_Answers") -> None:
        while request := await self._read_request(reader):
            self.requests += 1
            mishap = self.on_request(self.requests)
            match mishap:
                case Mishap.REQUEST_LOST:
                    return
                case Mishap.SILENCE:
                    await asyncio.Event().wait()
                case Mishap.ANSWER_LOST | Mishap.ANSWER_CUT | Mishap.ANSWER_LATE:
                    answers.mishap = mishap
                case Mishap.TWICE:
                    await self._send_beside(request)
                case Mishap.AGAIN_LATER:
                    self.still_coming += 1
                    self._loop.call_later(LATE_SECONDS, self._in_background, self._send_late(request))
            back.write(request)
            await back.drain()

    def _in_background(self, sending: Awaitable[None]) -> None:
        task = asyncio.ensure_future(sending)
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _send_late(self, request: bytes) -> None:
        try:
            await self._send_beside(request)
        finally:
            self.still_coming -= 1

    async def _send_beside(self, request: bytes) -> None:
        """Send a request on a connection of its own, as a network that duplicates does."""
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream_port)
            back.write(request)
            await there.read(1)
            back.transport.abort()


class _Answers:
    """Passes answers on, until a request's mishap says otherwise."""

    def __init__(self, there: _Reader, writer: _Writer) -> None:
        self._there = there
        self._writer = writer
        self.mishap: Mishap | None = None

    async def run(self) -> None:
        while data := await self._there.read(1 << 16):
            match self.mishap:
                case Mishap.ANSWER_LOST:
                    return
                case Mishap.ANSWER_CUT:
                    self._writer.write(data[: len(data) // 2])
                    await self._writer.drain()
                    self._writer.close()
                    return
                case Mishap.ANSWER_LATE:
                    await asyncio.sleep(LATE_SECONDS)
            self.mishap = None
            self._writer.write(data)
            await self._writer.drain()


async def _until_one_ends(*directions: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _http_request(reader: _Reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length)


async def _pass_startup(reader: _Reader, there: _Reader, back: _Writer, writer: _Writer) -> None:
    """Pass on what comes before the first message: questions for encryption, and the startup packet."""
    while True:
        length = await reader.readexactly(4)
        packet = await reader.readexactly(struct.unpack("!i", length)[0] - 4)
        back.write(length + packet)
        if struct.unpack("!i", packet[:4])[0] not in {_SSL_REQUEST, _GSS_REQUEST}:
            return
        writer.write(await there.readexactly(1))


async def _postgresql_request(reader: _Reader) -> bytes:
    """Read messages up to the one after which the client waits for an answer."""
    request = b""
    while True:
        kind = await reader.readexactly(1)
        length = await reader.readexactly(4)
        request += kind + length + await reader.readexactly(struct.unpack("!i", length)[0] - 4)
        if kind in _ENDS_A_REQUEST or kind == b"p":
            return request
