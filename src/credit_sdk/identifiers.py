"""Request ids, made before the first attempt and kept through every retry (SPEC section 3); and others."""

import os
import time

_MICROSECONDS = 1_000


def new_request_id() -> str:
    """Return a fresh request id: the time, then 80 random bits.

    Ids that begin with the time meet on few pages of the index that makes them unique.
    """
    return f"req_{time.time_ns() // _MICROSECONDS:013x}{os.urandom(10).hex()}"


def new_entry_id() -> str:
    """Return the name of a record of the outbox."""
    return os.urandom(12).hex()
