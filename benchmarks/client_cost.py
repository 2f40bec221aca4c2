"""What the SDK costs the client beside the bare library: P6, P8 and P10 of the performance targets."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal

import httpx
import psycopg
from sqlalchemy import create_engine

from benchmarks.measuring import Figure, counter, cpu_ratio
from benchmarks.setting import Setting
from credit_sdk import CreditDeductionService, new_request_id
from credit_sdk.backends.memory import MemoryLedger
from credit_sdk.models import Receipt
from credit_sdk.operations import Deduct, Operation, ResultT_co
from credit_sdk.wire import API_KEY_HEADER, BASE_PATH

HEAVY = "import httpx, pydantic, sqlalchemy, tenacity, psycopg"
COUNT = "import sys; {statement}; print(len(sys.modules))"


def run(setting: Setting) -> Iterator[Figure]:
    """Yield the ratios."""
    yield from _direct_sql(setting)
    yield _http(setting)
    yield _decorator()
    yield from _imports()


def _direct_sql(setting: Setting) -> Iterator[Figure]:
    account = setting.account
    statement = "SELECT * FROM ledger.deduct(%s, %s, %s, %s, NULL, %s, '{}')"
    engine = create_engine(setting.database_url.replace("postgresql:", "postgresql+psycopg:", 1))
    with (
        psycopg.connect(setting.database_url, autocommit=True) as connection,
        setting.billing() as by_url,
        CreditDeductionService(engine) as by_engine,
    ):

        def bare() -> object:
            parameters = (account.org_id, account.user_id, 1_000, "bench", new_request_id())
            return connection.execute(statement, parameters, prepare=True).fetchone()

        for name, billing, target in (
            ("P6 deduct by URL / bare psycopg", by_url, 1.0),
            ("P6 deduct by the application's engine / bare psycopg", by_engine, 1.8),
        ):
            yield cpu_ratio(name, _deduct(setting, billing), bare, calls=200, target=target)
    engine.dispose()


def _http(setting: Setting) -> Figure:
    account = setting.account
    with (
        setting.billing(setting.base_url) as billing,
        httpx.Client(headers={API_KEY_HEADER: setting.api_key}) as client,
    ):

        def bare() -> object:
            fields = {"org_id": account.org_id, "user_id": account.user_id, "credits": 1}
            body = fields | {"service_type": "bench", "request_id": new_request_id()}
            return client.post(setting.base_url + BASE_PATH + "/credits/deduct", json=body).json()

        return cpu_ratio(
            "P8 deduct over HTTP / bare httpx", _deduct(setting, billing), bare, calls=100, target=1.08
        )


class NoBooks:
    """A backend that does nothing, to see what the SDK itself costs."""

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        return _ANSWERS[type(operation).__name__]  # type: ignore[return-value]  # whatever it is asked

    def as_caller(self, session_token: str) -> "NoBooks":
        return self

    def close(self) -> None:
        """Close nothing."""


def _decorator() -> Figure:
    ledger = MemoryLedger()
    ledger.add_organization("acme", credits=1_000)
    ledger.add_member("acme", "ada", allocated=1_000)
    with CreditDeductionService(ledger) as billing:
        account = billing.account("ada")
        hold = billing.hold(account, 1, service_type="bench")
        _ANSWERS.update(PlaceHold=hold, CaptureHold=billing.capture(hold))
        billing._till.connections.backend = NoBooks()
        decorated = billing.billable("bench", cost=1, account=account)(lambda: None)
    fields = Deduct(org_id="acme", user_id="ada", credits=Decimal(1), service_type="bench").model_dump()
    return cpu_ratio(
        "P8 decorator, hold and capture by no books / one pydantic validate and dump",
        decorated,
        lambda: Deduct.model_validate(fields).model_dump_json(),
        calls=2_000,
        note="the goal of 0.25 is for a decorator that passes through",
    )


_ANSWERS: dict[str, Receipt | object] = {}


def _imports() -> Iterator[Figure]:
    modules = int(_python(COUNT.format(statement="import credit_sdk")))
    heavy = int(_python(COUNT.format(statement=HEAVY)))
    yield counter("P10 modules after import credit_sdk", modules, 95, f"{heavy} after {HEAVY.lower()}")


def _python(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def _deduct(setting: Setting, billing: CreditDeductionService) -> Callable[[], object]:
    account = setting.account
    return lambda: billing.deduct(account, 1, service_type="bench")
