"""An OpenAI-shaped client whose calls are charged by the usage that they report.

Credits are held before a call and captured after it. A call that fails costs nothing, nor does a stream that
the provider breaks off; a stream that its reader leaves costs what was delivered.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Self

from credit_sdk._metered_calls import METERED, Call, Meter, Path
from credit_sdk._metered_streams import AsyncMeteredStream, MeteredStream
from credit_sdk.errors import ConfigurationError
from credit_sdk.policy import ChargePolicy

_FREE = frozenset({"api_key", "base_url", "close", "is_closed", "max_retries", "models", "timeout"})
_COPIES = frozenset({"copy", "with_options"})


class MeteredClient:
    """A client, or a part of one, whose calls are charged. What could be used uncharged is refused."""

    def __init__(self, target: Any, meter: Meter, path: Path = ()) -> None:
        self._target = target
        self._meter = meter
        self._path = path

    def __getattr__(self, name: str) -> Any:
        """Return a part of the client, or one of its calls with a charge around it."""
        path = (*self._path, name)
        if path in METERED:
            return self._charged(path, getattr(self._target, name))
        if any(metered[: len(path)] == path for metered in METERED):
            return MeteredClient(getattr(self._target, name), self._meter, path)
        if not self._path and name in _COPIES:
            return lambda **options: MeteredClient(getattr(self._target, name)(**options), self._meter)
        if not self._path and name in _FREE:
            return getattr(self._target, name)
        raise ConfigurationError(
            f"{'.'.join(path)} is not metered: only chat.completions.create, embeddings.create and "
            "images.generate are. What shall not be charged goes through the client itself."
        )

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client."""
        self._target.close()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self._target.close()

    def _charged(self, path: Path, create: Callable[..., Any]) -> Callable[..., Any]:
        # The official client hides its coroutine functions behind a plain one.
        awaits = inspect.iscoroutinefunction(inspect.unwrap(create))
        return partial(_awaiting if awaits else _blocking, self._meter, path, create)


def _blocking(meter: Meter, path: Path, create: Callable[..., Any], /, **arguments: Any) -> Any:
    call = Call.of(meter, path, arguments)
    opened = meter.till.open(meter.account, call.request)
    if not arguments.get("stream"):
        with opened as charge:
            return call.settle(charge, create(**call.arguments))
    opened.__enter__()
    try:
        stream = create(**call.arguments)
    except BaseException as error:
        opened.__exit__(type(error), error, error.__traceback__)
        raise
    return MeteredStream(stream, opened, call.stream())


async def _awaiting(meter: Meter, path: Path, create: Callable[..., Any], /, **arguments: Any) -> Any:
    call = Call.of(meter, path, arguments)
    opened = meter.till.open_async(meter.account, call.request)
    if not arguments.get("stream"):
        async with opened as charge:
            return call.settle(charge, await create(**call.arguments))
    await opened.__aenter__()
    try:
        stream = await create(**call.arguments)
    except BaseException as error:
        await opened.__aexit__(type(error), error, error.__traceback__)
        raise
    return AsyncMeteredStream(stream, opened, call.stream())


def paying_by_default(policy: ChargePolicy) -> ChargePolicy:
    """Return a policy under which streams that their readers leave cost what was delivered."""
    return replace(policy, on_early_end="charge")
