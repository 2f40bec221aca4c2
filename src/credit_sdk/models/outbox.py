"""Charges that are owed, as the outbox keeps them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from credit_sdk.amounts import Balance
from credit_sdk.models._base import Result

WorkOutcome = Literal["performing", "succeeded", "failed", "uncertain"]


class PendingCharge(Result):
    """A charge that is not confirmed yet. Amounts are credits.

    `outcome` is what is known of the operation itself: it is under way (or its process died),
    succeeded and is owed, failed and its hold is to be given back, or nobody knows. `hold_id` is None
    when the books could not be reached before the operation. `expires_at` is when its hold ends.
    `probed` says that the service that performed it had a probe for it: only a service with that probe
    can tell what became of it before the hold ends.
    """

    entry_id: str
    outcome: WorkOutcome
    org_id: str | None
    user_id: str
    service_type: str
    service_name: str | None = None
    description: str | None = None
    request_id: str
    credits: Balance
    estimate: Balance
    ttl_seconds: int
    metadata: dict[str, Any]
    hold_id: UUID | None = None
    expires_at: datetime | None = None
    on_crash: Literal["release", "charge"] = "release"
    on_unknown: Literal["release", "charge"] = "release"
    probed: bool = False
    created_at: datetime


class OutboxEntry(Result):
    """A pending charge and what delivering it has come to.

    `state` is `under way` while a living process works on it, `waiting` for the next delivery,
    `refused` when the books said no (it is tried again all the same), `unreadable` when the record
    cannot be understood: then `charge` is None. `reason` is why it was not delivered.
    """

    entry_id: str
    state: Literal["under way", "waiting", "refused", "unreadable"]
    destination: str
    charge: PendingCharge | None
    created_at: datetime
    age_seconds: float
    attempts: int
    reason: str | None


class Delivery(Result):
    """What one round of deliveries came to."""

    delivered: int = 0
    released: int = 0
    kept: int = 0
    credits_charged: Balance = Decimal(0)
