"""`credits outbox` as a person types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from credit_sdk import UnavailableError
from credit_sdk.operations import CaptureHold
from tests.outbox.conftest import ADA, Fault, MakeService


def credits(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from credit_sdk.cli import main; main()",
        "outbox",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def owed(make_service: MakeService, outbox_path: Path) -> Path:
    """An outbox with one charge of 50 credits."""
    billing = make_service()
    Fault(billing, CaptureHold, error=UnavailableError("The server is away."), after=False)
    with billing.charge(ADA, 50, service_type="print_job"):
        pass
    billing.close()
    return outbox_path


def test_list_shows_what_is_owed_and_why(owed: Path) -> None:
    shown = credits("list", "--outbox", owed)
    assert shown.returncode == 0, shown.stderr
    assert "50 credits, print_job, ada of acme" in shown.stdout
    assert "The server is away." in shown.stdout
    [entry] = json.loads(credits("list", "--outbox", owed, "--json").stdout)
    assert (entry["state"], entry["charge"]["credits"]) == ("waiting", 50)


def test_flush_delivers_and_says_so(owed: Path, books: str) -> None:
    flushed = credits("flush", "--outbox", owed, "--url", books)
    assert (flushed.returncode, flushed.stdout) == (0, "1 charged (50 credits), 0 given back, 0 kept.\n")
    assert credits("list", "--outbox", owed).stdout == "The outbox is empty.\n"


def test_discard_gives_up_what_a_person_names(owed: Path) -> None:
    [entry] = json.loads(credits("list", "--outbox", owed, "--json").stdout)
    assert credits("discard", entry["entry_id"], "--outbox", owed).returncode == 0
    again = credits("discard", entry["entry_id"], "--outbox", owed)
    assert again.returncode == 1
    assert again.stderr.startswith("credits: The outbox keeps no charge")
