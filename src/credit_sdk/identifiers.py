"""Request ids: made before the first attempt and kept through every retry (SPEC section 3)."""

import os


def new_request_id() -> str:
    """Return a fresh request id: 128 random bits."""
    return "req_" + os.urandom(16).hex()
