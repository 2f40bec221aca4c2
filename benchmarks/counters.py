"""What one charge costs the server: round trips, flushes, log, and rows that members share."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from benchmarks.counting_proxy import CountingProxy, through
from benchmarks.measuring import Figure, counter
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting, query
from credit_sdk import CreditDeductionService

MakeCharge = Callable[[Setting, CreditDeductionService], Callable[[], object]]
CHARGES = 50
WARM_UP = 10
FSYNCS = "SELECT sum(fsyncs)::float8 FROM pg_stat_io WHERE object = 'wal'"
WAL_BYTES = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8"
SHARED_ROWS = """SELECT (n_tup_ins + n_tup_upd + n_tup_del)::float8 FROM pg_stat_user_tables
WHERE relname = 'credit_pools'"""


def run(setting: Setting, _rounds: int) -> Iterator[Figure]:
    """Yield the counters for each way of charging."""
    for way, address in (("SQL", setting.database_url), ("HTTP", setting.base_url)):
        yield from _round_trips(setting, way, address)
    for shape, make_charge, fsyncs in (
        ("deduct", _deduct, 1.0),
        ("hold and capture", _hold_and_capture, 2.0),
    ):
        yield from _server_side(setting, shape, make_charge, fsyncs)


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


def _server_side(
    setting: Setting, shape: str, make_charge: MakeCharge, most_fsyncs: float
) -> Iterator[Figure]:
    before = _look(setting)
    # A connection hands in its statistics for certain only when it is closed.
    with setting.billing() as billing:
        charge = make_charge(setting, billing)
        for _ in range(CHARGES):
            charge()
    fsyncs, wal, shared = (after - start for after, start in zip(_look(setting), before, strict=True))
    yield counter(f"{shape}: fsyncs", fsyncs / CHARGES, most_fsyncs + 0.2, "other processes flush as well")
    yield counter(f"{shape}: rows written that members share", shared, 0)
    yield counter(f"{shape}: log", wal / CHARGES, unit="bytes")


def _look(setting: Setting) -> tuple[float, float, float]:
    return query(setting, FSYNCS), query(setting, WAL_BYTES), query(setting, SHARED_ROWS)


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
