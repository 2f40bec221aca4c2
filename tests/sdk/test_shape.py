"""What the package looks like from outside: names, twins, imports."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import credit_sdk
from credit_sdk import AsyncCreditDeductionService, CreditDeductionService, errors, operations, wire

SOURCE = Path(credit_sdk.__file__).parent

WITHOUT_AWAITING = (
    ("Async", ""),
    ("async ", ""),
    ("await ", ""),
    ("_async", ""),
    ("async_", ""),
    ("__a", "__"),
)


def classes(module: str, *, blocking: bool) -> list[str]:
    """Return the source of a module's classes, with the words of asyncio taken out where asked."""
    text = (SOURCE / module).read_text()
    found = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    segments = [ast.get_source_segment(text, node) or "" for node in found]
    for word, replacement in WITHOUT_AWAITING if blocking else ():
        segments = [segment.replace(word, replacement) for segment in segments]
    return [ast.unparse(ast.parse(segment)) for segment in segments]


def test_type_checkers_see_every_public_name() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.name for node in imported for name in node.names} >= set(credit_sdk.__all__)


@pytest.mark.parametrize("module", ["service.py", "client.py", "sdk.py", "cross_app.py"])
def test_the_blocking_classes_are_the_awaiting_ones_without_awaiting(module: str) -> None:
    assert classes(module, blocking=False) == classes(f"async_{module}", blocking=True)


@pytest.mark.parametrize(
    ("module", "twin", "original"),
    [
        ("charge.py", "OpenCharge", "AsyncOpenCharge"),
        ("backends/http.py", "HttpBackend", "AsyncHttpBackend"),
        ("backends/sql.py", "SqlBackend", "AsyncSqlBackend"),
    ],
)
def test_twins_have_the_same_methods(module: str, twin: str, original: str) -> None:
    tree = {
        node.name: node
        for node in ast.parse((SOURCE / module).read_text()).body
        if isinstance(node, ast.ClassDef)
    }

    def methods(name: str) -> list[str]:
        members = tree[name].body
        names = [node.name for node in members if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        return [each.replace("__a", "__") for each in names]

    assert methods(twin) == methods(original)


def test_public_names_are_exactly_these() -> None:
    assert sorted(credit_sdk.__all__) == sorted(credit_sdk._HOMES)
    for name in credit_sdk.__all__:
        assert getattr(credit_sdk, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'CreditManager'"):
        _ = credit_sdk.CreditManager


def test_every_error_is_public_and_has_a_code_of_its_own() -> None:
    public = {name for name in vars(errors) if name.endswith("Error") and not name.startswith("_")}
    assert public <= set(credit_sdk.__all__) | {"MethodNotAllowedError", "FieldError"}
    states = [kind.sqlstate for kind in errors.ERRORS_BY_CODE.values() if vars(kind).get("sqlstate")]
    assert len(states) == len(set(states))


def test_every_operation_has_an_address_or_belongs_to_the_database_alone() -> None:
    declared = {
        kind
        for kind in vars(operations).values()
        if isinstance(kind, type) and issubclass(kind, operations.Operation) and "result" in vars(kind)
    }
    assert declared - set(wire.ADDRESS_OF) == {
        operations.ExpireHolds,
        operations.PlaceHoldBatch,
        operations.CaptureHoldBatch,
        operations.RunDue,
        operations.VerifyLedger,
        operations.Seal,
        operations.VerifyChain,
        operations.ListChain,
    }


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = "import sys, credit_sdk; print(len(sys.modules), *sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, *modules = answer.stdout.split()
    assert int(count) <= 95
    assert not {"pydantic", "httpx", "sqlalchemy", "psycopg", "tenacity", "asyncio"} & set(modules)


@pytest.mark.parametrize("name", ["CreditDeductionService", "AsyncCreditDeductionService"])
def test_a_service_over_http_loads_no_database_library(name: str) -> None:
    program = f"import sys, credit_sdk; credit_sdk.{name}('https://ops.example'); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"sqlalchemy", "psycopg"} & set(answer.stdout.split())


def test_both_services_are_configured_alike() -> None:
    assert CreditDeductionService.__init__ is AsyncCreditDeductionService.__init__


def test_the_package_has_a_licence_and_a_readme_that_reads_well_elsewhere() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert [path for path in project["license-files"] if (root / path).is_file()] == ["LICENSE"]
    # A package index shows the page without the folders that relative links lead to.
    links = re.findall(r"\]\(([^)]+)\)", (root / project["readme"]).read_text())
    assert [link for link in links if not link.startswith("https://")] == []


def test_a_blocking_service_says_where_queues_are() -> None:
    with CreditDeductionService("memory://") as billing:
        with pytest.raises(AttributeError, match=r"AsyncCreditDeductionService.*deduct_many\(\)"):
            getattr(billing, "queue")()  # noqa: B009 - type checkers know that there is none
        with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
            getattr(billing, "nonsense")  # noqa: B009
