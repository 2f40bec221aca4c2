"""The file in which a process writes what it spends from leases, before it says that it has.

Every line is the kernel's by the time `append` returns: what was promised survives the end of the process,
however it ends. A thread brings the lines to the disk itself, all that have come meanwhile at once.
"""

import logging
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from credit_sdk._leases.mapped_file import MappedFile, bring_to_disk
from credit_sdk.errors import OutboxError

logger = logging.getLogger("credit_sdk")

NOBODY = 0
"""The owner in the name of a file that its process has let go of."""
SUFFIX = ".journal"


class Journal(Protocol):
    """Where spends are written down."""

    is_broken: bool
    """Whether it has refused a line, and refuses all until it is written anew."""
    new_size: int
    """In bytes, when it was last written anew."""

    @property
    def size(self) -> int:
        """In bytes, since it was last written anew."""

    def append(self, line: bytes) -> None:
        """Write a line; raises `OutboxError` when it could not be written."""

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Begin anew with these lines only; raises `OutboxError`, and then nothing has changed."""

    def close(self, *, is_settled: bool) -> None:
        """Let go of the file, for the next start, or remove it if all of it is settled."""


class NoJournal:
    """For books that end with the process, as what it has spent from them does."""

    size = 0
    new_size = 0
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
        self.is_broken = False
        self.new_size = 0
        self._folder = folder
        self._owner = owner
        self._sync_seconds = sync_seconds
        self._lock = threading.Lock()
        self._file: MappedFile | None = None
        self._is_dirty = threading.Event()
        self._is_closed = threading.Event()
        self._syncing: threading.Thread | None = None

    @property
    def size(self) -> int:
        """In bytes, since it was last written anew."""
        return 0 if self._file is None else self._file.size

    def append(self, line: bytes) -> None:
        """Write a line; raises `OutboxError` when it could not be written."""
        with self._lock:
            if self.is_broken:
                raise OutboxError(f"The journal of leases in {self._folder} could not be written before.")
            try:
                if self._file is None:
                    self._file = self._make()
                self._file.write(line)
                if not self._sync_seconds:
                    self._bring_to_disk(self._file, line)
            except OSError as error:
                self.is_broken = True
                logger.error(  # noqa: TRY400 - the sentence says all
                    "The journal of leases in %s cannot be written (%s): charges go to the books meanwhile.",
                    self._folder,
                    error.strerror or error,
                )
                raise self._unwritable(error) from error
        if not self._is_dirty.is_set():
            self._is_dirty.set()

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Begin anew with these lines only; raises `OutboxError`, and then nothing has changed."""
        content = b"".join(lines)
        with self._lock:
            file = None
            try:
                file = self._make()
                if content:
                    file.write(content)
                bring_to_disk(file.descriptor)
            except OSError as error:
                if file is not None:
                    file.remove()
                raise self._unwritable(error) from error
            if self._file is not None:
                self._file.remove()
            self._file, self.new_size, self.is_broken = file, len(content), False

    def sync(self) -> None:
        """Bring what was written to the disk itself; raises OSError."""
        with self._lock:
            # A second name for the file, so that nobody waits for the disk who only wants to write.
            descriptor = None if self._file is None else os.dup(self._file.descriptor)
        if descriptor is not None:
            try:
                bring_to_disk(descriptor)
            finally:
                os.close(descriptor)

    def close(self, *, is_settled: bool) -> None:
        """Let go of the file, for the next start, or remove it if all of it is settled."""
        self._is_closed.set()
        self._is_dirty.set()
        with self._lock:
            file, self._file = self._file, None
            if file is not None and is_settled:
                file.remove()
            elif file is not None:
                file.let_go()
                _, _, name = file.path.name.partition("-")
                with suppress(OSError):
                    file.path.rename(self._folder / f"{NOBODY}-{name}")

    def _make(self) -> MappedFile:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = MappedFile(self._folder / f"{self._owner}-{os.urandom(6).hex()}{SUFFIX}")
        self._is_closed.clear()
        if self._sync_seconds and (self._syncing is None or not self._syncing.is_alive()):
            self._syncing = threading.Thread(
                target=self._sync_again_and_again, name="credit-sdk journal", daemon=True
            )
            self._syncing.start()
        return file

    def _bring_to_disk(self, file: MappedFile, line: bytes) -> None:
        try:
            bring_to_disk(file.descriptor)
        except OSError:
            file.take_back(line)
            raise

    def _unwritable(self, error: OSError) -> OutboxError:
        return OutboxError(
            f"The journal of leases in {self._folder} cannot be written: {error.strerror or error}."
        )

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
