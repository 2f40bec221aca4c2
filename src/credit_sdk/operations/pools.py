"""Put credits into pools and allocations."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from credit_sdk import models
from credit_sdk.amounts import Credits, Price
from credit_sdk.identifiers import new_request_id
from credit_sdk.operations._base import (
    LARGEST_PAGE,
    Cursor,
    ExpiryDays,
    LotPriority,
    Moment,
    Notes,
    Operation,
    OrgId,
    RequestId,
    UserId,
    Whole,
    expires_once,
)


class GetPool(Operation[models.CreditPool]):
    """Look at an organisation's pool."""

    org_id: OrgId


class AddCredits(Operation[models.PoolChange]):
    """Add bought or granted credits to an organisation's pool. `purchase_amount` is in USD.

    With `expires_at`, or `expires_in_days` in its place, what is not used by then expires. Of credits that
    expire, a lower `priority` is used first (100 by default), then the soonest to expire.
    """

    idempotency = "request_id"

    org_id: OrgId
    credits: Credits
    purchase_amount: Price = Decimal(0)
    request_id: RequestId = Field(default_factory=new_request_id)
    expires_at: Moment | None = None
    expires_in_days: ExpiryDays | None = None
    priority: LotPriority | None = None

    @model_validator(mode="after")
    def _expires_at_one_time(self) -> "AddCredits":
        expires_once(self.expires_at, self.expires_in_days)
        return self


class Allocate(Operation[models.AllocationChange]):
    """Add credits of the pool to a member's allocation, and set when it resets if given."""

    idempotency = "request_id"

    org_id: OrgId
    user_id: UserId
    allocated_credits: Credits
    reset_period: models.ResetPeriod | None = None
    notes: Notes | None = None
    allocated_by: UserId | None = None
    request_id: RequestId = Field(default_factory=new_request_id)


class ListAllocations(Operation[models.AllocationPage]):
    """List an organisation's allocations by user id."""

    org_id: OrgId
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None
