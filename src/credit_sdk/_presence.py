"""Which processes are alive: each holds one byte of a lock file for as long as it lives.

The kernel lets go of the byte when the process ends, however it ends. Process ids would be used again,
and mean nothing in another container.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: nobody is known to be dead
    fcntl = None  # type: ignore[assignment]

_SLOTS = 2**62


class Presence:
    """This process's byte of one lock file.

    A process must open the file once only: closing any other descriptor of it would let go of the byte.
    """

    def __init__(self, path: Path) -> None:
        """Take a byte; raises OSError where the file cannot be made."""
        self.slot = secrets.randbelow(_SLOTS) + 1
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if fcntl is not None:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self.slot)

    def is_alive(self, slot: int) -> bool | None:
        """Whether the process that took the byte lives; None where that cannot be found out."""
        if slot == self.slot:
            return True
        if fcntl is None:  # pragma: no cover
            return None
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
        except OSError:
            return True
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)
        return False

    def close(self) -> None:
        """Let go of the byte."""
        with suppress(OSError):
            os.close(self._file)
