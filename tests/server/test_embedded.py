"""The embedded PostgreSQL, with real servers, real signals and real users."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import pytest

from reference_server.embedded import EmbeddedPostgres, EmbeddedPostgresError, find_binaries, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the parent-death signal")
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

LAUNCHER = """
import sys
from pathlib import Path
from reference_server.embedded import EmbeddedPostgres

server = EmbeddedPostgres(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
server.start()
print(server.pid, server.url(), server.socket_directory.parent, flush=True)
sys.stdin.readline()
"""


class Launched(NamedTuple):
    """A process that has started a server, and where the server is."""

    process: subprocess.Popen[str]
    pid: int
    url: str
    runtime: Path


@contextmanager
def launched(*arguments: str | Path, script: str = LAUNCHER) -> Iterator[Launched]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, url, runtime = process.stdout.readline().split()
        yield Launched(process, int(pid), url, Path(runtime))
        process.kill()


def processes_of(server_pid: int) -> list[int]:
    """Return descriptors that become readable when the processes of a server end."""
    children = Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split()
    pidfds = [os.pidfd_open(server_pid)]
    for pid in children:
        with suppress(ProcessLookupError):  # the session of a moment ago may end just now
            pidfds.append(os.pidfd_open(int(pid)))
    return pidfds


def assert_all_end(pidfds: list[int]) -> None:
    for pidfd in pidfds:
        ended, _, _ = select.select([pidfd], [], [], 60)
        os.close(pidfd)
        assert ended


def execute(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def copy_binaries(folder: Path) -> Path:
    """Copy PostgreSQL's programs, with all that belongs to them, into `folder`."""
    binaries = find_binaries()
    package = binaries.parents[1]
    shutil.copytree(binaries.parent, folder / package.name / binaries.parent.name)
    shutil.copytree(f"{package}.libs", folder / f"{package.name}.libs")
    for path in folder.rglob("*"):
        path.chmod(0o755)  # whatever the umask of the installation was
    return folder / binaries.relative_to(package.parent)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter and write to, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_a_temporary_server_answers_any_client_and_leaves_nothing() -> None:
    with EmbeddedPostgres() as server:
        psql = [str(find_binaries() / "psql"), server.url(), "-Atc", "show data_directory"]
        assert subprocess.run(psql, check=True, stdout=subprocess.PIPE).stdout
        by_socket = server.url().replace("127.0.0.1", "") + f"?host={server.socket_directory}"
        assert execute(by_socket, "select 1") == [(1,)]
        assert len(str(server.socket_directory / ".s.PGSQL.65535")) < 100
        left = server.socket_directory.parent
        assert left.exists()
    assert not left.exists()


def test_commits_are_durable_and_settings_can_be_given() -> None:
    settings = (
        "select current_setting('fsync'), current_setting('synchronous_commit'), current_setting('work_mem')"
    )
    with EmbeddedPostgres(settings={"work_mem": "5MB"}) as server:
        assert execute(server.url(), settings) == [("on", "on", "5MB")]


def test_nobody_enters_without_the_password_of_this_very_server() -> None:
    with EmbeddedPostgres() as one, EmbeddedPostgres() as other:
        strangers = one.url().replace(f":{one.port}", f":{other.port}")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            execute(strangers, "select 1")
        by_socket = f"postgresql://postgres@:{one.port}/postgres?host={one.socket_directory}"
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            execute(by_socket, "select 1")


def test_a_data_directory_keeps_its_data_and_its_password(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "data") as server:
        execute(server.url(), "create table kept as select 1 as it")
        password = server.url().split(":")[2]
    assert (tmp_path / "data" / "password").stat().st_mode & 0o777 == 0o600
    with EmbeddedPostgres(tmp_path / "data") as server:
        assert execute(server.url(), "select it from kept") == [(1,)]
        assert server.url().split(":")[2] == password


def test_restarting_keeps_the_address() -> None:
    with EmbeddedPostgres() as server:
        before = (server.url(), server.pid)
        server.restart()
        assert server.url() == before[0]
        assert server.pid != before[1]
        assert execute(server.url(), "select 1") == [(1,)]


@LINUX_ONLY
def test_killed_servers_recover_what_was_committed() -> None:
    with EmbeddedPostgres() as server:
        execute(server.url(), "create table kept as select generate_series(1, 10000) as it")
        pidfds = processes_of(server.pid)
        server.kill()
        assert_all_end(pidfds)
        with pytest.raises(EmbeddedPostgresError, match="is not running"):
            _ = server.pid
        server.start()
        assert execute(server.url(), "select count(*) from kept") == [(10_000,)]
        server.kill()
        server.stop()


@LINUX_ONLY
def test_a_killed_launcher_takes_its_server_along() -> None:
    with launched() as launcher:
        pidfds = processes_of(launcher.pid)
        launcher.process.kill()
        assert_all_end(pidfds)
    with EmbeddedPostgres():  # clears away what the dead have left
        assert not launcher.runtime.exists()


def test_a_launcher_that_forgets_to_stop_leaves_nothing() -> None:
    with launched() as launcher:
        launcher.process.communicate("end\n")
        assert launcher.process.returncode == 0
        assert not launcher.runtime.exists()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            execute(launcher.url, "select 1")


def test_the_data_of_a_killed_launcher_is_served_by_the_next(tmp_path: Path) -> None:
    with launched(tmp_path) as launcher:
        execute(launcher.url, "create table kept as select 1 as it")
        launcher.process.kill()
        launcher.process.wait()
        with EmbeddedPostgres(tmp_path) as server:
            assert execute(server.url(), "select it from kept") == [(1,)]


def test_a_server_outlives_the_thread_that_asked_for_it() -> None:
    with EmbeddedPostgres() as server:
        server.stop()
        starter = threading.Thread(target=server.start)
        starter.start()
        starter.join()
        # Were the server told to stop, it would end this session.
        assert execute(server.url(), "select 1 from pg_sleep(0.3)") == [(1,)]


def test_a_fork_of_the_launcher_leaves_the_server_alone() -> None:
    forking = LAUNCHER.replace(
        "server.start()\n", "server.start()\nimport os\nif os.fork() == 0: sys.exit()\nos.wait()\n"
    )
    with launched(script=forking) as launcher:
        assert execute(launcher.url, "select 1") == [(1,)]


def test_a_data_directory_in_use_is_refused_by_name_and_process(tmp_path: Path) -> None:
    with launched(tmp_path) as first:
        refusal = f"{tmp_path} is in use by process {first.process.pid}"
        with pytest.raises(EmbeddedPostgresError, match=refusal):
            EmbeddedPostgres(tmp_path).start()
        assert execute(first.url, "select 1") == [(1,)]


@LINUX_ONLY
def test_a_server_that_somebody_else_started_is_not_disturbed(tmp_path: Path) -> None:
    EmbeddedPostgres(tmp_path).__enter__().stop()
    cluster = tmp_path / "cluster"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=cluster) as other:
        (cluster / "postmaster.pid").write_text(f"{other.pid}\n{cluster}\n")
        with pytest.raises(EmbeddedPostgresError, match=f"{cluster} is in use by process {other.pid}"):
            EmbeddedPostgres(tmp_path).start()


@LINUX_ONLY
def test_a_process_that_got_the_id_of_a_dead_server_is_not_taken_for_it(tmp_path: Path) -> None:
    EmbeddedPostgres(tmp_path).__enter__().stop()
    (tmp_path / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path / 'cluster'}\n")
    with EmbeddedPostgres(tmp_path) as server:
        assert execute(server.url(), "select 1") == [(1,)]


def test_a_port_lost_to_another_process_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    free = postgres._free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(postgres, "_free_port", lambda: next(ports))
        with EmbeddedPostgres() as server:
            assert server.port == free


def test_a_port_that_was_asked_for_and_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedPostgresError, match=f"port {port} of 127.0.0.1 is taken"):
            EmbeddedPostgres(port=port).start()


def test_a_failed_start_shows_the_log_and_leaves_the_directory_free(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r'FATAL: .* invalid value for parameter "work_mem"'):
        EmbeddedPostgres(tmp_path, settings={"work_mem": "much"}).start()
    with EmbeddedPostgres(tmp_path) as server:
        assert execute(server.url(), "select 1") == [(1,)]


def test_a_folder_without_postgresql_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDITS_PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedPostgresError, match=f"CREDITS_PG_BIN names {tmp_path}"):
        EmbeddedPostgres().start()


def test_folders_closed_to_other_users_stay_closed_and_serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A clone in a folder of `mktemp -d`, with its environment and its data inside, used by root."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("CREDITS_PG_BIN", str(copy_binaries(tmp_path)))
    for _ in range(2):
        with EmbeddedPostgres(tmp_path / ".data" / "postgres") as server:
            assert execute(server.url(), "select 1") == [(1,)]
            server.kill()
            server.start()
            assert execute(server.url(), "create table if not exists kept ()") == []
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".data" / "postgres" / "cluster" / "PG_VERSION").exists()


@ROOT_ONLY
@LINUX_ONLY
def test_root_serves_as_somebody_else(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        owner = Path(f"/proc/{server.pid}").stat().st_uid
        assert owner != 0
        environment = Path(f"/proc/{server.pid}/environ").read_bytes()
        assert b"PYTEST_CURRENT_TEST" not in environment
        assert (tmp_path / "cluster").stat().st_uid == owner


@ROOT_ONLY
def test_an_ordinary_user_serves_as_itself(open_folder: Path) -> None:
    """In a child of its own: there is no way back from giving up root."""
    binaries = copy_binaries(open_folder)
    as_nobody = LAUNCHER.replace(
        "server = ",
        "import os, pwd\n"
        "os.environ['CREDITS_PG_BIN'] = sys.argv[2]\n"
        "nobody = pwd.getpwnam('nobody')\n"
        "os.setgroups([]); os.setgid(nobody.pw_gid); os.setuid(nobody.pw_uid)\n"
        "server = ",
    ).replace("Path(sys.argv[1])", "Path(sys.argv[1] + '/data')")
    with launched(open_folder, binaries, script=as_nobody) as launcher:
        assert execute(launcher.url, "select 1") == [(1,)]
        assert Path(f"/proc/{launcher.pid}").stat().st_uid == (open_folder / "data").stat().st_uid != 0
        pidfds = processes_of(launcher.pid)
        launcher.process.kill()
        assert_all_end(pidfds)
        shutil.rmtree(launcher.runtime)  # nobody's next server would have cleared it away


@ROOT_ONLY
def test_the_data_of_another_user_is_refused_to_ordinary_users(open_folder: Path) -> None:
    EmbeddedPostgres(open_folder).__enter__().stop()
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from reference_server.embedded import EmbeddedPostgres, EmbeddedPostgresError\n"
        "os.setgid(54321); os.setuid(54321)\n"
        "try: EmbeddedPostgres(Path(sys.argv[1])).start()\n"
        "except EmbeddedPostgresError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, open_folder], check=True, stdout=subprocess.PIPE, text=True
    )
    assert str(open_folder) in done.stdout
