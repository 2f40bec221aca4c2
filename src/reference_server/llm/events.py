"""Server-sent events: cutting a provider's bytes into events, and looking into them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from credit_sdk.model_prices import TokenUsage, reported_usage
from credit_sdk.token_counting import size_of_text
from reference_server.llm.problems import UpstreamError

DONE = b"[DONE]"
LARGEST_EVENT = 4 * 1024 * 1024
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


@dataclass(slots=True)
class Cutter:
    """Collects bytes and gives whole events."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give the events that are complete; raise `UpstreamError` for one that never ends."""
        self._rest += chunk
        start = 0
        for end in _END.finditer(self._rest):
            yield bytes(self._rest[start : end.start()])
            start = end.end()
        del self._rest[:start]
        if len(self._rest) > LARGEST_EVENT:
            raise UpstreamError("The provider's event never ends.")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: what the client gets of it (None: nothing), and what it tells the meter."""

    raw: bytes | None
    size: int = 0
    """How many bytes of completion it delivers."""
    usage: TokenUsage | None = None
    is_last: bool = False
    finishes: bool = False
    """Whether it says why the completion ended."""


def look_into(raw: bytes, *, wants_usage: bool) -> Event:
    """Return what an event is; raise `UpstreamError` for an error in the stream, and for nonsense."""
    data = b"\n".join(line[5:].lstrip(b" ") for line in raw.splitlines() if line.startswith(b"data:"))
    if not data:
        return Event(raw)
    if data.strip() == DONE:
        return Event(None, is_last=True)
    chunk = _chunk(data)
    choices = chunk.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise UpstreamError("The provider streamed nonsense.")
    return Event(
        raw=_shown(raw, chunk, choices, wants_usage=wants_usage),
        size=sum(size_of_text(choice.get("delta")) for choice in choices),
        usage=reported_usage(chunk.get("usage")),
        finishes=any(choice.get("finish_reason") for choice in choices),
    )


def _chunk(data: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except (ValueError, RecursionError):
        chunk = None
    if not isinstance(chunk, dict) or chunk.get("error"):
        raise UpstreamError("The provider broke the stream off with an error, or streamed nonsense.")
    return chunk


def _shown(raw: bytes, chunk: dict[str, Any], choices: list[Any], *, wants_usage: bool) -> bytes | None:
    """Return what the client gets: usage only if it has asked for it."""
    if wants_usage or "usage" not in chunk:
        return raw
    if not choices:
        return None
    del chunk["usage"]
    return b"data: " + json.dumps(chunk).encode()
