"""`credits serve` and its sisters as processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import psycopg
import pytest

from reference_server.credentials import digest
from reference_server.demo import LOOPNET_1, LOOPNET_ORG, load_demo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server.conftest import Command, RedisServer, Running

CREDITS = Path(sys.executable).with_name("credits")
API = "/api/v1/org-billing"
WAITING = """
    select count(*) from pg_locks join pg_stat_activity using (pid)
    where not granted and datname = current_database()
"""


class Serve(Protocol):
    """Runs `credits serve` until it answers."""

    def __call__(self, *arguments: str, **environment: str) -> Process: ...


class Process:
    """A server process and what it wrote into its ready file."""

    def __init__(self, popen: subprocess.Popen[str], ready_file: Path) -> None:
        self.popen = popen
        self.ready_file = ready_file
        self.report: dict[str, Any] = {}

    def wait_until_ready(self) -> None:
        eventually(lambda: self.ready_file.exists() or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.popen.communicate()
        self.report = json.loads(self.ready_file.read_text())

    @property
    def base_url(self) -> str:
        url: str = self.report["base_url"]
        return url

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.popen.send_signal(number)
        out, err = self.popen.communicate(timeout=60)
        return self.popen.returncode, out, err


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CREDIT", "DATABASE"))}
    return kept | changes


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    processes: list[Process] = []

    def start(*arguments: str, **changes: str) -> Process:
        ready_file = tmp_path / f"ready-{len(processes)}.json"
        command = [str(CREDITS), "serve", "--port", "0", "--ready-file", str(ready_file), *arguments]
        popen = subprocess.Popen(
            command,
            env=environment(**changes),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process = Process(popen, ready_file)
        processes.append(process)
        process.wait_until_ready()
        return process

    yield start
    for process in processes:
        with process.popen as popen:
            popen.kill()


def test_an_embedded_server_with_demonstration_data(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = serve("--demo", CREDITS_DATA_DIR=str(data))
    assert set(process.report) == {"base_url", "database_url", "credentials"}
    assert stat.S_IMODE(process.ready_file.stat().st_mode) == 0o600
    sessions = process.report["credentials"]["sessions"]
    billing = httpx.get(
        f"{process.base_url}{API}/billing/user",
        cookies={"session_token": sessions["loopnet-test-1@example.com"]},
    )
    assert billing.json()["organizations"][0]["remaining_credits"] == 1000
    charge = {
        "org_id": LOOPNET_ORG,
        "user_id": LOOPNET_1,
        "credits": 50,
        "service_type": "company_enrichment",
    }
    key = {"X-API-Key": process.report["credentials"]["service_api_key"]}
    assert httpx.post(f"{process.base_url}{API}/credits/deduct", json=charge, headers=key).status_code == 200
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    ada = {"Authorization": f"Bearer {sessions['admin@example.com']}"}
    answer = httpx.post(f"{process.base_url}/api/v1/llm/chat/completions", json=chat, headers=ada)
    assert answer.json()["choices"][0]["message"]["content"] == "You said: Hello"
    database_url = process.report["database_url"]
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select has_sufficient_credits(%s, %s, 50000)", [LOOPNET_ORG, LOOPNET_1]
        ).fetchone()
        assert row == (True,)

    code, out, err = process.stop()
    assert (code, err) == (0, "")
    assert out == f"Credits are served at {process.base_url} (stop with Ctrl+C).\n"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database_url, connect_timeout=5)

    again = serve("--demo", "--data-directory", str(data))
    fresh = again.report["credentials"]
    assert fresh["user_ids"] == process.report["credentials"]["user_ids"]
    assert fresh["service_api_key"] != key["X-API-Key"]
    billing = httpx.get(
        f"{again.base_url}{API}/credits/user/{LOOPNET_1}", headers={"X-API-Key": fresh["service_api_key"]}
    )
    assert billing.json()["organizations"][0]["remaining_credits"] == 950
    assert again.stop(signal.SIGINT)[0] == 0


def test_what_is_in_flight_is_finished(serve: Serve, database_url: str, application_url: str) -> None:
    key = load_demo(database_url)["service_api_key"]
    process = serve(DATABASE_URL=application_url)
    charge = {
        "org_id": LOOPNET_ORG,
        "user_id": LOOPNET_1,
        "credits": 5,
        "service_type": "contact_lookup",
    }
    answers: list[httpx.Response] = []

    def deduct() -> None:
        url = f"{process.base_url}{API}/credits/deduct"
        answers.append(httpx.post(url, json=charge, headers={"X-API-Key": key}, timeout=60))

    def status_of_newcomer() -> int:
        return httpx.get(f"{process.base_url}/healthz").status_code

    with psycopg.connect(database_url) as locking, psycopg.connect(database_url, autocommit=True) as watching:
        locking.execute("select from user_credit_allocations where user_id = %s for update", [LOOPNET_1])
        charging = threading.Thread(target=deduct)
        charging.start()
        eventually(lambda: watching.execute(WAITING).fetchone() != (0,))
        process.popen.send_signal(signal.SIGTERM)
        eventually(lambda: status_of_newcomer() == 503)
        newcomer = httpx.get(f"{process.base_url}{API}/billing/user")
        assert (newcomer.status_code, newcomer.json()["code"]) == (503, "unavailable")
        assert newcomer.headers["retry-after"]
        assert newcomer.headers["connection"] == "close"
        assert process.popen.poll() is None
        locking.rollback()
        charging.join()
    assert [answer.status_code for answer in answers] == [200]
    _, err = process.popen.communicate(timeout=60)
    assert (process.popen.returncode, err) == (0, "")


def test_several_workers(serve: Serve, application_url: str) -> None:
    process = serve(
        "--workers", "2", DATABASE_URL=application_url, CREDITS_CORS_ORIGINS="https://app.example"
    )
    for _ in range(20):
        answer = httpx.get(f"{process.base_url}/readyz", headers={"Origin": "https://app.example"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
    password = psycopg.conninfo.conninfo_to_dict(application_url).get("password")
    for line in _command_lines():
        assert not password or str(password) not in line
    code, _, err = process.stop()
    assert (code, err) == (0, "")


def test_workers_do_not_outlive_who_started_them(serve: Serve, application_url: str) -> None:
    process = serve("--workers", "2", DATABASE_URL=application_url)
    assert httpx.get(f"{process.base_url}/readyz").status_code == 200
    process.popen.kill()
    eventually(lambda: not _answers(process.base_url))


def _answers(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/healthz").is_success
    except httpx.TransportError:
        return False


def test_processes_share_the_figures_of_callers(
    serve: Serve, database_url: str, application_url: str, redis_server: RedisServer
) -> None:
    settings = {"CREDITS_RATE_LIMIT_URL": redis_server.url, "CREDITS_SAFE_PER_MINUTE": "10"}
    session = load_demo(database_url)["sessions"]["loopnet-test-1@example.com"]
    processes = [
        serve(*workers, DATABASE_URL=application_url, **settings) for workers in ([], ["--workers", "2"])
    ]
    turns = itertools.cycle(processes)

    def statuses(times: int) -> list[int]:
        with httpx.Client(cookies={"session_token": session}) as http:
            urls = [f"{next(turns).base_url}{API}/billing/user" for _ in range(times)]
            return [http.get(url).status_code for url in urls]

    assert statuses(20).count(200) == 10
    for line in _command_lines():
        assert redis_server.password not in line
    redis_server.kill()
    answered = statuses(20)
    # Each of the three processes counts for itself now, and says so once.
    assert set(answered) <= {200, 429}
    assert 200 in answered
    for process, lines in zip(processes, (1, 2), strict=True):
        code, _, err = process.stop()
        assert code == 0
        assert 1 <= err.count("Redis does not answer") <= lines
        assert redis_server.password not in err


def _command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text())
        except OSError:
            continue
    return lines


def test_a_taken_port(command: Command, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = command("serve", "--port", port, DATABASE_URL=database_url)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "changes", "words"),
    [
        (["serve"], {"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, "connection"),
        (["serve", "--database-url", "mysql://u:hunter2@db/x"], {}, "DATABASE_URL"),
        (
            ["serve"],
            {"DATABASE_URL": "postgresql://u@h/x", "CREDITS_CORS_ORIGINS": "*"},
            "CREDITS_CORS_ORIGINS",
        ),
        (["migrate"], {}, "--database-url"),
        (["token", "create-session", "--user", "x"], {}, "--database-url"),
        (["migrate", "--database-url", "postgresql://u:hunter2@127.0.0.1:1/x"], {}, "connection"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(
    command: Command, arguments: list[str], changes: dict[str, str], words: str
) -> None:
    if arguments[0] == "serve":
        arguments = [*arguments, "--port", "0"]
    code, out, err = command(*arguments, **changes)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert words in err
    assert "hunter2" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--port", "eighty"],
        ["serve", "--workers", "0"],
        ["serve", "extra"],
        ["token", "create-key", "--name", "x"],
        ["token", "create-key", "--name", "x", "--scope", "everything"],
        ["token", "create-session", "--user", "x", "--ttl", "0"],
    ],
)
def test_wrong_usage(command: Command, arguments: list[str]) -> None:
    assert command(*arguments)[0] == 2


def test_migrate(command: Command, make_database: Any) -> None:
    url = make_database()
    code, out, _ = command("migrate", "--database-url", url, "--dry-run")
    assert (code, out.startswith("Would apply 0001_")) == (0, True)
    assert command("migrate", DATABASE_URL=url)[1].startswith("Applied 0001_")
    assert command("migrate", DATABASE_URL=url)[1].startswith("Nothing to do")


def test_a_session_of_the_command_line(command: Command, server: Running) -> None:
    arguments = ("create-session", "--user", "anyone", "--system-admin")
    code, token, err = command("token", *arguments, "--database-url", server.database_url)
    assert (code, err) == (0, "")
    assert server.get(f"credits/{LOOPNET_ORG}", bearer=token.strip()).status_code == 200


def test_a_key_of_the_command_line(command: Command, server: Running) -> None:
    arguments = ("create-key", "--name", "x", "--scope", "read_credits", "--scope", "consume_credits")
    _, key, id = command("token", *arguments, "--org", LOOPNET_ORG, DATABASE_URL=server.database_url)
    with psycopg.connect(server.database_url) as connection:
        found = connection.execute("SELECT id FROM api_keys WHERE key_digest = %s", [digest(key.strip())])
        assert [f"id {row[0]}" for row in found] == [id.strip()]
    for org_id, status in ((LOOPNET_ORG, 200), ("test-org-llm-001", 403)):
        assert server.get(f"credits/{org_id}", key=key.strip()).status_code == status
    code, _, err = command("token", *arguments, "--org", "nowhere", DATABASE_URL=server.database_url)
    assert (code, len(err.splitlines())) == (1, 1)
