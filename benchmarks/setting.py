"""What the benchmarks run on: a real PostgreSQL and a real server, with demo data."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from credit_sdk import Account, CreditDeductionService

ORG, OWNER = "test-org-llm-001", "2d30c892-5140-48e9-87fa-899cbeb6c2fb"


@dataclass(frozen=True)
class Setting:
    """The addresses of a served ledger, and who pays."""

    database_url: str
    base_url: str
    api_key: str
    pid: int
    """The server's process."""

    @property
    def account(self) -> Account:
        """The demo organisation's owner, with enough credits for every benchmark."""
        return Account(org_id=ORG, user_id=OWNER)

    def billing(self, url: str | None = None) -> CreditDeductionService:
        """Return a service for an address, or for the database."""
        return CreditDeductionService(url or self.database_url, api_key=self.api_key)


@contextmanager
def served(**variables: str) -> Iterator[Setting]:
    """Run the server on an embedded PostgreSQL, with fsync and synchronous_commit on."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready.json")
        command = [str(Path(sys.executable).with_name("credits")), "serve", "--demo", "--port", "0"]
        environment = os.environ | {"CREDITS_DATA_DIR": str(Path(folder, "data"))} | variables
        environment.pop("DATABASE_URL", None)
        server = subprocess.Popen(
            [*command, "--ready-file", str(ready)], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            while not ready.exists() and server.poll() is None:
                time.sleep(0.05)
            details = json.loads(ready.read_text())
            setting = Setting(
                details["database_url"],
                details["base_url"],
                details["credentials"]["service_api_key"],
                server.pid,
            )
            _make_rich(setting)
            yield setting
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def query(setting: Setting, statement: str) -> Any:
    """Return the first value that a statement answers."""
    with psycopg.connect(setting.database_url, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return row[0] if row else None


def _make_rich(setting: Setting) -> None:
    with setting.billing() as billing:
        billing.add_credits(ORG, 100_000_000)
        billing.allocate(setting.account, 100_000_000)
