"""A PgBouncer of one's own, in transaction mode, between the tests and their PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from reference_server.embedded.postgres import _free_port

if TYPE_CHECKING:
    from types import TracebackType

PATIENCE_SECONDS = 30
SERVER_CONNECTIONS = 3
# It ends with the standard input of the shell, also when this process is killed.
_COMMAND = '"$@" & echo $!; read -r _; kill -9 $!'
_SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 1000
server_login_retry = 0.1
ignore_startup_parameters = {ignored}
"""


class PgBouncer:
    """Started by `with`. `ignored` are startup parameters that it swallows instead of refusing them."""

    def __init__(self, behind: list[str], *, ignored: str = "") -> None:
        """`behind` are the URLs of PostgreSQL, of one cluster, that somebody logs in with."""
        self._port = _free_port()
        self._behind = behind
        self._ignored = ignored

    def __enter__(self) -> Self:
        # Not below pytest's folders, which only their owner may enter: PgBouncer refuses to be root.
        self._folder = Path(tempfile.mkdtemp(prefix="credits-pgbouncer-"))
        self._folder.chmod(0o755)
        known = [conninfo_to_dict(url) for url in self._behind]
        users = [f'"{each["user"]}" "{each.get("password", "")}"\n' for each in known]
        self._write("users.txt", "".join(users))
        settings = _SETTINGS.format(
            host=known[0]["host"],
            port=known[0]["port"],
            own_port=self._port,
            folder=self._folder,
            connections=SERVER_CONNECTIONS,
            ignored=self._ignored,
        )
        self._write("pgbouncer.ini", settings)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def url(self, behind: str) -> str:
        """Return the URL through it of a database behind it."""
        through = make_url(behind).set(host="127.0.0.1", port=self._port)
        return through.render_as_string(hide_password=False)

    def start(self) -> None:
        """Return when it answers."""
        command = ["pgbouncer", "--quiet", str(self._folder / "pgbouncer.ini")]
        if os.getuid() == 0:
            command[1:1] = ["--user", "nobody"]
        with (self._folder / "log").open("w") as log:
            self._shell = subprocess.Popen(
                ["sh", "-c", _COMMAND, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._shell.stdout
        self.pid = int(self._shell.stdout.readline())
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power failure would."""
        self._shell.communicate()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(self._behind[0]), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(path, "nobody")
