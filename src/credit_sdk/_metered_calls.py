"""What a metered client's calls cost: estimated before, worked out from what they report after."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from credit_sdk._flows import Growth, Retries
from credit_sdk._stream_meter import HOLD_SECONDS, USUAL_OUTPUT, StreamMeter
from credit_sdk._till import ChargeRequest, Till
from credit_sdk.account import Account
from credit_sdk.amounts import Amount, to_number
from credit_sdk.charge import Terms
from credit_sdk.errors import ConfigurationError
from credit_sdk.model_prices import ModelPrice, TokenUsage, reported_usage
from credit_sdk.policy import ChargePolicy
from credit_sdk.token_counting import size_of_text, tokens_of, tokens_of_chat, tokens_of_input

Path = tuple[str, ...]
_CHAT: Path = ("chat", "completions", "create")
_EMBEDDINGS: Path = ("embeddings", "create")
_IMAGES: Path = ("images", "generate")
METERED = {_CHAT: "llm_inference", _EMBEDDINGS: "llm_inference", _IMAGES: "image_generation"}
_TASKS = {_CHAT: "chat", _EMBEDDINGS: "embedding", _IMAGES: "image"}


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
            service_type=METERED[path],
            service_name=model,
            credits=held if self.estimate is None else self.estimate,
            metadata=metadata | ({"provider": self.provider} if self.provider else {}),
            policy=self.policy,
        )


@dataclass(slots=True)
class Call:
    """One call under way."""

    meter: Meter
    path: Path
    arguments: dict[str, Any]
    wants_usage: bool = True

    @classmethod
    def of(cls, meter: Meter, path: Path, arguments: dict[str, Any]) -> "Call":
        """Return a call whose stream, if it is one, ends with its usage."""
        # Read once for the estimate and once by the client, which takes any iterable.
        asked = {**arguments, "messages": list(arguments["messages"])} if path == _CHAT else arguments
        if not arguments.get("stream"):
            return cls(meter, path, asked)
        if path != _CHAT:
            raise ConfigurationError("Only chats can be streamed through a metered client.")
        options = arguments.get("stream_options") or {}
        asked |= {"stream_options": {**options, "include_usage": True}}
        return cls(meter, path, asked, wants_usage=bool(options.get("include_usage")))

    @property
    def request(self) -> ChargeRequest:
        """The charge, before the call is made."""
        return self.meter.request(self.path, self.arguments)

    @property
    def price(self) -> ModelPrice:
        """The model's price."""
        return self.meter.price(self.arguments["model"])

    def settle(self, charge: Terms, answer: Any) -> Any:
        """Set the cost of a whole answer, and return the answer."""
        document = _document(answer)
        if self.path == _IMAGES:
            usage = TokenUsage(images=len(document.get("data") or ()))
        else:
            counted = TokenUsage(_prompt(self.path, self.arguments), tokens_of(_size(document)))
            usage = reported_usage(document.get("usage")) or counted
        charge.settle(self.note(charge, usage))
        return answer

    def note(self, charge: Terms, usage: TokenUsage) -> Decimal:
        """Keep a usage with the charge, and return its cost."""
        cost = self.price.credits(usage, self.meter.markup)
        charge.metadata.update(usage.figures() | {"cost": to_number(cost)})
        return cost

    def stream(self) -> "StreamedCall":
        """Return the call as one whose answer is a stream."""
        prompt = _prompt(self.path, self.arguments)
        return StreamedCall(self, StreamMeter(self.price, self.meter.markup, prompt))


Ending = Literal["complete", "left", "stopped", "failed"]
"""How a stream ends: by itself, by its reader, by the end of the credits, or by the provider's failure."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a stream, and what it tells the meter."""

    answer: Any
    size: int
    usage: TokenUsage | None
    shown: bool
    """Whether the reader gets it: a usage only if it has asked for one."""


@dataclass(slots=True)
class StreamedCall:
    """What a stream has delivered so far, and what it costs."""

    call: Call
    seen: StreamMeter

    @property
    def retries(self) -> Retries:
        """How often its hold's growth is asked for."""
        return self.call.meter.till.retries

    def look(self, answer: Any) -> Chunk:
        """Look into a chunk; nothing is counted yet."""
        document = _document(answer)
        usage_alone = not document.get("choices") and document.get("usage") is not None
        shown = self.call.wants_usage or not usage_alone
        return Chunk(answer, _size(document), reported_usage(document.get("usage")), shown)

    def growth(self, chunk: Chunk, charge: Terms) -> Growth | None:
        """Return by what the hold has to grow before the reader gets a chunk; None for nothing."""
        if charge.hold is None or not chunk.shown:
            return None
        return self.seen.growth(chunk.size, charge.hold.credits)

    def deliver(self, chunk: Chunk) -> Any:
        """Count a chunk, and return it as the reader gets it."""
        self.seen.deliver(chunk.size, chunk.usage, shown=chunk.shown)
        return chunk.answer

    def owes(self, ending: Ending, charge: Terms) -> bool:
        """Return whether anything is charged for a stream that ends so."""
        match ending:
            case "complete":
                return True
            case "left":
                return self.seen.delivered and charge.policy.on_early_end == "charge"
            case "stopped":
                return self.seen.delivered
            case "failed":
                return False

    def settle(self, charge: Terms) -> Growth | None:
        """Set the cost of what was used; return what the hold lacks of it, None for nothing."""
        charge.settle_delivered(self.call.note(charge, self.seen.used()))
        if charge.hold is None or charge.credits <= charge.hold.credits:
            return None
        lacking = charge.credits - charge.hold.credits
        return Growth(lacking, lacking, HOLD_SECONDS)

    def settle_held(self, charge: Terms) -> None:
        """Set the cost to all that is held: what was delivered costs more than there is."""
        if charge.hold is not None:
            held, uncovered = charge.hold.credits, charge.credits - charge.hold.credits
            charge.metadata.update(cost=to_number(held), uncovered=to_number(uncovered))
            charge.settle_delivered(held)


def _expected(path: Path, arguments: Mapping[str, Any]) -> TokenUsage:
    if path == _IMAGES:
        return TokenUsage(images=arguments.get("n") or 1)
    if path == _EMBEDDINGS:
        return TokenUsage(_prompt(path, arguments))
    bounds = (arguments.get("max_completion_tokens"), arguments.get("max_tokens"))
    bound = max(filter(None, bounds), default=USUAL_OUTPUT)
    return TokenUsage(_prompt(path, arguments), bound * (arguments.get("n") or 1))


def _prompt(path: Path, arguments: Mapping[str, Any]) -> int:
    if path == _CHAT:
        # A client takes its own answers' messages, too: models of pydantic's among the dicts.
        messages = [_document(message) for message in arguments.get("messages") or ()]
        return tokens_of_chat({**arguments, "messages": messages})
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


def _size(document: dict[str, Any]) -> int:
    """Return the length of the text in an answer, or in a chunk of one, in bytes."""
    choices = document.get("choices") or ()
    return sum(size_of_text(choice.get("delta") or choice.get("message")) for choice in choices)
