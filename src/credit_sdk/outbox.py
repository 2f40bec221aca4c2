"""Charges that are owed and not confirmed, in a SQLite file that outlives the process (SPEC section 3).

The file is shared by all threads and processes of an application, and by the command line. A record
belongs to the process that works on it, and to nobody once that process has handed it over or died.
Records that cannot be delivered stay, with the reason.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from credit_sdk._flows import Forget, HandOver, Keep, Recall
from credit_sdk._presence import Presence
from credit_sdk._resources import PerProcess
from credit_sdk._store import Store
from credit_sdk.errors import OutboxError
from credit_sdk.models import OutboxEntry, PendingCharge

_KEEP = """
    insert into charges (entry_id, destination, body, checksum, unpaid, owner, created_at)
    values (:entry_id, :destination, :body, :checksum, :unpaid, :owner, :now)
    on conflict (entry_id) do update
    set body = excluded.body, checksum = excluded.checksum, owner = excluded.owner
"""
_MILLI = 1000
VARIABLE = "CREDIT_SDK_OUTBOX"


def default_path(environment: Mapping[str, str]) -> Path | None:
    """Return where an application's outbox is if it names none; None if `CREDIT_SDK_OUTBOX` is `off`.

    That is the file in `CREDIT_SDK_OUTBOX`, else one among the user's state files (XDG Base Directory).
    """
    named = environment.get(VARIABLE)
    if named:
        return None if named.lower() == "off" else Path(named)
    state = environment.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state) / "credit-sdk" / "outbox.sqlite3"


class Outbox:
    """The unconfirmed charges of one file. Every method may raise `OutboxError`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name the file; it is made, with its folder, when it is first written."""
        self.path = Path(path).expanduser().resolve()
        self._store = _stores.setdefault(str(self.path), PerProcess(partial(Store, self.path), Store.close))

    def __repr__(self) -> str:
        return f"Outbox({str(self.path)!r})"

    def exists(self) -> bool:
        """Whether anything was ever kept here."""
        return self.path.exists()

    def keep(self, step: Keep, destination: str) -> bool:
        """Write a charge, or what has become of it; False when that would go beyond the allowance."""
        charge = step.charge
        body = charge.model_dump_json()
        row = {
            "entry_id": charge.entry_id,
            "destination": destination,
            "body": body,
            "checksum": _checksum(body),
            "unpaid": int(charge.estimate * _MILLI) if step.unpaid else 0,
            "now": time.time(),
        }
        with self._opened() as store, store.writing(durable=step.durable) as connection:
            if step.allowance is not None and not _fits(connection, row, step.allowance):
                return False
            connection.execute(_KEEP, row | {"owner": store.presence.slot})
        return True

    def forget(self, step: Forget) -> None:
        """Take a charge out: it was confirmed, or there is nothing to charge."""
        with self._opened() as store, store.writing() as connection:
            connection.execute("delete from charges where entry_id = ?", [step.entry_id])

    def hand_over(self, step: HandOver, *, attempted: bool = False, refused: bool = False) -> None:
        """Let go of a charge, for whoever delivers next."""
        with self._opened() as store, store.writing() as connection:
            connection.execute(
                "update charges set owner = null, reason = ?, refused = ?, attempts = attempts + ?"
                " where entry_id = ?",
                [step.reason, refused, attempted, step.entry_id],
            )

    def deliverable(self, destination: str) -> list[str]:
        """Return the ids of a destination's charges that nobody works on, oldest first."""
        with self._opened() as store:
            rows = store.reading(
                "select entry_id, owner from charges where destination = ? order by created_at, entry_id",
                [destination],
            )
            busy = {
                slot for slot in {row["owner"] for row in rows} if slot is not None and _lives(store, slot)
            }
            return [row["entry_id"] for row in rows if row["owner"] not in busy]

    def claim(self, entry_id: str) -> PendingCharge | None:
        """Take a charge over from nobody. It is this process's then, which must forget it or hand it over.

        None when it is gone, cannot be read, or somebody else works on it.
        """
        with self._opened() as store, store.writing() as connection:
            row = connection.execute("select * from charges where entry_id = ?", [entry_id]).fetchone()
            charge = None if row is None or _is_owned(store, row) else _read(row)[0]
            if charge is not None:
                connection.execute(
                    "update charges set owner = ? where entry_id = ?", [store.presence.slot, entry_id]
                )
            return charge

    def is_under_way(self, pending: PendingCharge) -> bool:
        """Whether a living process performs the same operation again: under the same request id, or hold."""
        with self._opened() as store:
            rows = store.reading(
                "select * from charges where owner is not null and entry_id <> ?", [pending.entry_id]
            )
            others = [_read(row)[0] for row in rows if _is_owned(store, row)]
        return any(other is not None and _same_operation(other, pending) for other in others)

    def waits(self, destination: str) -> bool:
        """Whether there is a readable charge of a destination that nobody works on."""
        if not self.exists():
            return False
        with self._opened() as store:
            rows = store.reading("select * from charges where destination = ?", [destination])
            return any(not _is_owned(store, row) and _read(row)[0] is not None for row in rows)

    def owed(self, step: Recall, destination: str) -> frozenset[str]:
        """Return which of the request ids belong to operations that succeeded and are not confirmed."""
        if not self.exists():
            return frozenset()
        with self._opened() as store:
            rows = store.reading("select * from charges where destination = ?", [destination])
        charges = [charge for charge, _ in map(_read, rows) if charge is not None]
        return step.request_ids & {
            charge.request_id
            for charge in charges
            if charge.org_id == step.org_id and charge.outcome == "succeeded"
        }

    def entries(self) -> list[OutboxEntry]:
        """Return everything that is kept, oldest first."""
        if not self.exists():
            return []
        with self._opened() as store:
            rows = store.reading("select * from charges order by created_at, entry_id", [])
            return [_entry(row, owned=_is_owned(store, row)) for row in rows]

    def discard(self, entry_id: str) -> bool:
        """Give a charge up for ever, by a person's decision; False if there is none of this name."""
        with self._opened() as store, store.writing(durable=True) as connection:
            return bool(connection.execute("delete from charges where entry_id = ?", [entry_id]).rowcount)

    def presence(self) -> Presence:
        """Return this process's place among those that use the file, by which others see that it lives."""
        with self._opened() as store:
            return store.presence

    def close(self) -> None:
        """Close this process's connection; the outbox opens it again when it is used."""
        self._store.close()

    @contextmanager
    def _opened(self) -> Iterator[Store]:
        try:
            yield self._store.get()
        except (sqlite3.Error, OSError) as error:
            raise OutboxError(
                f"The outbox {self.path} cannot be used: {_explain(error, self.path)}"
            ) from error


def _same_operation(one: PendingCharge, other: PendingCharge) -> bool:
    if one.hold_id is not None and one.hold_id == other.hold_id:
        return True
    return (one.org_id, one.user_id, one.request_id) == (other.org_id, other.user_id, other.request_id)


def _lives(store: Store, slot: int) -> bool:
    """Whether a process works on what it owns; where that cannot be found out, `claim` decides."""
    return store.presence.is_alive(slot) is True


def _is_owned(store: Store, row: sqlite3.Row) -> bool:
    """Whether a living process works on the charge."""
    if row["owner"] is None:
        return False
    alive = store.presence.is_alive(row["owner"])
    if alive is None:  # pragma: no cover - Windows
        charge, _ = _read(row)
        return charge is not None and time.time() < row["created_at"] + charge.ttl_seconds
    return alive


def _fits(connection: sqlite3.Connection, row: dict[str, Any], allowance: Decimal) -> bool:
    [unpaid] = connection.execute(
        "select coalesce(sum(unpaid), 0) from charges where destination = ?", [row["destination"]]
    ).fetchone()
    return bool(unpaid + row["unpaid"] <= allowance * _MILLI)


def _checksum(body: str) -> str:
    return sha256(body.encode()).hexdigest()


def _read(row: sqlite3.Row) -> tuple[PendingCharge | None, str | None]:
    """Return the charge of a record, or why it cannot be read: then it is kept, and never sent."""
    if _checksum(row["body"]) != row["checksum"]:
        return None, "the record is damaged: its checksum does not fit"
    try:
        return PendingCharge.model_validate_json(row["body"]), row["reason"]
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, each["loc"])) for each in error.errors())
        return None, f"the record cannot be read by this version ({fields})"


def _entry(row: sqlite3.Row, *, owned: bool) -> OutboxEntry:
    charge, reason = _read(row)
    state: Any = "unreadable" if charge is None else "under way" if owned else "waiting"
    return OutboxEntry(
        entry_id=row["entry_id"],
        state="refused" if state == "waiting" and row["refused"] else state,
        destination=row["destination"],
        charge=charge,
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        age_seconds=max(0.0, time.time() - row["created_at"]),
        attempts=row["attempts"],
        reason=reason,
    )


def _explain(error: Exception, path: Path) -> str:
    text = str(error)
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text):
        return (
            f"it is damaged ({text}). Move {path} and the files beside it elsewhere, "
            f"and save what can be read with `sqlite3 {path.name} .recover`."
        )
    if "full" in text:
        return "the disk is full."
    if "readonly" in text or isinstance(error, PermissionError):
        return f"this process may not write there ({text})."
    return f"{text}."


_stores: dict[str, PerProcess[Store]] = {}
