"""Read a decorated function's arguments by name; everything is resolved at decoration time."""

import inspect
from collections.abc import Callable
from typing import Any

from credit_sdk.errors import ConfigurationError

Reader = Callable[[tuple[Any, ...], dict[str, Any]], Any]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def argument_reader(function: Callable[..., Any], name: str) -> Reader | None:
    """Return what reads the argument `name` out of a call, or None if the function has no such parameter."""
    parameters = list(inspect.signature(function).parameters.values())
    for position, parameter in enumerate(parameters):
        if parameter.name == name and parameter.kind in _NAMED:
            return _reader(parameter, position)
    return None


def named_call(function: Callable[..., Any], rule: Callable[..., Any], purpose: str) -> Reader:
    """Return what calls `rule` with those arguments of `function` that its own parameters name.

    Raises `ConfigurationError` when the rule asks for an argument that the function does not have.
    """
    readers: dict[str, Reader] = {}
    for parameter in inspect.signature(rule).parameters.values():
        reader = argument_reader(function, parameter.name)
        if reader is None:
            raise ConfigurationError(
                f"{purpose} of {function.__qualname__} asks for an argument {parameter.name!r}, "
                "which the function does not have."
            )
        readers[parameter.name] = reader

    def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return rule(**{name: read(args, kwargs) for name, read in readers.items()})

    return call


def _reader(parameter: inspect.Parameter, position: int) -> Reader:
    name = parameter.name
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
        return lambda _, kwargs: kwargs.get(name, default)

    def read(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args[position] if position < len(args) else kwargs.get(name, default)

    return read
