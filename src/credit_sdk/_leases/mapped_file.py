"""A file that is written by copying into memory.

What is copied there is the kernel's at once, and survives the end of the process, however it ends. No system
call is made for a line: one would let go of the interpreter, and a thread that computes keeps it for
milliseconds then.
"""

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path

ROOM_BYTES = 1024 * 1024
"""How much room is allocated at once."""

_NOT_KNOWN = errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS
"""What some systems say of a file system that cannot allocate beforehand."""


class MappedFile:
    """A new file for lines. Its room is allocated beforehand: a full disk is an error when it grows.

    Behind the last line there are zeros, until the file is let go of. Not for two threads at once.
    """

    def __init__(self, path: Path) -> None:
        """Make the file; raises OSError, and then there is none."""
        self.path = path
        self.size = 0
        """In bytes, without the room behind."""
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._room = 0
        try:
            self._memory = self._grown(ROOM_BYTES)
        except OSError:
            os.close(self.descriptor)
            path.unlink(missing_ok=True)
            raise

    def write(self, line: bytes) -> None:
        """Write a line, or several; raises OSError, and then nothing is written.

        The last byte, its end, is copied last: of a line without its end nobody was told that it is written.
        """
        begin = self.size
        end = begin + len(line)
        if end > self._room:
            self._memory = self._grown(end + ROOM_BYTES)
        memory = self._memory
        memory[begin : end - 1] = line[:-1]
        memory[end - 1] = line[-1]
        self.size = end

    def take_back(self, line: bytes) -> None:
        """Take the last line back, which was just written."""
        self.size -= len(line)
        self._memory[self.size : self.size + len(line)] = bytes(len(line))

    def let_go(self) -> None:
        """Close the file, which ends behind the last line then. Nothing can be written any more."""
        self._memory.close()
        with suppress(OSError):
            os.ftruncate(self.descriptor, self.size)
            bring_to_disk(self.descriptor)
        os.close(self.descriptor)

    def remove(self) -> None:
        """Close the file, and remove it."""
        self._memory.close()
        os.close(self.descriptor)
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _grown(self, room: int) -> mmap.mmap:
        _allocate(self.descriptor, self._room, room)
        try:
            memory = mmap.mmap(self.descriptor, room)
        except ValueError:
            raise OSError(errno.EIO, "somebody else has made it shorter") from None
        self._room = room
        return memory


def bring_to_disk(descriptor: int) -> None:
    """Wait until what was written is on the disk itself, what was copied into memory too; raises OSError."""
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync


def _allocate(descriptor: int, begin: int, end: int) -> None:
    """Take the disk's room for a part of a file: what is copied there has its place already."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, begin, end - begin)
        except OSError as error:
            if error.errno not in _NOT_KNOWN:
                raise
        else:
            return
    written = begin
    while written < end:
        written += os.pwrite(descriptor, bytes(end - written), written)
