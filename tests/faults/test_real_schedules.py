"""Seeded schedules over real processes: clients, a server and PostgreSQL are killed, stopped and cut off.

100 schedules run by default, 3,000 with the soak profile. A failure names its seed, which replays the
schedule (not every interleaving): `CREDITS_FAULT_SEED=57 pytest tests/faults/test_real_schedules.py`.
"""

import os
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tests.faults.rig import Rig, Transport
from tests.faults.running import carry_out, judge
from tests.faults.schedules import CLIENT_DIES, FAULTS, Schedule
from tests.faults.workload import Job

CHUNK = 10
CHUNKS = 300 if os.environ.get("CREDITS_TEST_PROFILE") == "soak" else 10
CHOSEN = os.environ.get("CREDITS_FAULT_SEED")


def chunks() -> list[range]:
    if CHOSEN:
        return [range(int(CHOSEN), int(CHOSEN) + 1)]
    return [range(first, first + CHUNK) for first in range(0, CHUNK * CHUNKS, CHUNK)]


@pytest.mark.parametrize("seeds", chunks(), ids=lambda seeds: str(seeds[0]))
def test_every_success_is_charged_once_and_no_failure(rig: Rig, tmp_path: Path, seeds: range) -> None:
    for seed in seeds:
        schedule = Schedule.of_seed(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            judge(carry_out(rig, schedule, folder))
        except BaseException as error:
            log = (folder / "log").read_text() if (folder / "log").exists() else "(nothing was done)"
            error.add_note(f"CREDITS_FAULT_SEED={seed}: {schedule}\n{log}")
            raise


def test_the_seeds_that_run_meet_every_fault() -> None:
    met = {(each.transport, each.fault) for each in map(Schedule.of_seed, range(CHUNK * CHUNKS))}
    assert met == set(FAULTS)


@pytest.mark.parametrize(("transport", "is_async"), [("sql", False), ("http", True)], ids=["sql", "http"])
def test_a_client_may_die_at_every_step(
    rig: Rig, tmp_path: Path, transport: Transport, is_async: bool
) -> None:
    jobs = (Job("good", 5, 8, fails=False, shape="block"), Job("bad", 5, 8, fails=True, shape="block"))
    schedule = Schedule(
        seed=0, transport=transport, fault=CLIENT_DIES, instant=1, repeats=1, delay=0, jobs=jobs,
        allocated=100, is_async=is_async, at_once=1, runs_again=False,
    )  # fmt: skip
    for step in count(1):
        folder = tmp_path / str(step)
        folder.mkdir()
        run = carry_out(rig, replace(schedule, instant=step), folder)
        if not run.hits:
            break
        judge(run)
    assert step > 20, "the client has more steps than that"
