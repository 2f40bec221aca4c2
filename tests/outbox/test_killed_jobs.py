"""A job whose process is killed in the middle: the next run goes on, and each record is charged once."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from credit_sdk import UnavailableError
from credit_sdk.operations import ChargeHold, Deduct, DeductBatch, ListCharges, VerifyLedger
from tests.outbox.conftest import ADA, Fault, MakeService

JOB = """
import os, signal, sys
from pathlib import Path
import credit_sdk.batch
from credit_sdk import Account, CreditDeductionService

url, outbox, journal, group, killed_at = sys.argv[1:]
credit_sdk.batch.GROUP = int(group)
billing = CreditDeductionService(url, outbox=outbox)
ada = Account(org_id="acme", user_id="ada")
with billing.batch(
    ada, request_id="export-7", service_type="bulk_export", cost_each=5, estimate=50
) as batch:
    for number in batch.remaining(range(20), key=str):
        with batch.record(number):
            if number == int(killed_at):
                os.kill(os.getpid(), signal.SIGKILL)
            with Path(journal).open("a") as file:
                print(number, file=file)
"""


@pytest.mark.parametrize("group", [3, 50], ids=["some were sent", "none was sent"])
def test_each_record_is_done_and_charged_once(
    books: str,
    outbox_path: Path,
    make_service: MakeService,
    left: Callable[[], tuple[int, int]],
    group: int,
) -> None:
    journal = outbox_path.with_name("journal")
    job = [sys.executable, "-c", JOB, books, str(outbox_path), str(journal), str(group)]
    killed = subprocess.run([*job, "11"], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(journal.read_text().split()) == 11

    subprocess.run([*job, "-1"], check=True, timeout=60)
    billing = make_service()
    billing.flush_outbox()
    charges = billing.execute(ListCharges(org_id="acme")).items
    assert Counter(each.request_id for each in charges) == {f"export-7/{number}": 1 for number in range(20)}
    assert Counter(map(int, journal.read_text().split())) == dict.fromkeys(range(20), 1)
    assert left() == (900, 0)
    assert billing.pending_charges() == []
    assert billing.execute(VerifyLedger()).differences == ()


def test_records_that_are_done_and_not_charged_yet_are_not_done_again(make_service: MakeService) -> None:
    billing = make_service()
    Fault(billing, ChargeHold, Deduct, DeductBatch, error=UnavailableError(), after=False)

    def run_job() -> list[int]:
        done = []
        with billing.batch(
            ADA, request_id="export-8", service_type="bulk_export", cost_each=5, estimate=50
        ) as batch:
            for number in batch.remaining(range(3), key=str):
                with batch.record(number):
                    done.append(number)
        return done

    assert run_job() == [0, 1, 2]
    assert run_job() == []
    assert len(billing.pending_charges()) == 3
