"""The steps that a flow may yield, besides operations."""

from collections.abc import Generator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar

from credit_sdk.models import PendingCharge
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
    """The caller's work ended in an exception, a cancellation or an early close, or never began."""

    error: BaseException
    began: bool = True


@dataclass(frozen=True, slots=True)
class Keep:
    """Write what is owed into the outbox; answers whether there is one.

    `durable` waits until it is on the disk itself. `unpaid` charges are let run while the books are away;
    with an `allowance` (in credits) one is only written, and answered True, while all of them together
    stay within it. May raise `OutboxError`.
    """

    charge: PendingCharge
    durable: bool = False
    unpaid: bool = False
    allowance: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Take a charge out of the outbox: it was confirmed, or there is nothing to charge."""

    entry_id: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """Leave a kept charge to the background: it could not be confirmed now, for this reason."""

    entry_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask which of some charges of an organisation the outbox keeps as owed; answers their request ids."""

    org_id: str
    request_ids: frozenset[str]


Safekeeping: TypeAlias = Keep | Forget | HandOver | Recall
Step: TypeAlias = Operation[Any] | Sleep | Perform | Safekeeping
Flow: TypeAlias = Generator[Step, Any, ReturnT]
"""What a step answers depends on the step, which the type of a generator cannot say."""
