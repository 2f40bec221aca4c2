"""An awaiting service as a blocking one, so that one text tests both."""

import inspect
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial, wraps
from typing import Any, cast

from anyio.from_thread import BlockingPortal

from credit_sdk import AsyncCreditDeductionService, CreditDeductionService
from credit_sdk.charge import AsyncOpenCharge


def blocking(service: AsyncCreditDeductionService, portal: BlockingPortal) -> CreditDeductionService:
    """Return the service with every method run in the portal's event loop.

    What it decorates may be plain functions and generators; they are made awaiting ones.
    """
    return cast("CreditDeductionService", _Blocking(service, portal))


class _Blocking:
    def __init__(self, service: AsyncCreditDeductionService, portal: BlockingPortal) -> None:
        self._service = service
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if inspect.isasyncgenfunction(method) or inspect.iscoroutinefunction(method):
            return _calling(method, self._portal)
        return method

    def charge(self, *args: Any, **kwargs: Any) -> AbstractContextManager[AsyncOpenCharge]:
        return self._portal.wrap_async_context_manager(self._service.charge(*args, **kwargs))

    def billable(self, *args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        decorate = self._service.billable(*args, **kwargs)
        return lambda function: _calling(decorate(_awaiting(function)), self._portal)


def _calling(function: Callable[..., Any], portal: BlockingPortal) -> Callable[..., Any]:
    if not inspect.isasyncgenfunction(function):
        return lambda *args, **kwargs: portal.call(partial(function, *args, **kwargs))

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
