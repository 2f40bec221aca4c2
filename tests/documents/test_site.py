"""The documentation builds as a site, with warnings as errors: broken links and renamed functions fail it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reference_server.openapi import openapi

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> tuple[int, str]:
    """Build the site of a folder that has `mkdocs.yml`, `docs` and `src`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    outcome = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return outcome.returncode, outcome.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The documentation's sources, which a test may spoil."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    return tmp_path


def test_the_site_builds_and_has_every_address_of_the_api(copy: Path) -> None:
    code, said = build(copy)
    assert code == 0, said
    page = (copy / "site" / "http-reference" / "index.html").read_text()
    for path in openapi()["paths"]:
        assert path in page
    assert "consume_credits" in (copy / "site" / "reference" / "index.html").read_text()


def test_nothing_of_the_site_comes_from_elsewhere(copy: Path) -> None:
    build(copy)
    page = (copy / "site" / "index.html").read_text()
    loaded = [
        line for line in page.splitlines() if 'src="http' in line or 'rel="stylesheet" href="http' in line
    ]
    assert loaded == []


@pytest.mark.parametrize(
    ("page", "flaw"),
    [
        ("faq.md", "\n[nowhere](nowhere.md)\n"),
        ("faq.md", "\n[no section](charging.md#no-such-section)\n"),
        ("reference.md", "\n::: credit_sdk.service.NoSuchThing\n"),
    ],
    ids=["link", "anchor", "name"],
)
def test_a_flaw_is_found(copy: Path, page: str, flaw: str) -> None:
    path = copy / "docs" / page
    path.write_text(path.read_text() + flaw)
    assert build(copy)[0] != 0
