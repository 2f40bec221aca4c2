"""Types that a second checker believes too; `make check` runs mypy on the examples."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG = """
from credit_sdk import Account, CreditDeductionService

billing = CreditDeductionService("memory://")
left: str = billing.deduct(Account(user_id="ada"), 5, service_type="print").remaining


@billing.billable("print", cost=5)
def work(pages: int) -> bytes:
    return b""


work("three")
"""


def pyright(folder: Path, *, include: list[str]) -> tuple[int, list[str]]:
    """Return how many files were looked at, and the errors."""
    (folder / "pyrightconfig.json").write_text(
        json.dumps(
            {"include": include, "extraPaths": [str(ROOT), str(ROOT / "src")], "pythonVersion": "3.11"}
        )
    )
    command = [HERE / "node_modules" / ".bin" / "pyright", "--outputjson", "--pythonpath", sys.executable]
    told = subprocess.run([*command, "-p", folder], capture_output=True, text=True, check=False).stdout
    report = json.loads(told)
    errors = [each["message"] for each in report["generalDiagnostics"] if each["severity"] == "error"]
    return report["summary"]["filesAnalyzed"], errors


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """The examples, where a configuration may stand beside them."""
    for source in (ROOT / "examples").rglob("*.py"):
        copy = tmp_path / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(source.read_text())
    return tmp_path


@pytest.mark.usefixtures("packages")
def test_pyright_passes_on_the_examples(copies: Path) -> None:
    looked_at, errors = pyright(copies, include=["examples"])
    assert looked_at > 10
    assert errors == []


@pytest.mark.usefixtures("packages")
def test_pyright_finds_mistakes_of_an_application(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    _, errors = pyright(tmp_path, include=["wrong.py"])
    assert len(errors) == 2
