"""P5: what one charge costs PostgreSQL, beside a bare INSERT and beside the naive function."""

import statistics
from collections.abc import Iterator

import psycopg

from benchmarks.measuring import Figure, in_turn, ratio
from benchmarks.members import Crowd
from benchmarks.processes import WAL_BYTES, backend_microseconds, counted
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting

CROWD = Crowd("p5", organizations=20, members=5)
CHARGES = CROWD.organizations * CROWD.members
"""Each member is charged once in a transaction: what is measured is the statement, not its commit."""
BLOCK = "DO $$ BEGIN FOR i IN 0..{last} LOOP {statement}; END LOOP; END $$"
PAYER = "'p5-' || (i % 20), 'user-' || (i / 20)"
REQUEST = "'req_' || md5(random()::text)"
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
}


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield the ratios of time and of log."""
    CROWD.join(setting)
    with psycopg.connect(CROWD.join_naive(setting), autocommit=True) as connection:
        connection.execute(BARE_TABLE)
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

        def log_of(name: str) -> float:
            work = blocks[name].encode()
            return counted(setting, WAL_BYTES, lambda: connection.execute(work), CHARGES)

        logs = in_turn({name: lambda name=name: log_of(name) for name in ("ours", "naive")}, rounds)
        log = {name: statistics.median(values) for name, values in logs.items()}
        yield ratio(
            "log of a charge / naive",
            logs["ours"],
            logs["naive"],
            target=0.65,
            note=f"{log['ours']:.0f} against {log['naive']:.0f} bytes",
        )


OTHERS = {"bare": "a bare INSERT", "naive": "the naive function"}
BENCHMARK = Benchmark(
    compares="one charge in PostgreSQL, beside a bare INSERT and beside the function of the source documents",
    target="2.5 of a bare INSERT, half of the naive function, 0.65 of its log",
    run=run,
)
