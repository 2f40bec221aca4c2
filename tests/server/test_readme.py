"""What the pages show of a running server works; other Python blocks run as tests of their own."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reference_server.demo import LOOPNET_1, LOOPNET_ORG

if TYPE_CHECKING:
    import pytest

    from tests.server.conftest import Organization, Running, StartServer

README = Path(__file__).parents[2] / "README.md"


def test_the_first_charge_of_the_readme(
    server: Running, demo: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"Your first charge:\n\n((?: {4}.*\n|\n)+)", README.read_text())
    assert found
    (tmp_path / "ready.json").write_text(json.dumps({"base_url": server.base_url, "credentials": demo}))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(textwrap.dedent(found.group(1)), names)  # noqa: S102 - a page of this repository
    receipt = names["receipt"]
    assert (receipt.org_id, receipt.user_id, receipt.credits_used) == (LOOPNET_ORG, LOOPNET_1, 50)
    assert found.group(1).strip("\n") in (README.parent / "docs" / "tutorial.md").read_text()


def test_the_call_of_a_language_model(start_server: StartServer, organization: Organization) -> None:
    page = (README.parent / "docs" / "llm.md").read_text()
    found = re.search(r"\n\n((?: {4}.*\n|\n)+)", page)
    assert found
    server, token = start_server(llm_offline=True), organization.sessions["member"]
    program = textwrap.dedent(found.group(1)).replace("https://ops.example", server.base_url)
    exec(program, {"session_token": token})  # noqa: S102 - a page of this repository
    charges = server.get(f"credits/{organization.org_id}/charges", bearer=token).json()["items"]
    assert [charge["service_name"] for charge in charges] == ["gpt-4o-mini"]
