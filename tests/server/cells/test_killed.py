"""A mover that is killed, as a process of its own, loses and doubles nothing; its successor goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from credit_sdk import CreditDeductionService, Retries
from reference_server.cells.moving import move_organization
from tests.server.cells.conftest import HOME, ORG, ask, sound
from tests.server.cells.test_moving import CHARGES, Crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.conftest import Running

MOVER = Path(__file__).parents[2] / "peers" / "stopping_mover.py"
POINTS = ("begun", "left", "exported", "imported", "arrived", "flipped")
WHERE_IT_CHARGES = {
    "begun": [HOME], "left": [], "exported": [], "imported": [], "arrived": ["b"], "flipped": ["b"],
}  # fmt: skip


@pytest.fixture
def patient(running: Running, key: str) -> Iterator[CreditDeductionService]:
    """The SDK of an application that sends again for as long as nobody has started the mover anew."""
    retries = Retries(attempts=1_000, deadline=120)
    with CreditDeductionService(running.base_url, api_key=key, outbox=False, retries=retries) as service:
        yield service


def kill_a_mover_at(urls: dict[str, str], point: str) -> None:
    """Start a mover and kill it (SIGKILL) when it is there."""
    command = [sys.executable, str(MOVER), point, urls[HOME], urls["b"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as mover:
        assert mover.stdout
        said = mover.stdout.readline()
        mover.kill()
    assert said == f"{point}\n"
    assert mover.returncode == -9


def move(urls: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Give the command, in a process of its own."""
    program = [sys.executable, "-c", "from credit_sdk.cli import main; main()"]
    command = ["cells", "move", ORG, "b", "--url", urls[HOME], "--cells", f"b={urls['b']}"]
    return subprocess.run([*program, *command], check=False, capture_output=True, text=True)


def where_it_charges(urls: dict[str, str]) -> list[str]:
    """Return the cells that take a charge of the organisation; nothing of it stays."""
    answers = {name: answer_to_a_charge(url) for name, url in urls.items()}
    assert set(answers.values()) <= {"charged", "not_a_member", "unavailable"}
    return [name for name, answer in answers.items() if answer == "charged"]


def answer_to_a_charge(url: str) -> str:
    with psycopg.connect(url) as owner:
        try:
            owner.execute("SELECT ledger.deduct('acme', 'ann', 1, 'x')")
        except psycopg.Error as error:
            return str(json.loads(error.diag.message_detail or "{}").get("code"))
        finally:
            owner.rollback()
    return "charged"


@pytest.mark.parametrize("point", POINTS)
def test_a_mover_that_is_killed_loses_and_doubles_nothing(
    patient: CreditDeductionService, urls: dict[str, str], point: str
) -> None:
    with Crowd(patient, 2) as crowd:
        crowd.wait_for_more()
        kill_a_mover_at(urls, point)
        assert where_it_charges(urls) == WHERE_IT_CHARGES[point]
        again = move(urls)
        if point == "flipped":
            assert "lives there" in again.stderr
        else:
            assert (again.returncode, again.stdout) == (0, f"{ORG} moved from {HOME} to b.\n")
        crowd.wait_for_more()
    assert crowd.errors == []
    assert [request_id for request_id, _ in ask(urls["b"], CHARGES)] == sorted(crowd.charged)
    left = ask(urls["b"], "SELECT remaining_credits FROM user_credit_allocations")
    assert left == [(1_000_000 - 10 * len(crowd.charged),)]
    assert where_it_charges(urls) == ["b"]
    assert sound(urls[HOME])
    assert sound(urls["b"])


@pytest.mark.parametrize("point", ["left", "imported", "arrived"])
def test_a_killed_move_can_be_taken_back(
    patient: CreditDeductionService, urls: dict[str, str], point: str
) -> None:
    with Crowd(patient, 2) as crowd:
        crowd.wait_for_more()
        kill_a_mover_at(urls, point)
        assert move_organization(urls, ORG, HOME) == HOME
        crowd.wait_for_more()
    assert crowd.errors == []
    assert [request_id for request_id, _ in ask(urls[HOME], CHARGES)] == sorted(crowd.charged)
    assert sound(urls[HOME])
