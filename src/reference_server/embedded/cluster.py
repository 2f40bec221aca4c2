"""A data directory: how it is made, and how it is served."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reference_server.embedded.account import Account
from reference_server.embedded.binaries import usable_binaries
from reference_server.embedded.directories import claimed, parent_for_data, parent_for_runtime, scratch
from reference_server.embedded.errors import EmbeddedPostgresError
from reference_server.embedded.process import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import ExitStack

    from reference_server.embedded.directories import Claim

SUPERUSER = "postgres"

_DEFAULTS = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_LOG_KEPT = 10 << 20


def opened(data_directory: Path | None, claims: ExitStack) -> Cluster:
    """Return the cluster in `data_directory`, or a temporary one, made where there is none.

    It is nobody else's until `claims` is closed. Raises EmbeddedPostgresError or OSError where the
    directory is in use or cannot be used.
    """
    if data_directory:
        home = claimed(data_directory)
        claims.callback(home.release)
    else:
        home = scratch(parent_for_data())
        claims.callback(home.discard)
    account = Account.for_cluster(home.path / "cluster")
    runtime = scratch(parent_for_runtime(account))
    claims.callback(runtime.discard)
    runtime.path.chmod(0o711)
    binaries = usable_binaries(account, runtime.path / "programs")
    cluster = Cluster(home, runtime, account, binaries)
    cluster.prepare(durable=data_directory is not None)
    return cluster


@dataclass(frozen=True)
class Cluster:
    """A claimed data directory, with the programs and the account that serve it."""

    home: Claim
    runtime: Claim
    account: Account
    binaries: Path

    @property
    def path(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.home.path / "cluster"

    @property
    def sockets(self) -> Path:
        """The directory of the Unix socket."""
        return self.runtime.path / "socket"

    @property
    def password(self) -> str:
        """The superuser's password."""
        return (self.home.path / "password").read_text()

    def prepare(self, *, durable: bool) -> None:
        """Make what is missing: the folder of the socket, and the cluster at its first use."""
        self.sockets.mkdir()
        self.sockets.chmod(0o755)
        self.account.give(self.sockets)
        if not self.path.exists():
            self._create(durable=durable)

    def serve(self, port: int, settings: Mapping[str, str]) -> Program:
        """Start the server on `port`; it is not yet ready."""
        _refuse_foreign_server(self.path)
        chosen = _DEFAULTS | dict(settings) | self._addresses(port)
        options = [option for name, value in chosen.items() for option in ("-c", f"{name}={value}")]
        with _handed_over(self.path, self.account) as (path, descriptors):
            command = [str(self.binaries / "postgres"), "-D", path, *options]
            return self._start(command, descriptors)

    def _start(self, command: list[str], descriptors: tuple[int, ...]) -> Program:
        log = self.home.path / "server.log"
        if log.exists() and log.stat().st_size > _LOG_KEPT:
            log.replace(log.with_suffix(".log.1"))
        # By inheritance the directories stay locked until the last process has ended.
        inherit = (self.home.descriptor, self.runtime.descriptor, *descriptors)
        return Program(command, log=log, account=self.account, inherit=inherit)

    def _addresses(self, port: int) -> dict[str, str]:
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(self.sockets),
        }

    def _create(self, *, durable: bool) -> None:
        """Make a cluster under another name first, so that an interrupted attempt leaves no half of one."""
        unfinished = self.home.path / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self.account.give(unfinished)
        password = secrets.token_urlsafe(32)
        self._initdb(unfinished, password, durable=durable)
        _write_secret(self.home.path / "password", password)
        unfinished.rename(self.path)

    def _initdb(self, path: Path, password: str, *, durable: bool) -> None:
        with (
            tempfile.NamedTemporaryFile("w", dir=self.runtime.path) as secret,
            _handed_over(path, self.account) as (handed, descriptors),
        ):
            secret.write(password)
            secret.flush()
            self.account.give(Path(secret.name))
            options = [
                *("-D", handed, "--username", SUPERUSER, "--pwfile", secret.name),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--data-checksums"),
                *([] if durable else ["--no-sync"]),
            ]
            command = [str(self.binaries / "initdb"), *options]
            self._start(command, descriptors).finish()


@contextmanager
def _handed_over(path: Path, account: Account) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield a name of the directory `path` that `account` can open, and the descriptors it takes.

    Root's folders are often closed to everyone else, a fresh clone under `mktemp -d` for one. Their
    permissions are not ours to change, and data kept elsewhere would be lost from sight. An open
    descriptor needs no permission on the way: the server enters its directory through it, and uses
    relative paths from then on.
    """
    if account.reaches(path):
        yield str(path), ()
        return
    if sys.platform != "linux":
        raise EmbeddedPostgresError(f"user id {account.uid}, which runs PostgreSQL, may not enter {path}")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _refuse_foreign_server(cluster: Path) -> None:
    """Refuse a cluster that somebody else's server runs on, and forget a server that is gone.

    PostgreSQL takes any living process with the recorded id for its server; after a container has
    restarted that is usually a stranger. Our own are known to be gone: they would hold the claim.
    """
    record = cluster / "postmaster.pid"
    if sys.platform != "linux" or not record.exists():
        return
    pid = record.read_text().partition("\n")[0]
    with suppress(OSError):
        if Path(f"/proc/{pid}/cwd").samefile(cluster):
            raise EmbeddedPostgresError(f"data directory {cluster} is in use by process {pid}")
    record.unlink()


def _write_secret(path: Path, text: str) -> None:
    """Write a file for this account's eyes that survives a power failure."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
