"""The file in which a process writes what it spends from leases, before it says that it has.

Every line is handed to the kernel by the time `append` returns: what was promised survives the end of the
process, however it ends. A thread brings the lines to the disk itself, all that have come meanwhile at once.
"""

import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from credit_sdk.errors import OutboxError

logger = logging.getLogger("credit_sdk")

NOBODY = 0
"""The owner in the name of a file that its process has let go of."""
SUFFIX = ".journal"


class Journal(Protocol):
    """Where spends are written down."""

    size: int
    """In bytes, since it was last written anew."""
    is_broken: bool
    """Whether it has refused a line, and refuses all until it is written anew."""

    def append(self, line: bytes) -> None:
        """Write a line; raises `OutboxError` when it could not be written."""

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Begin anew with these lines only; raises `OutboxError`, and then nothing has changed."""

    def close(self, *, is_settled: bool) -> None:
        """Let go of the file, for the next start, or remove it if all of it is settled."""


class NoJournal:
    """For books that end with the process, as what it has spent from them does."""

    size = 0
    is_broken = False

    def append(self, line: bytes) -> None:
        """Write nothing."""

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Write nothing."""

    def close(self, *, is_settled: bool) -> None:
        """Let go of nothing."""


class FileJournal:
    """One process's file in the folder of a destination. For several threads."""

    def __init__(self, folder: Path, owner: int, *, sync_seconds: float) -> None:
        """Make nothing yet. `owner` is the process's place among the living."""
        self.size = 0
        self.is_broken = False
        self._folder = folder
        self._owner = owner
        self._sync_seconds = sync_seconds
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path: Path | None = None
        self._is_dirty = threading.Event()
        self._is_closed = threading.Event()
        self._syncing: threading.Thread | None = None

    def append(self, line: bytes) -> None:
        """Write a line; raises `OutboxError` when it could not be written."""
        with self._lock:
            if self.is_broken:
                raise OutboxError(f"The journal of leases in {self._folder} could not be written before.")
            try:
                if self._file is None:
                    self._file, self._path = self._make()
                self._write(self._file, line)
            except OSError as error:
                self._cut_off(error)
                raise OutboxError(
                    f"The journal of leases in {self._folder} cannot be written: {error.strerror or error}."
                ) from error
            self.size += len(line)
        if not self._is_dirty.is_set():
            self._is_dirty.set()

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Begin anew with these lines only; raises `OutboxError`, and then nothing has changed."""
        content = b"".join(lines)
        with self._lock:
            path = None
            try:
                file, path = self._make()
                _write_all(file, content)
                os.fsync(file)
            except OSError as error:
                if path is not None:
                    os.close(file)
                    path.unlink(missing_ok=True)
                raise OutboxError(
                    f"The journal of leases in {self._folder} cannot be written: {error.strerror or error}."
                ) from error
            self._drop()
            self._file, self._path, self.size, self.is_broken = file, path, len(content), False

    def sync(self) -> None:
        """Bring what was written to the disk itself; raises OSError."""
        with self._lock:
            # A second name for the file, so that nobody waits for the disk who only wants to write.
            file = None if self._file is None else os.dup(self._file)
        if file is not None:
            try:
                os.fdatasync(file)
            finally:
                os.close(file)

    def close(self, *, is_settled: bool) -> None:
        """Let go of the file, for the next start, or remove it if all of it is settled."""
        self._is_closed.set()
        self._is_dirty.set()
        with self._lock:
            if is_settled:
                self._drop()
            elif self._file is not None and self._path is not None:
                with suppress(OSError):
                    os.fdatasync(self._file)
                os.close(self._file)
                _, _, name = self._path.name.partition("-")
                with suppress(OSError):
                    self._path.rename(self._folder / f"{NOBODY}-{name}")
            self._file, self._path, self.size = None, None, 0

    def _make(self) -> tuple[int, Path]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{self._owner}-{os.urandom(6).hex()}{SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._is_closed.clear()
        if self._sync_seconds and (self._syncing is None or not self._syncing.is_alive()):
            self._syncing = threading.Thread(
                target=self._sync_again_and_again, name="credit-sdk journal", daemon=True
            )
            self._syncing.start()
        return file, path

    def _write(self, file: int, line: bytes) -> None:
        _write_all(file, line)
        if not self._sync_seconds:
            os.fdatasync(file)

    def _cut_off(self, error: OSError) -> None:
        """Take half a line back, and write nothing more behind what may be half a line."""
        self.is_broken = True
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, self.size)
        logger.error(
            "The journal of leases in %s cannot be written (%s): charges go to the books meanwhile.",
            self._folder,
            error.strerror or error,
        )

    def _drop(self) -> None:
        if self._file is not None and self._path is not None:
            os.close(self._file)
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _sync_again_and_again(self) -> None:
        while not self._is_closed.is_set():
            self._is_dirty.wait()
            self._is_closed.wait(self._sync_seconds)
            self._is_dirty.clear()
            try:
                self.sync()
            except OSError as error:
                with self._lock:
                    self.is_broken = True
                logger.error(  # noqa: TRY400 - the sentence says all
                    "The journal of leases in %s does not reach the disk: %s", self._folder, error
                )


def _write_all(file: int, content: bytes) -> None:
    written = os.write(file, content)
    while written < len(content):
        written += os.write(file, content[written:])
