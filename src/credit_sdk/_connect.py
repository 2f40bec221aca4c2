"""From an address to a backend; the only file that knows them all. Each is imported when it is used."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from credit_sdk._runners import AsyncBackend, Backend
from credit_sdk.amounts import MILLICREDITS_PER_CREDIT
from credit_sdk.backends._wire_format import Credential, server_url
from credit_sdk.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx
    from sqlalchemy import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from credit_sdk.backends.memory import MemoryLedger

Source: TypeAlias = "str | URL | Engine | AsyncEngine | MemoryLedger | None"
"""Where the books are: an address, an engine, a ledger in memory; None asks the environment."""

URL_VARIABLES = ("CREDIT_SDK_URL", "DATABASE_URL", "API_BASE_URL")
API_KEY_VARIABLES = ("CREDIT_SDK_API_KEY", "API_KEY")
_WANTED = "The address of the books must start with https://, http://, postgresql:// or memory://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to connect. `timeout` is in seconds, `sql_scale` in database units for each credit."""

    timeout: float = 10.0
    sql_scale: int = MILLICREDITS_PER_CREDIT
    pool_size: int = 10
    http_client: "httpx.Client | None" = None
    async_http_client: "httpx.AsyncClient | None" = None

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing could be done."""
        if not (_is_number(self.timeout, float) and 0 < self.timeout < math.inf):
            raise ConfigurationError(f"timeout must be a number of seconds above zero, not {self.timeout!r}.")
        for name in ("sql_scale", "pool_size"):
            value = getattr(self, name)
            if not (_is_number(value) and value > 0):
                raise ConfigurationError(f"{name} must be a whole number above zero, not {value!r}.")


def _is_number(value: object, *more: type) -> bool:
    return isinstance(value, (int, *more)) and not isinstance(value, bool)


class Connections:
    """The blocking and the awaiting backend of one address, each made when it is first used."""

    def __init__(
        self,
        make_backend: Callable[[], Backend],
        make_async_backend: Callable[[], AsyncBackend],
        destination: str | None = None,
    ) -> None:
        """`destination` names the books without a secret, for the outbox; None where they die with us."""
        self._make_backend = make_backend
        self._make_async_backend = make_async_backend
        self.destination = destination
        self.is_closed = False

    @property
    def backend(self) -> Backend:
        """The blocking backend; raises `ConfigurationError` once these connections are closed."""
        self.require_open()
        return self.lasting_backend

    @property
    def async_backend(self) -> AsyncBackend:
        """The awaiting backend; raises `ConfigurationError` once these connections are closed."""
        self.require_open()
        return self.lasting_async_backend

    @cached_property
    def lasting_backend(self) -> Backend:
        """The blocking backend for what was begun before the end: a charge that is owed is never refused."""
        return self._make_backend()

    @cached_property
    def lasting_async_backend(self) -> AsyncBackend:
        """The awaiting backend, likewise."""
        return self._make_async_backend()

    def require_open(self) -> None:
        """Raise `ConfigurationError` once these connections are closed."""
        if self.is_closed:
            raise ConfigurationError(
                "close() has ended this service (at the end of its `with` block, too): make a new one, or "
                "close it later."
            )

    def within(self, connection: Any) -> "Connections":
        """Return connections whose operations are part of the caller's own transaction."""
        return Connections(
            lambda: _joinable(self.backend).within(connection),
            lambda: _joinable(self.async_backend).within(connection),
        )

    def close(self) -> None:
        """Close the blocking backend, if it was ever used, and open it for nobody."""
        self.is_closed = True
        if "lasting_backend" in self.__dict__:
            self.lasting_backend.close()

    async def close_async(self) -> None:
        """Close the running loop's part of the awaiting backend, and open it for nobody."""
        self.is_closed = True
        await self.leave_loop()

    async def leave_loop(self) -> None:
        """Close the running loop's part of the awaiting backend, if it was ever used."""
        if "lasting_async_backend" in self.__dict__:
            await self.lasting_async_backend.close()


def connect(source: Source, credential: Credential, options: Options) -> Connections:
    """Return the backends for an address, without opening a connection.

    Without one the environment is asked: `CREDIT_SDK_URL`, `DATABASE_URL`, `API_BASE_URL`. Raises
    `ConfigurationError` for an address that no backend can use.
    """
    if source is None:
        source = address_from_environment(os.environ)
    if not isinstance(source, str):
        return _to_object(source, options)
    scheme, separator, _ = source.partition("://")
    match scheme.partition("+")[0].lower():
        case "http" | "https":
            return _to_server(source, credential, options)
        case "postgresql" | "postgres":
            return _to_database(source, options)
        case "memory":
            return _in_memory(None)
        case _:
            # Without a scheme it may be anything, a secret too.
            given = f"with {scheme[:20]}://" if separator else "without any of them"
            raise ConfigurationError(f"{_WANTED}, but it {f'starts {given}' if source else 'is empty'}.")


def address_from_environment(environment: Mapping[str, str]) -> str:
    """Return the first address that is set; raise `ConfigurationError` if none is."""
    for name in URL_VARIABLES:
        if environment.get(name):
            return environment[name]
    raise ConfigurationError(
        f"It is not said where the books are: give url (--url), or set one of {', '.join(URL_VARIABLES)}."
    )


def key_from_environment(environment: Mapping[str, str]) -> str | None:
    """Return the API key that is set, if any."""
    return next((environment[name] for name in API_KEY_VARIABLES if environment.get(name)), None)


def _to_object(source: Any, options: Options) -> Connections:
    # Asked without importing what few programs use.
    homes = {kind.__module__ for kind in type(source).__mro__}
    if "credit_sdk.backends.memory" in homes:
        return _in_memory(source)
    if any(home.partition(".")[0] == "sqlalchemy" for home in homes):
        return _to_database(source, options)
    raise ConfigurationError(
        "The books must be an address (a str), an engine or URL of SQLAlchemy, or a MemoryLedger, "
        f"not {type(source).__name__}."
    )


def _in_memory(ledger: Any) -> Connections:
    from credit_sdk.backends.memory import AsyncMemoryBackend, MemoryBackend, MemoryLedger  # noqa: PLC0415

    books = ledger or MemoryLedger()
    return Connections(lambda: MemoryBackend(books), lambda: AsyncMemoryBackend(books))


def _to_server(url: str, credential: Credential, options: Options) -> Connections:
    destination = server_url(url)

    def make_backend() -> Backend:
        from credit_sdk.backends.http import HttpBackend  # noqa: PLC0415

        return HttpBackend(url, credential, timeout=options.timeout, client=options.http_client)

    def make_async_backend() -> AsyncBackend:
        from credit_sdk.backends.http import AsyncHttpBackend  # noqa: PLC0415

        return AsyncHttpBackend(url, credential, timeout=options.timeout, client=options.async_http_client)

    return Connections(make_backend, make_async_backend, destination)


def _to_database(source: Any, options: Options) -> Connections:
    try:
        from credit_sdk.backends import sql  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"Direct SQL needs the extra: pip install 'credit-sdk[sql]' ({error})."
        ) from None
    for_blocking, for_awaiting = sql.engines_or_urls(source)
    sizes: dict[str, Any] = {
        "scale": options.sql_scale,
        "pool_size": options.pool_size,
        "timeout": options.timeout,
    }
    return Connections(
        lambda: sql.SqlBackend(for_blocking, **sizes),
        lambda: sql.AsyncSqlBackend(for_awaiting, **sizes),
        sql.destination_of(for_blocking),
    )


def _joinable(backend: Any) -> Any:
    if not hasattr(backend, "within"):
        raise ConfigurationError("within() joins a PostgreSQL transaction: connect with a database URL.")
    return backend
