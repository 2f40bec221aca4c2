"""The path of a charge: hold the credits, let the work run, capture what it cost (SPEC section 3)."""

import logging
import time
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import JsonValue

from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.steps import Failed, Flow, Perform
from credit_sdk._ledgers import hold_fields, ledger_of, payer_fields
from credit_sdk.amounts import SMALLEST_AMOUNT
from credit_sdk.errors import (
    CreditError,
    HoldClosedError,
    HoldExpiredError,
    HoldsUnsupportedError,
    InsufficientCreditsError,
    ValidationFailedError,
)
from credit_sdk.identifiers import new_request_id
from credit_sdk.models import CreditCheck, Hold, Receipt
from credit_sdk.operations import DEFAULT_HOLD_SECONDS, Operation, parse

logger = logging.getLogger("credit_sdk")

ASK_AGAIN_SECONDS = 60.0
"""How long a server or database that knew no holds is believed to know none."""


@dataclass(slots=True)
class ChargePlan:
    """What is to be charged. The caller's work may still change `credits` and `metadata` while it runs.

    `estimate` is held before the work runs, `credits` is taken after it; both in credits. Without an
    `org_id` the user's own balance pays, which also keeps a `description`.
    """

    org_id: str | None
    user_id: str
    service_type: str
    estimate: Decimal
    credits: Decimal
    service_name: str | None = None
    request_id: str = field(default_factory=new_request_id)
    metadata: dict[str, JsonValue] = field(default_factory=dict)
    ttl_seconds: int = DEFAULT_HOLD_SECONDS
    hold: Hold | None = None
    description: str | None = None

    def hold_request(self) -> Operation[Hold]:
        """Return the hold to place; what could not be charged afterwards is refused here."""
        fields = {
            "credits": self.estimate,
            "ttl_seconds": self.ttl_seconds,
            "request_metadata": self.metadata,
        }
        return parse(ledger_of(self.org_id).place, self._common_fields() | fields)

    def check_request(self) -> Operation[CreditCheck]:
        """Return the question whether the estimate would be covered now."""
        payer = payer_fields(self.org_id, self.user_id)
        return parse(ledger_of(self.org_id).check, payer | {"credits": self.estimate})

    def deduct_request(self, credits: Decimal) -> Operation[Receipt]:
        """Return the charge as one that needs no hold."""
        fields = {"credits": credits, "request_metadata": self.metadata}
        return parse(ledger_of(self.org_id).deduct, self._common_fields() | fields)

    def capture_request(self, hold: Hold) -> Operation[Receipt]:
        """Return the capture of the hold, for what the work has cost."""
        fields = {"credits": self.credits, "request_metadata": self.metadata}
        return parse(ledger_of(hold.org_id).capture, hold_fields(hold) | fields)

    def drop_unkeepable_metadata(self) -> None:
        """Leave out what the work has set and cannot be kept: the work is charged all the same."""
        if not self.metadata:
            return
        try:
            self.deduct_request(SMALLEST_AMOUNT)
        except ValidationFailedError as error:
            logger.warning("The metadata of charge %s is not kept: %s", self.request_id, error)
            self.metadata = {"metadata_not_kept": str(error)}

    def _common_fields(self) -> dict[str, object]:
        fields = payer_fields(self.org_id, self.user_id)
        if self.description is not None:
            fields["description"] = self.description
        names = ("service_type", "service_name", "request_id")
        return fields | {name: getattr(self, name) for name in names}


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
    """Hold, perform, capture. Answers None if the work failed or cost nothing: then nothing is taken."""
    if support.known_missing or not plan.estimate:
        return (yield from deducting_afterwards(plan, retries))
    try:
        hold = yield from retrying(plan.hold_request(), retries)
    except HoldsUnsupportedError as error:
        support.found_missing(error)
        return (yield from deducting_afterwards(plan, retries))
    plan.hold = hold
    failure: Failed | None = yield Perform()
    if failure is not None or not plan.credits:
        yield from _releasing(hold, retries)
        return None
    plan.drop_unkeepable_metadata()
    return (yield from _capturing(plan, hold, retries))


def deducting_afterwards(plan: ChargePlan, retries: Retries) -> Flow[Receipt | None]:
    """Check, perform, deduct: without a hold, two calls at once may both find the same credits."""
    # What could not be charged afterwards is refused now.
    plan.deduct_request(plan.estimate or SMALLEST_AMOUNT)
    if plan.estimate:
        yield from _checking(plan, retries)
    failure: Failed | None = yield Perform()
    if failure is not None or not plan.credits:
        return None
    plan.drop_unkeepable_metadata()
    return (yield from retrying(plan.deduct_request(plan.credits), retries))


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
    except CreditError as error:
        if not error.retryable:
            # The caller sees an exception, so nothing may be taken, and nothing stay set aside.
            yield from _releasing(hold, retries)
        raise


def _releasing(hold: Hold, retries: Retries) -> Flow[None]:
    """Give a hold back. If that fails the hold ends by itself, and the work's own outcome matters more."""
    if hold.status != "held":
        return
    try:
        yield from retrying(parse(ledger_of(hold.org_id).void, hold_fields(hold)), retries)
    except CreditError as error:
        logger.warning(
            "Hold %s was not given back (%s); it expires at %s.", hold.hold_id, error, hold.expires_at
        )
