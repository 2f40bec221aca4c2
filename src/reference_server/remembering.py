"""Believing an answer for a while without asking again."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

LARGEST = 4_096
ValueT = TypeVar("ValueT")


@dataclass(slots=True)
class Remembered(Generic[ValueT]):
    """The latest values by their keys, each for a time of its own."""

    _values: OrderedDict[bytes, tuple[float, ValueT]] = field(default_factory=OrderedDict)

    def get(self, key: bytes) -> ValueT | None:
        """Return the value, unless its time is over."""
        until, value = self._values.get(key, (0.0, None))
        return value if time.monotonic() < until else None

    def keep(self, key: bytes, value: ValueT, seconds: float) -> None:
        """Keep a value; one that is still kept does not become younger."""
        if self.get(key) is not None:
            return
        self._values[key] = (time.monotonic() + seconds, value)
        self._values.move_to_end(key)
        while len(self._values) > LARGEST:
            self._values.popitem(last=False)
