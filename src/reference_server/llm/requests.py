"""Reading a request of OpenAI's protocol: what of it the gateway has to know; the rest is passed on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, NoReturn, cast, get_args

from credit_sdk._stream_meter import USUAL_OUTPUT
from credit_sdk.errors import MalformedRequestError
from credit_sdk.model_prices import TokenUsage
from credit_sdk.token_counting import tokens_of_chat, tokens_of_input
from reference_server.llm.prices import Kind, Model, PowerLevel
from reference_server.llm.problems import InvalidRequestError

LARGE_BODY = 256 * 1024
"""A body of more bytes than this takes long enough to read that others would notice."""
MOST_CHOICES = 128
MOST_IMAGES = 10
LONGEST_NAME = 100
SPARE_LEVELS = 150
BOUNDS = ("max_completion_tokens", "max_tokens")
_LEVELS = get_args(PowerLevel)
_OUR_OWN = ("power_level", "task_type")


@dataclass(frozen=True, slots=True)
class Service:
    """One address of the protocol, and what its calls are in the attribution."""

    path: str
    kind: Kind
    service_type: str
    task_type: str
    check: Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that can be carried out."""

    service: Service
    body: dict[str, Any]
    model: str
    power_level: PowerLevel | None
    task_type: str
    stream: bool
    wants_usage: bool
    prompt_tokens: int
    """How many tokens the prompt is, about."""

    def for_upstream(self, model: Model) -> dict[str, Any]:
        """Return the body for a provider: a stream always ends with its usage."""
        body = {name: value for name, value in self.body.items() if name not in _OUR_OWN}
        body["model"] = model.upstream_model
        if self.stream:
            body["stream_options"] = (self.body.get("stream_options") or {}) | {"include_usage": True}
        return body

    def estimate(self, model: Model) -> TokenUsage:
        """Return what the call may use; raise `InvalidRequestError` for more than the model gives."""
        if self.service.kind == "image":
            return TokenUsage(images=_whole(self.body, "n", MOST_IMAGES) or 1)
        if self.service.kind == "embedding":
            return TokenUsage(self.prompt_tokens)
        # Which of the two a provider goes by is not known here.
        bounds = [_whole(self.body, name, model.largest_output) for name in BOUNDS]
        bound = max(filter(None, bounds), default=min(USUAL_OUTPUT, model.largest_output))
        return TokenUsage(self.prompt_tokens, bound * (_whole(self.body, "n", MOST_CHOICES) or 1))


def read(service: Service, body: bytes, default_level: str | None = None) -> Asked:
    """Return what a body asks for; raise `MalformedRequestError`, `InvalidRequestError`.

    That of a large body is for a thread.
    """
    asked = _parse(body)
    level = asked.get("power_level", default_level)
    if level is not None and level not in _LEVELS:
        raise InvalidRequestError(f"power_level must be one of {', '.join(_LEVELS)}.", param="power_level")
    model = asked.get("model", "auto" if level else None)
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("model must name a model, or be 'auto'.", param="model")
    task = asked.get("task_type", service.task_type)
    if not isinstance(task, str) or not 0 < len(task) <= LONGEST_NAME or not task.isprintable():
        raise InvalidRequestError("task_type must be a short text.", param="task_type")
    stream = False if asked.get("stream") is None else asked["stream"]
    options = {} if asked.get("stream_options") is None else asked["stream_options"]
    if not isinstance(stream, bool) or (stream and service.kind != "chat"):
        raise InvalidRequestError(
            "stream must be true or false, and only chats are streamed.", param="stream"
        )
    if not isinstance(options, dict):
        raise InvalidRequestError("stream_options must be an object.", param="stream_options")
    service.check(asked)
    wants_usage = options.get("include_usage") is True
    level = cast("PowerLevel | None", level)
    return Asked(service, asked, model, level, task, stream, wants_usage, _prompt_tokens(service, asked))


def _prompt_tokens(service: Service, body: dict[str, Any]) -> int:
    if service.kind == "chat":
        return tokens_of_chat(body)
    return tokens_of_input(body.get("input")) if service.kind == "embedding" else 0


def _check_chat(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError("messages must be a list of at least one message.", param="messages")
    if not all(isinstance(message, dict) for message in messages):
        raise InvalidRequestError("Each of messages must be an object.", param="messages")


def _check_input(body: dict[str, Any]) -> None:
    given = body.get("input")
    if not given or not isinstance(given, str | list):
        raise InvalidRequestError("input must be a text or a list.", param="input")


def _check_prompt(body: dict[str, Any]) -> None:
    if not isinstance(body.get("prompt"), str) or not body["prompt"]:
        raise InvalidRequestError("prompt must be a text.", param="prompt")


def _whole(body: dict[str, Any], name: str, largest: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= largest:
        raise InvalidRequestError(f"{name} must be a whole number from 1 to {largest}.", param=name)
    return value


def _parse(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body.decode(), parse_constant=_refuse)
        # What cannot be written again cannot be passed on; that is done from deeper in the stack.
        json.dumps(reduce(lambda inner, _: [inner], range(SPARE_LEVELS), asked)).encode()
    except RecursionError:
        raise MalformedRequestError("The body is nested too deeply.") from None
    except ValueError:
        raise MalformedRequestError("The body is not JSON.") from None
    if not isinstance(asked, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    return asked


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


CHAT = Service("/chat/completions", "chat", "llm_inference", "chat", _check_chat)
EMBEDDINGS = Service("/embeddings", "embedding", "llm_inference", "embedding", _check_input)
IMAGES = Service("/images/generations", "image", "image_generation", "image", _check_prompt)
SERVICES = {service.path: service for service in (CHAT, EMBEDDINGS, IMAGES)}
