"""The cells of a setting: `b=postgresql://... c*3=postgresql://...`, 3 times as many organisations in c."""

import re
from dataclasses import dataclass, field

HOME = "home"
_ENTRY = re.compile(r"(?P<name>[a-z][a-z0-9_-]{0,49})(\*(?P<weight>[1-9][0-9]{0,3}))?=(?P<url>\S+)")


@dataclass(frozen=True, slots=True)
class Cell:
    """A database, and the share of new organisations that it takes."""

    name: str
    url: str = field(repr=False)
    weight: int = 1


def parse_cells(text: str) -> dict[str, Cell]:
    """Return the cells of a setting by name. Raises `ValueError`, which quotes no address."""
    cells: dict[str, Cell] = {}
    for entry in text.split():
        found = _ENTRY.fullmatch(entry)
        if found is None or not re.match(r"postgres(ql)?(\+\w+)?://", found["url"]):
            raise ValueError("must look like b=postgresql://... c*3=postgresql://..., a name each")
        if found["name"] in {HOME, *cells}:
            raise ValueError(f"names {found['name']!r} twice (home is what DATABASE_URL names)")
        cells[found["name"]] = Cell(found["name"], found["url"], int(found["weight"] or 1))
    return cells


def checked(text: str) -> str:
    """Return a setting that can be read."""
    parse_cells(text)
    return text
