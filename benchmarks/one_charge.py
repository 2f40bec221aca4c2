"""P5: what one charge costs PostgreSQL, beside a bare INSERT and beside the naive function."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import psycopg

from benchmarks.measuring import Figure, Side, in_turn, ratio
from benchmarks.members import Crowd
from benchmarks.processes import WAL_BYTES, backend_microseconds, counted, spent_microseconds
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import new_request_id

CROWD = Crowd("p5", organizations=20, members=5)
CHARGES = CROWD.organizations * CROWD.members
"""Each member is charged once in a transaction: what is measured is the statement, not its commit."""
BLOCK = "DO $$ BEGIN FOR i IN 0..{last} LOOP {statement}; END LOOP; END $$"
PAYER = "'p5-' || (i % 20), 'user-' || (i / 20)"
REQUEST = "'req_' || md5(random()::text)"
LEAST = Path(__file__).with_name("sql") / "least.sql"
"""The least that a charge can be: what a goal for its cost has to leave room for."""
BARE_TABLE = """CREATE TABLE IF NOT EXISTS naive.bare (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(), org_id VARCHAR(36) NOT NULL, user_id VARCHAR(255) NOT NULL,
  credits_used BIGINT NOT NULL, service_type VARCHAR(100) NOT NULL, request_id VARCHAR(255) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now()
)"""
STATEMENTS = {
    "ours": f"PERFORM * FROM ledger.deduct({PAYER}, 1000, 'bench', NULL, {REQUEST})",
    "naive": f"PERFORM deduct_credits({PAYER}, 1000, 'bench', NULL, {REQUEST}, '{{}}')",
    "bare": "INSERT INTO bare (org_id, user_id, credits_used, service_type, request_id)"
    f" SELECT {PAYER}, 1000, 'bench', {REQUEST}",
    "least": f"PERFORM least_charge({PAYER}, 1000, 'bench', {REQUEST})",
}
TRANSACTIONS = {
    "ours": "SELECT * FROM ledger.deduct(%s, %s, 1000, 'bench', NULL, %s)",
    "naive": "SELECT deduct_credits(%s, %s, 1000, 'bench', NULL, %s, '{}')",
    "bare": "INSERT INTO bare (org_id, user_id, credits_used, service_type, request_id) "
    "VALUES (%s, %s, 1000, 'bench', %s)",
}
Connection = psycopg.Connection[tuple[object, ...]]


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the ratios of time and of log."""
    CROWD.join(setting)
    with psycopg.connect(CROWD.join_naive(setting), autocommit=True) as connection:
        connection.execute(BARE_TABLE)
        if connection.execute("SELECT to_regclass('least_charges')").fetchone() == (None,):
            connection.execute(LEAST.read_bytes())
        blocks = {
            name: BLOCK.format(last=CHARGES - 1, statement=statement)
            for name, statement in STATEMENTS.items()
        }
        sides = {name: backend_microseconds(connection, block, CHARGES) for name, block in blocks.items()}
        spent = in_turn(sides, rounds * 5)
        best = {name: min(values) for name, values in spent.items()}
        for other, target in (("bare", 2.5), ("naive", 0.5)):
            yield ratio(
                f"PostgreSQL's CPU for a charge / {OTHERS[other]}",
                spent["ours"],
                spent[other],
                target=target,
                note=f"{best['ours']:.1f} against {best[other]:.1f} us at best, without commit",
            )

        yield ratio(
            "PostgreSQL's CPU for the least that can charge / the naive function",
            spent["least"],
            spent["naive"],
            note="an UPDATE and an INSERT into a table with one index: no holds, no caps, no lists",
        )
        yield from _with_commit(connection, rounds)

        def log_of(name: str) -> float:
            work = blocks[name].encode()
            return counted(setting, WAL_BYTES, lambda: connection.execute(work), CHARGES)

        logs = in_turn({name: lambda name=name: log_of(name) for name in ("ours", "naive", "least")}, rounds)
        log = {name: statistics.median(values) for name, values in logs.items()}
        yield ratio(
            "log of a charge / naive",
            logs["ours"],
            logs["naive"],
            target=0.65,
            note=f"{log['ours']:.0f} against {log['naive']:.0f} bytes",
        )
        yield ratio("log of the least that can charge / naive", logs["least"], logs["naive"])


def _transactions(connection: Connection, statement: str) -> Side:
    """Return a side: PostgreSQL's processor time for each of some charges, one after the other."""
    pid, asked = connection.info.backend_pid, statement.encode()

    def side() -> float:
        before = spent_microseconds(pid)
        for number in range(CHARGES):
            org, user = f"p5-{number % CROWD.organizations}", f"user-{number % CROWD.members}"
            connection.execute(asked, (org, user, new_request_id()), prepare=True)
        return (spent_microseconds(pid) - before) / CHARGES

    return side


def _with_commit(connection: Connection, rounds: int) -> Iterator[Figure]:
    """Yield the same for charges that are each a transaction of a client, as they are in life."""
    sides = {name: _transactions(connection, statement) for name, statement in TRANSACTIONS.items()}
    spent = in_turn(sides, rounds)
    best = {name: min(values) for name, values in spent.items()}
    for other, target in (("bare", 2.5), ("naive", 0.5)):
        yield ratio(
            f"PostgreSQL's CPU for a charge with its commit / {OTHERS[other]}",
            spent["ours"],
            spent[other],
            target=target,
            note=f"{best['ours']:.0f} against {best[other]:.0f} us at best",
        )


OTHERS = {"bare": "a bare INSERT", "naive": "the naive function"}
BENCHMARK = Benchmark(
    compares="one charge in PostgreSQL, beside a bare INSERT and beside the function of the source documents",
    target="2.5 of a bare INSERT, half of the naive function, 0.65 of its log",
    run=run,
)
