"""Move an organisation from one database to another while it is being charged.

    begun    the home database knows where it goes; nothing has changed for anybody
    left     its books change no more: whoever charges is told to ask again
    arrived  the other database has all of it, verified, in one transaction
    flipped  the home database says where it is, and charges go on there

Whatever ends the program, the same command again goes on with the first step that is not done.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID, uuid4

import psycopg

from credit_sdk.errors import ConflictError, NotFoundError, UnavailableError
from reference_server.cells.naming import HOME
from reference_server.transfer.exporting import export_organization
from reference_server.transfer.importing import import_organization
from reference_server.transfer.lines import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Connection = psycopg.Connection[tuple[Any, ...]]

Step = Literal["begun", "left", "arrived", "flipped"]
_ATTEMPTS = 10
_ONE_AT_A_TIME = "SELECT pg_advisory_lock(hashtextextended('move of ' || %s, 0))"
_PLACE = """
    SELECT coalesce(place.cell, 'home'), place.target, place.move_id
    FROM public.organizations AS organization
    LEFT JOIN public.organization_cells AS place ON place.org_id = organization.id
    WHERE organization.id = %s
"""
_BEGIN = """
    INSERT INTO public.organization_cells (org_id, target, move_id) VALUES (%s, %s, %s)
    ON CONFLICT (org_id) DO UPDATE
    SET target = excluded.target, move_id = excluded.move_id, updated_at = ledger.now()
"""
_KNOWN = "SELECT move_id FROM public.organization_cells WHERE org_id = %s AND is_here"
_ARRIVE = "INSERT INTO public.organization_cells (org_id, move_id) VALUES (%s, %s)"
_FLIP = """
    UPDATE public.organization_cells SET cell = %s, target = NULL, is_here = FALSE, updated_at = ledger.now()
    WHERE org_id = %s
"""
_GIVE_UP = "UPDATE public.organization_cells SET target = NULL, updated_at = ledger.now() WHERE org_id = %s"


@dataclass(frozen=True)
class _Move:
    org_id: str
    source: str
    target: str
    id: UUID


def move_organization(
    urls: Mapping[str, str], org_id: str, target: str, *, reached: Callable[[Step], None] = lambda _: None
) -> str:
    """Move an organisation to a cell, and return the name of the one that it came from.

    `urls` are the owners' of all cells, by name. `reached` is called after each step. With the cell that it
    comes from as `target`, a move that is not finished is taken back. Raises `NotFoundError` for an unknown
    organisation or cell; `ConflictError` for a cell where it lives or has lived, and while it is on its way
    to another; `UnavailableError` when others keep its rows locked, and `TransferError` when it could not be
    copied: then it stays. Raises `psycopg.Error`.
    """
    if target not in urls:
        raise NotFoundError(f"There is no cell {target!r}; there are {', '.join(urls)}.")
    with ExitStack() as stack:
        home = stack.enter_context(_connected(urls[HOME]))
        home.execute(_ONE_AT_A_TIME, [org_id])  # until the connection ends
        move = _begin(home, org_id, target)
        if move.source not in urls:
            raise NotFoundError(f"The organisation lives in {move.source!r}, which is not named here.")
        source = home if move.source == HOME else stack.enter_context(_connected(urls[move.source]))
        if move.source == target:
            _stay(home, source, move)
            return target
        reached("begun")
        other = stack.enter_context(_connected(urls[target]))
        try:
            arrived = _has_arrived(other, move)
            if not arrived:
                _leave(source, move)
                reached("left")
                _copy(source, other, move)
        except (TransferError, ConflictError, UnavailableError):
            _stay(home, source, move)
            raise
        reached("arrived")
        home.execute(_FLIP, [target, org_id])
        reached("flipped")
    return move.source


def _begin(home: Connection, org_id: str, target: str) -> _Move:
    row = home.execute(_PLACE, [org_id]).fetchone()
    if row is None:
        raise NotFoundError(f"There is no organisation {org_id!r}.")
    source, under_way, move_id = row
    if under_way is None:
        if target in {source, HOME}:
            reason = "lives there" if target == source else "has been there, where its old books stay"
            raise ConflictError(f"Organisation {org_id!r} {reason}.")
        move_id = uuid4()
        home.execute(_BEGIN, [org_id, target, move_id])
    elif target not in {under_way, source}:
        raise ConflictError(f"Organisation {org_id!r} is on its way to {under_way!r}: finish that first.")
    return _Move(org_id, source, target, move_id)


def _stay(home: Connection, source: Connection, move: _Move) -> None:
    """Take back what is not finished. A copy that has arrived is nobody's: the directory never named it."""
    source.execute("SELECT cells.stay(%s, %s)", [move.org_id, move.id])
    home.execute(_GIVE_UP, [move.org_id])


def _has_arrived(target: Connection, move: _Move) -> bool:
    row = target.execute(_KNOWN, [move.org_id]).fetchone()
    return row == (move.id,)


def _leave(source: Connection, move: _Move) -> None:
    """Stop every change of the books; charges under way come first."""
    for _ in range(_ATTEMPTS):
        try:
            with source.transaction():
                source.execute("SET LOCAL lock_timeout = '2s'")
                source.execute("SELECT cells.leave(%s, %s)", [move.org_id, move.id])
        except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
            continue
        return
    raise UnavailableError(f"Others keep rows of organisation {move.org_id!r} locked: try again later.")


def _copy(source: Connection, target: Connection, move: _Move) -> None:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        export_organization(source, move.org_id, file)
        file.seek(0)
        with target.transaction():
            import_organization(target, file)
            target.execute(_ARRIVE, [move.org_id, move.id])


def _connected(url: str) -> Connection:
    # A pooler would give the session, with its lock, to others.
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)
