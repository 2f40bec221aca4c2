"""P6: what the SDK costs the client beside the bare driver."""

from collections.abc import Callable, Iterator

import psycopg
from sqlalchemy import create_engine

from benchmarks.measuring import Figure, cpu_ratio
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import CreditDeductionService, new_request_id

STATEMENT = "SELECT * FROM ledger.deduct(%s, %s, %s, %s, NULL, %s, '{}')"


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the ratios."""
    account = setting.account
    engine = create_engine(setting.database_url.replace("postgresql:", "postgresql+psycopg:", 1))
    with (
        psycopg.connect(setting.database_url, autocommit=True) as connection,
        setting.billing() as by_url,
        CreditDeductionService(engine) as by_engine,
    ):

        def bare() -> object:
            parameters = (account.org_id, account.user_id, 1_000, "bench", new_request_id())
            return connection.execute(STATEMENT, parameters, prepare=True).fetchone()

        for name, billing, target in (
            ("deduct by URL / bare psycopg", by_url, 1.0),
            ("deduct by the application's engine / bare psycopg", by_engine, 1.8),
        ):
            yield cpu_ratio(name, _deduct(setting, billing), bare, calls=200, rounds=rounds, target=target)
    engine.dispose()


def _deduct(setting: Setting, billing: CreditDeductionService) -> Callable[[], object]:
    return lambda: billing.deduct(setting.account, 1, service_type="bench")


BENCHMARK = Benchmark(
    compares="the client's CPU for a charge by direct SQL, beside bare psycopg calling the same function",
    target="1.0 by URL, 1.8 by the application's SQLAlchemy engine",
    run=run,
)
