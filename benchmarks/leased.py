"""P11: charges that a lease pays, beside direct SQL charges, all on one hot allocation."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Figure, Side, in_turn, ratio
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import CreditDeductionService, LeasePolicy

DIRECT, LEASED = 100, 5_000
"""How many charges a side makes each time."""
LEASE = LeasePolicy(credits=1_000_000)


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield how many times as many charges a lease pays in a second."""
    with (
        TemporaryDirectory() as folder,
        CreditDeductionService(
            setting.database_url, outbox=Path(folder, "outbox.sqlite3"), lease=LEASE
        ) as billing,
    ):

        @billing.billable("bench", cost=1, account=setting.account)
        def leased() -> None:
            """Do nothing."""

        def direct() -> None:
            billing.deduct(setting.account, 1, service_type="bench")

        def lease_and_settle() -> float:
            begin = time.perf_counter()
            for _ in range(LEASED):
                leased()
            billing.settle_leases()
            return LEASED / (time.perf_counter() - begin)

        # What one side leaves to be settled is not done in the other's time.
        sides: dict[str, Side] = {
            "leased": lambda: _rate(leased, LEASED),
            "direct": lambda: _rate(direct, DIRECT, before=billing.settle_leases),
            "settled": lease_and_settle,
        }
        rates = in_turn(sides, rounds)
    best = {name: max(each) for name, each in rates.items()}
    yield ratio(
        "leased charges / direct charges a second",
        rates["leased"],
        rates["direct"],
        target=50,
        at_least=True,
        note=f"{best['leased']:.0f} against {best['direct']:.0f} a second at best",
    )
    yield ratio(
        "leased charges with their settlement / direct charges a second",
        rates["settled"],
        rates["direct"],
        note=f"{best['settled']:.0f} against {best['direct']:.0f} a second at best",
    )


def _rate(charge: Callable[[], None], count: int, *, before: Callable[[], None] = lambda: None) -> float:
    """Return how many charges a second are made."""
    before()
    begin = time.perf_counter()
    for _ in range(count):
        charge()
    return count / (time.perf_counter() - begin)


BENCHMARK = Benchmark(
    compares="charges paid by a lease, each in the journal, beside direct SQL charges on the same allocation",
    target="at least 50 times as many in a second",
    run=run,
)
