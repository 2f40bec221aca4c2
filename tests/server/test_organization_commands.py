"""Organisations from the command line."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Command, Running


@pytest.fixture
def org_id() -> str:
    return f"org-{secrets.token_hex(6)}"


def test_an_organisation_begins_with_an_owner_and_credits(
    command: Command, server: Running, org_id: str
) -> None:
    there = ("--url", server.database_url)
    code, out, err = command(
        "organization", "create", org_id, "--name", f"Name of {org_id}", "--owner", "ada",
        "--credits", "1000.5", *there,
    )  # fmt: skip
    assert (code, out, err) == (0, f"{org_id}\n", "")
    code, key, _ = command(
        "token", "create-key", "--name", "reader", "--scope", "read_credits", "--org", org_id, *there
    )
    pool = server.get(f"credits/{org_id}", key=key.strip()).json()
    assert (pool["total_credits"], pool["available_credits"]) == (1000.5, 1000.5)
    [member] = server.get(f"organizations/{org_id}/members", key=key.strip()).json()["items"]
    assert (member["user_id"], member["role"]) == ("ada", "owner")


def test_an_organisation_is_made_whole_or_not_at_all(command: Command, server: Running, org_id: str) -> None:
    there = ("--url", server.database_url)
    assert command("organization", "create", org_id, "--owner", "ada", "--credits", "1e30", *there)[0] == 1
    assert command("organization", "create", org_id, *there) == (0, f"{org_id}\n", "")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "There is an organisation"),
        (["--owner", ""], "user_id"),
        (["--credits", "none"], "credits"),
        (["--name", "n" * 256], "--name"),
    ],
    ids=["twice", "no owner", "no number", "long name"],
)
def test_what_cannot_be_made_is_said(
    command: Command, server: Running, org_id: str, more: list[str], words: str
) -> None:
    there = ("--url", server.database_url)
    if not more:
        command("organization", "create", org_id, *there)
    code, _, err = command("organization", "create", org_id, *more, *there)
    assert (code, err.count("\n")) == (1, 1)
    assert words in err


def test_an_id_is_at_most_36_characters_long(command: Command, server: Running) -> None:
    code, _, err = command("organization", "create", "o" * 37, "--url", server.database_url)
    assert (code, err.count("\n")) == (1, 1)
    assert "org_id" in err
