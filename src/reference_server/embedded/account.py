"""The operating-system account that the server's programs run under."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from reference_server.embedded.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from pathlib import Path

_PREFERRED = ("postgres", "nobody")
_ENTER, _READ_AND_ENTER = 0o1, 0o5


class Identity(TypedDict, total=False):
    """The arguments by which `subprocess` changes the user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """A user id, its group id, and whether it is another one than this process's own."""

    uid: int
    gid: int
    foreign: bool

    @classmethod
    def for_cluster(cls, cluster: Path) -> Account:
        """Return the account that `cluster`, existing or yet to be made, is to be served under."""
        owner = cluster.stat() if cluster.exists() else None
        if os.geteuid() == 0:
            return cls(owner.st_uid, owner.st_gid, foreign=True) if owner else cls._unprivileged()
        if owner and owner.st_uid != os.geteuid():
            raise EmbeddedPostgresError(
                f"{cluster} belongs to user id {owner.st_uid}: run as that user, or as root"
            )
        return cls(os.geteuid(), os.getegid(), foreign=False)

    @classmethod
    def _unprivileged(cls) -> Account:
        for name in _PREFERRED:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid, foreign=True)
        raise EmbeddedPostgresError(
            "PostgreSQL refuses to run as root, and neither of the users "
            f"{' and '.join(_PREFERRED)} exists to run it: run as an ordinary user"
        )

    @property
    def identity(self) -> Identity:
        """The `subprocess` arguments that run a program under this account."""
        if not self.foreign:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Make this account the owner of `path`."""
        if self.foreign:
            os.chown(path, self.uid, self.gid)

    def reaches(self, path: Path) -> bool:
        """Return whether this account may read `path` and enter every folder above it."""
        if not self.foreign:
            return True
        path = path.resolve()
        return self._may(path, _READ_AND_ENTER) and all(self._may(folder, _ENTER) for folder in path.parents)

    def _may(self, path: Path, wanted: int) -> bool:
        status = path.stat()
        granted = status.st_mode
        if status.st_uid == self.uid:
            granted >>= 6
        elif status.st_gid == self.gid:
            granted >>= 3
        return granted & wanted == wanted
