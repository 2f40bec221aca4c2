"""What a simulated world is made of: jobs and their attempts, records, processes, mishaps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from credit_sdk import ChargePolicy
from credit_sdk._flows import ChargePlan, Flow, HoldSupport
from credit_sdk.errors import CreditError, OutcomeUnknownError, RateLimitedError, UnavailableError
from credit_sdk.models import PendingCharge

Ending = Literal["succeeds", "fails", "uncertain"]


@dataclass(frozen=True)
class Mishap:
    """What the network makes of one request."""

    times: int
    """How often it is carried out now."""
    comes_late: bool = False
    """Whether it is carried out (once more) when nobody waits for it."""
    error: Callable[[], CreditError] | None = None


MISHAPS = (
    Mishap(0, error=UnavailableError),
    Mishap(0, error=OutcomeUnknownError),
    Mishap(1, error=OutcomeUnknownError),
    Mishap(0, error=lambda: RateLimitedError(retry_after=1)),
    Mishap(2),
    Mishap(0, comes_late=True, error=OutcomeUnknownError),
    Mishap(1, comes_late=True),
)


class WorkFailedError(Exception):
    """The work did not succeed."""


class WorkTimedOutError(Exception):
    """Nobody knows whether the work was done."""


@dataclass(frozen=True)
class Job:
    """What is to be charged under one request id, however often it runs."""

    request_id: str
    cost: Decimal
    estimate: Decimal
    expected: Decimal
    reserve: bool
    policy: ChargePolicy
    probed: bool
    """Whether a probe knows what became of uncertain and interrupted work."""


@dataclass
class Attempt:
    """One run of a job, and everything that an outsider knows of it."""

    job: Job
    plan: ChargePlan
    ending: Ending
    was_done: bool
    """Of work that ends uncertain: whether it was done."""
    performed: bool = False
    kept: str | None = None
    """What the outbox said of the work when the process last wrote."""
    fate: str = "running"
    """Then `acked`, `pending`, `nothing`, `told` or `crashed`."""
    was_on_disk: bool = False
    """When its process died."""
    error: BaseException | None = None
    charge_id: Any = None


@dataclass
class Record:
    """A charge in the outbox."""

    charge: PendingCharge
    owner: int | None
    refused: bool = False


@dataclass
class Process:
    """A living application."""

    number: int
    support: HoldSupport = field(default_factory=HoldSupport)
    unwritten: list[Callable[[], None]] = field(default_factory=list)


@dataclass
class Run:
    """A flow under way in a process: what it is answered next, and who is told of its end."""

    process: Process
    flow: Flow[Any]
    ended: Callable[[Any, BaseException | None], None]
    attempt: Attempt | None = None
    answer: Any = None
    error: BaseException | None = None


def was_done(attempt: Attempt) -> bool:
    """What the work's own books say."""
    if not attempt.performed:
        return False
    return attempt.ending == "succeeds" or (attempt.ending == "uncertain" and attempt.was_done)
