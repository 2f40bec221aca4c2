"""A PostgreSQL server that this process starts and stops."""

from __future__ import annotations

import atexit
import os
import random
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from reference_server.embedded.cluster import SUPERUSER, opened
from reference_server.embedded.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from reference_server.embedded.cluster import Cluster
    from reference_server.embedded.process import Program

# Below the ports that systems give to outgoing connections (from 32768 on Linux): a client that
# knocks on while the server restarts could otherwise connect to itself, and so take the port.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 5
_PORT_TAKEN = "could not create any TCP/IP sockets"


class EmbeddedPostgres:
    """A PostgreSQL server that lives no longer than this process.

    `data_directory` is made at its first use and kept; without one the data is temporary, in memory
    where there is plenty (`/dev/shm`), and removed by `stop`. `settings` are PostgreSQL settings by
    name. `port` is a free one unless given; it stays the same until `stop`.

    The server is stopped at the end of the process, whatever ends it: on Linux also SIGKILL. Objects
    are for one thread at a time.
    """

    def __init__(
        self,
        data_directory: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._data_directory = data_directory
        self._settings = dict(settings or {})
        self._wanted_port = port
        self._port = port
        self._launcher_pid = os.getpid()
        self._claims = ExitStack()
        self._cluster: Cluster | None = None
        self._server: Program | None = None
        self._killed = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, from the start until `stop`."""
        if self._port is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL is not started")
        return self._port

    @property
    def socket_directory(self) -> Path:
        """The directory of the Unix socket, from the start until `stop`."""
        return self._open().sockets

    def url(self, database: str = "postgres", user: str | None = None) -> str:
        """Return a TCP URL of `database` that any client understands.

        The password in it is the superuser's: another `user` must have been given the same one.
        """
        name, password = quote(user or SUPERUSER, safe=""), quote(self._open().password, safe="")
        return f"postgresql://{name}:{password}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def start(self) -> None:
        """Start the server and return when it answers; also after `kill`, when it recovers first.

        Raises EmbeddedPostgresError: no PostgreSQL is found, the data directory is in use (the
        message names the process), the port is taken, or the server fails (the message ends with
        the last lines of its log).
        """
        if self._server is not None:
            raise EmbeddedPostgresError("the embedded PostgreSQL is already running")
        self._launcher_pid = os.getpid()
        atexit.register(self.stop)
        try:
            if self._cluster is None:
                self._cluster = opened(self._data_directory, self._claims)
            self._server = self._serve(self._cluster)
            self._killed = False
        except OSError as error:
            self.stop()
            raise EmbeddedPostgresError(f"cannot start PostgreSQL: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down, ending sessions, and remove temporary data; do nothing when stopped."""
        if os.getpid() != self._launcher_pid:  # a fork of the launcher: the server is not its own
            return
        atexit.unregister(self.stop)
        try:
            if self._cluster is not None and self._killed and self._data_directory is None:
                self._free_shared_memory(self._cluster)
            if self._server is not None:
                self._server.stop()
        finally:
            self._server = self._cluster = None
            self._port, self._killed = self._wanted_port, False
            self._claims.close()

    def kill(self) -> None:
        """End the server as a power failure would, by SIGKILL to all its processes; `start` recovers."""
        self._running().kill()
        self._server, self._killed = None, True

    def restart(self) -> None:
        """Shut the server down, if it still runs, and start it on the same data and port."""
        self._open()
        if self._server is not None:
            self._server.stop()
            self._server = None
        self.start()

    def _open(self) -> Cluster:
        if self._cluster is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL is not started")
        return self._cluster

    def _running(self) -> Program:
        if self._server is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL is not running")
        return self._server

    def _free_shared_memory(self, cluster: Cluster) -> None:
        """Let a successor free what a killed server has left in memory; no other would ever come."""
        with suppress(EmbeddedPostgresError):
            self._serve(cluster).stop()

    def _serve(self, cluster: Cluster) -> Program:
        fixed = self._port
        for port in [fixed] if fixed else (_free_port() for _ in range(_ATTEMPTS)):
            server = cluster.serve(port, self._settings)
            try:
                server.wait_until_ready(cluster.path)
            except EmbeddedPostgresError as error:
                # A free port may have been taken since it was found.
                if _PORT_TAKEN not in str(error):
                    raise
            else:
                self._port = port
                return server
        raise EmbeddedPostgresError(f"port {port} of 127.0.0.1 is taken by another process")


def _free_port() -> int:
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise EmbeddedPostgresError(f"no port from {_PORTS[0]} to {_PORTS[-1]} is free on 127.0.0.1")
