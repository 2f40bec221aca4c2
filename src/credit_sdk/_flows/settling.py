"""What comes after the work: take the credits or give them back, and lose neither when that fails.

A charge is in the outbox before it is first sent, and until it is confirmed or refused for good. Without
an outbox an unknown outcome is raised, for the caller to repeat under the same request id.
"""

import logging

from credit_sdk._flows.planning import ChargePlan
from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.steps import Flow, Forget, HandOver, Keep
from credit_sdk.errors import (
    ConflictError,
    CreditError,
    HoldClosedError,
    HoldExpiredError,
    IdempotencyConflictError,
    NotFoundError,
    OutboxError,
    RefusedError,
    UnavailableError,
    ValidationFailedError,
)
from credit_sdk.models import Hold, Receipt, WorkOutcome

logger = logging.getLogger("credit_sdk")

REFUSALS = (RefusedError, ConflictError, HoldClosedError, NotFoundError, ValidationFailedError)
"""The books' own word that nothing was taken. After any other error the charge is still owed."""


def noting_begin(plan: ChargePlan, retries: Retries) -> Flow[None]:
    """Note that the work begins, so that a process that dies meanwhile leaves a trace."""
    if not plan.can_be_kept:
        return
    try:
        plan.is_kept = yield Keep(plan.pending("performing"))
    except OutboxError:
        # What could not be kept afterwards is not begun.
        yield from releasing(plan, retries)
        raise


def performing_unpaid(plan: ChargePlan, error: UnavailableError) -> Flow[None]:
    """Let the work run although the books are away, if the policy says so; else raise the error."""
    if plan.policy.when_unavailable == "refuse":
        raise error
    allowance = plan.policy.allowed_credits
    plan.is_kept = yield Keep(plan.pending("performing"), durable=True, unpaid=True, allowance=allowance)
    if not plan.is_kept:
        why = "there is no outbox"
        if allowance is not None:
            why += f", or its allowance of {allowance:f} credits is used up"
        raise type(error)(f"{error} The operation was not performed unpaid: {why}.") from error
    plan.is_unpaid = True
    logger.warning("Performing %s before it is paid (%s)", plan.request_id, error)


def confirming(plan: ChargePlan, retries: Retries) -> Flow[Receipt | None]:
    """Take the credits of work that has succeeded; None when that is left to the outbox.

    Raises what the books refuse, and then nothing was taken.
    """
    is_owed = yield from _keeping(plan, "succeeded", durable=True)
    try:
        receipt = yield from taking(plan, retries)
    except GeneratorExit:
        raise
    except BaseException as error:
        if not plan.is_kept:
            raise
        if not is_owed or (isinstance(error, REFUSALS) and not plan.is_unpaid):
            yield Forget(plan.entry_id)
            raise
        yield HandOver(plan.entry_id, describe(error))
        if not isinstance(error, CreditError):
            raise
        plan.is_pending = True
        logger.warning("Charge %s is kept in the outbox and sent again later (%s)", plan.request_id, error)
        return None
    if plan.is_kept:
        yield Forget(plan.entry_id)
    return receipt


def taking(plan: ChargePlan, retries: Retries) -> Flow[Receipt]:
    """Take the credits: from the hold where there is one, else by deducting."""
    if plan.hold is not None:
        return (yield from _capturing(plan, plan.hold, retries))
    try:
        return (yield from retrying(plan.deduct_request(plan.credits), retries))
    except IdempotencyConflictError:
        if not plan.estimate:
            raise
        # The answer to the hold may have been lost: then the same request finds it.
        hold = yield from retrying(plan.hold_request(), retries)
        return (yield from _capturing(plan, hold, retries))


def _capturing(plan: ChargePlan, hold: Hold, retries: Retries) -> Flow[Receipt]:
    if hold.status == "captured":
        # An earlier run of this operation was charged already; its amount stands.
        plan.credits = hold.captured_credits
    try:
        return (yield from retrying(plan.capture_request(hold), retries))
    except HoldExpiredError:
        raise
    except HoldClosedError:
        # Someone gave the hold back while the work ran. The work succeeded all the same, so it is
        # charged under the same request id, which cannot be charged twice.
        return (yield from retrying(plan.deduct_request(plan.credits), retries))
    except REFUSALS:
        # The caller sees an exception, so nothing may be taken, and nothing stay set aside.
        yield from _voiding(plan, hold, retries)
        raise


def releasing(plan: ChargePlan, retries: Retries) -> Flow[None]:
    """Give the hold back. If that fails the outbox does it, else the hold ends by itself."""
    failure = None
    if plan.policy.on_crash == "charge":
        # A process that dies from here on must not be charged for work that has failed.
        yield from _keeping(plan, "failed", durable=True)
    if plan.hold is not None:
        failure = yield from _voiding(plan, plan.hold, retries)
    if not plan.is_kept:
        return
    if failure is None or isinstance(failure, REFUSALS) or not (yield from _keeping(plan, "failed")):
        yield Forget(plan.entry_id)
    else:
        yield HandOver(plan.entry_id, describe(failure))


def leaving_open(plan: ChargePlan, failure: BaseException) -> Flow[None]:
    """Nobody knows whether the work was done: the outbox finds out, and the hold stays meanwhile."""
    yield from _keeping(plan, "uncertain", durable=True)
    if plan.is_kept:
        yield HandOver(plan.entry_id, describe(failure))
        logger.warning("Whether %s was done is unknown (%s)", plan.request_id, describe(failure))


def describe(error: BaseException) -> str:
    """Return an error as the reason that the outbox keeps."""
    return str(error) if isinstance(error, CreditError) else type(error).__name__


def _voiding(plan: ChargePlan, hold: Hold, retries: Retries) -> Flow[CreditError | None]:
    """Give a hold back and answer what was in the way: the work's own outcome matters more."""
    if hold.status != "held":
        return None
    try:
        yield from retrying(plan.void_request(hold), retries)
    except CreditError as error:
        logger.warning(
            "Hold %s was not given back (%s); it expires at %s.", hold.hold_id, error, hold.expires_at
        )
        return error
    return None


def _keeping(plan: ChargePlan, outcome: WorkOutcome, *, durable: bool = False) -> Flow[bool]:
    """Bring the outbox up to date, and answer whether it is.

    It is too late to refuse the work: what fails here is only logged. An earlier record stays.
    """
    if not plan.can_be_kept:
        return False
    try:
        is_current: bool = yield Keep(plan.pending(outcome), durable=durable)
    except OutboxError as error:
        logger.error("Charge %s is not in the outbox: %s", plan.request_id, error)  # noqa: TRY400 - the sentence says all
        return False
    plan.is_kept = plan.is_kept or is_current
    return is_current
