"""Sides that are measured in turn in one loop, so that a busy machine slows all of them.

Never compare figures of two runs. What a side answers is a number: its processor time for a call, its
charges in a second, its flushes for a charge. Ratios are taken round by round; their median is the figure.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

ROUNDS = 7
FEWEST_ROUNDS = 5
BUSY_PERCENT = 40.0
Unit = Literal["ratio", "count", "bytes", "ms", "us"]
Side = Callable[[], float]
"""Measures one side once."""


def cpu_pressure() -> float:
    """Return the percentage of the last ten seconds in which somebody waited for a processor."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return float(line.partition("avg10=")[2].split()[0])


@dataclass(frozen=True)
class Figure:
    """A measured value, its spread, and what it should be: at most, or at least, the target."""

    name: str
    value: float
    lowest: float
    highest: float
    unit: Unit
    target: float | None = None
    at_least: bool = False
    note: str = ""
    pressure: float = field(default_factory=cpu_pressure)
    """CPU pressure when it was measured, in percent."""

    @property
    def verdict(self) -> str:
        """Whether the target is met; counters are always judged, times only on a calm machine."""
        if self.target is None:
            return ""
        if self.unit in ("ratio", "ms", "us") and self.pressure > BUSY_PERCENT:
            return "not judged: the machine is busy"
        met = self.value >= self.target if self.at_least else self.value <= self.target
        return "met" if met else "missed"

    @property
    def aim(self) -> str:
        """The target, as it is printed."""
        if self.target is None:
            return ""
        return f"{'≥' if self.at_least else '≤'} {self.target:g}"

    def document(self) -> dict[str, Any]:
        """Return what is kept as JSON."""
        return asdict(self) | {"verdict": self.verdict, "aim": self.aim}


@dataclass(frozen=True)
class Exhibit:
    """A plan or another text that explains the figures of a benchmark."""

    name: str
    text: str


def counter(
    name: str, value: float, target: float | None = None, note: str = "", unit: Unit = "count"
) -> Figure:
    """Return a figure that does not depend on how busy the machine is."""
    return Figure(name, value, value, value, unit, target, note=note)


def in_turn(sides: Mapping[str, Side], rounds: int) -> dict[str, list[float]]:
    """Measure each side once in every round, in alternating order; the first round is not kept."""
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in sorted(sides, key=list(sides).index, reverse=bool(number % 2)):
            value = sides[name]()
            if number:
                measured[name].append(value)
    return measured


def ratio(
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    target: float | None = None,
    at_least: bool = False,
    note: str = "",
) -> Figure:
    """Return ours / theirs: the median of the rounds' ratios, with their spread."""
    ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
    return Figure(name, statistics.median(ratios), min(ratios), max(ratios), "ratio", target, at_least, note)


def spread(name: str, values: Sequence[float], unit: Unit, *, note: str = "") -> Figure:
    """Return the median of what one side measured, without a target."""
    return Figure(name, statistics.median(values), min(values), max(values), unit, note=note)


def cpu_ratio(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    calls: int,
    rounds: int,
    target: float | None = None,
    note: str = "",
) -> Figure:
    """Return ours / theirs in this process's CPU time, and what each takes at best."""
    spent = in_turn(
        {"ours": cpu_microseconds(ours, calls), "theirs": cpu_microseconds(theirs, calls)}, rounds
    )
    best = f"{min(spent['ours']):.1f} against {min(spent['theirs']):.1f} us at best"
    note = f"{best}; {note}" if note else best
    return ratio(name, spent["ours"], spent["theirs"], target=target, note=note)


def cpu_microseconds(call: Callable[[], object], calls: int) -> Side:
    """Return a side: the processor time that this process spends on each call."""
    return lambda: _each(call, calls, time.process_time_ns)


def wall_microseconds(call: Callable[[], object], calls: int) -> Side:
    """Return a side: how long each call takes."""
    return lambda: _each(call, calls, time.perf_counter_ns)


def _each(call: Callable[[], object], calls: int, clock: Callable[[], int]) -> float:
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls / 1_000
