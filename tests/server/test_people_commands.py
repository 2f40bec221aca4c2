"""Users and their passwords, from the command line."""

from __future__ import annotations

import io
import os
import pty
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Command, Running

PASSWORD = "correct horse battery staple"


@pytest.fixture
def email() -> str:
    return f"{secrets.token_hex(6)}@acme.example"


def log_in(server: Running, email: str, password: str) -> str | None:
    """Return the session that a password opens."""
    answer = server.request(
        "POST",
        "/dashboard/login",
        headers={"Origin": server.base_url},
        data={"email": email, "password": password},
    )
    assert answer.status_code in {303, 401}
    return answer.cookies.get("session_token")


def enter(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_user_gets_a_password_and_logs_in_with_it(
    command: Command, server: Running, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ("--url", server.database_url)
    code, user_id, _ = command("user", "create", email, "--name", "Ada", *there)
    assert (code, user_id.strip().isdecimal()) == (0, True)
    assert log_in(server, email, PASSWORD) is None
    enter(monkeypatch, f"{PASSWORD}\n")
    code, out, err = command("user", "set-password", email, *there)
    assert (code, out, err) == (0, f"{email} has a new password.\n", "")
    session = log_in(server, email, PASSWORD)
    assert session
    assert server.get("billing/user", cookie=session).json()["user_id"] == user_id.strip()


def test_a_new_password_ends_what_the_old_one_opened(
    command: Command,
    server: Running,
    email: str,
    monkeypatch: pytest.MonkeyPatch,
    demo: dict[str, Any],
) -> None:
    there = ("--url", server.database_url)
    command("user", "create", email, "--id", f"subject of {email}", *there)
    enter(monkeypatch, PASSWORD)
    command("user", "set-password", email, *there)
    session = log_in(server, email, PASSWORD)
    app = demo["apps"]["whatnot-autoprint"]["app_id"]
    body = {"app_id": app, "email": email, "password": PASSWORD}
    token = {"app_id": app, "session_token": server.post("/api/cross-app/auth", body).json()["session_token"]}
    assert server.post("/api/cross-app/validate-token", token).json()["valid"] is True

    enter(monkeypatch, "another one altogether")
    assert command("user", "set-password", email, *there)[0] == 0
    assert server.get("billing/user", cookie=session).status_code == 401
    assert server.post("/api/cross-app/validate-token", token).json()["valid"] is False
    assert log_in(server, email, PASSWORD) is None


def test_a_password_that_is_typed_is_not_shown(command: Command, server: Running, email: str) -> None:
    command("user", "create", email, "--url", server.database_url)
    ours, theirs = pty.openpty()
    credits = Path(sys.executable).with_name("credits")
    process = subprocess.Popen(
        [credits, "user", "set-password", email, "--url", server.database_url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for question in (b"Password: ", b"Repeat for confirmation: "):
        while not shown.endswith(question):
            shown += os.read(ours, 1_024)
        os.write(ours, f"{PASSWORD}\n".encode())
    while b"has a new password." not in shown:
        shown += os.read(ours, 1_024)
    assert process.wait() == 0
    os.close(ours)
    assert PASSWORD.encode() not in shown
    assert log_in(server, email, PASSWORD)


@pytest.mark.parametrize("entered", ["", "short\n", "x" * 1_025])
def test_a_password_that_is_none_changes_nothing(
    command: Command,
    server: Running,
    email: str,
    monkeypatch: pytest.MonkeyPatch,
    entered: str,
) -> None:
    command("user", "create", email, "--url", server.database_url)
    enter(monkeypatch, entered)
    code, _, err = command("user", "set-password", email, "--url", server.database_url)
    assert (code, err.count("\n")) == (1, 1)
    assert "8 to 1024 characters" in err
    assert not entered or entered not in err
    assert log_in(server, email, entered.strip()) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "user@example.com"], "There is a user user@example.com"),
        (["create", "nobody@acme.example", "--id", "77"], "digits only"),
        (["create", "nobody"], "no email address"),
        (["set-password", "nobody@acme.example"], "credits user create nobody@acme.example"),
    ],
    ids=["twice", "number", "no email", "unknown"],
)
def test_what_cannot_be_done_is_said(
    command: Command,
    server: Running,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    enter(monkeypatch, PASSWORD)
    code, _, err = command("user", *arguments, "--url", server.database_url)
    assert (code, err.count("\n")) == (1, 1)
    assert words in err


@pytest.mark.parametrize(("more", "status"), [([], 403), (["--admin"], 200)], ids=["user", "admin"])
def test_only_an_administrator_sees_the_whole_system(
    command: Command,
    server: Running,
    email: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    more: list[str],
    status: int,
) -> None:
    there = ("--url", server.database_url)
    assert command("user", "create", email, *more, *there)[0] == 0
    enter(monkeypatch, PASSWORD)
    command("user", "set-password", email, *there)
    session = log_in(server, email, PASSWORD)
    assert server.get("billing/system", cookie=session).status_code == status
