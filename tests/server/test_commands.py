"""What the commands say to somebody who does not know them yet."""

from __future__ import annotations

import re
import socket
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.demo import CUSTOMER, LOOPNET_1, LOOPNET_ORG

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.server.conftest import Command, Organization, Running

UNREACHABLE = "postgresql://user:hunter2@127.0.0.1:1/books"
WORDS_OF_POSTGRESQL = (
    "relation",
    "violates",
    "constraint",
    "Is the server running",
    "SQLSTATE",
    "connection info",
)


def refusal(answer: tuple[int, str, str]) -> str:
    """Return the one line that a refused command says."""
    code, out, err = answer
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    assert line.startswith("credits: ")
    assert "hunter2" not in line
    assert not [words for words in WORDS_OF_POSTGRESQL if words in line]
    return line.removeprefix("credits: ")


def test_the_version(command: Command) -> None:
    assert command("--version") == (0, f"credits {version('credit-sdk')}\n", "")


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("option", ["--url", "--database-url"])
def test_the_balance_of_a_user_whom_nobody_knows(
    command: Command, server: Running, option: str, as_json: list[str]
) -> None:
    answer = command("balance", "nobody", option, server.database_url, *as_json)
    assert refusal(answer) == (
        "The ledger knows no user 'nobody': no organisation has such a member, "
        "and they have no balance of their own."
    )


def test_the_balance_of_a_user_in_no_organisation_is_their_own(command: Command, server: Running) -> None:
    code, out, _ = command("balance", CUSTOMER, "--url", server.database_url)
    [heading, line] = out.splitlines()
    assert (code, heading.split()[:2], line.split()) == (0, ["pays", "left"], ["own", "balance", "100", "0"])


def test_a_balance_over_http_needs_a_key(command: Command, server: Running, demo: dict[str, Any]) -> None:
    arguments = ("balance", LOOPNET_1, "--url", server.base_url)
    assert "CREDIT_SDK_API_KEY" in refusal(command(*arguments))
    assert "It was given as api_key=" in refusal(command(*arguments, CREDIT_SDK_API_KEY="csk_wrong"))
    code, out, _ = command(*arguments, CREDIT_SDK_API_KEY=demo["service_api_key"])
    assert (code, f"\n{LOOPNET_ORG} " in out) == (0, True)


def test_an_address_that_is_not_given_says_how_to_give_one(command: Command) -> None:
    assert "give url (--url), or set one of CREDIT_SDK_URL" in refusal(command("balance", "ada"))
    assert refusal(command("balance", "ada", "--url", "")).endswith("but it is empty.")


def test_books_are_verified_by_the_database_alone(command: Command, server: Running) -> None:
    code, out, _ = command("verify", LOOPNET_ORG, "--database-url", server.database_url)
    assert (code, out.startswith("Organisations 1, allocations 2, ")) == (0, True)
    assert "give the database's postgresql://" in refusal(command("verify", "--url", server.base_url))
    unknown = command("verify", "nope", "--url", server.database_url)
    assert refusal(unknown) == "There is no organisation 'nope'."


# --- Commands on a database ---------------------------------------------------------------------------

ON_A_DATABASE = {
    "migrate": ("migrate",),
    "run-due": ("run-due",),
    "create-session": ("token", "create-session", "--user", LOOPNET_1),
    "create-key": ("token", "create-key", "--name", "x", "--scope", "read_credits"),
    "serve": ("serve", "--port", "0"),
}
NOT_A_DATABASE = "The database URL (--database-url or DATABASE_URL) must start with postgresql://."


@pytest.mark.parametrize("name", ON_A_DATABASE)
def test_the_database_may_be_given_by_either_name(command: Command, name: str) -> None:
    for option in ("--url", "--database-url"):
        answer = command(*ON_A_DATABASE[name], option, UNREACHABLE)
        assert refusal(answer) == "PostgreSQL at 127.0.0.1:1/books cannot be reached (connection refused)."


@pytest.mark.parametrize("name", ON_A_DATABASE)
def test_the_option_is_believed_rather_than_the_environment(command: Command, name: str) -> None:
    elsewhere = UNREACHABLE.replace("/books", "/others")
    answer = command(*ON_A_DATABASE[name], "--database-url", UNREACHABLE, DATABASE_URL=elsewhere)
    assert refusal(answer) == "PostgreSQL at 127.0.0.1:1/books cannot be reached (connection refused)."
    answer = command(*ON_A_DATABASE[name], DATABASE_URL=elsewhere)
    assert refusal(answer) == "PostgreSQL at 127.0.0.1:1/others cannot be reached (connection refused)."


@pytest.mark.parametrize("name", ON_A_DATABASE)
def test_what_a_command_needs_and_is_not_installed_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    line = refusal(command(*ON_A_DATABASE[name], "--url", UNREACHABLE))
    assert line.startswith("This command needs an extra: pip install 'credit-sdk[server]'")


@pytest.mark.parametrize("url", ["http://user:hunter2@host/x", "hunter2", ""], ids=["http", "text", "empty"])
@pytest.mark.parametrize("name", ON_A_DATABASE)
def test_what_is_no_database_is_refused_without_being_repeated(command: Command, name: str, url: str) -> None:
    assert refusal(command(*ON_A_DATABASE[name], "--database-url", url)) == NOT_A_DATABASE
    if url:
        assert refusal(command(*ON_A_DATABASE[name], DATABASE_URL=url)) == NOT_A_DATABASE


def test_a_url_that_libpq_cannot_read_is_not_repeated(command: Command) -> None:
    answer = command("migrate", "--url", "postgresql://host/x?hunter2=1")
    assert refusal(answer).endswith("it looks like postgresql://user:password@host:5432/database.")


def test_a_url_that_names_a_driver_is_a_database(command: Command, server: Running) -> None:
    url = server.database_url.replace("postgresql:", "postgresql+psycopg:", 1)
    assert command("migrate", "--url", url)[:2] == (0, command("migrate", "--url", server.database_url)[1])


@pytest.mark.parametrize("name", ["run-due", "create-session", "create-key"])
def test_a_database_without_the_schema_is_called_so(
    command: Command, make_database: Callable[[], str], name: str
) -> None:
    line = refusal(command(*ON_A_DATABASE[name], "--database-url", make_database()))
    assert "has no billing schema" in line
    assert line.endswith("run `credits migrate` on it.")


@pytest.mark.parametrize(
    ("name", "more"),
    [("migrate", []), ("create-session", ["--system-admin"]), ("create-key", [])],
    ids=["migrate", "create-session", "create-key"],
)
def test_a_role_that_may_not_do_it_is_told_who_may(
    command: Command, make_database: Callable[..., str], migrated_template: str, name: str, more: list[str]
) -> None:
    url = make_database() if name == "migrate" else make_database(migrated_template)
    as_the_server = f"{url}{'&' if '?' in url else '?'}options=-c%20role%3Dcredits_app"
    line = refusal(command(*ON_A_DATABASE[name], *more, "--url", as_the_server))
    assert line.endswith("may not do this; give the URL of the role that owns the tables.")


def test_a_key_for_an_organisation_that_does_not_exist(command: Command, server: Running) -> None:
    answer = command(*ON_A_DATABASE["create-key"], "--org", "nowhere", "--url", server.database_url)
    assert refusal(answer) == "There is no organisation 'nowhere'."


def test_only_users_who_are_known_get_sessions(
    command: Command, server: Running, organization: Organization, database: Any
) -> None:
    org_id = organization.org_id
    database.execute(
        "insert into organization_members (org_id, user_id) values (%s, 'member alone')", [org_id]
    )
    database.execute(
        "insert into user_credit_allocations (org_id, user_id) values (%s, 'share alone')", [org_id]
    )
    create = ("token", "create-session", "--url", server.database_url, "--user")
    assert "knows no user 'nobody'" in refusal(command(*create, "nobody"))
    for known in (CUSTOMER, "member alone", "share alone"):
        code, token, _ = command(*create, known)
        assert code == 0
        assert server.get("billing/user", bearer=token.strip()).json()["user_id"] == known
    # Somebody has to begin on an empty database.
    assert command(*create, "root", "--system-admin")[0] == 0


# --- Serving ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (["--port", "99999"], {}),
        (["--port", "-1"], {}),
        ([], {"CREDITS_PORT": "99999"}),
        ([], {"CREDITS_CORS_ORIGINS": "*"}),
        (["--database-url", ""], {}),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_said_before_a_cluster_is_made(
    command: Command, tmp_path: Path, arguments: list[str], changes: dict[str, str]
) -> None:
    data = tmp_path / "data"
    code, _, err = command("serve", "--data-directory", str(data), *arguments, **changes)
    assert code in {1, 2}
    assert err
    assert not data.exists()


@pytest.mark.parametrize(
    ("name", "option"), [("create-session", "--ttl"), ("create-key", "--requests-per-minute")]
)
def test_numbers_have_an_end(command: Command, server: Running, name: str, option: str) -> None:
    code, _, err = command(*ON_A_DATABASE[name], option, "99999999999", "--url", server.database_url)
    assert (code, "less than" in err) == (2, True)


def test_a_taken_port_is_named_before_a_cluster_is_made(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = command("serve", "--port", str(port), "--data-directory", str(tmp_path / "data"))
    assert refusal(answer).startswith(
        f"The server cannot listen on port {port} of 127.0.0.1 (address already"
    )
    assert not (tmp_path / "data").exists()


def test_a_host_that_is_none_is_named(command: Command, tmp_path: Path) -> None:
    where = ("--host", "nobody.invalid", "--port", "0", "--data-directory", str(tmp_path / "data"))
    line = refusal(command("serve", *where))
    assert line.startswith("The server cannot listen on port 0 of nobody.invalid (")
    assert "error" not in line


def test_a_ready_file_that_cannot_be_written_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    ready = tmp_path / "file" / "ready.json"
    line = refusal(command("serve", "--ready-file", str(ready), DATABASE_URL=UNREACHABLE))
    assert line.startswith(f"{ready} cannot be written (")


# --- Addresses that do not exist ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/v1/org-billing/credit/deduct?api_key=hunter2", "/api/v1/org-billing/credit/deduct"),
        ("/api/v2", "/api/v2"),
        ("/nowhere", "/nowhere"),
        ("/api/caf%C3%A9%0a", "/api/caf%C3%A9%0[Aa]"),
        ("/api/csk_" + "x" * 40, r"/api/\[redacted\]"),
        ("/api/" + "x" * 1_000, "/api/x{195}" + r"\.\.\."),
    ],
    ids=["path", "prefix", "outside", "encoded", "secret", "long"],
)
def test_an_address_that_does_not_exist_is_named(
    server: Running, demo: dict[str, Any], path: str, shown: str
) -> None:
    answer = server.get(path, key=demo["service_api_key"])
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    detail = answer.json()["detail"]
    assert re.fullmatch(f"There is no address {shown} here; the API is under /api.", detail), detail
