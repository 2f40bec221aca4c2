"""The steps that a flow may yield, besides operations."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from credit_sdk.operations import Operation

ReturnT = TypeVar("ReturnT")


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds; answers whether a cancellation of the caller cut the wait short."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Perform:
    """Let the caller's work run; answers `Failed` if it did not end well, else None."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The caller's work ended in an exception, a cancellation or an early close."""

    error: BaseException


Step: TypeAlias = Operation[Any] | Sleep | Perform
Flow: TypeAlias = Generator[Step, Any, ReturnT]
"""What a step answers depends on the step, which the type of a generator cannot say."""
