"""Leases of processes that reach the books over HTTP only."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from credit_sdk import Account, CreditDeductionService
from credit_sdk.operations import GetUserCredits
from tests.leases.processes import start

if TYPE_CHECKING:
    from tests.server.conftest import Organization, Running


def test_what_killed_processes_were_promised_is_charged(
    server: "Running", organization: "Organization", tmp_path: Path
) -> None:
    outbox, key = tmp_path / "outbox.sqlite3", organization.keys["consume"]
    payer = Account(org_id=organization.org_id, user_id=organization.member)
    promised: list[str] = []
    for name in ("first", "second"):
        process = start(server.base_url, outbox, name, payer, CREDIT_SDK_API_KEY=key)
        assert process.stdout is not None
        promised.append(process.stdout.readline().decode().strip())
        os.kill(process.pid, signal.SIGKILL)
        promised += process.communicate(timeout=60)[0].decode().split()
    promised = [each for each in promised if each != "refused"]

    # The charge that was under way when the process died may be done and not be promised yet.
    with CreditDeductionService(server.base_url, api_key=key, outbox=outbox) as billing:
        billing.settle_leases()
        billing.flush_outbox()
        charged = [each.request_id for each in billing.charges(organization.org_id)]
        assert billing.pending_charges() == []
    assert len(charged) == len(set(charged))
    assert set(promised) <= set(charged)
    assert len(charged) - len(promised) <= 2
    everywhere = organization.keys["everywhere"]
    with CreditDeductionService(server.base_url, api_key=everywhere, outbox=False) as reader:
        [standing] = reader.execute(GetUserCredits(user_id=organization.member)).organizations
    assert (standing.remaining_credits, standing.held_credits) == (100 - len(charged), 0)
