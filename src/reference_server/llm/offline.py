"""The built-in upstream: deterministic answers without a network, for the demonstration and for tests.

It speaks the same protocol as any other and is called in the same way. A chat is answered by an echo of its
last message; `max_tokens` cuts it short. Images are one pixel, embeddings come from a digest of the text.
"""

import base64
import json
import struct
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from typing import Any

import httpx

from credit_sdk.token_counting import BYTES_PER_TOKEN, count_tokens, tokens_of_chat, tokens_of_input

OFFLINE_ADDRESS = "http://offline.invalid/v1"
DIMENSIONS = 16
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_CREATED = 1_750_000_000


class OfflineTransport(httpx.AsyncBaseTransport):
    """Answers requests in this very process."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        body: dict[str, Any] = json.loads(await request.aread())
        match request.url.path.removeprefix("/v1"):
            case "/chat/completions" if body.get("stream"):
                return httpx.Response(
                    200, headers={"Content-Type": "text/event-stream"}, stream=_Events(_chunks(body))
                )
            case "/chat/completions":
                return _whole(200, _completion(body))
            case "/images/generations":
                return _whole(200, _images(body))
            case "/embeddings":
                return _whole(200, _embeddings(body))
            case path:
                return _whole(404, {"error": {"message": f"There is no {path} here."}})


def _whole(status: int, answer: dict[str, Any]) -> httpx.Response:
    """Return an answer that has yet to be read, as one from a network."""
    stream = httpx.ByteStream(json.dumps(answer).encode())
    return httpx.Response(status, headers={"Content-Type": "application/json"}, stream=stream)


class _Events(httpx.AsyncByteStream):
    def __init__(self, chunks: Iterator[dict[str, Any]]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield b"data: %b\n\n" % json.dumps(chunk).encode()
        yield b"data: [DONE]\n\n"


def _words(body: dict[str, Any]) -> tuple[str, str]:
    """Return what is answered, and why it ends."""
    content = body["messages"][-1].get("content") or ""
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content if isinstance(part, dict))
    text = f"You said: {content}"
    longest = body.get("max_completion_tokens") or body.get("max_tokens")
    if longest is None or count_tokens(text) <= longest:
        return text, "stop"
    return text.encode()[: longest * BYTES_PER_TOKEN].decode(errors="ignore"), "length"


def _tool_call(body: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return a call of the first tool, when the request insists on one."""
    if body.get("tools") and body.get("tool_choice") not in {None, "none", "auto"}:
        name = body["tools"][0]["function"]["name"]
        call = {"id": "call_offline", "type": "function", "function": {"name": name, "arguments": "{}"}}
        return [call]
    return None


def _usage(body: dict[str, Any], text: str) -> dict[str, Any]:
    prompt, completion = tokens_of_chat(body), count_tokens(text)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _envelope(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{sha256(json.dumps(body).encode()).hexdigest()[:24]}",
        "object": kind,
        "created": _CREATED,
        "model": body["model"],
    }


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    (text, reason), calls = _words(body), _tool_call(body)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        text, reason = calls[0]["function"]["name"] + "{}", "tool_calls"
        message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return _envelope(body, "chat.completion") | {"choices": [choice], "usage": _usage(body, text)}


def _chunks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    envelope = _envelope(body, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    (text, reason), calls = _words(body), _tool_call(body)
    yield chunk({"role": "assistant", "content": ""})
    if calls:
        text, reason = calls[0]["function"]["name"] + "{}", "tool_calls"
        yield chunk({"tool_calls": [calls[0] | {"index": 0}]})
    else:
        words = text.split(" ")
        yield from (chunk({"content": f" {word}" if place else word}) for place, word in enumerate(words))
    yield chunk({}, reason)
    if (body.get("stream_options") or {}).get("include_usage"):
        yield envelope | {"choices": [], "usage": _usage(body, text)}


def _images(body: dict[str, Any]) -> dict[str, Any]:
    encoded = body.get("response_format") == "b64_json"
    image = {"b64_json": _PIXEL} if encoded else {"url": f"data:image/png;base64,{_PIXEL}"}
    return {"created": _CREATED, "data": [image] * (body.get("n") or 1)}


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    given = body["input"]
    one = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    inputs = [given] if one else given
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, body.get("encoding_format"))}
        for index, text in enumerate(inputs)
    ]
    prompt = tokens_of_input(given)
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


def _vector(text: Any, encoding: str | None) -> list[float] | str:
    digest = sha256(json.dumps(text).encode()).digest()
    numbers = [byte / 255 for byte in digest[:DIMENSIONS]]
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *numbers)).decode()
    return numbers
