"""What the LLM gateway adds to a call: latency, and CPU time of the server for a call and for a chunk.

The same upstream is called directly and through the gateway, in turn: percentiles of each round, and of the
rounds the median and the spread. LiteLLM's own proxy is measured beside them where `LITELLM` names its
command (benchmarks/litellm_proxy.py); it keeps no books meanwhile.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import uvicorn

from benchmarks.litellm_proxy import litellm_proxy
from benchmarks.measuring import Figure, counter, ratio, spread
from benchmarks.registry import Benchmark
from benchmarks.setting import OWNER, Setting, served
from benchmarks.verifying import verified

CALLS = 500
WARM_UP = 40
STREAMS = 40
CHUNKS = 200
PUBLISHED = {50: 2.0, 95: 8.0, 99: 13.0}
"""What LiteLLM publishes of its own proxy: percentile and milliseconds."""
BODY = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "Hello"}],
    "user": OWNER,
    "max_tokens": 500,
}

_USAGE = {"prompt_tokens": 8, "completion_tokens": 8, "total_tokens": 16}
_ENVELOPE = {"id": "c-1", "created": 1, "model": "gpt-4o"}
Send = Callable[[dict[str, Any]], Awaitable[None]]


def run(_: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the figures, on a server of its own that knows the upstream."""
    with (
        _upstream() as upstream,
        litellm_proxy(upstream) as litellm,
        served(CREDITS_LLM_UPSTREAMS=f"openai={upstream}") as setting,
    ):
        addresses = {"gateway": f"{setting.base_url}/api/v1/llm"} | ({"litellm": litellm} if litellm else {})
        calls = 0

        def count(response: httpx.Response) -> None:
            nonlocal calls
            calls += str(response.url).startswith(addresses["gateway"])

        headers = {"Authorization": f"Bearer {setting.api_key}"}
        with httpx.Client(headers=headers, timeout=60, event_hooks={"response": [count]}) as client:
            yield from _latency(client, upstream, addresses, rounds)
            yield from _cpu(client, addresses["gateway"], setting.pid)
        books = verified(setting)
        note = "and the books agree" if books["verified"] else "but the books DO NOT AGREE"
        yield counter("gateway: charges for a call", books["charges"] / calls, 1, note)


def _latency(client: httpx.Client, upstream: str, addresses: dict[str, str], rounds: int) -> Iterator[Figure]:
    sides = {"direct": upstream} | addresses
    _round(client, sides, WARM_UP)
    measured = [_round(client, sides, CALLS) for _ in range(rounds)]
    for percent, published in PUBLISHED.items():
        percentile = f"{percent}th percentile"
        added = {
            name: [each[name][percent - 1] - each["direct"][percent - 1] for each in measured]
            for name in addresses
        }
        directly = f"{median(each['direct'][percent - 1] for each in measured):.1f} ms directly"
        ours = spread(f"gateway: added latency, {percentile}", added["gateway"], "ms", note=directly)
        yield replace(ours, target=published)
        if "litellm" in added:
            yield spread(f"litellm: added latency, {percentile}", added["litellm"], "ms", note=directly)
            yield ratio(
                f"added latency, {percentile}: gateway / litellm",
                added["gateway"],
                added["litellm"],
                target=1,
                note="LiteLLM without a database, the gateway with two durable transactions",
            )


def _round(client: httpx.Client, sides: dict[str, str], calls: int) -> dict[str, list[float]]:
    """Return the percentiles of calls made in turn, in milliseconds."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(calls):
        for name, address in sides.items():
            start = time.perf_counter()
            client.post(f"{address}/chat/completions", json=BODY).raise_for_status()
            spent[name].append((time.perf_counter() - start) * 1_000)
    return {name: quantiles(times, n=100) for name, times in spent.items()}


def _cpu(client: httpx.Client, address: str, pid: int) -> Iterator[Figure]:
    def plain() -> None:
        client.post(f"{address}/chat/completions", json=BODY).raise_for_status()

    def stream(chunks: int) -> Callable[[], None]:
        body = BODY | {"stream": True, "seed": chunks}

        def call() -> None:
            with client.stream("POST", f"{address}/chat/completions", json=body) as response:
                for _ in response.iter_raw():
                    pass

        return call

    each = _cpu_milliseconds(pid, plain, CALLS)
    yield counter("gateway: server's CPU for a plain call", each, unit="ms")
    short, long = (_cpu_milliseconds(pid, stream(chunks), STREAMS) for chunks in (1, CHUNKS + 1))
    chunk = (long - short) / CHUNKS * 1_000
    yield counter("gateway: server's CPU for a chunk", chunk, unit="us")


def _cpu_milliseconds(pid: int, call: Callable[[], None], calls: int) -> float:
    """Return the processor time that another process spends on each call."""
    start = _spent(pid)
    for _ in range(calls):
        call()
    return (_spent(pid) - start) / calls * 1_000


def _spent(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _upstream() -> Iterator[str]:
    """Serve a provider that answers at once; give its base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(_answer, lifespan="off", log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


async def _answer(_: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    asked = b""
    while True:
        message = await receive()
        asked += message["body"]
        if not message["more_body"]:
            break
    body = json.loads(asked)
    kind = b"text/event-stream" if body.get("stream") else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for piece in _chunks(body["seed"]) if body.get("stream") else [_whole()]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _whole() -> bytes:
    message = {"role": "assistant", "content": "Hello, how are you?"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps(_ENVELOPE | {"choices": [choice], "usage": _USAGE}).encode()


def _chunks(count: int) -> Iterator[bytes]:
    delta = {"choices": [{"index": 0, "delta": {"content": "word"}, "finish_reason": None}]}
    for _ in range(count):
        yield b"data: %b\n\n" % json.dumps(_ENVELOPE | delta).encode()
    yield b"data: %b\n\n" % json.dumps(_ENVELOPE | {"choices": [], "usage": _USAGE}).encode()
    yield b"data: [DONE]\n\n"


BENCHMARK = Benchmark(
    compares="a call of a model through the gateway, beside the same call directly",
    target="added latency at most what LiteLLM publishes of its own proxy",
    run=run,
)
