"""The balances of two databases side by side, whichever of them is the first system's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from credit_sdk.amounts import MILLICREDITS_PER_CREDIT

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

_AT_ONCE = 2_000
# What is available follows from what a table or the ledger's view has, so that both are asked alike.
_QUERIES = {
    "organization_credit_pools": (
        "pool",
        """
        SELECT org_id::text AS org, ''::text AS owner, {available} AS units FROM organization_credit_pools
        """,
    ),
    "user_credit_allocations": (
        "allocation",
        """
        SELECT org_id::text, user_id::text, (allocated_credits - used_credits)::numeric
        FROM user_credit_allocations WHERE allocated_credits <> 0 OR used_credits <> 0
        """,
    ),
    "credits_transactions": (
        "user",
        """
        SELECT ''::text, user_id::text, sum(amount)::numeric * 1000 FROM credits_transactions GROUP BY user_id
        """,
    ),
}
_AVAILABLE = {
    True: "(total_credits - settled_credits - allocated_credits)::numeric",
    False: "(total_credits - allocated_credits)::numeric",
}


@dataclass(frozen=True, slots=True)
class BalanceDifference:
    """A balance, in credits, that the databases do not agree on; None where one knows no such owner."""

    kind: str
    owner: str
    old: Decimal | None
    new: Decimal | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many balances were compared, and those that differ, the first `most` of them."""

    compared: int
    differing: int
    differences: tuple[BalanceDifference, ...]


class _Balance(NamedTuple):
    kind: str
    org: str
    owner: str
    units: Decimal


def compare_balances(old_url: str, new_url: str, *, most: int = 100) -> Comparison:
    """Compare every pool, allocation and user's balance of two databases, each as of one moment.

    Read as the owner of the tables. Raises `psycopg.Error`.
    """
    compared = differing = 0
    kept: list[BalanceDifference] = []
    with _reading(old_url) as old, _reading(new_url) as new:
        for table in _QUERIES:
            for found in _side_by_side(_balances(old, table), _balances(new, table)):
                compared += 1
                if found.old != found.new:
                    differing += 1
                    kept += [found] if len(kept) < most else []
    return Comparison(compared, differing, tuple(kept))


def _side_by_side(old: Iterator[_Balance], new: Iterator[_Balance]) -> Iterator[BalanceDifference]:
    for key, both in groupby(_merged(old, new), lambda pair: pair[1][:3]):
        units = {side: balance.units for side, balance in both}
        kind, org, owner = key
        yield BalanceDifference(
            kind,
            "/".join(filter(None, (org, owner))),
            _credits(units.get("old")),
            _credits(units.get("new")),
        )


def _merged(old: Iterator[_Balance], new: Iterator[_Balance]) -> Iterator[tuple[str, _Balance]]:
    """Merge two sorted streams, so that neither database has to fit into memory."""
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[:3] <= right[:3]):
            assert left is not None  # noqa: S101 - one of them is there
            yield "old", left
            left = next(old, None)
        else:
            yield "new", right
            right = next(new, None)


def _balances(connection: "Connection", table: str) -> Iterator[_Balance]:
    kind, query = _QUERIES[table]
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"public.{table}"]).fetchone()
    if found != (True,):
        return
    settled = connection.execute(
        "SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name = 'organization_credit_pools' AND column_name = 'settled_credits')"
    ).fetchone()
    text = query.format(available=_AVAILABLE[settled == (True,)])
    ordered = (
        f'SELECT * FROM ({text}) AS rows (org, owner, units) ORDER BY org COLLATE "C", owner COLLATE "C"'  # noqa: S608 - texts of this file
    )
    with connection.cursor(f"balances_{kind}") as cursor:
        cursor.itersize = _AT_ONCE
        for org, owner, units in cursor.execute(ordered.encode()):
            yield _Balance(kind, org, owner, units)


def _credits(units: Decimal | None) -> Decimal | None:
    return None if units is None else units / MILLICREDITS_PER_CREDIT


@contextmanager
def _reading(url: str) -> Iterator["Connection"]:
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield connection
