"""Processes that spend from a lease until the credits are gone, or they are killed."""

import os
import subprocess
import sys
from pathlib import Path

from credit_sdk import Account

ADA = Account(org_id="acme", user_id="ada")
WORK = """
import os, sys
from credit_sdk import Account, CreditDeductionService, InsufficientCreditsError, LeasePolicy

url, outbox, name, org_id, user_id = sys.argv[1:]
lease = LeasePolicy(credits=40, settle_seconds=0.02, sync_seconds=0.01)
billing = CreditDeductionService(url, outbox=outbox, lease=lease)

payer = Account(org_id=org_id, user_id=user_id)

@billing.billable("lookup", cost=1, account=payer, request_id=lambda number: number)
def look_up(number):
    return number

done = 0
try:
    while True:
        done += 1
        # One line for each charge that was promised, in one write.
        os.write(1, f"{look_up(f'{name}-{done}')}\\n".encode())
except InsufficientCreditsError:
    print("refused", flush=True)
sys.stdin.read()
"""


def start(
    books: str, outbox: Path, name: str, payer: Account = ADA, **environment: str
) -> subprocess.Popen[bytes]:
    """Start a process that writes a line for each charge it was promised, and `refused` at the end."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WORK, books, str(outbox), name, str(payer.org_id), payer.user_id]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, env=os.environ | environment)
