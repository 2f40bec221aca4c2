"""`examples/llm` runs as its README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import examples.llm

if TYPE_CHECKING:
    from tests.server.conftest import Organization, StartServer

ROOT = Path(examples.llm.__file__).parents[2]


def test_the_example_answers_and_says_what_it_cost(
    start_server: StartServer, organization: Organization
) -> None:
    server = start_server(llm_offline=True)
    given = {"CREDIT_SDK_URL": server.base_url, "SESSION_TOKEN": organization.sessions["member"]}
    command = [sys.executable, "-m", "examples.llm.chat", "What is a ledger?"]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    plain, cost, streamed = ran.stdout.splitlines()
    assert plain == streamed == "You said: What is a ledger?"
    assert cost == "0.009 credits, 99.991 are left"
