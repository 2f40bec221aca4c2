"""What the blocking and the awaiting `CrossApp` share: settings, the token, and who may refresh it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any

from credit_sdk._connect import Options, connect, key_from_environment
from credit_sdk._flows import Retries
from credit_sdk._resources import PerLoop, PerProcess
from credit_sdk.backends._wire_format import AppCredential
from credit_sdk.errors import ConfigurationError, NotAuthenticatedError
from credit_sdk.operations import OperationT, parse

EARLY_SECONDS = 300
"""How long before its end a token is refreshed."""


def is_ending(expires_at: datetime, now: float) -> bool:
    """Whether a token ends so soon that it should be refreshed before it is used."""
    return expires_at.timestamp() - now < EARLY_SECONDS


class _ThreadLock:
    """Lets one thread at a time refresh; a forked child is not kept waiting by its parent's threads."""

    def __init__(self) -> None:
        self._locks = PerProcess(threading.Lock, lambda _: None)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock."""
        with self._locks.get():
            yield


class _TaskLock:
    """Lets one task at a time refresh, in each event loop."""

    def __init__(self) -> None:
        self._locks = PerLoop(asyncio.Lock, _leave)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lock."""
        async with self._locks.get():
            yield


async def _leave(_: asyncio.Lock) -> None:
    """Do nothing: a lock needs no closing."""


class CrossAppSettings:
    """An application of a credits server.

    `url` is the server's address, `app_id` and `api_key` what registering the application gave. What is left
    out is read from `API_BASE_URL`, `APP_ID` and `API_KEY`. `session_token` goes on with a session that was
    opened before. `timeout` is in seconds, for each attempt; `http_client` and `async_http_client` may be the
    application's own. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        app_id: str | None = None,
        api_key: str | None = None,
        session_token: str | None = None,
        retries: Retries | None = None,
        timeout: float = 10.0,
        http_client: Any = None,
        async_http_client: Any = None,
    ) -> None:
        address = url or os.environ.get("API_BASE_URL") or os.environ.get("CREDIT_SDK_URL") or ""
        if not address.startswith(("http://", "https://")):
            raise ConfigurationError("CrossApp needs a server: give url, or API_BASE_URL, as https://...")
        named = app_id or os.environ.get("APP_ID")
        if not named:
            raise ConfigurationError("It is not said which application this is: give app_id, or APP_ID.")
        self.app_id: str = named
        self._retries = retries or Retries()
        credential = AppCredential(api_key=api_key or key_from_environment(os.environ))
        options = Options(timeout=timeout, http_client=http_client, async_http_client=async_http_client)
        self._connections = connect(address, credential, options)
        self._session_token = session_token
        self._expires_at: datetime | None = None
        self._lock = _ThreadLock()
        self._async_lock = _TaskLock()

    @property
    def session_token(self) -> str | None:
        """The secret of the session, to go on with it elsewhere; None before `login`."""
        return self._session_token

    def _token(self) -> str:
        if self._session_token is None:
            raise NotAuthenticatedError("Nobody has logged in: call login, or give session_token.")
        return self._session_token

    def _keep(self, session_token: str, expires_at: datetime) -> None:
        self._expires_at = expires_at
        self._session_token = session_token

    def _forget(self) -> None:
        self._session_token = self._expires_at = None

    def _about(self, kind: type[OperationT], **fields: Any) -> OperationT:
        return parse(kind, {"app_id": self.app_id, **fields})
