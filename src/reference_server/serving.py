"""Running the server: database, socket, processes, and an end without loose ends."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from credit_sdk.backends._reasons import reason_of
from credit_sdk.errors import ConfigurationError
from reference_server.announcing import announce, base_url
from reference_server.app import create_app, spare_what_stays
from reference_server.demo import load_demo, refuse_books_of_others
from reference_server.embedded import EmbeddedPostgres
from reference_server.logs import configure_logs
from reference_server.measuring import FOLDER_VARIABLE
from reference_server.middleware import Traffic
from reference_server.migrate import MigrationError, migrate
from reference_server.privileges import (
    least_privileged,
    refuse_owner_behind_pooler,
    refuse_superuser,
    role_to_act_as,
    warn_of_owner,
)
from reference_server.sending import WholeAnswers
from reference_server.settings import Settings

DATABASE = "credits"
BACKLOG = 2_048
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so that none of them meets one that was just closed."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Serving:
    """What to run. `settings` are those given as arguments; the environment says the rest."""

    data_directory: Path
    settings: dict[str, Any] = field(default_factory=dict)
    workers: int = 1
    demo: bool = False
    ready_file: Path | None = None


def serve(serving: Serving) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight and stop what was started.

    Ends by `SystemExit`. Raises what setting up raises: `ConfigurationError`, `MigrationError`,
    `EmbeddedPostgresError`, `OSError`, `psycopg.Error`, and `BooksOfOthersError` for a demonstration in
    a database that others use.
    """
    if serving.ready_file:
        _make_room(serving.ready_file)
    _end_on_signals()
    with ExitStack() as stack:
        given = _given_database(serving)
        # A wrong setting or a taken port is said before a cluster is made.
        settings = Settings.of(**serving.settings | {"database_url": given or "postgresql:///"})
        configure_logs(settings.log_format, requests=settings.log_requests)
        listener = stack.enter_context(_listening(settings))
        if given and not (serving.demo or settings.allow_superuser):
            refuse_superuser(given)
            refuse_owner_behind_pooler(given)
        url = given or _embedded_database(stack, serving.data_directory)
        if serving.demo:
            refuse_books_of_others(url)
        _migrate(url)
        if given:
            warn_of_owner(given)
        credentials = {"credentials": load_demo(url)} if serving.demo else {}
        address = base_url(listener.getsockname())
        settings = settings.model_copy(
            update={
                "public_url": settings.public_url or address,
                "database_url": given or least_privileged(url),
                "database_role": role_to_act_as(url, settings.database_role),
                # The demonstration needs no network.
                "llm_offline": settings.llm_offline or serving.demo,
            }
        )
        report = {"base_url": address, "database_url": url} | credentials
        threading.Thread(
            target=announce, args=(listener.getsockname(), report, serving.ready_file), daemon=True
        ).start()
        _run(settings, listener, serving.workers)


class DrainingServer(Server):
    """Answers 503 to whoever still comes while it finishes what is in flight."""

    def __init__(self, config: Config, traffic: Traffic) -> None:
        super().__init__(config)
        self._traffic = traffic

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the requests in flight before connections close."""
        self._traffic.stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                await self._drain()
                for server in self.servers:
                    server.close()
                # Whoever was let in last has not had the time to ask.
                await asyncio.sleep(_POLL_SECONDS)
                await self._drain()
        await super().shutdown(sockets)

    async def _drain(self) -> None:
        # A second Ctrl+C sets force_exit, which nothing can wait for.
        while self._traffic.in_flight and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)


def _run(settings: Settings, listener: socket.socket, workers: int) -> None:
    if workers == 1:
        app = create_app(settings)
        spare_what_stays()
        DrainingServer(server_config(settings, app), app.state.traffic).run(sockets=[listener])
        return
    # The workers are new processes; what they need to know is no one else's to see in a list of processes.
    os.environ.update(settings.environment())
    listener.set_inheritable(True)
    config = server_config(
        settings, "reference_server.app:app_from_environment", factory=True, workers=workers
    )
    with TemporaryDirectory(prefix="credits-figures-") as folder:
        os.environ.setdefault(FOLDER_VARIABLE, folder)
        Multiprocess(config, sockets=[listener]).run()


def server_config(settings: Settings, app: Any, **more: Any) -> Config:
    """Return how uvicorn runs the application."""
    return Config(
        app,
        lifespan="on",
        ws="none",
        http=WholeAnswers,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Who is trusted to say where a request comes from is a setting of our own.
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=round(settings.drain_seconds),
        **more,
    )


def _make_room(ready_file: Path) -> None:
    """Take an old ready file away, so that a new one means that this server answers."""
    try:
        ready_file.parent.mkdir(parents=True, exist_ok=True)
        ready_file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{ready_file} cannot be written ({reason_of(error)}).") from None


def _end_on_signals() -> None:
    """Make SIGTERM and SIGINT unwind the process once; uvicorn passes on what it received itself."""

    def end(_signal: int, _frame: FrameType | None) -> NoReturn:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_IGN)
        raise SystemExit(0)

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, end)


def _given_database(serving: Serving) -> str | None:
    return serving.settings.get("database_url") or os.environ.get("DATABASE_URL") or None


def _migrate(database_url: str) -> None:
    """Migrate if there is something to do; say who has to do it if the URL's role may not."""
    try:
        migrate(database_url)
    except (MigrationError, InsufficientPrivilege) as error:
        denied = error.__cause__ if isinstance(error, MigrationError) else error
        if not isinstance(denied, InsufficientPrivilege):
            raise
        raise MigrationError(
            f"The role of the database URL may not migrate the database ({denied.diag.message_primary}): "
            "run `credits migrate` with the owner's URL first."
        ) from error


def _embedded_database(stack: ExitStack, data_directory: Path) -> str:
    postgres = stack.enter_context(EmbeddedPostgres(data_directory))
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    return postgres.url(DATABASE)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host, settings.port)
    try:
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"The server cannot listen on port {settings.port} of {settings.host} ({reason_of(error)}); "
            "--host and --port choose another address."
        ) from None
    with listener:
        yield listener
