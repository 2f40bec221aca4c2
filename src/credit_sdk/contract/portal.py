"""An awaiting service as a blocking one, so that one text tests both."""

import inspect
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial, wraps
from types import TracebackType
from typing import Any, Self, cast

from anyio.from_thread import BlockingPortal

from credit_sdk import (
    AsyncBillingClient,
    AsyncCreditDeductionService,
    AsyncCreditSDK,
    BillingClient,
    CreditDeductionService,
    CreditSDK,
)
from credit_sdk.batch import AsyncBatch
from credit_sdk.charge import AsyncOpenCharge
from credit_sdk.models import BatchReceipt


def blocking(service: AsyncCreditDeductionService, portal: BlockingPortal) -> CreditDeductionService:
    """Return the service with every method run in the portal's event loop.

    What it decorates may be plain functions and generators; they are made awaiting ones.
    """
    return cast("CreditDeductionService", _Blocking(service, portal))


def blocking_sdk(sdk: AsyncCreditSDK, portal: BlockingPortal) -> CreditSDK:
    """Return the SDK with every method run in the portal's event loop."""
    return cast("CreditSDK", _Blocking(sdk, portal))


def blocking_client(client: AsyncBillingClient, portal: BlockingPortal) -> BillingClient:
    """Return the client with every method of its resources run in the portal's event loop."""
    return cast("BillingClient", _BlockingClient(client, portal))


class _BlockingClient:
    def __init__(self, client: AsyncBillingClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        return _Blocking(getattr(self._client, name), self._portal)

    def close(self) -> None:
        self._portal.call(self._client.close)


class _Blocking:
    def __init__(self, service: Any, portal: BlockingPortal) -> None:
        self._service = service
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if inspect.isasyncgenfunction(method):
            return _reading(method, self._portal)
        return _calling(method, self._portal) if inspect.iscoroutinefunction(method) else method

    def charge(self, *args: Any, **kwargs: Any) -> AbstractContextManager[AsyncOpenCharge]:
        return self._portal.wrap_async_context_manager(self._service.charge(*args, **kwargs))

    def batch(self, *args: Any, **kwargs: Any) -> "_BlockingBatch":
        return _BlockingBatch(self._service.batch(*args, **kwargs), self._portal)

    def billable(self, *args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        decorate = self._service.billable(*args, **kwargs)

        def billed(function: Callable[..., Any]) -> Callable[..., Any]:
            calling = _reading if inspect.isgeneratorfunction(function) else _calling
            return calling(decorate(_awaiting(function)), self._portal)

        return billed


class _BlockingBatch:
    def __init__(self, batch: AsyncBatch, portal: BlockingPortal) -> None:
        self._batch = batch
        self._portal = portal

    @property
    def receipt(self) -> BatchReceipt:
        return self._batch.receipt

    def __enter__(self) -> Self:
        self._portal.call(self._batch.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.call(self._batch.__aexit__, kind, error, traceback)

    def remaining(self, records: Iterable[Any], *, key: Callable[[Any], object]) -> Iterator[Any]:
        return _reading(self._batch.remaining, self._portal)(records, key=key)  # type: ignore[no-any-return]

    def record(self, key: object) -> AbstractContextManager[None]:
        return self._portal.wrap_async_context_manager(self._batch.record(key))


def _calling(function: Callable[..., Any], portal: BlockingPortal) -> Callable[..., Any]:
    return lambda *args, **kwargs: portal.call(partial(function, *args, **kwargs))


def _reading(function: Callable[..., Any], portal: BlockingPortal) -> Callable[..., Any]:
    def items(*args: Any, **kwargs: Any) -> Iterator[Any]:
        generator: AsyncGenerator[Any, None] = function(*args, **kwargs)
        try:
            while True:
                try:
                    item = portal.call(anext, generator)
                except StopAsyncIteration:
                    return
                yield item
        finally:
            portal.call(generator.aclose)

    return items


def _awaiting(function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            for item in function(*args, **kwargs):
                yield item

        return generator

    @wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return coroutine
