"""Every Python block of the README and of docs/ runs as a test, page by page."""

import os
import tempfile
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["README.md", "docs/*.md"]).pytest()

_OUTBOXES = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' outboxes away from the user's own."""
    config.stash[_OUTBOXES] = tempfile.TemporaryDirectory(prefix="credit-sdk-outbox-")
    os.environ["CREDIT_SDK_OUTBOX"] = str(Path(config.stash[_OUTBOXES].name) / "outbox.sqlite3")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take them away."""
    config.stash[_OUTBOXES].cleanup()
