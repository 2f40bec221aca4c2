"""Bugs that are planted in real processes: the judge of the real schedules must find every one of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.faults import planted
from tests.faults.rig import Rig, Transport
from tests.faults.running import Run, carry_out, judge, look
from tests.faults.schedules import CLIENT_DIES, Schedule
from tests.faults.workload import Job

GOOD = Job("good", 5, 8, fails=False, shape="block")
BAD = Job("bad", 5, 8, fails=True, shape="block")
AFTERWARDS = Job("afterwards", 5, 5, fails=False, shape="afterwards")


def scheduled(
    fault: str, *jobs: Job, transport: Transport = "http", instant: int = 1, repeats: int = 1
) -> Schedule:
    return Schedule(
        seed=0, transport=transport, fault=fault, instant=instant, repeats=repeats, delay=0, jobs=jobs,
        allocated=100, is_async=False, at_once=1, runs_again=False,
    )  # fmt: skip


# The hold is request 1; a capture is tried three times, and once more when the client ends.
HARMLESS = scheduled("network: ANSWER_LATE", GOOD, BAD)
NO_CAPTURE = scheduled("network: REQUEST_LOST", GOOD, instant=2, repeats=4)
NO_WORD_OF_THE_CAPTURE = scheduled("network: SILENCE", GOOD, instant=2, repeats=4)
ANSWER_OF_A_DEDUCT_LOST = scheduled("network: ANSWER_LOST", AFTERWARDS, instant=2)
DIES_AFTER_SUCCESS = scheduled(CLIENT_DIES, GOOD, transport="sql")
DIES_AFTER_FAILURE = scheduled(CLIENT_DIES, BAD, GOOD, transport="sql")

LOST = "good was done and is not charged"
FOR_NOTHING = "is charged and was not done"
OPEN = "are open for nobody"
UNASKED = "is charged, which nobody asked for"


@dataclass(frozen=True)
class Control:
    """A planted bug, where it shows, and what the judge says then."""

    plant: str
    schedule: Schedule
    verdict: str


CONTROLS = [
    Control("a_new_request_id_for_each_try", ANSWER_OF_A_DEDUCT_LOST, UNASKED),
    Control("an_unknown_outcome_is_not_asked_again", NO_CAPTURE, LOST),
    Control("an_unknown_outcome_passes_for_a_refusal", NO_WORD_OF_THE_CAPTURE, LOST),
    Control("failed_work_is_charged", HARMLESS, FOR_NOTHING),
    Control("the_begin_is_not_written", DIES_AFTER_SUCCESS, LOST),
    Control("the_charge_is_never_sent", HARMLESS, LOST),
    Control("the_courier_charges_everything", DIES_AFTER_FAILURE, FOR_NOTHING),
    Control("the_courier_charges_under_a_new_id", NO_CAPTURE, UNASKED),
    Control("the_courier_forgets_without_delivering", NO_CAPTURE, LOST),
    Control("the_courier_gives_everything_back", NO_CAPTURE, LOST),
    Control("the_estimate_is_charged", HARMLESS, "good costs 8"),
    Control("the_hold_is_not_given_back", HARMLESS, OPEN),
    Control("the_record_is_dropped_before_the_capture", NO_CAPTURE, LOST),
]


def runs(rig: Rig, schedule: Schedule, folder: Path) -> Iterator[Run]:
    """Carry a schedule out: once, or for each step at which the client may die."""
    for step in count(1) if schedule.fault == CLIENT_DIES else [schedule.instant]:
        (folder / str(step)).mkdir()
        run = carry_out(rig, replace(schedule, instant=step), folder / str(step))
        if not run.hits:
            return
        yield run


def verdict_on(run: Run) -> str | None:
    """Return what the judge finds; None if that is nothing."""
    try:
        judge(run)
    except AssertionError as found:
        return str(found)
    return None


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.plant)
def test_a_planted_bug_is_found(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: Control
) -> None:
    getattr(planted, control.plant)(monkeypatch)
    planted_in = replace(control.schedule, plant=control.plant)
    verdicts = (verdict_on(run) for run in runs(rig, planted_in, tmp_path))
    found = next((verdict for verdict in verdicts if verdict is not None), None)
    assert found is not None, "the judge has found nothing"
    assert control.verdict in found


@pytest.mark.parametrize(
    "schedule",
    [HARMLESS, NO_CAPTURE, NO_WORD_OF_THE_CAPTURE, ANSWER_OF_A_DEDUCT_LOST],
    ids=["harmless", "no capture", "no word of the capture", "answer of a deduct lost"],
)
def test_nothing_is_found_where_nothing_is_planted(rig: Rig, tmp_path: Path, schedule: Schedule) -> None:
    [run] = runs(rig, schedule, tmp_path)
    judge(run)


FORGERIES = {
    "credits are gone": "UPDATE user_credit_allocations SET used_credits = used_credits + 1000",
    "credits came from nowhere": "UPDATE user_credit_allocations SET used_credits = used_credits - 1000",
    "a charge is gone": "DELETE FROM credit_usage_attribution",
    "a charge is altered": "UPDATE credit_usage_attribution SET credits_used = credits_used * 2",
    "a hold counts that nobody has": "UPDATE user_credit_allocations SET held_credits = held_credits + 1000",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_books_that_were_altered_are_found(rig: Rig, tmp_path: Path, forgery: str) -> None:
    """The triggers that forbid it are off, as for whoever has the disk."""
    [run] = runs(rig, HARMLESS, tmp_path)
    judge(run)
    with rig.owner() as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute(psycopg.sql.SQL(forgery + " WHERE org_id = {}").format(run.org_id))
    with pytest.raises(AssertionError):
        judge(replace(run, at_last=look(rig, run.org_id)))


def test_a_fault_that_did_not_happen_shows_nothing(rig: Rig, tmp_path: Path) -> None:
    run = carry_out(rig, replace(HARMLESS, instant=1_000), tmp_path)
    with pytest.raises(AssertionError, match="the fault did not happen"):
        judge(run)
