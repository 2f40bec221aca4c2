"""Charge many records of one job, each once, out of one hold that grows with the job (SPEC section 3).

A record that is done is in the outbox before it is sent. What covers a record is held before its work
begins, so that no work is done that the books would refuse.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.settling import REFUSALS, describe
from credit_sdk._flows.steps import Flow, Forget, HandOver, Keep, Recall
from credit_sdk.errors import CreditError, HoldClosedError, OutboxError
from credit_sdk.identifiers import new_request_id
from credit_sdk.models import Hold, PendingCharge
from credit_sdk.operations import (
    ChargeHold,
    CheckCharges,
    Deduct,
    DeductBatch,
    ExtendHold,
    Part,
    PlaceHold,
    VoidHold,
    parse,
)

logger = logging.getLogger("credit_sdk")


@dataclass(slots=True, kw_only=True)
class BatchPlan:
    """A job and how far it is. `done` are charges that are kept and not sent yet, by request id."""

    org_id: str
    user_id: str
    service_type: str
    service_name: str | None
    request_id: str
    cost_each: Decimal
    estimate: Decimal
    ttl_seconds: int
    hold: Hold | None = None
    done: dict[str, PendingCharge] = field(default_factory=dict)
    is_kept: bool = False
    charged: int = 0
    pending: int = 0
    skipped: int = 0
    failed: int = 0

    def id_of(self, key: object) -> str:
        """Return the request id of a record."""
        return f"{self.request_id}/{key}"

    def due(self) -> Decimal:
        """Return what is done and not taken yet, and the next record."""
        return self.cost_each * (len(self.done) + 1)

    def pending_charge(self, key: object) -> PendingCharge:
        """Return a record that succeeded as the outbox keeps it: as a charge that needs no hold."""
        return PendingCharge(
            entry_id=new_request_id(),
            outcome="succeeded",
            org_id=self.org_id,
            user_id=self.user_id,
            service_type=self.service_type,
            service_name=self.service_name,
            request_id=self.id_of(key),
            credits=self.cost_each,
            estimate=Decimal(0),
            ttl_seconds=self.ttl_seconds,
            metadata={"batch": self.request_id},
            created_at=datetime.now(UTC),
        )


def opening_batch(plan: BatchPlan, retries: Retries) -> Flow[None]:
    """Hold the estimate. What an earlier run of the job still holds is found again, and given more time."""
    fields = {"credits": plan.estimate, "ttl_seconds": plan.ttl_seconds, "request_id": plan.request_id}
    hold: Hold = yield from retrying(parse(PlaceHold, _charge_fields(plan) | fields), retries)
    if hold.replayed:
        hold = yield from _extending(plan, hold, retries, ttl_seconds=plan.ttl_seconds)
    plan.hold = hold


def finding_remaining(plan: BatchPlan, keys: Sequence[object], retries: Retries) -> Flow[frozenset[str]]:
    """Return the request ids of the records that are neither charged nor kept as done."""
    ids = {plan.id_of(key): None for key in keys}
    owed = (yield Recall(plan.org_id, frozenset(ids))) or frozenset()
    payer = {"org_id": plan.org_id, "user_id": plan.user_id}
    question = parse(CheckCharges, payer | {"request_ids": tuple(ids)})
    charged = yield from retrying(question, retries)
    return frozenset(ids) - owed - set(charged.request_ids)


def covering(plan: BatchPlan, retries: Retries, *, is_ageing: bool) -> Flow[None]:
    """See to it that the next record is held for; raises what the books refuse, before it is worked on."""
    if plan.hold is None:
        yield from opening_batch(plan, retries)
    hold = plan.hold
    assert hold is not None  # noqa: S101 - opening_batch has placed it
    lacking = plan.due() - hold.credits
    ttl_seconds = plan.ttl_seconds if is_ageing else None
    if lacking <= 0 and ttl_seconds is None:
        return
    try:
        if lacking > 0:
            hold = yield from _growing(plan, hold, lacking, retries)
        else:
            hold = yield from _extending(plan, hold, retries, ttl_seconds=ttl_seconds)
    except HoldClosedError:
        plan.hold = None
        yield from sending(plan, retries)
        yield from opening_batch(plan, retries)
    else:
        plan.hold = hold


def keeping_done(plan: BatchPlan, key: object) -> Flow[None]:
    """Write down that a record is done. Without an outbox it is only remembered, until it is sent."""
    charge = plan.pending_charge(key)
    try:
        plan.is_kept = yield Keep(charge, durable=True)
    except OutboxError as error:
        plan.is_kept = False
        logger.error("Charge %s is not in the outbox: %s", charge.request_id, error)  # noqa: TRY400 - the sentence says all
    plan.done[charge.request_id] = charge


def sending(plan: BatchPlan, retries: Retries, *, close: bool = False) -> Flow[None]:
    """Charge what is done; what cannot be sent now is left to the outbox, if there is one."""
    done, plan.done = plan.done, {}
    try:
        if done:
            yield from _charging(plan, done, retries, close=close)
    except CreditError as error:
        for charge in done.values():
            yield HandOver(charge.entry_id, describe(error))
        if not plan.is_kept or isinstance(error, REFUSALS):
            raise
        plan.pending += len(done)
        logger.warning("%d records of %s are sent again later (%s)", len(done), plan.request_id, error)
    else:
        plan.charged += len(done)
        for charge in done.values():
            yield Forget(charge.entry_id)


def closing_batch(plan: BatchPlan, retries: Retries) -> Flow[None]:
    """Charge what is done, and give back what the job did not need."""
    try:
        yield from sending(plan, retries, close=True)
    finally:
        if plan.hold is not None and plan.hold.status == "held":
            try:
                yield from retrying(VoidHold(hold_id=plan.hold.hold_id, org_id=plan.org_id), retries)
            except CreditError as error:
                logger.warning("Hold %s was not given back (%s); it expires.", plan.hold.hold_id, error)


def _charging(
    plan: BatchPlan, done: dict[str, PendingCharge], retries: Retries, *, close: bool
) -> Flow[None]:
    if plan.hold is not None:
        parts = tuple(
            Part(request_id=each, credits=charge.credits, request_metadata=charge.metadata)
            for each, charge in done.items()
        )
        request = ChargeHold(hold_id=plan.hold.hold_id, org_id=plan.org_id, charges=parts, close=close)
        try:
            plan.hold = (yield from retrying(request, retries)).hold
        except HoldClosedError:
            plan.hold = None
        else:
            return
    # The hold has ended meanwhile: each is a charge of its own then, under the same id.
    charges = tuple(
        parse(
            Deduct,
            _charge_fields(plan)
            | {"credits": charge.credits, "request_id": each, "request_metadata": charge.metadata},
        )
        for each, charge in done.items()
    )
    result = yield from retrying(DeductBatch(charges=charges), retries)
    for outcome in result.outcomes:
        if outcome.problem is not None:
            raise outcome.problem.exception()


def _growing(plan: BatchPlan, hold: Hold, lacking: Decimal, retries: Retries) -> Flow[Hold]:
    """Hold for another estimate, or if that is refused for what is lacking."""
    try:
        return (
            yield from _extending(
                plan, hold, retries, credits=max(plan.estimate, lacking), ttl_seconds=plan.ttl_seconds
            )
        )
    except HoldClosedError:
        raise
    except REFUSALS:
        return (yield from _extending(plan, hold, retries, credits=lacking, ttl_seconds=plan.ttl_seconds))


def _extending(plan: BatchPlan, hold: Hold, retries: Retries, **more: object) -> Flow[Hold]:
    fields = {"hold_id": hold.hold_id, "org_id": plan.org_id}
    extended: Hold = yield from retrying(parse(ExtendHold, fields | more), retries)
    return extended


def _charge_fields(plan: BatchPlan) -> dict[str, object]:
    names = "org_id", "user_id", "service_type", "service_name"
    return {name: getattr(plan, name) for name in names}
