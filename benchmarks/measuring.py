"""Two sides, measured in turn in one loop, so that a busy machine slows both.

Never compare figures of two runs. CPU time is that of this process; counters are the database's.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 11
BUSY_PERCENT = 40.0


@dataclass(frozen=True)
class Figure:
    """A measured value, what it should be at most, and what it is compared with."""

    name: str
    value: float
    lowest: float
    highest: float
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is met; counters are always judged, ratios only on a calm machine."""
        if self.target is None:
            return ""
        if self.unit == "ratio" and cpu_pressure() > BUSY_PERCENT:
            return "not judged: the machine is busy"
        return "met" if self.value <= self.target else "missed"


def counter(name: str, value: float, target: float, note: str = "") -> Figure:
    """Return a figure that does not depend on how busy the machine is."""
    return Figure(name, value, value, value, "count", target, note)


def cpu_ratio(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    calls: int,
    target: float | None = None,
    note: str = "",
) -> Figure:
    """Return ours / theirs in CPU time: the median of the rounds' ratios, with their spread."""
    ratios = []
    best_ours = best_theirs = float("inf")
    for each in (ours, theirs):
        _cpu_microseconds(each, calls)
    for number in range(ROUNDS):
        sides = (ours, theirs) if number % 2 else (theirs, ours)
        spent = {side: _cpu_microseconds(side, calls) for side in sides}
        ratios.append(spent[ours] / spent[theirs])
        best_ours, best_theirs = min(best_ours, spent[ours]), min(best_theirs, spent[theirs])
    figures = f"{best_ours:.1f} against {best_theirs:.1f} us at best"
    return Figure(
        name,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        "ratio",
        target,
        f"{figures}; {note}" if note else figures,
    )


def cpu_pressure() -> float:
    """Return the percentage of the last ten seconds in which somebody waited for a processor."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return float(line.partition("avg10=")[2].split()[0])


def _cpu_microseconds(side: Callable[[], object], calls: int) -> float:
    start = time.process_time_ns()
    for _ in range(calls):
        side()
    return (time.process_time_ns() - start) / calls / 1_000
