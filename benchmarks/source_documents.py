"""A charge as the source documents write it (asyncpg, a connection for each call), beside the SDK."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import asyncpg

from benchmarks.measuring import Figure, Side, cpu_microseconds, in_turn, ratio, wall_microseconds
from benchmarks.naive import naive_members
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting
from credit_sdk import AsyncCreditDeductionService, new_request_id

CALLS = 40
NAIVE = "SELECT deduct_credits($1, $2, $3, $4, $5, $6, $7::jsonb)"


def run(setting: Setting, rounds: int) -> Iterator[Figure]:
    """Yield ratios of the client's CPU and of waiting."""
    url = naive_members(setting, "acme", ["ada"])

    async def documents() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(NAIVE, "acme", "ada", 1_000, "bench", "Bench", new_request_id(), "{}")
        finally:
            await connection.close()

    with asyncio.Runner() as runner:
        service = AsyncCreditDeductionService(setting.database_url, outbox=False)

        async def ours() -> None:
            await service.deduct(setting.account, 1, service_type="bench", service_name="Bench")

        for what, clock in (("client's CPU", cpu_microseconds), ("time", wall_microseconds)):

            def side(call: Callable[[], Awaitable[None]], clock: Callable[..., Side] = clock) -> Side:
                return clock(lambda: runner.run(_often(call)), 1)

            spent = in_turn({"ours": side(ours), "theirs": side(documents)}, rounds)
            best = {name: min(values) / CALLS for name, values in spent.items()}
            note = f"{best['ours']:.0f} against {best['theirs']:.0f} us at best"
            name = f"{what} of a charge / the source documents' way"
            yield ratio(name, spent["ours"], spent["theirs"], target=1.0, note=note)
        runner.run(service.close())


async def _often(call: Callable[[], Awaitable[None]]) -> None:
    for _ in range(CALLS):
        await call()


BENCHMARK = Benchmark(
    compares="a charge with the SDK, beside the source documents' way: asyncpg, one connection for each call",
    target="less, in every respect",
    run=run,
)
