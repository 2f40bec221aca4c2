"""Long work shows on a terminal how far it has come, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.proof.conftest import ORG, Books, run

if TYPE_CHECKING:
    from pathlib import Path


def on_a_terminal(*arguments: str | Path, url: str) -> tuple[str, str]:
    """Return what a command prints, and what it shows on its terminal meanwhile."""
    terminal, other_end = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", "from credit_sdk.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=other_end,
        check=True,
        timeout=60,
        env=os.environ | {"DATABASE_URL": url, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(other_end)
    shown = b""
    while True:
        try:
            some = os.read(terminal, 65_536)
        except OSError:  # how Linux says that nobody holds the other end any more
            break
        if not some:
            break
        shown += some
    os.close(terminal)
    return done.stdout.decode(), shown.decode()


@pytest.fixture
def chain(books: Books, tmp_path: Path) -> Path:
    books.charge("job-1")
    books.seal()
    file = tmp_path / "chain.jsonl"
    assert run("verify", ORG, "--export", file, url=books.url).returncode == 0
    return file


def test_a_terminal_sees_how_far_it_has_come(books: Books, chain: Path) -> None:
    printed, shown = on_a_terminal("verify", "--check", chain, url=books.url)
    assert "Checking chain.jsonl" in shown
    assert "100%" in shown
    assert printed.startswith("The chain fits: ")
    assert "Checking" not in printed


def test_work_of_unknown_length_says_what_it_does(books: Books, chain: Path) -> None:
    assert "Adding the books up" in on_a_terminal("verify", url=books.url)[1]
    assert "Exporting the chain of acme" in on_a_terminal("verify", ORG, "--export", chain, url=books.url)[1]


def test_a_file_gets_nothing_of_it(books: Books, chain: Path) -> None:
    assert run("verify", "--check", chain, url=books.url).stderr == ""
