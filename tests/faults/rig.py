"""Real processes to break: a PostgreSQL of our own, a server, clients, and proxies between them.

client -> to_server -> server -> behind_server -> PostgreSQL
client -> to_database -> PostgreSQL
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import psycopg
from sqlalchemy import make_url

from reference_server.credentials import create_api_key
from reference_server.embedded import EmbeddedPostgres
from reference_server.embedded.postgres import _free_port
from reference_server.migrate import migrate
from tests.faults.nursery import Nursery
from tests.faults.proxy import Proxy

PATIENCE_SECONDS = 60
Transport = Literal["sql", "http"]


def eventually(condition: Callable[[], Any]) -> Any:
    """Wait for something that happens by itself, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.005)
    return found


class Rig:
    """Everything that can be broken, and how to break it."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = stack.enter_context(EmbeddedPostgres())
            migrate(self.postgres.url())
            self.to_database = stack.enter_context(Proxy(self.postgres.port, speaks="postgresql"))
            self.behind_server = stack.enter_context(Proxy(self.postgres.port, speaks="postgresql"))
            self.nursery = stack.enter_context(Nursery())
            with self.owner() as owner:
                self.api_key = create_api_key(owner, "faults", ["consume_credits"])
            self.to_server = stack.enter_context(Proxy(_free_port(), speaks="http"))
            self._start_server()
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def owner(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new connection to the database, past all proxies."""
        return psycopg.connect(self.postgres.url(), autocommit=True)

    def client_url(self, transport: Transport) -> str:
        if transport == "http":
            return f"http://127.0.0.1:{self.to_server.port}"
        return self._through(self.to_database)

    def proxy(self, transport: Transport) -> Proxy:
        return self.to_server if transport == "http" else self.to_database

    def heal(self) -> None:
        """Let everything pass again, and wait for the server to find the database."""
        for proxy in (self.to_server, self.to_database, self.behind_server):
            proxy.heal()
        eventually(self._is_ready)

    def kill_server(self) -> None:
        os.kill(self.server, signal.SIGKILL)
        self._replace_server()

    def restart_server(self) -> None:
        os.kill(self.server, signal.SIGTERM)
        self._replace_server()

    def stop_server(self, seconds: float) -> None:
        _stop([self.server], seconds)

    def kill_database(self) -> None:
        self.postgres.kill()
        self.postgres.start()

    def restart_database(self) -> None:
        self.postgres.restart()

    def stop_sessions(self, seconds: float) -> None:
        _stop(self._sessions(), seconds)

    def terminate_sessions(self) -> None:
        with self.owner() as owner:
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )

    def kill_a_session(self) -> None:
        """Kill one backend: PostgreSQL then throws out all the others, too, and recovers."""
        for pid in self._sessions()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(self._database_answers)

    def _sessions(self) -> list[int]:
        with self.owner() as owner:
            rows = owner.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY pid"
            )
            return [row[0] for row in rows]

    def _database_answers(self) -> bool:
        with suppress(psycopg.OperationalError), self.owner():
            return True
        return False

    def _start_server(self) -> None:
        settings = {
            "database_url": self._through(self.behind_server),
            "port": self.to_server.upstream_port,
            "sweep_seconds": 1.0,
            "drain_seconds": 2,
            "allow_superuser": True,
        }
        self.server = self.nursery.start("server", settings)
        eventually(self._is_ready_or_gone)

    def _replace_server(self) -> None:
        eventually(lambda: self.nursery.has_ended(self.server) is not None)
        self._start_server()

    def _is_ready_or_gone(self) -> bool:
        status = self.nursery.has_ended(self.server)
        assert status is None, f"the server ends with {status} as soon as it starts"
        return self._is_ready()

    def _is_ready(self) -> bool:
        url = f"http://127.0.0.1:{self.to_server.upstream_port}/readyz"
        with suppress(httpx.HTTPError):
            return httpx.get(url, timeout=5).status_code == 200
        return False

    def _through(self, proxy: Proxy) -> str:
        url = make_url(self.postgres.url()).set(host="127.0.0.1", port=proxy.port)
        return url.render_as_string(hide_password=False)


def _stop(pids: list[int], seconds: float) -> None:
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGSTOP:
            time.sleep(seconds)


def stop_process(pid: int, seconds: float) -> None:
    """Stop a process for a while, if it still lives."""
    _stop([pid], seconds)
