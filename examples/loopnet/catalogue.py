"""LoopNet's own work, without a word about credits: a small catalogue of companies."""

from collections.abc import Iterator
from typing import Any

_TRADES = ("Logistics", "Foods", "Robotics", "Textiles", "Energy")
_TOWNS = ("Austin", "Boston", "Chicago", "Denver", "Eugene")

COMPANIES: dict[str, dict[str, Any]] = {
    f"c-{number}": {
        "id": f"c-{number}",
        "name": f"{_TOWNS[number % 5]} {_TRADES[number * 3 % 5]}",
        "town": _TOWNS[number % 5],
        "employees": 10 + number * 7,
    }
    for number in range(1, 41)
}

_CACHE = {"c-1": "Expands into cold storage.", "c-2": "Lost its largest customer in March."}


class UpstreamError(Exception):
    """The data provider could not deliver."""


def enrich(company_id: str, *, full: bool = False) -> dict[str, Any]:
    """Return what is known about a company; raise `UpstreamError` if the provider cannot deliver."""
    if company_id not in COMPANIES:
        raise UpstreamError(f"the provider knows no company {company_id}")
    company = COMPANIES[company_id] | {"revenue": COMPANIES[company_id]["employees"] * 120_000}
    return company | {"board": ["Ada King", "Bob Ross"]} if full else company


def export(town: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the companies of a town, or all of them."""
    return (company for company in COMPANIES.values() if town in (None, company["town"]))


def cached_intelligence(company_id: str) -> str | None:
    """Return what was found out before, if anything."""
    return _CACHE.get(company_id)
