"""Settle what the outbox has kept: charge it, give it back, or find that it is too early to say."""

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from credit_sdk._flows.planning import ChargePlan
from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.settling import taking
from credit_sdk._flows.steps import Flow
from credit_sdk.errors import HoldClosedError, NotFoundError
from credit_sdk.models import PendingCharge, Receipt

Verdict: TypeAlias = Literal["charge", "release", "wait"]


def verdict_on(pending: PendingCharge, *, done: bool | None, probed: bool, now: datetime) -> Verdict:
    """Say what is to become of a charge whose process no longer works on it.

    `done` is what the probe says of the operation, None if it does not know; `probed` whether there is
    one here. Where the probe is another program's, or nobody knows, the hold's time is waited for, and
    then the policy decides (SPEC section 3).
    """
    if pending.outcome == "succeeded":
        return "charge"
    if pending.outcome == "failed":
        return "release"
    if done is not None:
        return "charge" if done else "release"
    if pending.outcome == "performing" and not (probed or pending.probed):
        return pending.on_crash
    ends = pending.expires_at or pending.created_at + timedelta(seconds=pending.ttl_seconds)
    return pending.on_unknown if now >= ends else "wait"


def delivering(pending: PendingCharge, verdict: Verdict, retries: Retries) -> Flow[Receipt | None]:
    """Carry the verdict out. Repeating it changes nothing: the request id charges once."""
    plan = ChargePlan.of_pending(pending)
    if verdict == "charge":
        return (yield from taking(plan, retries))
    if plan.hold is not None:
        try:
            yield from retrying(plan.void_request(plan.hold), retries)
        except (HoldClosedError, NotFoundError):
            return None
    return None
