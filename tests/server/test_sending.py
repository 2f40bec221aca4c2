"""What is written to a connection within a turn of the event loop leaves together, and nothing stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from reference_server.sending import HoldingTransport

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


class Wire:
    """The connection below, which notes what it is told."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed, "written to a closed connection"
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> str:
        return name


def holding(wire: Wire) -> Any:
    return HoldingTransport(cast("asyncio.Transport", wire))


async def test_headers_and_body_leave_together() -> None:
    wire = Wire()
    transport = holding(wire)
    transport.write(b"headers ")
    transport.write(b"body")
    assert wire.sent == [b"headers body"]
    await asyncio.sleep(0)
    assert wire.sent == [b"headers body"]


async def test_what_is_written_alone_leaves_with_the_next_turn_of_the_loop() -> None:
    wire = Wire()
    transport = holding(wire)
    for number in range(3):
        transport.write(b"chunk %d" % number)
        assert len(wire.sent) == number
        await asyncio.sleep(0)
    assert wire.sent == [b"chunk 0", b"chunk 1", b"chunk 2"]


async def test_a_stream_keeps_its_order_and_holds_one_chunk_at_most() -> None:
    wire = Wire()
    transport = holding(wire)
    for number in range(5):
        transport.write(b"%d" % number)
    assert len(b"".join(wire.sent)) >= 4
    await asyncio.sleep(0)
    assert b"".join(wire.sent) == b"01234"


async def test_closing_sends_what_is_held_before() -> None:
    wire = Wire()
    transport = holding(wire)
    transport.write(b"last words")
    transport.close()
    assert (wire.sent, wire.closed) == ([b"last words"], True)
    await asyncio.sleep(0)


@pytest.mark.parametrize("end", [lambda transport: transport.close(), lambda _: None], ids=["closed", "left"])
async def test_nothing_is_written_once_the_other_side_has_gone(end: Callable[[Any], None]) -> None:
    wire = Wire()
    transport = holding(wire)
    transport.write(b"too late")
    wire.closed = True
    end(transport)
    await asyncio.sleep(0)
    assert wire.sent == []


async def test_everything_else_is_the_connection_itself() -> None:
    assert holding(Wire()).get_extra_info("peername") == "peername"
