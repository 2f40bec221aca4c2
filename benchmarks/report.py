"""docs/performance.md: the kept figures as tables, between two marks in the page."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.registry import BENCHMARKS

RESULTS = Path(__file__).parent / "results"
KEPT = RESULTS / "kept.json"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
CONDITIONS = ("processor", "cores", "system", "Python", "server_version", "psycopg", "httpx")
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers")


def write() -> None:
    """Put the kept figures into the page."""
    PAGE.write_text(with_figures(PAGE.read_text(), json.loads(KEPT.read_text())))


def with_figures(page: str, results: dict[str, Any]) -> str:
    """Return the page with these figures; raise `ValueError` if it has no place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page needs the marks {BEGIN} and {END}.")
    return before + "\n".join([BEGIN, *_lines(results), END]) + after


def _lines(results: dict[str, Any]) -> Iterator[str]:
    order = list(BENCHMARKS)
    for name in sorted(results["benchmarks"], key=order.index):
        benchmark = results["benchmarks"][name]
        yield f"\n### {name}: {benchmark['compares']}\n"
        yield f"To reach: {benchmark['target']}.\n"
        if benchmark["figures"]:
            yield "| figure | median | spread | target | | |"
            yield "|---|---|---|---|---|---|"
            yield from (_row(figure) for figure in benchmark["figures"])
        for exhibit, text in benchmark["exhibits"].items():
            yield f"\n{exhibit}:\n\n```text\n{text}\n```"
        yield f"\n{_conditions(benchmark)}"


def _row(figure: dict[str, Any]) -> str:
    lowest, highest = number(figure, "lowest"), number(figure, "highest")
    spread = "" if lowest == highest else f"{lowest} to {highest}"
    cells = (
        figure["name"], number(figure, "value"), spread, figure["aim"], figure["verdict"], figure["note"],
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def number(figure: dict[str, Any], field: str) -> str:
    """Return a value of a figure as it is printed, with its unit."""
    value, unit = figure[field], figure["unit"]
    if unit == "ratio":
        return f"{value:.2f}"
    return (
        f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.2f}{'' if unit == 'count' else ' ' + unit}"
    )


def _conditions(benchmark: dict[str, Any]) -> str:
    machine = benchmark["machine"]
    conditions = ", ".join(
        f"{name.replace('server_version', 'PostgreSQL')} {machine[name]}" for name in CONDITIONS
    )
    settings = ", ".join(f"`{name}` {machine[name]}" for name in SETTINGS)
    busiest = max((figure["pressure"] for figure in benchmark["figures"]), default=0.0)
    return (
        f"`{benchmark['command']}`, {machine['measured']}: {machine['rounds']} rounds, CPU pressure up to "
        f"{busiest:.0f} %; {conditions}; {settings}."
    )
