"""`credits archive`, and what the proofs of archived charges are worth."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.proof.conftest import ORG, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.proof.conftest import Books

TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
PATIENCE_SECONDS = 30
CHARGES = ("r-1", "r-2", "r-3")


@pytest.fixture
def archived(books: Books) -> Books:
    """Three charges, two of them with details, of long ago."""
    now = "CREATE OR REPLACE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE RETURN {}"
    books.owner.execute(now.format("TIMESTAMPTZ '2026-01-15 12:00Z'"))
    for request_id, details in zip(CHARGES, ({"a": 1}, {}, {"b": 2}), strict=True):
        books.charge(request_id, request_metadata=details)
    books.owner.execute(now.format("clock_timestamp()"))
    settle(books)
    done = run("archive", "--before", TOMORROW, "--batch", "1", "--database-url", books.url)
    assert (done.stdout, done.returncode) == ("2 charges archived.\n", 0), done.stderr
    return books


def settle(books: Books) -> None:
    """Seal until sealing has moved on over everything old: until nobody else is at work."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    settled = "SELECT bool_and(settled_before > '2026-02-01Z') FROM ledger_heads"
    while time.monotonic() < deadline:
        books.seal()
        if books.owner.execute(settled).fetchone() == (True,):
            return
        time.sleep(0.01)
    pytest.fail("other transactions did not end")


def detach(books: Books) -> None:
    """Detach every month that there is."""
    months = books.owner.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'credit_usage_archive'::regclass"
    ).fetchall()
    assert months
    for [month] in months:
        books.owner.execute(f"ALTER TABLE credit_usage_archive DETACH PARTITION {month}".encode())


def test_an_archived_charge_is_proved_as_before(archived: Books, tmp_path: Path) -> None:
    printed = run("receipt", "r-1", "--org", ORG, url=archived.url)
    assert json.loads(printed.stdout)["entry"]["request_metadata"] == '{"a": 1}'
    file = tmp_path / "receipt.json"
    file.write_text(printed.stdout)
    assert run("receipt", "--check", file).returncode == 0


def test_a_detached_charge_says_what_its_proof_needs(archived: Books) -> None:
    detach(archived)
    refused = run("receipt", "r-1", "--org", ORG, url=archived.url)
    assert refused.returncode != 0
    assert "attach it again" in refused.stderr
    assert run("receipt", "r-2", "--org", ORG, url=archived.url).returncode == 0


def test_verify_counts_what_it_cannot_see(archived: Books) -> None:
    detach(archived)
    verified = run("verify", url=archived.url)
    assert verified.returncode == 0, verified.stderr
    assert "2 of them in a detached archive" in verified.stdout


def test_a_chain_without_its_archive_leads_to_the_same_head(archived: Books, tmp_path: Path) -> None:
    heads = []
    for name in ("whole", "detached"):
        file = tmp_path / name
        assert run("verify", ORG, "--export", file, url=archived.url).returncode == 0
        heads.append(json.loads(file.read_text().splitlines()[-1])["digest"])
        if name == "whole":
            detach(archived)
    assert heads[0] == heads[1]
    lines = file.read_text().splitlines()
    place = next(number for number, line in enumerate(lines) if json.loads(line).get("entry_digest"))
    lines[place] = json.dumps(json.loads(lines[place]) | {"entry_digest": "00" * 32})
    file.write_text("\n".join(lines))
    assert run("verify", "--check", file).returncode != 0


def test_only_the_owner_may_archive(books: Books) -> None:
    books.owner.execute("CREATE ROLE archive_guest LOGIN PASSWORD 'guest'")
    try:
        guest = books.url.replace(books.url.split("//")[1].split("@")[0], "archive_guest:guest")
        refused = run("archive", "--before", TOMORROW, "--database-url", guest)
        assert refused.returncode != 0
        assert "give the owner's URL" in refused.stderr
    finally:
        books.owner.execute("DROP ROLE archive_guest")
