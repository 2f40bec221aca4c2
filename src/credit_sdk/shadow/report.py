"""What a shadow has found: counts in a file, which the processes of an application share."""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from credit_sdk.errors import ConfigurationError

DifferenceKind = Literal["old_allowed", "new_allowed", "amount", "balance", "repeated"]
VARIABLE = "CREDIT_SDK_SHADOW_REPORT"

_BUSY_SECONDS = 10.0
_SCHEMA = """
    create table if not exists counts (name text primary key, count integer not null) without rowid;
    create table if not exists differences (
        kind text, service_type text, count integer not null, first_at text not null, last_at text not null,
        account text not null, old text not null, new text not null, request_id text,
        primary key (kind, service_type)
    ) without rowid;
"""
_COUNT = "insert into counts values (?, ?) on conflict do update set count = count + excluded.count"
_DIFFERENCE = """
    insert into differences values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict do update set
        count = count + excluded.count, last_at = excluded.last_at, account = excluded.account,
        old = excluded.old, new = excluded.new, request_id = excluded.request_id
"""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class ShadowDifference(_Part):
    """One kind of difference at one service: how often, and the last one as an example.

    `kind`: `old_allowed` (the ledger would have refused), `new_allowed` (the old code refused),
    `amount` (the price list says otherwise), `balance` (the gap between the balances has changed),
    `repeated` (the old code charged the same request id again).
    """

    kind: DifferenceKind
    service_type: str
    count: int
    first_at: datetime
    last_at: datetime
    account: str
    old: str
    new: str
    request_id: str | None = None


class ShadowReport(_Part):
    """What was compared. `failed`: the shadow had no answer; `dropped`: it was too slow to be asked."""

    compared: int = 0
    agreed: int = 0
    failed: int = 0
    dropped: int = 0
    differences: tuple[ShadowDifference, ...] = ()


class ReportFile:
    """The file of a report; None for the one that `CREDIT_SDK_SHADOW_REPORT` or the user's state names."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = (Path(path) if path is not None else _default_path(os.environ)).expanduser()

    def add(self, counts: Mapping[str, int], differences: Iterable[ShadowDifference]) -> None:
        """Add to what is there. Raises `OSError` or `sqlite3.Error`."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as connection, connection:
            connection.executescript(_SCHEMA)
            connection.executemany(_COUNT, counts.items())
            connection.executemany(_DIFFERENCE, map(_row, differences))

    def read(self) -> ShadowReport:
        """Return all that was found so far. Raises `ConfigurationError` if the file is none of a report."""
        if not self.path.exists():
            return ShadowReport()
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS)) as connection:
                counts = dict(connection.execute("select name, count from counts"))
                found = connection.execute(
                    "select * from differences order by count desc, kind, service_type"
                ).fetchall()
        except sqlite3.Error as error:
            raise ConfigurationError(f"{self.path} is no report of a shadow: {error}.") from None
        names = tuple(ShadowDifference.model_fields)
        differences = tuple(
            ShadowDifference.model_validate(dict(zip(names, row, strict=True))) for row in found
        )
        return ShadowReport.model_validate(counts | {"differences": differences})


def _row(found: ShadowDifference) -> tuple[object, ...]:
    return tuple(
        value.isoformat() if isinstance(value, datetime) else value for value in dict(found).values()
    )


def _default_path(environment: Mapping[str, str]) -> Path:
    named = environment.get(VARIABLE)
    if named:
        return Path(named)
    return Path(environment.get("XDG_STATE_HOME") or "~/.local/state") / "credit-sdk" / "shadow.sqlite3"
