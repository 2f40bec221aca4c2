"""What the blocking and the awaiting `CrossApp` share: settings, the token, and who may refresh it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

from credit_sdk._connect import Options, connect
from credit_sdk._flows import Retries
from credit_sdk._resources import PerLoop
from credit_sdk.backends._wire_format import AppCredential
from credit_sdk.errors import ConfigurationError, NotAuthenticatedError
from credit_sdk.operations import OperationT, parse

EARLY_SECONDS = 300
"""How long before its end a token is refreshed."""


def token_dying(expires_at: datetime, now: float) -> bool:
    """Whether a token ends so soon that it should be refreshed before it is used."""
    return expires_at.timestamp() - now < EARLY_SECONDS


class TokenLock:
    """Lets one thread at a time refresh."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock."""
        with self._lock:
            yield
