"""The command line as a person types it, on the books of an organisation."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from credit_sdk.backends.sql import SqlBackend
from credit_sdk.operations import AddCredits, Allocate, Deduct, Refund, Seal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from credit_sdk.models import Receipt

    Connection = psycopg.Connection[tuple[Any, ...]]
    Finished = subprocess.CompletedProcess[str]

ORG = "acme"
PEOPLE = ("ada", "bob")


@dataclass(frozen=True)
class Books:
    """An organisation in which each of two people may spend 1,000 credits."""

    url: str
    backend: SqlBackend
    owner: Connection

    def charge(self, request_id: str, credits: str = "10", user_id: str = "ada", **more: Any) -> Receipt:
        fields = {"org_id": ORG, "user_id": user_id, "credits": credits, "service_type": "valuation"}
        return self.backend.execute(Deduct.model_validate(fields | {"request_id": request_id} | more))

    def refund(self, request_id: str, credits: str | None = None) -> None:
        fields = {"org_id": ORG, "request_id": request_id, "credits": credits}
        given = {name: value for name, value in fields.items() if value is not None}
        self.backend.execute(Refund.model_validate(given))

    def seal(self) -> None:
        self.backend.execute(Seal())

    def charged(self) -> dict[str, Decimal]:
        """Return what each request id took, refunds subtracted."""
        rows = self.owner.execute(
            "SELECT charge.request_id, (charge.credits_used + coalesce(sum(back.credits_used), 0)) / 1000"
            " FROM credit_usage_attribution AS charge"
            " LEFT JOIN credit_usage_attribution AS back ON back.refund_of = charge.id"
            " WHERE charge.refund_of IS NULL GROUP BY charge.request_id, charge.credits_used"
        )
        return {request_id: Decimal(credits).normalize() for request_id, credits in rows}


@pytest.fixture
def books(database_url: str) -> Iterator[Books]:
    backend = SqlBackend(database_url, pool_size=2)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", [ORG, ORG])
        backend.execute(AddCredits(org_id=ORG, credits=Decimal(10_000)))
        for user_id in PEOPLE:
            owner.execute(
                "INSERT INTO organization_members (org_id, user_id) VALUES (%s, %s)", [ORG, user_id]
            )
            backend.execute(Allocate(org_id=ORG, user_id=user_id, allocated_credits=Decimal(1_000)))
        yield Books(database_url, backend, owner)
    backend.close()


def run(*arguments: str | Path, url: str | None = None) -> Finished:
    """Run the command line, with the books only in its environment."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "CREDIT_SDK_URL", "API_BASE_URL"}
    }
    return subprocess.run(
        [sys.executable, "-c", "from credit_sdk.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment | ({"DATABASE_URL": url} if url else {}),
    )
