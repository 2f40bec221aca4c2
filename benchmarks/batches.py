"""P1 and P7: a hundred charges of one allocation as one batch, beside one by one."""

import json
from collections.abc import Iterator
from functools import partial

import psycopg

from benchmarks.measuring import Figure, Side, cpu_microseconds, in_turn, ratio, wall_microseconds
from benchmarks.members import Crowd
from benchmarks.processes import WAL_BYTES, counted
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import new_request_id
from credit_sdk.operations import Deduct, parse

CROWD = Crowd("p1", organizations=1, members=1)
ORG, USER = "p1-0", "user-0"
BATCH = 100
BATCHES = 3
SINGLE = "SELECT * FROM ledger.deduct(%s, %s, 1000, 'bench', NULL, %s, '{}')"
TOGETHER = "SELECT document FROM ledger.deduct_batch(%s, %s::jsonb)"
NAIVE = "SELECT deduct_credits(%s, %s, 1000, 'bench', NULL, %s, '{}')"


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the ratios of rate, flushes and log, and of the client's CPU."""
    CROWD.join(setting)
    naive_url = CROWD.join_naive(setting)
    with (
        psycopg.connect(setting.database_url, autocommit=True) as ours,
        psycopg.connect(naive_url, autocommit=True) as naive,
    ):
        works = {"batches": partial(_batch, ours), "naive": partial(_one_by_one, naive, NAIVE)}
        spent = in_turn({name: _each(work) for name, work in works.items()}, rounds)
        rates = {name: [1_000_000 / each for each in values] for name, values in spent.items()}
        yield ratio(
            "charges a second on one allocation, batches of 100 / the naive function",
            rates["batches"],
            rates["naive"],
            target=12,
            at_least=True,
            note=f"{max(rates['batches']):.0f} against {max(rates['naive']):.0f} at best",
        )
        sides: dict[str, Side] = {
            name: partial(counted, setting, WAL_BYTES, work, BATCH) for name, work in works.items()
        }
        logs = in_turn(sides, rounds)
        yield ratio("log of a charge, batches of 100 / the naive function", logs["batches"], logs["naive"])
        yield _client(setting, ours, rounds)


def _each(work: partial[None]) -> Side:
    side = wall_microseconds(work, BATCHES)
    return lambda: side() / BATCH


def _batch(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    charges = [
        {"user_id": USER, "credits": 1_000, "service_type": "bench", "request_id": new_request_id()}
        for _ in range(BATCH)
    ]
    connection.execute(TOGETHER, (ORG, json.dumps(charges)), prepare=True)


def _one_by_one(connection: "psycopg.Connection[tuple[object, ...]]", statement: str) -> None:
    for _ in range(BATCH):
        connection.execute(statement.encode(), (ORG, USER, new_request_id()), prepare=True)


def _client(setting: Setting, connection: "psycopg.Connection[tuple[object, ...]]", rounds: int) -> Figure:
    fields = {"org_id": ORG, "user_id": USER, "credits": 1, "service_type": "bench"}
    with setting.billing() as billing:

        def many() -> None:
            billing.deduct_many([parse(Deduct, fields) for _ in range(BATCH)])

        together = cpu_microseconds(many, BATCHES)
        alone = cpu_microseconds(partial(_one_by_one, connection, SINGLE), 1)
        sides: dict[str, Side] = {"ours": lambda: together() / BATCH, "raw": lambda: alone() / BATCH}
        spent = in_turn(sides, rounds)
    return ratio(
        "the client's CPU for a charge of deduct_many / one call of the bare driver",
        spent["ours"],
        spent["raw"],
        target=0.2,
        note=f"{min(spent['ours']):.1f} against {min(spent['raw']):.1f} us at best",
    )


BENCHMARK = Benchmark(
    compares="a hundred charges of one allocation as a batch, beside the naive function and the bare driver",
    target="12 times the charges a second; 0.2 of the client's CPU of one call",
    run=run,
)
