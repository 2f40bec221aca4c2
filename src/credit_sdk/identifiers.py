"""Request ids, made before the first attempt and kept through every retry (SPEC section 3); and others."""

import os
import time

_MICROSECONDS = 1_000
_RANDOM_BYTES = 10
_IDS_AT_ONCE = 64
_random: dict[int, list[str]] = {}
"""Random bits that no id has used, by process: to ask the kernel takes longer than all the rest."""


def new_request_id() -> str:
    """Return a fresh request id: the time, then 80 random bits.

    Ids that begin with the time meet on few pages of the index that makes them unique.
    """
    try:
        bits = _random[os.getpid()].pop()
    except (KeyError, IndexError):
        bits = _more_random()
    return f"req_{time.time_ns() // _MICROSECONDS:013x}{bits}"


def _more_random() -> str:
    drawn = os.urandom(_RANDOM_BYTES * _IDS_AT_ONCE).hex()
    length = 2 * _RANDOM_BYTES
    bits = [drawn[begin : begin + length] for begin in range(0, len(drawn), length)]
    own = bits.pop()
    # Another process's, if this one is its child, are not this one's to use.
    _random.clear()
    _random[os.getpid()] = bits
    return own


def new_entry_id() -> str:
    """Return the name of a record of the outbox."""
    return os.urandom(12).hex()
