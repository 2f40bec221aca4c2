"""Several processes and hundreds of tasks on one allocation, in every way of charging at once."""

import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.faults.crowd import Crowd
from tests.faults.rig import Rig, Transport
from tests.faults.running import USER, end_of, look, open_books

TRANSPORTS: tuple[Transport, ...] = ("sql", "http", "sql", "http")
TASKS = 120
ALLOCATED_CREDITS = 40
"""Less than one process alone asks for."""
WAYS = {"deduct", "capture", "capture_less", "keep", "batch", "block"}


def deadlocks(owner: psycopg.Connection[tuple[object, ...]]) -> object:
    owner.execute("SELECT pg_stat_force_next_flush()")
    [row] = owner.execute("SELECT sum(deadlocks) FROM pg_stat_database").fetchall()
    return row[0]


@pytest.fixture
def answers(rig: Rig, tmp_path: Path) -> tuple[str, list[list[tuple[str, str, str, int]]]]:
    """The organisation, and what each process was told: word, way, request id, millicredits."""
    org_id = str(uuid4())
    open_books(rig, org_id, ALLOCATED_CREDITS)
    rig.heal()
    begin = tmp_path / "begin"
    crowds = [
        Crowd(
            url=rig.client_url(transport),
            api_key=rig.api_key if transport == "http" else None,
            org_id=org_id,
            user_id=USER,
            name=f"{transport}-{number}",
            seed=number,
            tasks=TASKS,
            log=str(tmp_path / str(number)),
            begin=str(begin),
        )
        for number, transport in enumerate(TRANSPORTS)
    ]
    started = [rig.nursery.start("crowd", crowd.as_json()) for crowd in crowds]
    for _ in range(6_000):
        if all(Path(crowd.log).exists() for crowd in crowds):
            break
        time.sleep(0.01)
    begin.touch()
    assert [end_of(rig, pid) for pid in started] == [0] * len(started)
    return org_id, [read(Path(crowd.log)) for crowd in crowds]


def read(log: Path) -> list[tuple[str, str, str, int]]:
    lines = (line.split() for line in log.read_text().splitlines())
    return [(word, way, request_id, int(milli)) for word, way, request_id, milli in lines]


def test_no_millicredit_is_overspent_and_nobody_waits_in_a_circle(
    rig: Rig, answers: tuple[str, list[list[tuple[str, str, str, int]]]]
) -> None:
    org_id, told = answers
    everything = [answer for each in told for answer in each]
    taken = {request_id: milli for word, _, request_id, milli in everything if word == "taken"}
    held = {request_id: milli for word, _, request_id, milli in everything if word == "held"}
    with rig.owner() as owner:
        charged = dict(
            owner.execute(
                "SELECT request_id, credits_used FROM credit_usage_attribution WHERE org_id = %s", [org_id]
            ).fetchall()
        )
        [allocation] = owner.execute(
            "SELECT allocated_credits, used_credits, held_credits FROM user_credit_allocations"
            " WHERE org_id = %s",
            [org_id],
        ).fetchall()
        assert deadlocks(owner) == 0
    books = look(rig, org_id)
    assert charged == taken
    assert set(books.held) == held.keys()
    assert allocation == (ALLOCATED_CREDITS * 1_000, sum(taken.values()), sum(held.values()))
    assert sum(taken.values()) + sum(held.values()) <= ALLOCATED_CREDITS * 1_000
    assert books.differences == []
    assert books.idle_in_transaction == 0
    for each in told:
        words = Counter(word for word, *_ in each)
        assert words["taken"], "nothing was taken: nothing is shown"
        assert words["refused"], "there was enough for all: nothing is shown"
    assert {way for word, way, *_ in everything if word != "refused"} == WAYS
    shared = [request_id for word, _, request_id, _ in everything if request_id.startswith("shared")]
    assert max(Counter(shared).values()) > 1, "no id was shared"
