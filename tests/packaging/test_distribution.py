"""What is published: a wheel and a source distribution, whose extras work alone in empty environments."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools" / "bin"))
HEAVY = (
    "sqlalchemy",
    "psycopg",
    "starlette",
    "typer",
    "stripe",
    "openai",
    "opentelemetry",
    "pytest",
    "celery",
)

pytestmark = pytest.mark.skipif(
    UV is None, reason="uv builds and installs here; `make setup` fetches it into .tools"
)


def uv(*arguments: str | Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"SOURCE_DATE_EPOCH": "1700000000", "UV_NO_PROGRESS": "1"}
    outcome = subprocess.run(
        [str(UV), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    uv("build", "--quiet", "--out-dir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [path] = built.glob("*.whl")
    return path


@dataclass(frozen=True)
class Environment:
    """An environment that has the distribution with some extras, and nothing else."""

    python: Path

    def run(self, program: str, *, folder: Path) -> str:
        command = [self.python, "-P", "-c", program]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        outcome = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout


def install(folder: Path, distribution: Path, extra: str | None) -> Environment:
    uv("venv", "--quiet", "--python", shutil.which("python3") or "python3", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    named = f"{distribution}[{extra}]" if extra else str(distribution)
    uv("pip", "install", "--quiet", "--python", python, named)
    return Environment(python)


def test_two_builds_are_the_same_bytes(built: Path, tmp_path: Path) -> None:
    uv("build", "--quiet", "--out-dir", tmp_path, ROOT)
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("credit_sdk-*")}
        for folder in (built, tmp_path)
    ]
    assert len(digests[0]) == 2
    assert digests[0] == digests[1]


def test_the_wheel_has_the_packages_their_types_their_sql_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0].partition("-")[0] for name in names}
    assert folders == {"credit_sdk", "reference_server"}
    for wanted in (
        "credit_sdk/py.typed",
        "reference_server/py.typed",
        "reference_server/sql/functions/deduct.sql",
    ):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_has_the_documentation_and_installs(built: Path, tmp_path: Path) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "docs/charging.md"} <= names
    installed = install(tmp_path, path, None)
    assert installed.run("import credit_sdk; print(credit_sdk.__name__)", folder=tmp_path) == "credit_sdk\n"


BARE = f"""
from importlib.util import find_spec
found = [name for name in {HEAVY!r} if find_spec(name)]
assert not found, found

from credit_sdk import Account, ConfigurationError, CreditDeductionService, UnavailableError

billing = CreditDeductionService("http://127.0.0.1:9", api_key="k", outbox=False)
try:
    with billing.charge(Account(user_id="1"), 1, service_type="x"):
        raise SystemExit("the work ran although nobody answers")
except UnavailableError as error:
    print(error)
try:
    CreditDeductionService("postgresql://host/books").pool("acme")
except ConfigurationError as error:
    assert "pip install 'credit-sdk[sql]'" in str(error)
"""
EXTRAS = {
    "sql": """
from credit_sdk import CreditDeductionService, UnavailableError
try:
    CreditDeductionService("postgresql://nobody@127.0.0.1:9/books", outbox=False).pool("acme")
except UnavailableError as error:
    print(error)
""",
    "cli": """
import sys
from credit_sdk.cli import main
sys.argv = ["credits", "doctor", "--url", "memory://"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0
""",
    "server": """
from reference_server.app import create_app
from reference_server.settings import Settings
app = create_app(Settings(database_url="postgresql://nobody@127.0.0.1:9/books"))
print(sorted(route.path for route in app.routes))
import sys
from credit_sdk.cli import main
sys.argv = ["credits", "serve", "--help"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0
""",
    "stripe": "import stripe; print(stripe.VERSION)",
    "llm": "import openai, credit_sdk; print(openai.__version__)",
    "otel": """
from opentelemetry import trace
from credit_sdk import MemoryLedger, Account, CreditDeductionService
ledger = MemoryLedger()
ledger.add_user(1, credits=5)
billing, user = CreditDeductionService(ledger), Account(user_id="1")
with billing.charge(user, 1, service_type="x") as charge:
    pass
print(charge.receipt.remaining)
""",
    "testing": """
import pathlib, pytest
pathlib.Path("test_it.py").write_text('''
def test_charge(fake_credits):
    with fake_credits.service().charge(fake_credits.member(), 5, service_type="x"):
        pass
    fake_credits.assert_charged(5)
''')
raise SystemExit(pytest.main(["-q", "test_it.py"]))
""",
}


def test_without_an_extra_it_is_the_http_client_and_light(wheel: Path, tmp_path: Path) -> None:
    said = install(tmp_path, wheel, None).run(BARE, folder=tmp_path)
    assert "127.0.0.1:9 cannot be reached" in said


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_works_alone(wheel: Path, tmp_path: Path, extra: str) -> None:
    assert install(tmp_path, wheel, extra).run(EXTRAS[extra], folder=tmp_path).strip()
