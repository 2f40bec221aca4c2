"""The decorator: a function, coroutine, generator or async generator that is charged when it succeeds."""

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Protocol, TypeVar, cast

from credit_sdk.amounts import Amount
from credit_sdk.charge import AsyncOpenCharge, OpenCharge, Terms
from credit_sdk.context import begin_running, end_running

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
CostOfResult = Callable[[Any], Amount]


class Opener(Protocol):
    """Makes the charge of one call out of its arguments."""

    def blocking(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCharge:
        """Return a charge to be entered with `with`."""

    def awaiting(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncOpenCharge:
        """Return a charge to be entered with `async with`."""


def wrap(function: FunctionT, opener: Opener, cost_of_result: CostOfResult | None) -> FunctionT:
    """Return the function with each of its calls charged.

    `cost_of_result` is given what the function returned; for a generator, how many items it yielded.
    """
    if inspect.isasyncgenfunction(function):
        wrapper: Callable[..., Any] = _async_generator(function, opener, cost_of_result)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, opener, cost_of_result)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, opener, cost_of_result)
    else:
        wrapper = _plain(function, opener, cost_of_result)
    return cast("FunctionT", wrapper)


def _plain(function: Callable[..., Any], opener: Opener, cost: CostOfResult | None) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with opener.blocking(args, kwargs) as charge:
            token = begin_running(charge)
            try:
                result = function(*args, **kwargs)
            finally:
                end_running(token)
            if cost is not None:
                charge.settle(cost(result))
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], opener: Opener, cost: CostOfResult | None) -> Callable[..., Any]:
    @wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        async with opener.awaiting(args, kwargs) as charge:
            token = begin_running(charge)
            try:
                result = await function(*args, **kwargs)
            finally:
                end_running(token)
            if cost is not None:
                charge.settle(cost(result))
        return result

    return wrapper


def _generator(function: Callable[..., Any], opener: Opener, cost: CostOfResult | None) -> Callable[..., Any]:
    # Who pays is found out at the call, not when somebody begins to read the stream somewhere else.
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return stream(opener.blocking(args, kwargs), args, kwargs)

    def stream(opened: OpenCharge, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        with opened as charge, _metered(charge, cost) as meter:
            generator = cast("Generator[Any, Any, Any]", function(*args, **kwargs))
            with closing(generator):
                return (yield from _delivering(generator, charge, meter))

    return wrapper


@dataclass(slots=True)
class _Meter:
    """How many items a stream has delivered."""

    items: int = 0


@contextmanager
def _metered(charge: Terms, cost: CostOfResult | None) -> Iterator[_Meter]:
    """Settle the cost of what was delivered, also when the stream ends early: the policy decides then."""
    meter = _Meter()
    try:
        yield meter
    except BaseException:
        if cost is not None:
            charge.settle_early(cost(meter.items))
        raise
    if cost is not None:
        charge.settle(cost(meter.items))


def _delivering(
    generator: Generator[Any, Any, Any], charge: Terms, meter: _Meter
) -> Generator[Any, Any, Any]:
    """Pass items on, counting them; the charge is current only while the generator itself runs.

    A generator shares its caller's context, so a charge left current across a yield would leak.
    """
    step: Callable[[], Any] = partial(next, generator)
    while True:
        token = begin_running(charge)
        try:
            item = step()
        except StopIteration as end:
            return end.value
        finally:
            end_running(token)
        meter.items += 1
        try:
            step = partial(generator.send, (yield item))
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - thrown in by the consumer, for the generator to handle
            step = partial(generator.throw, error)


def _async_generator(
    function: Callable[..., Any], opener: Opener, cost: CostOfResult | None
) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        return stream(opener.awaiting(args, kwargs), args, kwargs)

    async def stream(
        opened: AsyncOpenCharge, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any, Any]:
        async with opened as charge:
            generator = cast("AsyncGenerator[Any, Any]", function(*args, **kwargs))
            step: Callable[[], Any] = partial(anext, generator)
            with _metered(charge, cost) as meter:
                async with aclosing(generator):
                    while True:
                        token = begin_running(charge)
                        try:
                            item = await step()
                        except StopAsyncIteration:
                            break
                        finally:
                            end_running(token)
                        meter.items += 1
                        try:
                            step = partial(generator.asend, (yield item))
                        except GeneratorExit:
                            raise
                        except BaseException as error:  # noqa: BLE001 - thrown in by the consumer
                            step = partial(generator.athrow, error)

    return wrapper
