"""What a charge costs the server, beside an endpoint of Starlette that answers the same and has no books."""

import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.measuring import Figure, Side, in_turn, ratio
from benchmarks.processes import spent_by_threads
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import new_request_id
from credit_sdk.wire import API_KEY_HEADER, BASE_PATH

CALLS = 50
PATH = BASE_PATH + "/credits/deduct"


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the ratio of the servers' CPU for a request."""
    with _bare() as (url, pid), httpx.Client(headers={API_KEY_HEADER: setting.api_key}) as client:

        def side(base_url: str, pid: int) -> Side:
            def measure() -> float:
                before = spent_by_threads(pid)
                for _ in range(CALLS):
                    body = {
                        "org_id": setting.account.org_id,
                        "user_id": setting.account.user_id,
                        "credits": 1,
                    }
                    body |= {"service_type": "bench", "request_id": new_request_id()}
                    client.post(base_url + PATH, json=body).raise_for_status()
                return (spent_by_threads(pid) - before) / CALLS

            return measure

        spent = in_turn({"ours": side(setting.base_url, setting.pid), "bare": side(url, pid)}, rounds)
        note = f"{min(spent['ours']):.0f} against {min(spent['bare']):.0f} us at best, PostgreSQL not counted"
        name = "server's CPU for a charge / an endpoint without books"
        yield ratio(name, spent["ours"], spent["bare"], note=note)


async def _answer(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


def _serve(listener: socket.socket) -> None:
    app = Starlette(routes=[Route(PATH, _answer, methods=["POST"])])
    uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical")).run(sockets=[listener])


@contextmanager
def _bare() -> Iterator[tuple[str, int]]:
    """Serve the other endpoint in a process of its own; give its URL and process id."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # A fork inherits the listener; nothing else runs in this process by now that minds.
        server = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,), daemon=True)
        server.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server.pid or 0
        finally:
            server.terminate()
            server.join()


BENCHMARK = Benchmark(
    compares="the server's CPU for a charge over HTTP, beside a Starlette endpoint without a ledger",
    target="none: it shows what authentication, limits, validation and the driver take",
    run=run,
)
