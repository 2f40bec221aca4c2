"""An OpenAI-shaped client whose calls are charged by the usage that they report.

Credits are held before a call and captured after it. A call that fails costs nothing, nor does a stream that
the provider breaks off; a stream that its reader leaves costs what was delivered.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Any, Self

from credit_sdk._till import ChargeRequest, Till
from credit_sdk.account import Account
from credit_sdk.amounts import Amount, to_number
from credit_sdk.charge import AsyncOpenCharge, OpenCharge, Terms
from credit_sdk.errors import ConfigurationError
from credit_sdk.model_prices import ModelPrice, TokenUsage, reported_usage
from credit_sdk.policy import ChargePolicy
from credit_sdk.token_counting import size_of_text, tokens_of, tokens_of_chat, tokens_of_input

USUAL_OUTPUT = 1_000
"""How many tokens of completion are held for a call that sets no bound."""

Path = tuple[str, ...]
_CHAT: Path = ("chat", "completions", "create")
_EMBEDDINGS: Path = ("embeddings", "create")
_IMAGES: Path = ("images", "generate")
_METERED = {_CHAT: "llm_inference", _EMBEDDINGS: "llm_inference", _IMAGES: "image_generation"}
_TASKS = {_CHAT: "chat", _EMBEDDINGS: "embedding", _IMAGES: "image"}
_FREE = frozenset({"api_key", "base_url", "close", "is_closed", "max_retries", "models", "timeout"})
_COPIES = frozenset({"copy", "with_options"})


@dataclass(frozen=True, slots=True)
class Meter:
    """Who pays for a client's calls, and how much."""

    till: Till
    account: Account
    prices: Mapping[str, ModelPrice]
    markup: Decimal
    estimate: Amount | None
    provider: str | None
    policy: ChargePolicy

    def price(self, model: Any) -> ModelPrice:
        """Return the price of a model; raise `ConfigurationError` for one without."""
        if not isinstance(model, str) or model not in self.prices:
            raise ConfigurationError(f"There is no price for the model {model!r}: add it to prices.")
        return self.prices[model]

    def request(self, path: Path, arguments: Mapping[str, Any]) -> ChargeRequest:
        """Return the charge of a call, before it is made."""
        model = arguments.get("model")
        held = self.price(model).credits(_expected(path, arguments), self.markup)
        metadata = {"model": model, "task_type": _TASKS[path], "markup": to_number(self.markup)}
        return ChargeRequest(
            service_type=_METERED[path],
            service_name=model,
            credits=held if self.estimate is None else self.estimate,
            metadata=metadata | ({"provider": self.provider} if self.provider else {}),
            policy=self.policy,
        )


@dataclass(slots=True)
class Call:
    """One call under way: what it has used so far."""

    meter: Meter
    path: Path
    arguments: dict[str, Any]
    wants_usage: bool = True
    usage: TokenUsage | None = None
    size: int = 0
    delivered: bool = False

    @classmethod
    def of(cls, meter: Meter, path: Path, arguments: dict[str, Any]) -> "Call":
        """Return a call whose stream, if it is one, ends with its usage."""
        if not arguments.get("stream"):
            return cls(meter, path, arguments)
        if path != _CHAT:
            raise ConfigurationError("Only chats can be streamed through a metered client.")
        options = arguments.get("stream_options") or {}
        asked = arguments | {"stream_options": {**options, "include_usage": True}}
        return cls(meter, path, asked, wants_usage=bool(options.get("include_usage")))

    @property
    def request(self) -> ChargeRequest:
        """The charge, before the call is made."""
        return self.meter.request(self.path, self.arguments)

    def settle(self, charge: Terms, answer: Any) -> Any:
        """Set the cost of a whole answer, and return the answer."""
        document = _document(answer)
        self._see(document)
        if self.path == _IMAGES:
            self.usage = TokenUsage(images=len(document.get("data") or ()))
        self.end(charge)
        return answer

    def shows(self, chunk: Any) -> bool:
        """Count a chunk of a stream; return whether the reader gets it."""
        document = _document(chunk)
        self._see(document)
        hidden = not self.wants_usage and not document.get("choices") and document.get("usage") is not None
        self.delivered = self.delivered or not hidden
        return not hidden

    def end(self, charge: Terms) -> None:
        """Set the cost of what was used."""
        usage, cost = self._cost()
        charge.metadata.update(usage.figures() | {"cost": to_number(cost)})
        charge.settle(cost)

    def leave(self, charge: Terms) -> None:
        """Set the cost of what was delivered before the reader left; the policy decides whether it counts."""
        if not self.delivered:
            return
        usage, cost = self._cost()
        charge.metadata.update(usage.figures() | {"cost": to_number(cost)})
        charge.settle_early(cost)

    def _cost(self) -> tuple[TokenUsage, Decimal]:
        counted = TokenUsage(_prompt(self.path, self.arguments), tokens_of(self.size))
        usage = counted if self.usage is None else self.usage
        return usage, self.meter.price(self.arguments["model"]).credits(usage, self.meter.markup)

    def _see(self, document: dict[str, Any]) -> None:
        self.usage = reported_usage(document.get("usage")) or self.usage
        for choice in document.get("choices") or ():
            self.size += size_of_text(choice.get("delta") or choice.get("message"))


class MeteredClient:
    """A client, or a part of one, whose calls are charged. What could be used uncharged is refused."""

    def __init__(self, target: Any, meter: Meter, path: Path = ()) -> None:
        self._target = target
        self._meter = meter
        self._path = path

    def __getattr__(self, name: str) -> Any:
        """Return a part of the client, or one of its calls with a charge around it."""
        path = (*self._path, name)
        if path in _METERED:
            return self._charged(path, getattr(self._target, name))
        if any(metered[: len(path)] == path for metered in _METERED):
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
    return MeteredStream(stream, opened, call)


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
    return AsyncMeteredStream(stream, opened, call)


class MeteredStream:
    """A stream that is charged at its end, or for what it has delivered when it is closed before."""

    def __init__(self, stream: Any, charge: OpenCharge, call: Call) -> None:
        self._stream = stream
        self._chunks = iter(stream)
        self._call = call
        self._ended = False
        self.charge = charge
        """What is charged; its receipt is there when the stream has ended."""

    def __iter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __next__(self) -> Any:
        """Return the next chunk; raises what the charge raises after the last one."""
        try:
            while not self._call.shows(chunk := next(self._chunks)):
                pass
        except StopIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        return chunk

    def close(self) -> None:
        """Stop reading; charge what was delivered."""
        self._end(GeneratorExit())

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop reading; charge what was delivered."""
        self.close()

    def _end(self, error: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            if error is None:
                self._call.end(self.charge)
            elif not isinstance(error, Exception):
                self._call.leave(self.charge)
        finally:
            try:
                self.charge.__exit__(type(error) if error else None, error, None)
            finally:
                self._stream.close()


class AsyncMeteredStream:
    """A stream that is charged at its end, or for what it has delivered when it is closed before."""

    def __init__(self, stream: Any, charge: AsyncOpenCharge, call: Call) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._call = call
        self._ended = False
        self.charge = charge
        """What is charged; its receipt is there when the stream has ended."""

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> Any:
        """Return the next chunk; raises what the charge raises after the last one."""
        try:
            while not self._call.shows(chunk := await anext(self._chunks)):
                pass
        except StopAsyncIteration:
            await self._end(None)
            raise
        except BaseException as error:
            await self._end(error)
            raise
        return chunk

    async def close(self) -> None:
        """Stop reading; charge what was delivered."""
        await self._end(GeneratorExit())

    async def __aenter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop reading; charge what was delivered."""
        await self.close()

    async def _end(self, error: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            if error is None:
                self._call.end(self.charge)
            elif not isinstance(error, Exception):
                self._call.leave(self.charge)
        finally:
            try:
                await self.charge.__aexit__(type(error) if error else None, error, None)
            finally:
                await self._stream.close()


def paying_by_default(policy: ChargePolicy) -> ChargePolicy:
    """Return a policy under which streams that their readers leave cost what was delivered."""
    return replace(policy, on_early_end="charge")


def _expected(path: Path, arguments: Mapping[str, Any]) -> TokenUsage:
    if path == _IMAGES:
        return TokenUsage(images=arguments.get("n") or 1)
    if path == _EMBEDDINGS:
        return TokenUsage(_prompt(path, arguments))
    bound = arguments.get("max_completion_tokens") or arguments.get("max_tokens") or USUAL_OUTPUT
    return TokenUsage(_prompt(path, arguments), bound * (arguments.get("n") or 1))


def _prompt(path: Path, arguments: Mapping[str, Any]) -> int:
    if path == _CHAT:
        return tokens_of_chat(arguments)
    return tokens_of_input(arguments.get("input")) if path == _EMBEDDINGS else 0


def _document(answer: Any) -> dict[str, Any]:
    """Return an answer, or a chunk of one, as plain data."""
    if isinstance(answer, dict):
        return answer
    dump = getattr(answer, "model_dump", None)
    if dump is None:
        raise ConfigurationError(
            f"An answer must be a dict or a model of pydantic's, not {type(answer).__name__}."
        )
    document: dict[str, Any] = dump()
    return document
