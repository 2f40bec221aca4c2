"""Directories that belong to one process at a time, and temporary ones that outlive no server."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reference_server.embedded.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from reference_server.embedded.account import Account

_PREFIX = "credits-pg-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - only unguessable names are made in it
_MEMORY_WANTED = 1 << 30
_SHORT = 60  # a socket's path may have 107 bytes
_SHUTDOWN_SECONDS = 60.0


@dataclass(frozen=True)
class Claim:
    """A directory locked by `descriptor`: by this process and by those that inherit the descriptor."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Unlock the directory."""
        # Closing alone would leave it locked by children that this process has forked meanwhile.
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def discard(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()


def claimed(path: Path) -> Claim:
    """Make the directory `path` where it is missing, and keep every other process out of it.

    Raises EmbeddedPostgresError naming the process that has it. A server whose launcher was killed
    is waited for, as it is shutting down.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _claim(path.resolve(), patience=_SHUTDOWN_SECONDS)


def scratch(parent: Path) -> Claim:
    """Make a temporary directory, and clear away those that killed processes have left in `parent`."""
    _sweep(parent)
    hidden = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
    lock = _claim(hidden, patience=0)
    # Only now a sweeping process may see it: the lock is held.
    return Claim(hidden.rename(parent / hidden.name[1:]), lock.descriptor)


def parent_for_data() -> Path:
    """Return where temporary clusters go: to memory where there is plenty of it, else to disk."""
    if os.path.ismount(_MEMORY) and os.access(_MEMORY, os.W_OK):
        volume = os.statvfs(_MEMORY)
        if volume.f_bavail * volume.f_frsize > _MEMORY_WANTED:
            return _MEMORY
    return Path(tempfile.gettempdir())


def parent_for_runtime(account: Account) -> Path:
    """Return where sockets and copied programs go: a short path that `account` reaches and may execute in."""
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - as above
    for candidate in candidates:
        if candidate.is_dir() and os.access(candidate, os.W_OK) and len(os.fsencode(candidate)) <= _SHORT:
            executable = not os.statvfs(candidate).f_flag & os.ST_NOEXEC
            if executable and account.reaches(candidate):
                return candidate
    raise EmbeddedPostgresError(
        f"none of {', '.join(map(str, candidates))} has a short path and lets user id {account.uid} "
        "run programs: name a directory that does in TMPDIR"
    )


def _claim(path: Path, *, patience: float) -> Claim:
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _lock(descriptor, path, time.monotonic() + patience)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d" % os.getpid(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return Claim(path, descriptor)


def _lock(descriptor: int, path: Path, deadline: float) -> None:
    while True:
        with suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder = int(os.pread(descriptor, 20, 0) or 0)
        if _alive(holder) or time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"data directory {path} is in use by process {holder}")
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    if pid == 0:  # the holder has yet to write its id
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sweep(parent: Path) -> None:
    for leftover in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError, EmbeddedPostgresError):
            if leftover.lstat().st_uid == os.geteuid():
                _claim(leftover, patience=0).discard()
