"""P4: members of one organisation charge as if they were in a hundred."""

from collections.abc import Iterator

from benchmarks.measuring import Figure, Side, in_turn, ratio, spread
from benchmarks.members import Crowd
from benchmarks.pgbench import transactions_per_second
from benchmarks.processes import FSYNCS, counted
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting

TOGETHER = Crowd("p4-one", organizations=1, members=100)
APART = Crowd("p4-many", organizations=100, members=1)
CHARGES = 480
SCRIPT = """\\set number random(0, 99)
SELECT * FROM ledger.deduct('{org}', '{user}', 1000, 'bench');
"""
OURS = {
    "one organisation": SCRIPT.format(org="p4-one-0", user="user-:number").replace(
        "'user-:number'", "'user-' || :number"
    ),
    "a hundred": SCRIPT.replace("'{org}'", "'p4-many-' || :number").format(user="user-0"),
}
NAIVE = "\\set number random(0, 99)\nSELECT deduct_credits('p4-one-0', 'user-' || :number, 1000, 'bench');\n"
CLIENTS = (8, 32)


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield flushes for a charge, and the rates beside them."""
    for crowd in (TOGETHER, APART):
        crowd.join(setting)
    naive_url = TOGETHER.join_naive(setting)
    for clients in CLIENTS:
        rates: dict[str, list[float]] = {}

        def side(name: str, url: str, script: str, clients: int = clients) -> Side:
            each = CHARGES // clients

            def work() -> None:
                rate = transactions_per_second(url, script, clients=clients, transactions=each)
                rates.setdefault(name, []).append(rate)  # noqa: B023 - called within this iteration

            return lambda: counted(setting, FSYNCS, work, each * clients)

        sides = {name: side(name, setting.database_url, script) for name, script in OURS.items()}
        flushes = in_turn(sides | {"naive": side("naive", naive_url, NAIVE)}, rounds)
        where = f"{clients} clients"
        yield ratio(
            f"{where}: fsyncs for a charge in one organisation / spread over a hundred",
            flushes["one organisation"],
            flushes["a hundred"],
            target=1.15,
        )
        for name, values in flushes.items():
            yield spread(f"{where}: fsyncs for a charge, {name}", values, "count")
        yield ratio(
            f"{where}: charges a second in one organisation / naive",
            rates["one organisation"],
            rates["naive"],
            at_least=True,
        )


BENCHMARK = Benchmark(
    compares="charges by many members of one organisation, beside members of a hundred organisations",
    target="1.15 of their fsyncs for a charge, at 8 and at 32 clients",
    run=run,
)
