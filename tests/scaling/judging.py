"""What is left in the books after a load, and whether everybody was told the truth."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable


def charged(url: str) -> Counter[str]:
    """How often each request id was charged; ask with the owner's URL."""
    with psycopg.connect(url) as owner:
        rows = owner.execute("SELECT request_id FROM credit_usage_attribution").fetchall()
    return Counter(request_id for (request_id,) in rows)


def assert_nothing_lost_or_doubled(url: str, told: Iterable[str]) -> None:
    """The books have what callers were told, once each, and agree with themselves."""
    assert charged(url) == Counter(set(told))
    with psycopg.connect(url) as owner:
        [[verified]] = owner.execute("SELECT ledger.verify_ledger()").fetchall()
    assert verified["differences"] == []
