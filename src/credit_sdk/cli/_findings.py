"""What `credits doctor` finds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

LONGEST_SKEW = timedelta(seconds=5)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, how it is, and what mends it."""

    check: str
    verdict: Literal["ok", "warning", "failure"]
    detail: str
    remedy: str | None = None


def clock_finding(theirs: datetime, before: datetime, after: datetime) -> Finding:
    """Compare another host's clock, read between two moments of ours, with our own."""
    skew = max(before - theirs, theirs - after, timedelta())
    if skew <= LONGEST_SKEW:
        return Finding("clock", "ok", "the clocks agree.")
    seconds = f"{skew.total_seconds():,.0f} s"
    return Finding(
        "clock",
        "warning",
        f"the clock there and the clock here differ by {seconds}: holds and sessions expire early or late.",
        "Let both hosts set their clocks by NTP.",
    )
