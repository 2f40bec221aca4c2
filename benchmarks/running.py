"""One run: the chosen benchmarks on one served ledger, whose books are verified at the end."""

import json
import os
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measuring import BUSY_PERCENT, Exhibit, Figure, cpu_pressure
from benchmarks.registry import Benchmark
from benchmarks.setting import Setting, query
from benchmarks.verifying import charges, verified

LIBRARIES = ("psycopg", "sqlalchemy", "httpx", "pydantic", "starlette", "uvicorn", "asyncpg")
SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
)


def machine(setting: Setting, rounds: int) -> dict[str, str]:
    """Return what the figures depend on: processor, versions, the database's settings."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": platform.platform(terse=True),
        "Python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        **{name: query(setting, f"SHOW {name}") for name in SETTINGS},
        "rounds": str(rounds),
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M}Z",
    }


def pressure() -> str:
    """Return how busy the machine is, in words."""
    percent = cpu_pressure()
    judged = "" if percent <= BUSY_PERCENT else ": times are not judged"
    return f"CPU pressure {percent:.0f} %{judged}"


def measure(
    benchmarks: Mapping[str, Benchmark], setting: Setting, rounds: int, show: Callable[[str, Figure], None]
) -> dict[str, Any]:
    """Run the benchmarks one after the other; `show` gets each figure as it comes."""
    results: dict[str, Any] = {}
    conditions = machine(setting, rounds)
    for name, benchmark in benchmarks.items():
        before = charges(setting)
        figures, exhibits = [], {}
        for found in benchmark.run(setting, rounds):
            if isinstance(found, Exhibit):
                exhibits[found.name] = found.text
            else:
                show(name, found)
                figures.append(found.document())
        results[name] = {
            "compares": benchmark.compares,
            "target": benchmark.target,
            "command": f"python -m benchmarks {name} --rounds {rounds}",
            "machine": conditions,
            "charges": charges(setting) - before,
            "figures": figures,
            "exhibits": exhibits,
        }
    return {"benchmarks": results} | verified(setting)


def keep(results: dict[str, Any], path: Path) -> None:
    """Write results to a file, beside those of other benchmarks that are there already."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    benchmarks = kept.get("benchmarks", {}) | results["benchmarks"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results | {"benchmarks": benchmarks}, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
