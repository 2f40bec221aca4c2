"""What one charge costs the server: round trips, flushes, log, and rows that members share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.counting_proxy import CountingProxy, through
from benchmarks.measuring import Figure, counter
from benchmarks.processes import FSYNCS, WAL_BYTES
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting, query
from credit_sdk import CreditDeductionService


@dataclass(frozen=True)
class Most:
    """What a charge may cost: flushes of the log, rows written, bytes of log."""

    fsyncs: float
    rows: float
    log: float


MakeCharge = Callable[[Setting, CreditDeductionService], Callable[[], object]]
CHARGES = 50
WARM_UP = 10
ROWS = """SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::float8 FROM pg_stat_user_tables
WHERE relname NOT IN ('ledger_chain', 'ledger_heads')"""
SHARED_ROWS = """SELECT (n_tup_ins + n_tup_upd + n_tup_del)::float8 FROM pg_stat_user_tables
WHERE relname = 'credit_pools'"""
COUNTED = (FSYNCS, WAL_BYTES, ROWS, SHARED_ROWS)
WINDOWS = 3


def run(setting: Setting, _rounds: int) -> Iterator[Figure]:
    """Yield the counters for each way of charging."""
    for way, address in (("SQL", setting.database_url), ("HTTP", setting.base_url)):
        yield from _round_trips(setting, way, address)
    yield from _server_side(setting, "deduct", _deduct, Most(fsyncs=1, rows=2, log=1_100))
    yield from _server_side(setting, "hold and capture", _hold_and_capture, Most(fsyncs=2, rows=5, log=2_800))


def _round_trips(setting: Setting, way: str, address: str) -> Iterator[Figure]:
    parts = urlsplit(address)
    with (
        CountingProxy(parts.hostname or "", parts.port or 0) as proxy,
        setting.billing(through(address, proxy)) as billing,
    ):
        for shape, charge, target in (
            ("deduct", _deduct(setting, billing), 1.0),
            ("hold and capture", _hold_and_capture(setting, billing), 2.0),
        ):
            # After a few calls the driver prepares the statement, which is a round trip of its own.
            for _ in range(WARM_UP):
                charge()
            before = proxy.round_trips
            for _ in range(CHARGES):
                charge()
            yield counter(f"{way} {shape}: round trips", (proxy.round_trips - before) / CHARGES, target)


def _server_side(setting: Setting, shape: str, make_charge: MakeCharge, most: Most) -> Iterator[Figure]:
    # Others flush, seal and write whole pages after a checkpoint: the least of some windows is the charge's.
    windows = [_window(setting, make_charge) for _ in range(WINDOWS)]
    fsyncs, log, rows, shared = (min(values) for values in zip(*windows, strict=True))
    yield counter(f"{shape}: fsyncs", fsyncs, most.fsyncs + 0.1, "other processes flush as well")
    yield counter(f"{shape}: rows written", rows, most.rows)
    yield counter(f"{shape}: rows written that members share", shared, 0)
    yield counter(f"{shape}: log", log, most.log, unit="bytes")


def _window(setting: Setting, make_charge: MakeCharge) -> list[float]:
    """Return what each charge adds to the counters."""
    before = [query(setting, each) for each in COUNTED]
    # A connection hands in its statistics for certain only when it is closed.
    with setting.billing() as billing:
        charge = make_charge(setting, billing)
        for _ in range(CHARGES):
            charge()
    return [(query(setting, each) - start) / CHARGES for each, start in zip(COUNTED, before, strict=True)]


def _deduct(setting: Setting, billing: CreditDeductionService) -> Callable[[], object]:
    return lambda: billing.deduct(setting.account, 1, service_type="contact_lookup")


def _hold_and_capture(setting: Setting, billing: CreditDeductionService) -> Callable[[], object]:
    def charge() -> None:
        with billing.charge(setting.account, 1, service_type="contact_lookup"):
            """Do the work."""

    return charge


BENCHMARK = Benchmark(
    compares="one charge, by SQL and over HTTP: round trips, flushes, log, rows that members share",
    target="one round trip, one flush, no shared row",
    run=run,
)
