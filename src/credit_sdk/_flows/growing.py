"""Extend a hold while the work runs that it is for."""

from dataclasses import dataclass
from decimal import Decimal

from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.steps import Flow
from credit_sdk._ledgers import hold_fields, ledger_of
from credit_sdk.errors import InsufficientCreditsError
from credit_sdk.models import Hold
from credit_sdk.operations import Operation, parse


@dataclass(frozen=True, slots=True)
class Growth:
    """By how many credits a hold is to grow: `wished`, or at least `needed`; zero gives it time only."""

    needed: Decimal
    wished: Decimal
    ttl_seconds: int


def growing(hold: Hold, growth: Growth, retries: Retries) -> Flow[Hold]:
    """Set more aside, and give the hold its whole time again.

    Where there are fewer credits than wished, all of them are set aside; raises the refusal where they are
    fewer than needed.
    """
    try:
        return (yield from retrying(_extension(hold, growth.wished, growth.ttl_seconds), retries))
    except InsufficientCreditsError as refusal:
        if refusal.available is None or not growth.needed <= refusal.available < growth.wished:
            raise
        rest = refusal.available
    return (yield from retrying(_extension(hold, rest, growth.ttl_seconds), retries))


def _extension(hold: Hold, credits: Decimal, ttl_seconds: int) -> Operation[Hold]:
    fields = hold_fields(hold) | {"ttl_seconds": ttl_seconds} | ({"credits": credits} if credits else {})
    return parse(ledger_of(hold.org_id).extend, fields)
