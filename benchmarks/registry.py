"""The benchmarks by name: what each compares, and what it should reach.

A new one is a module with a `BENCHMARK`, and a line in `BENCHMARKS`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

from benchmarks.measuring import Exhibit, Figure
from benchmarks.setting import Setting

BENCHMARKS = {
    "counters": "benchmarks.counters",
    "p1": "benchmarks.batches",
    "p2": "benchmarks.gathered",
    "p4": "benchmarks.one_organization",
    "p5": "benchmarks.one_charge",
    "p6": "benchmarks.direct_sql",
    "p8": "benchmarks.over_http",
    "p9": "benchmarks.growth",
    "p9-ten-million": "benchmarks.growth_ten_million",
    "p10": "benchmarks.imports",
    "p11": "benchmarks.leased",
    "p12": "benchmarks.peers",
    "documents": "benchmarks.source_documents",
    "endpoint": "benchmarks.endpoint",
    "gateway": "benchmarks.gateway",
}
"""Where each benchmark is, in the order in which they run."""
ON_REQUEST = {"p9-ten-million"}
"""Those that run only when they are named."""


@dataclass(frozen=True)
class Benchmark:
    """Something that is measured. `run` gets the served ledger and the number of rounds."""

    compares: str
    """Our side and the other, in words."""
    target: str
    """What it should reach, in words; each figure carries its number."""
    run: Callable[[Setting, int], Iterator[Figure | Exhibit]]


def named(name: str) -> Benchmark:
    """Return a benchmark by its name."""
    benchmark: Benchmark = import_module(BENCHMARKS[name]).BENCHMARK
    return benchmark


def chosen(names: Sequence[str]) -> dict[str, Benchmark]:
    """Return the benchmarks of these names, and without names all but those that run on request.

    Raises `ValueError` for a name that is none.
    """
    unknown = sorted(set(names) - BENCHMARKS.keys())
    if unknown:
        raise ValueError(f"There is no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}.")
    wanted = names or BENCHMARKS.keys() - ON_REQUEST
    return {name: named(name) for name in BENCHMARKS if name in wanted}
