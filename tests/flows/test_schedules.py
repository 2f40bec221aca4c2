"""20,000 simulated schedules.

A failure names its seed; `CREDITS_FAULT_SEED=6662 pytest tests/flows/test_schedules.py` runs that one
alone. The soak profile runs fifty times as many.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flows.judging import judge
from tests.flows.simulation import World, simulate

CHUNK = 1_000
CHUNKS = 20 * (50 if os.environ.get("CREDITS_TEST_PROFILE") == "soak" else 1)
CHOSEN = os.environ.get("CREDITS_FAULT_SEED")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The product's warnings are many here, and meant."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def try_schedule(seed: int) -> World:
    """Carry a schedule out and judge it; a failure tells the story."""
    world = simulate(seed)
    try:
        judge(world)
    except AssertionError as error:
        error.add_note(f"CREDITS_FAULT_SEED={seed}\n" + "\n".join(world.trace))
        raise
    return world


def chunks() -> list[range]:
    if CHOSEN:
        return [range(int(CHOSEN), int(CHOSEN) + 1)]
    return [range(first, first + CHUNK) for first in range(0, CHUNK * CHUNKS, CHUNK)]


@pytest.mark.parametrize("seeds", chunks(), ids=lambda seeds: str(seeds[0]))
def test_every_schedule_charges_each_success_once_and_no_failure(seeds: range) -> None:
    seen: Counter[str] = Counter()
    for seed in seeds:
        world = try_schedule(seed)
        seen.update(world.fired)
        seen.update(attempt.fate for attempt in world.attempts)
        seen.update(attempt.ending for attempt in world.attempts if attempt.performed)
        seen["charges"] += len(world.ledger.entries)
    if not CHOSEN:
        wanted = {"crash", "network", "away", "disk full at keep", "disk full when letting go"}
        wanted |= {"acked", "pending", "told", "nothing", "crashed", "succeeds", "fails", "uncertain"}
        assert {name for name in wanted if seen[name] < 20} == set(), seen
        assert seen["charges"] > CHUNK


def test_a_seed_is_the_same_schedule_each_time() -> None:
    def story(seed: int) -> list[Any]:
        world = simulate(seed)
        return [len(world.trace), world.fired, [(each.fate, each.kept) for each in world.attempts]]

    assert [story(seed) for seed in range(50)] == [story(seed) for seed in range(50)]
