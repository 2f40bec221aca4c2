"""Names on their way out: they go on working, and say so, until the version that they name.

The policy is in docs/versioning.md; a test fails once a version ships what it promised to remove.
"""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def sentence(what: str, *, since: str, removed_in: str, instead: str) -> str:
    """Return the words of every deprecation."""
    return f"{what} is deprecated since credit-sdk {since} and removed in {removed_in}: use {instead}."


def warn(what: str, *, since: str, removed_in: str, instead: str, stacklevel: int = 2) -> None:
    """Warn the caller of the function that calls this, or one further out."""
    words = sentence(what, since=since, removed_in=removed_in, instead=instead)
    warnings.warn(words, DeprecationWarning, stacklevel=stacklevel + 1)


def renamed_argument(
    old: str, new: str, *, since: str, removed_in: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function be called with the old name of a keyword argument; given both, it raises `TypeError`.

    Coroutine functions stay such for whoever awaits what they return.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def renaming(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{function.__name__}() got {old!r} and {new!r}, which are the same.")
                about = f"The argument {old!r} of {function.__name__}()"
                warn(about, since=since, removed_in=removed_in, instead=repr(new))
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return renaming

    return decorate


def renamed_names(
    module: str, names: Mapping[str, Any], *, since: str, removed_in: str
) -> Callable[[str], Any]:
    """Return a module's `__getattr__` that answers old names with what has another name now."""

    def look_up(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found = names[name]
        warn(f"{module}.{name}", since=since, removed_in=removed_in, instead=found.__name__)
        return found

    return look_up


__all__ = ["renamed_argument", "renamed_names", "sentence", "warn"]
