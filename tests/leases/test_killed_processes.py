"""Real processes on one PostgreSQL, killed at any moment: the next start settles them to the last credit."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    CreditDeductionService,
    InsufficientCreditsError,
    LeasePolicy,
)
from credit_sdk.operations import AddCredits, Allocate, VerifyLedger
from tests.leases.processes import start

PLENTY = 1_000_000
ADA = Account(org_id="acme", user_id="ada")


@pytest.fixture
def books(database_url: str) -> str:
    """The URL of a database in which ada of acme may spend 400 credits."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
        owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES ('acme', 'ada')")
    allot(database_url, 400)
    return database_url


def allot(books: str, credits_allotted: int) -> None:
    """Give ada so many more credits."""
    with CreditDeductionService(books, outbox=False) as billing:
        billing.execute(AddCredits.model_validate({"org_id": "acme", "credits": credits_allotted}))
        fields = {"org_id": "acme", "user_id": "ada", "allocated_credits": credits_allotted}
        billing.execute(Allocate.model_validate(fields))


def left(billing: CreditDeductionService) -> tuple[int, int]:
    [standing] = billing.user_credits("ada").organizations
    return int(standing.remaining_credits), int(standing.held_credits)


def test_two_killed_processes_have_spent_exactly_what_they_promised(books: str, tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.sqlite3"
    # More than one of them can spend while the other starts.
    allot(books, PLENTY - 400)
    processes = [start(books, outbox, name) for name in ("first", "second")]
    promised: list[str] = []
    for process, count in zip(processes, (50, 90), strict=True):
        assert process.stdout is not None
        promised += [process.stdout.readline().decode().strip() for _ in range(count)]
        os.kill(process.pid, signal.SIGKILL)
        promised += process.communicate(timeout=60)[0].decode().split()
    assert {each.rpartition("-")[0] for each in promised} == {"first", "second"}

    # The charge that was under way when the process died may be done and not be promised yet.
    with CreditDeductionService(books, outbox=outbox) as billing:
        billing.settle_leases()
        billing.flush_outbox()
        charged = [each.request_id for each in billing.charges("acme")]
        assert len(charged) == len(set(charged))
        assert set(promised) <= set(charged)
        assert len(charged) - len(promised) <= 2
        assert left(billing) == (PLENTY - len(charged), 0)
        assert billing.pending_charges() == []
        assert billing.execute(VerifyLedger()).differences == ()
    assert not list(tmp_path.glob("*.leases/*/*.journal"))


def test_the_command_settles_what_a_killed_process_has_left(books: str, tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.sqlite3"
    process = start(books, outbox, "first")
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    promised = len(process.communicate(timeout=60)[0].split()) + 1
    flush = ["outbox", "flush", "--url", books, "--outbox", str(outbox)]
    command = [sys.executable, "-c", "from credit_sdk.cli import main; main()", *flush]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    with CreditDeductionService(books, outbox=False) as reader:
        remaining, held = left(reader)
    assert held == 0
    assert 400 - promised - 1 <= remaining <= 400 - promised


def test_two_processes_spend_an_allocation_to_the_end_and_no_further(books: str, tmp_path: Path) -> None:
    outbox = tmp_path / "outbox.sqlite3"
    processes = [start(books, outbox, name) for name in ("first", "second")]
    answers = [process.communicate(timeout=120)[0].decode().split() for process in processes]
    assert [each[-1] for each in answers] == ["refused", "refused"]
    with CreditDeductionService(books, outbox=outbox) as billing:
        charged = [each.request_id for each in billing.charges("acme")]
        assert sorted(charged) == sorted(answers[0][:-1] + answers[1][:-1])
        remaining, held = left(billing)
        assert (remaining, held) == (400 - len(charged), 0)
        assert remaining <= 1


def test_a_child_leases_for_itself(books: str, tmp_path: Path) -> None:
    with CreditDeductionService(
        books, outbox=tmp_path / "outbox.sqlite3", lease=LeasePolicy(credits=40, settle_seconds=60)
    ) as billing:
        with billing.charge(ADA, 3, service_type="lookup"):
            pass
        child = os.fork()
        if not child:
            with billing.charge(ADA, 4, service_type="lookup"):
                pass
            billing.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert left(billing) == (396, 40)
    with CreditDeductionService(books, outbox=False) as reader:
        assert left(reader) == (393, 0)


@pytest.mark.anyio
async def test_tasks_share_a_lease(books: str, tmp_path: Path) -> None:
    lease = LeasePolicy(credits=100)
    async with AsyncCreditDeductionService(books, outbox=tmp_path / "outbox.sqlite3", lease=lease) as billing:

        @billing.billable("lookup", cost=1)
        async def look_up(account: Account) -> None:
            await asyncio.sleep(0)

        await asyncio.gather(*(look_up(ADA) for _ in range(200)))
        async with billing.charge(ADA, 1, service_type="lookup") as charge:
            charge.credits = 150
        with pytest.raises(InsufficientCreditsError):
            async with billing.charge(ADA, 900, service_type="lookup"):
                pytest.fail("the work began")  # pragma: no cover
    with CreditDeductionService(books, outbox=False) as reader:
        assert left(reader) == (50, 0)


@pytest.mark.anyio
async def test_a_task_that_is_cancelled_while_the_lease_is_taken_keeps_nothing(
    books: str, tmp_path: Path
) -> None:
    lease = LeasePolicy(credits=100, settle_seconds=60)
    async with AsyncCreditDeductionService(books, outbox=tmp_path / "outbox.sqlite3", lease=lease) as billing:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        backend: Any = billing._till.connections.backend
        carry_out = backend.execute

        def execute(operation: Any) -> Any:
            loop.call_soon_threadsafe(asked.set)
            return carry_out(operation)

        backend.execute = execute

        async def spend() -> None:
            async with billing.charge(ADA, 60, service_type="lookup"):
                pytest.fail("the work began")  # pragma: no cover

        task = asyncio.create_task(spend())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with billing.charge(ADA, 60, service_type="lookup") as charge:
            pass
        assert charge.is_pending
    with CreditDeductionService(books, outbox=False) as reader:
        assert left(reader) == (340, 0)
