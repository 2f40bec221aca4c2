"""PostgreSQL's programs as processes: they do not outlive this one, and their end is certain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from reference_server.embedded.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reference_server.embedded.account import Account

_PR_SET_PDEATHSIG = 1
_READY_LINE = 7  # of postmaster.pid, from 0
_POLL_SECONDS = 0.02
_SILENCE_SECONDS = 120.0
_KILL_SECONDS = 60.0
_TAIL_LINES = 12
_STOPPING = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0))  # "fast", then "immediate"


class Program:
    """A program of PostgreSQL, and all the processes that it starts."""

    def __init__(
        self, command: Sequence[str], *, log: Path, account: Account, inherit: Sequence[int]
    ) -> None:
        """Start `command` under `account`; it keeps the descriptors `inherit` and writes to `log`."""
        self._name = Path(command[0]).name
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        # Every process inherits the writing end: the reading end tells when all are gone.
        self._lifeline, held = os.pipe()
        self._keeper = _Keeper(_launcher(command, log, account, (*inherit, held)))
        self._keeper.start()
        try:
            self._process = self._keeper.started.result()
        except BaseException:
            self._abandon()
            raise
        finally:
            os.close(held)

    @property
    def pid(self) -> int:
        """The process id; of a server, the postmaster's."""
        return self._process.pid

    def finish(self) -> None:
        """Wait for the end. Raises EmbeddedPostgresError with the end of the log if it is a failure."""
        try:
            self._gone(None)
        except BaseException:
            self.stop()
            raise
        self._close()
        if self._process.returncode:
            raise EmbeddedPostgresError(f"{self._name} failed:\n{self._log_tail()}")

    def wait_until_ready(self, cluster: Path) -> None:
        """Wait until the server of `cluster` answers; recovery after a crash may take its time.

        Raises EmbeddedPostgresError with the end of the log, and stops the server, when it ends or
        neither answers nor logs anything for two minutes (a recovery reports every ten seconds).
        """
        try:
            answers = self._answers(cluster)
        except BaseException:
            self.stop()
            raise
        if not answers:
            self.stop()
            raise EmbeddedPostgresError(f"PostgreSQL did not start:\n{self._log_tail()}")

    def stop(self) -> None:
        """Shut a server down: sessions are ended, data is written."""
        try:
            for shutdown, seconds in _STOPPING:
                self._process.send_signal(shutdown)
                if self._gone(seconds):
                    return self._close()
        except BaseException:
            self.kill()
            raise
        return self.kill()

    def kill(self) -> None:
        """End every process at once, as a power failure would."""
        self._process.send_signal(signal.SIGSTOP)  # so that it starts no more children
        for child in _children(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.kill()
        self._gone(_KILL_SECONDS)
        self._close()

    def _answers(self, cluster: Path) -> bool:
        logged, patience_ends = -1, 0.0
        while not self._is_ready(cluster):
            size = self._log.stat().st_size
            if size != logged:
                logged, patience_ends = size, time.monotonic() + _SILENCE_SECONDS
            if self._gone(_POLL_SECONDS) or time.monotonic() > patience_ends:
                return False
        return True

    def _is_ready(self, cluster: Path) -> bool:
        """Read what pg_ctl reads: the server notes its state in its lock file."""
        try:
            lines = (cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(self.pid)] and [line.strip() for line in lines[_READY_LINE:]] == ["ready"]

    def _gone(self, seconds: float | None) -> bool:
        """Wait for the end of the last process, up to `seconds`, and return whether it came."""
        waiter = select.poll()
        waiter.register(self._lifeline)
        return bool(waiter.poll(None if seconds is None else seconds * 1000))

    def _log_tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def _abandon(self) -> None:
        """Kill what an interrupted start may have started all the same."""
        try:
            self._process = self._keeper.started.result()
        except Exception:  # noqa: BLE001 - nothing was started
            self._close()
        else:
            self.kill()

    def _close(self) -> None:
        self._keeper.join()
        os.close(self._lifeline)


class _Keeper(threading.Thread):
    """Starts a program and waits for its end.

    Linux sends the parent-death signal when the *thread* that started a child ends. This one ends
    with the child, whichever thread asked for it.
    """

    def __init__(self, launch: Callable[[], subprocess.Popen[bytes]]) -> None:
        super().__init__(name="embedded-postgres", daemon=True)
        self._launch = launch
        self.started: Future[subprocess.Popen[bytes]] = Future()

    def run(self) -> None:
        try:
            process = self._launch()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self.started.set_exception(error)
        else:
            self.started.set_result(process)
            process.wait()


def _launcher(
    command: Sequence[str], log: Path, account: Account, inherit: Sequence[int]
) -> Callable[[], subprocess.Popen[bytes]]:
    def launch() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",  # the caller's may be closed to the account
                env=_environment(),
                pass_fds=inherit,
                start_new_session=True,  # Ctrl-C is for the launcher, which then stops the server
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - it makes two system calls
                **account.identity,
            )

    return launch


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what a child does between fork and exec so as not to outlive `parent` (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def follow() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would swallow one before exec
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # it died before the signal was asked for
            os._exit(1)

    return follow


def _environment() -> dict[str, str]:
    """Return the little that PostgreSQL needs; secrets are not for an account that is not ours."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _children(parent: int) -> list[int]:
    """Return the children of `parent`; none where there is no /proc, where they end by themselves."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # "pid (name) state ppid ...", and a name may hold anything
            after_name = status.read_text(errors="replace").rpartition(")")[2].split()
            if after_name[1] == str(parent):
                found.append(int(status.parent.name))
    return found
