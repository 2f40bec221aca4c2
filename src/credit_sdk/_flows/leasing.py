"""Settle what was spent from a lease: parts of its hold, or charges of their own once it has ended.

Each spend is charged under its own request id, so whatever is settled twice is taken once.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

from pydantic import JsonValue

from credit_sdk._flows.planning import ChargePlan
from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.settling import REFUSALS, describe
from credit_sdk._flows.steps import Flow, Forget, HandOver, Keep
from credit_sdk.amounts import MILLICREDITS_PER_CREDIT, from_millicredits, to_millicredits
from credit_sdk.errors import CreditError, HoldClosedError, NotFoundError, OutboxError
from credit_sdk.models import Hold, PendingCharge, Receipt
from credit_sdk.operations import (
    DEFAULT_HOLD_SECONDS,
    ChargeHold,
    Deduct,
    DeductBatch,
    ExtendHold,
    PlaceHold,
    VoidHold,
    parse,
)
from credit_sdk.redaction import redact

logger = logging.getLogger("credit_sdk")

_GONE = (HoldClosedError, NotFoundError)
millicredits = lru_cache(maxsize=1024)(to_millicredits)
"""An amount in millicredits. Services have few prices."""


@dataclass(slots=True)
class Spend:
    """A charge that was paid out of a lease, in millicredits. Not frozen: that would take thrice as long."""

    request_id: str
    credits: int
    service_type: str
    service_name: str | None
    metadata: dict[str, JsonValue]

    @classmethod
    def of(cls, plan: ChargePlan) -> "Spend":
        """Return what a plan will take; secrets are redacted, since it is written down."""
        metadata = redact(plan.metadata) if plan.metadata else {}
        credits = millicredits(plan.credits)
        return cls(plan.request_id, credits, plan.service_type, plan.service_name, metadata)


@dataclass(slots=True)
class LeasedHold:
    """The hold of a lease: whose it is, and what the books last said of it."""

    org_id: str
    user_id: str
    hold_id: UUID | None
    """None when it has ended."""
    told: Hold | None = None
    """None until the books have answered."""


def holding_for_lease(fields: dict[str, object], retries: Retries) -> Flow[Hold]:
    """Hold the credits of a lease; asked again under its request id, what became of it is found out."""
    hold: Hold = yield from retrying(parse(PlaceHold, fields), retries)
    return hold


def growing_lease(fields: dict[str, object], retries: Retries) -> Flow[Hold]:
    """Hold more for a lease, or for longer."""
    hold: Hold = yield from retrying(parse(ExtendHold, fields), retries)
    return hold


def ending_lease(leased: LeasedHold, retries: Retries) -> Flow[None]:
    """Give back what is left of a lease. One that has ended already has nothing left."""
    if leased.hold_id is not None:
        try:
            yield from retrying(VoidHold(hold_id=leased.hold_id, org_id=leased.org_id), retries)
        except _GONE:
            return


def settling_spends(leased: LeasedHold, spends: Sequence[Spend], retries: Retries) -> Flow[None]:
    """Charge what was spent. What the books refuse is left to the outbox, with the reason.

    Raises what leaves the outcome open; settling the same again finds out.
    """
    if leased.hold_id is None:
        yield from _deducting(leased, spends, retries)
        return
    try:
        yield from _charging_parts(leased, leased.hold_id, spends, retries)
    except _GONE:
        leased.hold_id = None
        yield from _deducting(leased, spends, retries)
    except REFUSALS:
        if len(spends) == 1:
            yield from _deducting(leased, spends, retries)
            return
        # One of them is refused, and the others must not wait for it.
        half = len(spends) // 2
        yield from settling_spends(leased, spends[:half], retries)
        yield from settling_spends(leased, spends[half:], retries)


def charging_beside_lease(
    leased: LeasedHold | None, plan: ChargePlan, retries: Retries
) -> Flow[Receipt | None]:
    """Charge work that is done at the books, out of the lease's hold if there is one; raises refusals.

    Answers None when that is left to the outbox, `plan.is_pending`; without an outbox it is raised.
    """
    try:
        plan.is_kept = yield Keep(plan.pending("succeeded"), durable=True)
    except OutboxError as error:
        logger.error("Charge %s is not in the outbox: %s", plan.request_id, error)  # noqa: TRY400 - the sentence says all
    try:
        receipt = yield from _charging_one(leased, plan, retries)
    except CreditError as error:
        if not plan.is_kept:
            raise
        if isinstance(error, REFUSALS):
            yield Forget(plan.entry_id)
            raise
        yield HandOver(plan.entry_id, describe(error))
        plan.is_pending = True
        return None
    if plan.is_kept:
        yield Forget(plan.entry_id)
    return receipt


def _charging_one(leased: LeasedHold | None, plan: ChargePlan, retries: Retries) -> Flow[Receipt]:
    if leased is not None and leased.hold_id is not None:
        try:
            return (yield from _charging_parts(leased, leased.hold_id, [Spend.of(plan)], retries))[0]
        except _GONE:
            leased.hold_id = None
        except REFUSALS as error:
            logger.debug("Charge %s is not taken from its lease: %s", plan.request_id, error)
    return (yield from retrying(plan.deduct_request(plan.credits), retries))


def _charging_parts(
    leased: LeasedHold, hold_id: UUID, spends: Sequence[Spend], retries: Retries
) -> Flow[tuple[Receipt, ...]]:
    parts = tuple(map(_terms, spends))
    request = parse(ChargeHold, {"hold_id": hold_id, "org_id": leased.org_id, "charges": parts})
    charged = yield from retrying(request, retries)
    leased.told = charged.hold
    receipts: tuple[Receipt, ...] = charged.receipts
    return receipts


def _deducting(leased: LeasedHold, spends: Sequence[Spend], retries: Retries) -> Flow[None]:
    """Take each as a charge of its own."""
    payer = {"org_id": leased.org_id, "user_id": leased.user_id}
    try:
        charges = tuple(parse(Deduct, payer | _terms(spend)) for spend in spends)
        result = yield from retrying(DeductBatch(charges=charges), retries)
    except REFUSALS as error:
        if len(spends) == 1:
            yield from _owing(leased, spends[0], error)
            return
        for spend in spends:
            yield from _deducting(leased, [spend], retries)
        return
    for spend, outcome in zip(spends, result.outcomes, strict=True):
        if outcome.problem is not None:
            yield from _owing(leased, spend, outcome.problem.exception())


def _terms(spend: Spend) -> dict[str, object]:
    """Return the fields of a charge, without those that say nothing: each of thousands would be checked."""
    whole, rest = divmod(spend.credits, MILLICREDITS_PER_CREDIT)
    fields: dict[str, object] = {
        "request_id": spend.request_id,
        "credits": from_millicredits(spend.credits) if rest else whole,
        "service_type": spend.service_type,
    }
    if spend.service_name is not None:
        fields["service_name"] = spend.service_name
    if spend.metadata:
        fields["request_metadata"] = spend.metadata
    return fields


def _owing(leased: LeasedHold, spend: Spend, refusal: CreditError) -> Flow[None]:
    """Leave to the outbox what was spent, and is refused."""
    charge = _pending(leased, spend)
    is_kept = yield Keep(charge, durable=True)
    if is_kept:
        yield HandOver(charge.entry_id, describe(refusal))
    logger.error(
        "Charge %s was spent from a lease and is refused: %s %s",
        spend.request_id,
        refusal,
        "It is in the outbox." if is_kept else "Nothing is taken for it.",
    )


def _pending(leased: LeasedHold, spend: Spend) -> PendingCharge:
    """Return a spend as the outbox keeps it: one record, however often it is refused."""
    name = f"{leased.org_id}\n{spend.request_id}"
    return PendingCharge(
        entry_id=sha256(name.encode()).hexdigest()[:24],
        outcome="succeeded",
        org_id=leased.org_id,
        user_id=leased.user_id,
        service_type=spend.service_type,
        service_name=spend.service_name,
        request_id=spend.request_id,
        credits=from_millicredits(spend.credits),
        estimate=Decimal(0),
        ttl_seconds=DEFAULT_HOLD_SECONDS,
        metadata=spend.metadata,
        created_at=datetime.now(UTC),
    )
