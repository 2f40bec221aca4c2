"""Time as a test wants it."""

import threading
from datetime import UTC, datetime, timedelta


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the moment that it shows."""
        with self._lock:
            return self._now

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let time pass, such as until a hold has expired."""
        passed = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if passed < timedelta():
            raise ValueError(f"Time passes forwards only, not by {passed}.")
        with self._lock:
            self._now += passed
