"""Bring a database to this version's schema.

    sql/migrations/NNNN_name.sql            each once, in order
    sql/functions, sql/views, sql/compat    all of them, in this order and by name within a folder,
                                            whenever the text of any has changed

All of it is one transaction: whoever charges meanwhile never meets tables of one version and functions of
another.

A database of the first system is adopted on the way: see `reference_server.adoption`.

What was done is kept in `public.credit_sdk_migrations`; version 0 stands for the second kind. Two
processes at once are safe: the second waits and finds nothing to do. Through a pooler, which does not keep
the lock, nothing is applied.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import psycopg

from credit_sdk.backends._poolers import is_pooled
from reference_server.adoption import AFTER, Adoption, FirstSystem, first_system

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    Connection = psycopg.Connection[tuple[Any, ...]]

_LOCK = 0x637265646974  # any number that no other program locks
_LOCK_TIMEOUT = "5s"  # a table lock that waits blocks everyone who comes after it
_ATTEMPTS = 5
PAUSE_SECONDS = 1.0
"""How long those who waited behind a lock that did not come are let through."""
_IN_THE_WAY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_REPEATABLE = 0
_REPEATABLE_FOLDERS = ("functions", "views", "compat")
_NUMBERED = re.compile(r"(?!0000)\d{4}_\w+\.sql")
_TABLE = """
    create table if not exists public.credit_sdk_migrations (
        version int primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default clock_timestamp()
    )
"""


class MigrationError(RuntimeError):
    """The database cannot be migrated; the message names the file and what to do."""


@dataclass(frozen=True)
class MigrationStatus:
    """Where a database is: its version, and the names of what `migrate` would apply."""

    version: int
    pending: tuple[str, ...]
    repeatable_pending: bool


@dataclass(frozen=True)
class MigrationReport:
    """What `migrate` did, or would do when run dry, and the version that the database is at then.

    `adopted` is what there was of the first system, if there was.
    """

    applied: tuple[str, ...]
    repeatable_applied: bool
    version: int
    adopted: Adoption | None = None


@dataclass(frozen=True)
class _Script:
    name: str
    text: str


@dataclass(frozen=True)
class _Plan:
    """What a database at `version` lacks."""

    version: int
    numbered: dict[int, _Script]
    repeatable: list[_Script]


def migrate(
    database_url: str, *, dry_run: bool = False, source: Traversable | None = None
) -> MigrationReport:
    """Apply what the database lacks and return what that was; with `dry_run`, only look.

    `source` is the folder of SQL files, this package's own unless given.

    Raises MigrationError when an applied file was edited, the database is newer than this version,
    there is something to do and a pooler in between, or a file fails: then nothing is applied;
    AdoptionError, with every reason, when tables of the first system cannot be adopted;
    psycopg.OperationalError when the database cannot be reached.
    """
    folder = source or files("reference_server") / "sql"
    adopted: Adoption | None = None
    with psycopg.connect(database_url, autocommit=True) as connection:
        plan = _plan(connection, folder)
        if dry_run and plan.version == 0:
            with connection.transaction(force_rollback=True):
                found = _first_system(connection, plan, folder)
                adopted = found.examine() if found else None
        elif not dry_run and (plan.numbered or plan.repeatable):
            _refuse_pooler(connection)
            connection.execute("select pg_advisory_lock(%s)", [_LOCK])  # until the connection ends
            plan = _plan(connection, folder)
            adopted = _apply_at_once(connection, plan, folder)
    return MigrationReport(
        applied=_names(plan),
        repeatable_applied=bool(plan.repeatable),
        version=max(plan.numbered, default=plan.version),
        adopted=adopted,
    )


def status(database_url: str, *, source: Traversable | None = None) -> MigrationStatus:
    """Return where the database is; raises what `migrate` raises, but for failing files."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        plan = _plan(connection, source or files("reference_server") / "sql")
    return MigrationStatus(plan.version, _names(plan), bool(plan.repeatable))


def _refuse_pooler(connection: Connection) -> None:
    if is_pooled(connection):
        raise MigrationError(
            "a pooler is between here and PostgreSQL, which does not keep the lock of a migration: run "
            "`credits migrate` with the URL of PostgreSQL itself"
        )


def _names(plan: _Plan) -> tuple[str, ...]:
    return tuple(script.name for script in plan.numbered.values())


def _plan(connection: Connection, folder: Traversable) -> _Plan:
    numbered = _numbered(folder / "migrations")
    repeatable = [script for name in _REPEATABLE_FOLDERS for script in _scripts(folder / name)]
    applied = _applied(connection)
    _, repeated = applied.pop(_REPEATABLE, ("", ""))
    _verify(applied, numbered)
    version = max(applied, default=0)
    return _Plan(
        version,
        numbered={number: script for number, script in numbered.items() if number > version},
        repeatable=[] if repeated == _checksum(*repeatable) else repeatable,
    )


def _numbered(folder: Traversable) -> dict[int, _Script]:
    numbered: dict[int, _Script] = {}
    for script in _scripts(folder):
        if not _NUMBERED.fullmatch(script.name):
            raise MigrationError(f"{script.name} must be named like 0001_what_it_does.sql")
        twin = numbered.setdefault(int(script.name[:4]), script)
        if twin is not script:
            raise MigrationError(f"{twin.name} and {script.name} have the same number: renumber one")
    return numbered


def _scripts(folder: Traversable) -> list[_Script]:
    if not folder.is_dir():
        return []
    found = {file.name: file for file in folder.iterdir() if file.name.endswith(".sql")}
    return [_Script(name, found[name].read_text(encoding="utf-8")) for name in sorted(found)]


def _checksum(*scripts: _Script) -> str:
    return sha256(
        "\0".join(part for script in scripts for part in (script.name, script.text)).encode()
    ).hexdigest()


def _applied(connection: Connection) -> dict[int, tuple[str, str]]:
    """Return the name and checksum of what was applied, by version."""
    known = connection.execute("select to_regclass('public.credit_sdk_migrations') is not null").fetchone()
    if known == (False,):
        return {}
    query = "select version, name, checksum from public.credit_sdk_migrations"
    return {version: (name, checksum) for version, name, checksum in connection.execute(query)}


def _verify(applied: dict[int, tuple[str, str]], numbered: dict[int, _Script]) -> None:
    latest = max(applied, default=0)
    if latest > max(numbered, default=0):
        raise MigrationError(
            f"the database has {applied[latest][0]}, which this version of credit-sdk does not know: "
            "it was migrated by a newer one, so upgrade this one"
        )
    for number, (name, checksum) in applied.items():
        if number not in numbered:
            raise MigrationError(f"{name}, which the database has, is missing here: restore the file")
        if checksum != _checksum(numbered[number]):
            raise MigrationError(
                f"{numbered[number].name} was edited after it was applied (as {name}): "
                "restore the file, and put the change into a new migration"
            )
    for number, script in numbered.items():
        if number < latest and number not in applied:
            raise MigrationError(
                f"{script.name} comes before {applied[latest][0]}, which is applied: renumber it"
            )


def _apply_at_once(connection: Connection, plan: _Plan, folder: Traversable) -> Adoption | None:
    """Apply a plan, or nothing; give way to whoever keeps a lock for long, and try again."""
    for _ in range(1, _ATTEMPTS):
        try:
            return _adopt_and_apply(connection, plan, folder)
        except MigrationError as error:
            if not isinstance(error.__cause__, _IN_THE_WAY):
                raise
        except _IN_THE_WAY:
            pass
        time.sleep(PAUSE_SECONDS)
    return _adopt_and_apply(connection, plan, folder)


def _adopt_and_apply(connection: Connection, plan: _Plan, folder: Traversable) -> Adoption | None:
    """Apply a plan in one transaction; return what it took over from the first system, if that was there."""
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        found = _first_system(connection, plan, folder) if plan.version == 0 else None
        if found is None:
            _apply(connection, plan)
            return None
        found.lock()
        adoption = found.examine()
        found.put_aside()
        _apply(connection, plan, found)
        found.finish()
    return adoption


def _first_system(connection: Connection, plan: _Plan, folder: Traversable) -> FirstSystem | None:
    return first_system(connection, folder, (script.text for script in plan.numbered.values()))


def _apply(connection: Connection, plan: _Plan, adopted: FirstSystem | None = None) -> None:
    if plan.numbered or plan.repeatable:
        connection.execute(_TABLE)
    for number, script in plan.numbered.items():
        with connection.transaction():
            _run(connection, script)
            _record(connection, number, script.name, _checksum(script))
        if adopted is not None and number == AFTER:
            adopted.carry()
    if plan.repeatable:
        with connection.transaction():
            # A function may call one of a later file.
            connection.execute("set local check_function_bodies = off")
            for script in plan.repeatable:
                _run(connection, script)
            _record(connection, _REPEATABLE, "repeatable", _checksum(*plan.repeatable))


def _run(connection: Connection, script: _Script) -> None:
    try:
        connection.execute(script.text.encode())
    except psycopg.Error as error:
        raise MigrationError(f"{script.name} failed and was rolled back: {error}") from error


def _record(connection: Connection, version: int, name: str, checksum: str) -> None:
    connection.execute(
        """
        insert into public.credit_sdk_migrations (version, name, checksum) values (%s, %s, %s)
        on conflict (version) do update
            set checksum = excluded.checksum, applied_at = excluded.applied_at
        """,
        [version, name, checksum],
    )
