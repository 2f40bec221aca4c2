"""Run the benchmarks, print a table and keep the figures as JSON.

python -m benchmarks
"""

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import client_cost, gateway, round_trips
from benchmarks.measuring import ROUNDS, Figure, cpu_pressure
from benchmarks.setting import Setting, query, served
from credit_sdk.operations import VerifyLedger

BENCHMARKS: tuple[Callable[[Setting], Iterator[Figure]], ...] = (
    round_trips.run,
    client_cost.run,
    gateway.run,
)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure everything, and check at the end that no figure cost a guarantee."""
    console = Console()
    with served() as setting:
        machine = _machine(setting)
        console.print(" · ".join(f"{name} {value}" for name, value in machine.items()))
        table = Table("figure", "median", "spread", "target", "", "at best")
        figures = []
        for benchmark in BENCHMARKS:
            for figure in benchmark(setting):
                figures.append(asdict(figure) | {"verdict": figure.verdict})
                table.add_row(*_cells(figure))
        console.print(table)
        with setting.billing() as billing:
            books = billing.execute(VerifyLedger())
    console.print(f"{books.charges} charges; the books {'agree' if books.ok else 'DO NOT AGREE'}.")
    _keep({"machine": machine, "figures": figures, "charges": books.charges, "verified": books.ok})
    if not books.ok:
        raise SystemExit(1)


def _machine(setting: Setting) -> dict[str, str]:
    return {
        "Python": platform.python_version(),
        "PostgreSQL": query(setting, "SHOW server_version"),
        "fsync": query(setting, "SHOW fsync"),
        "synchronous_commit": query(setting, "SHOW synchronous_commit"),
        "psycopg": version("psycopg"),
        "httpx": version("httpx"),
        "rounds": str(ROUNDS),
        "CPU pressure": f"{cpu_pressure():.0f} %",
    }


def _cells(figure: Figure) -> tuple[str, ...]:
    places = 2 if figure.unit == "ratio" else 1
    spread = "" if figure.unit != "ratio" else f"{figure.lowest:.2f} to {figure.highest:.2f}"
    target = "" if figure.target is None else f"≤ {figure.target:g}"
    return (figure.name, f"{figure.value:.{places}f}", spread, target, figure.verdict, figure.note)


def _keep(results: dict[str, object]) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
