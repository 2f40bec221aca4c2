"""P12: the decorator beside that of `runcycles`, both against the same kind of stub.

`uv run --group bench-peers python -m benchmarks p12`: peers are installed for this benchmark only.
"""

import importlib.util
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from benchmarks.measuring import Exhibit, Figure, cpu_ratio
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import Account, CreditDeductionService

WHY_NOT_BURSAR = """\
Not measured: its schema (2.0.4) begins with CREATE EXTENSION pg_jsonschema and pg_partman 5, which neither
the PostgreSQL of the embedded wheel nor Debian's packages have; and it needs Python 3.12."""
NOW = datetime.now(UTC).isoformat()
HOLD = {
    "hold_id": "01a1fb95-1f71-7022-b497-824d3e7cf0ca",
    "org_id": "acme",
    "user_id": "ada",
    "credits": 1,
    "captured_credits": 0,
    "status": "held",
    "service_type": "bench",
    "request_id": "r-1",
    "expires_at": NOW,
    "created_at": NOW,
}
RECEIPT = {
    "success": True,
    "charge_id": "01a1fb95-1f71-7022-b497-824d3e7cf0cb",
    "org_id": "acme",
    "user_id": "ada",
    "credits_used": 1,
    "remaining_credits": 99,
    "service_type": "bench",
    "request_id": "r-1",
    "created_at": NOW,
}
RESERVATION = {
    "decision": "ALLOW",
    "reservation_id": "r-1",
    "affected_scopes": ["tenant:acme"],
    "expires_at_ms": 4_000_000_000_000,
    "remaining_ttl_ms": 60_000,
}
COMMIT = {"status": "COMMITTED", "charged": {"unit": "CREDITS", "amount": 1}}


def run(_: Setting, rounds: int) -> Iterator[Figure | Exhibit]:
    """Yield the ratio, if the peer is installed, and why another peer is not beside it."""
    yield Exhibit("bursar", WHY_NOT_BURSAR)
    if importlib.util.find_spec("runcycles") is None:
        yield Exhibit("runcycles", "Not measured: it is not installed (--group bench-peers).")
        return
    with (
        httpx.Client(transport=_stub({"/holds": HOLD, "/capture": RECEIPT})) as client,
        CreditDeductionService(
            "https://ops.example", api_key="k", http_client=client, outbox=False
        ) as billing,
    ):
        account = Account(org_id="acme", user_id="ada")
        ours = billing.billable("bench", cost=1, account=account)(_work)
        yield cpu_ratio(
            "decorated call, hold and capture / runcycles', reserve and commit",
            ours,
            _cycles(),
            calls=200,
            rounds=rounds,
            target=1.0,
            note="both over httpx to a stub, without a file that outlives the process",
        )


def _cycles() -> Callable[[], object]:
    from runcycles import CyclesClient, CyclesConfig, cycles  # noqa: PLC0415 - a peer, of the benchmark only

    config = CyclesConfig("https://ops.example", "k", tenant="acme", journal_enabled=False)
    client = CyclesClient(config)
    transport = _stub({"/reservations": RESERVATION, "/commit": COMMIT})
    client._http = httpx.Client(base_url=config.base_url, transport=transport)
    decorated: Callable[[], object] = cycles(estimate=1, unit="CREDITS", client=client)(_work)
    return decorated


def _stub(answers: dict[str, dict[str, Any]]) -> httpx.MockTransport:
    """Answer each path that ends like one of these."""
    ready = {end: json.dumps(body).encode() for end, body in answers.items()}
    headers = {"Content-Type": "application/json"}

    def answer(request: httpx.Request) -> httpx.Response:
        content = next(body for end, body in ready.items() if request.url.path.endswith(end))
        return httpx.Response(200, content=content, headers=headers)

    return httpx.MockTransport(answer)


def _work() -> None:
    """Do nothing."""


BENCHMARK = Benchmark(
    compares="a decorated call, beside one of the peer `runcycles`, both against a stub",
    target="less CPU for each call",
    run=run,
)
