"""What the README shows of a running server works; its Python blocks run as tests of their own."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reference_server.demo import LOOPNET_1, LOOPNET_ORG

if TYPE_CHECKING:
    import pytest

    from tests.server.conftest import Running

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
