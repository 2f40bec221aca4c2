"""The path of a charge: hold the credits, let the work run, capture what it cost (SPEC section 3)."""

import logging
import time
from dataclasses import dataclass

from credit_sdk._flows.planning import ChargePlan
from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.settling import confirming, leaving_open, noting_begin, performing_unpaid, releasing
from credit_sdk._flows.steps import Failed, Flow, Perform
from credit_sdk._ledgers import ledger_of
from credit_sdk.amounts import SMALLEST_AMOUNT
from credit_sdk.errors import HoldsUnsupportedError, InsufficientCreditsError, UnavailableError
from credit_sdk.models import Receipt

logger = logging.getLogger("credit_sdk")

ASK_AGAIN_SECONDS = 60.0
"""How long a server or database that knew no holds is believed to know none."""


@dataclass(slots=True)
class HoldSupport:
    """Whether the books know holds; found out by asking, and asked again after a while."""

    missing_until: float = 0.0
    """On the monotonic clock, in seconds."""
    warned: bool = False

    @property
    def known_missing(self) -> bool:
        """Whether it is not worth asking now."""
        return self.missing_until > time.monotonic()

    def found_missing(self, reason: HoldsUnsupportedError) -> None:
        """Remember for a while, and say so once: a proxy may have answered for a server that restarts."""
        self.missing_until = time.monotonic() + ASK_AGAIN_SECONDS
        if not self.warned:
            logger.warning("%s Credits are checked before and deducted after each operation instead.", reason)
            self.warned = True


def charging(plan: ChargePlan, retries: Retries, support: HoldSupport) -> Flow[Receipt | None]:
    """Hold, perform, capture.

    Answers None if the work failed or cost nothing: then nothing is taken; and if the books could not be
    reached after it: then the charge is in the outbox, `plan.is_pending`.
    """
    if support.known_missing or not plan.estimate:
        return (yield from deducting_afterwards(plan, retries))
    try:
        plan.hold = yield from retrying(plan.hold_request(), retries)
    except HoldsUnsupportedError as error:
        support.found_missing(error)
        return (yield from deducting_afterwards(plan, retries))
    except UnavailableError as error:
        yield from performing_unpaid(plan, error)
    else:
        yield from noting_begin(plan, retries)
    return (yield from _settling(plan, retries, (yield Perform())))


def deducting_afterwards(plan: ChargePlan, retries: Retries) -> Flow[Receipt | None]:
    """Check, perform, deduct: without a hold, two calls at once may both find the same credits."""
    # What could not be charged afterwards is refused now.
    plan.deduct_request(plan.estimate or SMALLEST_AMOUNT)
    try:
        if plan.estimate:
            yield from _checking(plan, retries)
    except UnavailableError as error:
        yield from performing_unpaid(plan, error)
    else:
        yield from noting_begin(plan, retries)
    return (yield from _settling(plan, retries, (yield Perform())))


def _settling(plan: ChargePlan, retries: Retries, failure: Failed | None) -> Flow[Receipt | None]:
    if failure is not None and failure.began and isinstance(failure.error, plan.policy.uncertain):
        yield from leaving_open(plan, failure.error)
        return None
    if failure is not None or not plan.credits:
        yield from releasing(plan, retries)
        return None
    plan.drop_unkeepable_metadata()
    return (yield from confirming(plan, retries))


def _checking(plan: ChargePlan, retries: Retries) -> Flow[None]:
    check = yield from retrying(plan.check_request(), retries)
    if not check:
        raise InsufficientCreditsError(
            f"Insufficient credits: {plan.estimate:f} required, {check.available_credits:f} available.",
            limit=ledger_of(plan.org_id).limit,
            required=plan.estimate,
            available=check.available_credits,
            request_id=plan.request_id,
        )
