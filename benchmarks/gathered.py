"""P2 and P3: many connections charge one allocation over HTTP, beside a server that gathers nothing."""

from collections.abc import Iterator

from benchmarks.connections import Load, charge_over
from benchmarks.measuring import Figure, Side, in_turn, ratio, spread
from benchmarks.processes import TRANSACTIONS, counted
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting, served

CONNECTIONS = {64: 20, 256: 60}
"""How many connections, and so many charges share a transaction at least."""
FEW = 1_280
CHARGES_OF_EACH = 9
"""The first of them is not measured."""


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield transactions for a charge, then rates and waits beside one transaction for each request."""
    for connections, together in CONNECTIONS.items():
        charges = max(FEW, CHARGES_OF_EACH * connections)
        yield spread_of_transactions(setting, connections, charges, rounds, 1 / together)
    with served(CREDITS_BATCH_SIZE="1") as apart:
        loads: dict[str, list[Load]] = {"gathered": [], "apart": []}

        def side(name: str, served_by: Setting) -> Side:
            def measure() -> float:
                loads[name].append(load(served_by, max(CONNECTIONS), CHARGES_OF_EACH * max(CONNECTIONS)))
                return loads[name][-1].rate

            return measure

        rates = in_turn({"gathered": side("gathered", setting), "apart": side("apart", apart)}, rounds)
    waits = {name: [each.p99 for each in measured[1:]] for name, measured in loads.items()}
    where = f"{max(CONNECTIONS)} connections"
    for name, values in rates.items():
        yield spread(f"{where}: charges a second, {name}", values, "count")
    yield ratio(
        f"{where}: charges a second, gathered / one transaction each",
        rates["gathered"],
        rates["apart"],
        target=8,
        at_least=True,
    )
    yield ratio(
        f"{where}: p99, gathered / one transaction each", waits["gathered"], waits["apart"], target=0.25
    )


def load(setting: Setting, connections: int, charges: int) -> Load:
    """Charge the demo organisation's owner over so many connections."""
    account = setting.account
    charge = {"org_id": account.org_id, "user_id": account.user_id, "credits": 1, "service_type": "bench"}
    return charge_over(setting.base_url, setting.api_key, charge, connections=connections, charges=charges)


def spread_of_transactions(
    setting: Setting, connections: int, charges: int, rounds: int, target: float
) -> Figure:
    """Return how many transactions write for each charge, each of which waits for a flush of its own."""

    def measure() -> float:
        return counted(setting, TRANSACTIONS, lambda: load(setting, connections, charges), charges)

    measured = in_turn({"gathered": measure}, rounds)["gathered"]
    figure = spread(f"{connections} connections: transactions for a charge", measured, "count")
    return Figure(figure.name, figure.value, figure.lowest, figure.highest, "count", target)


BENCHMARK = Benchmark(
    compares="many connections that charge one allocation over HTTP, beside one transaction for each request",
    target="20 charges a transaction at 64 connections, 60 at 256; 8 times the rate, a quarter of p99",
    run=run,
)
