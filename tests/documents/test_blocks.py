"""Every block of the pages is one of a kind that is checked; fenced Python runs as tests of its own."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import typer
from markdown_it import MarkdownIt

from credit_sdk import BillingClient
from credit_sdk.cli._app import application

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for pattern in ("README.md", "docs/*.md", "examples/**/README.md") for path in ROOT.glob(pattern)
)
SQL = re.compile(r"-- |(SELECT|INSERT|UPDATE|BEGIN|CREATE|ALTER|DELETE)\b")
DRAWING = re.compile(r"[│►└├─]|--[->]|\|$", re.MULTILINE)
PROGRAMS = {
    "credits", "make", "pip", "pytest", "psql", "curl", "python", "export", "ready()", "#",
    "pg_dump", "createdb", "pg_restore",
}  # fmt: skip
# Python that needs a server or a framework, each by its page and its first line, and the test that runs it.
ELSEWHERE = {
    (
        "docs/alerts.md",
        'client.alerts.set("acme", "pool.low", 500)',
    ): "tests/documents/test_python_blocks.py",
    (
        "docs/alerts.md",
        "webhook = client.alerts.create_webhook(",
    ): "tests/documents/test_python_blocks.py",
    (
        "docs/alerts.md",
        "said = standardwebhooks.Webhook(secret).verify(request.body, request.headers)",
    ): "tests/documents/test_python_blocks.py",
    ("docs/payments.md", "client.credits.set_top_up("): "tests/documents/test_python_blocks.py",
    (
        "docs/expiring-credits.md",
        'client.credits.add("acme", 5_000, expires_in_days=90)',
    ): "tests/documents/test_python_blocks.py",
    ("README.md", "import json"): "tests/server/test_readme.py",
    ("docs/tutorial.md", "import json"): "tests/server/test_readme.py",
    ("docs/llm.md", "from openai import OpenAI"): "tests/server/test_readme.py",
    ("docs/frameworks.md", "MIDDLEWARE = ["): "tests/documents/test_python_blocks.py",
    ("docs/administration.md", 'for entry in client.organizations.audit("acme"):'): __file__,
}
# What is shown, not run: what a program prints, and what stands for a page of its own.
SHOWN = (
    "GET  /auth/login",  # a list of addresses
    "# before",  # two programs side by side
    '{"error":',  # an answer with dots
    "$ credits doctor",  # with what it prints
    "Not measured:",  # why a peer has no figures
    "ALTER TABLE credit_usage_archive",  # of a month that is there: tests/ledger/test_archive.py
)


@dataclass(frozen=True)
class Block:
    """An indented or fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def kind(self) -> str:
        """Return how it is checked."""
        if self.language in {"python", "ini"}:
            return {"python": "run"}.get(self.language, self.language)
        is_plan = "(actual rows=" in self.text
        if is_plan or self.text.startswith(SHOWN) or (not self.language and DRAWING.search(self.text)):
            return "shown"
        if self.language == "sql" or SQL.match(self.text):
            return "sql"
        if self.text.startswith("{"):
            return "json"
        if parses(self.text):
            return "python"
        return "commands" if all(program(line) in PROGRAMS for line in lines_of(self.text)) else "unknown"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for token in MarkdownIt().parse(page.read_text()):
            if token.type in {"fence", "code_block"} and token.map:
                yield Block(str(page.relative_to(ROOT)), token.map[0] + 1, token.info, token.content)


def of_kind(kind: str) -> Any:
    found = [block for block in blocks() if block.kind == kind]
    return pytest.mark.parametrize("block", found, ids=[f"{each.page}:{each.line}" for each in found])


def lines_of(text: str) -> list[str]:
    """Return the commands of a block, each on one line, without what is set for it alone."""
    lines = text.replace("\\\n", " ").splitlines()
    return [re.sub(r"^([A-Z_]+=[^\s$]+ )+", "", line) for line in lines if line.strip()]


def program(line: str) -> str:
    first = line.split(maxsplit=1)[0]
    return "export" if "=" in first else first.removeprefix(".venv/bin/").removesuffix("3")


def parses(text: str) -> bool:
    try:
        ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return False
    return True


def test_no_block_is_left_unchecked() -> None:
    assert [block for block in blocks() if block.kind == "unknown"] == []


def test_python_that_is_not_run_as_it_stands_has_a_test_elsewhere() -> None:
    found = {(block.page, block.text.splitlines()[0]) for block in blocks() if block.kind == "python"}
    assert found == ELSEWHERE.keys()
    assert all((ROOT / path).exists() for path in ELSEWHERE.values())


def test_the_audit_is_read_as_the_page_says(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        prepare(connection)
    page = (block for block in blocks() if block.page == "docs/administration.md" and block.kind == "python")
    with BillingClient(database_url) as client:
        exec(next(page).text, {"client": client})  # noqa: S102 - a page of this repository
    assert "allocation.updated bob" in capsys.readouterr().out


@of_kind("commands")
def test_the_commands_of_a_block_exist(block: Block) -> None:
    for line in lines_of(block.text):
        if program(line) in {"credits", "make", "pip", "pytest", "python"}:
            check_command(program(line), shlex.split(line, comments=True)[1:])


def check_command(name: str, words: list[str]) -> None:
    match [name, *words]:
        case ["credits", *arguments]:
            check_credits(arguments)
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["pip", "install", requirement]:
            check_requirement(requirement)
        case ["pytest", *paths]:
            assert all((ROOT / path).exists() for path in paths)
        case ["python", "-m", module, *_] if not module.startswith("pip"):
            assert any(
                (ROOT / folder / path).exists()
                for folder in ("", "src")
                for path in (module.replace(".", "/"), f"{module.replace('.', '/')}.py")
            )


def check_credits(arguments: list[str]) -> None:
    """See whether the command and its options are there."""
    command: Any = typer.main.get_command(application())
    while arguments and isinstance(getattr(command, "commands", None), dict):
        name = arguments.pop(0)
        if name.startswith("-"):
            break
        assert name in command.commands, f"There is no command {name}."
        command = command.commands[name]
    options = {flag for option in command.params for flag in option.opts + option.secondary_opts}
    said = {word.strip("[]").partition("=")[0] for word in arguments if word.startswith(("-", "[-"))}
    assert said <= options


def check_requirement(requirement: str) -> None:
    name, _, extra = requirement.rstrip("]").partition("[")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert name == "credit-sdk"
    assert not extra or set(extra.split(",")) <= extras.keys()


@of_kind("sql")
def test_the_sql_of_a_block_runs(block: Block, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        prepare(connection)
        try:
            connection.execute(block.text.replace("'...'", "'secret'"))  # type: ignore[call-overload]
        finally:
            connection.execute("ROLLBACK; DROP ROLE IF EXISTS billing")


def prepare(connection: psycopg.Connection[Any]) -> None:
    """Make who the pages are about."""
    connection.execute("INSERT INTO organizations (id, name) VALUES ('acme', 'Acme')")
    connection.execute("SELECT ledger.add_credits('acme', 1000000)")
    for user_id in "ann", "ada", "bob":
        connection.execute("SELECT ledger.add_member('acme', %s)", [user_id])
        connection.execute("SELECT ledger.allocate('acme', %s, 100000)", [user_id])
    connection.execute("INSERT INTO users (id, email, credits) VALUES (123, 'ann@example.com', 100)")


@of_kind("ini")
def test_the_settings_of_a_block_can_be_read(block: Block) -> None:
    settings = configparser.ConfigParser()
    settings.read_string(block.text)
    assert all(settings[section] for section in settings.sections())


@of_kind("json")
def test_the_json_of_a_block_is_json(block: Block) -> None:
    json.loads(block.text)
