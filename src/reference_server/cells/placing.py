"""Where new organisations go, and what lives where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from credit_sdk.errors import ConflictError, NotFoundError
from reference_server.cells.naming import HOME, Cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    Connection = psycopg.Connection[tuple[Any, ...]]

_COUNTS = """
    SELECT coalesce(place.cell, 'home'), count(*), count(place.target)
    FROM public.organizations AS organization
    LEFT JOIN public.organization_cells AS place ON place.org_id = organization.id
    GROUP BY 1
"""
_ADD = "INSERT INTO public.organizations (id, name) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING RETURNING id"
_PLACE = """
    INSERT INTO public.organization_cells (org_id, is_here, cell) VALUES (%s, FALSE, %s)
    ON CONFLICT (org_id) DO NOTHING
"""


def counts(home: Connection) -> dict[str, tuple[int, int]]:
    """Return how many organisations each cell has, and how many of those are on their way to another."""
    return {name: (count, leaving) for name, count, leaving in home.execute(_COUNTS)}


def choose(cells: Mapping[str, Cell], there: Mapping[str, tuple[int, int]]) -> str:
    """Return the cell that is emptiest for its weight; of several, the first."""
    return min(cells, key=lambda name: (there.get(name, (0, 0))[0] + 1) / cells[name].weight)


def add_organization(cells: Mapping[str, Cell], org_id: str, name: str, cell: str | None = None) -> str:
    """Make an organisation in a cell, else in the one whose turn it is, and return which.

    The home database knows it first. Again after a failure, it is made where it was going to be. Raises
    `NotFoundError` for an unknown cell, `ConflictError` for an organisation that is there, `psycopg.Error`.
    """
    if cell is not None and cell not in cells:
        raise NotFoundError(f"There is no cell {cell!r}; there are {', '.join(cells)}.")
    with psycopg.connect(cells[HOME].url, autocommit=True) as home:
        chosen = cell or choose(cells, counts(home))
        with home.transaction():
            is_new = home.execute(_ADD, [org_id, name]).fetchone() is not None
            if is_new and chosen != HOME:
                home.execute(_PLACE, [org_id, chosen])
        where = home.execute("SELECT coalesce(cells.locate(%s), 'home')", [org_id]).fetchone()
    chosen = where[0] if where else chosen
    if chosen != HOME:
        with psycopg.connect(cells[chosen].url, autocommit=True) as other:
            is_new = other.execute(_ADD, [org_id, name]).fetchone() is not None
    if not is_new:
        raise ConflictError(f"There is an organisation {org_id!r} already, in {chosen}.")
    return chosen
