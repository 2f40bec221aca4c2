"""P8: what the SDK costs the client beside bare httpx, and what its decorator costs by itself."""

from collections.abc import Callable, Iterator
from decimal import Decimal

import httpx

from benchmarks.measuring import Figure, cpu_ratio
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import CreditDeductionService, new_request_id
from credit_sdk.backends.memory import MemoryLedger
from credit_sdk.models import Receipt
from credit_sdk.operations import Deduct, Operation, ResultT_co
from credit_sdk.wire import API_KEY_HEADER, BASE_PATH


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the ratios."""
    yield _http(setting, rounds)
    yield _decorator(rounds)


def _http(setting: Setting, rounds: int) -> Figure:
    account = setting.account
    with (
        setting.billing(setting.base_url) as billing,
        httpx.Client(headers={API_KEY_HEADER: setting.api_key}) as client,
    ):

        def bare() -> object:
            fields = {"org_id": account.org_id, "user_id": account.user_id, "credits": 1}
            body = fields | {"service_type": "bench", "request_id": new_request_id()}
            return client.post(setting.base_url + BASE_PATH + "/credits/deduct", json=body).json()

        ours: Callable[[], object] = lambda: billing.deduct(account, 1, service_type="bench")  # noqa: E731
        return cpu_ratio("deduct over HTTP / bare httpx", ours, bare, calls=100, rounds=rounds, target=1.08)


class NoBooks:
    """A backend that does nothing, to see what the SDK itself costs."""

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        return _ANSWERS[type(operation).__name__]  # type: ignore[return-value]  # whatever it is asked

    def as_caller(self, session_token: str) -> "NoBooks":
        return self

    def close(self) -> None:
        """Close nothing."""


def _decorator(rounds: int) -> Figure:
    ledger = MemoryLedger()
    ledger.add_organization("acme", credits=1_000)
    ledger.add_member("acme", "ada", allocated=1_000)
    with CreditDeductionService(ledger) as billing:
        account = billing.account("ada")
        hold = billing.hold(account, 1, service_type="bench")
        _ANSWERS.update(PlaceHold=hold, CaptureHold=billing.capture(hold))
        billing._till.connections.lasting_backend = NoBooks()
        decorated = billing.billable("bench", cost=1, account=account)(lambda: None)
        fields = Deduct(org_id="acme", user_id="ada", credits=Decimal(1), service_type="bench").model_dump()
        return cpu_ratio(
            "decorator, hold and capture by no books / one pydantic validate and dump",
            decorated,
            lambda: Deduct.model_validate(fields).model_dump_json(),
            calls=2_000,
            rounds=rounds,
            note="the goal of 0.25 is for a decorator that passes through",
        )


_ANSWERS: dict[str, Receipt | object] = {}


BENCHMARK = Benchmark(
    compares="the client's CPU for a charge over HTTP, beside bare httpx doing the same POST",
    target="1.08; a decorator that passes through 0.25 of one pydantic validate and dump",
    run=run,
)
