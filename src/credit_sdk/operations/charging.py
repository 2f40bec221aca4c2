"""Take credits, set them aside, give them back."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from credit_sdk import models
from credit_sdk.amounts import Credits
from credit_sdk.identifiers import new_request_id
from credit_sdk.operations._base import (
    DEFAULT_HOLD_SECONDS,
    LARGEST_BATCH,
    SOMETHING_MORE,
    ApiKeyId,
    HoldSeconds,
    Metadata,
    Notes,
    Operation,
    OrgId,
    RequestId,
    ServiceName,
    ServiceType,
    UserId,
)


class CheckCredits(Operation[models.CreditCheck]):
    """Ask whether a charge would be taken now."""

    org_id: OrgId
    user_id: UserId
    credits: Credits


class Deduct(Operation[models.Receipt]):
    """Take credits for an operation that has succeeded.

    `api_key_id` is the API key whose caps count as well. A server fills it in: no request over HTTP may.
    """

    idempotency = "request_id"

    org_id: OrgId
    user_id: UserId
    credits: Credits
    service_type: ServiceType
    service_name: ServiceName | None = None
    request_id: RequestId = Field(default_factory=new_request_id)
    request_metadata: Metadata = Field(default_factory=dict)
    api_key_id: ApiKeyId | None = None


class DeductBatch(Operation[models.BatchResult]):
    """Take many charges, each with an outcome of its own, as if one came after the other."""

    charges: Annotated[tuple[Deduct, ...], Field(min_length=1, max_length=LARGEST_BATCH)]


class PlaceHold(Operation[models.Hold]):
    """Set credits aside before an operation. `api_key_id` is that of `Deduct`."""

    idempotency = "request_id"

    org_id: OrgId
    user_id: UserId
    credits: Credits
    service_type: ServiceType
    service_name: ServiceName | None = None
    request_id: RequestId = Field(default_factory=new_request_id)
    request_metadata: Metadata = Field(default_factory=dict)
    ttl_seconds: HoldSeconds = DEFAULT_HOLD_SECONDS
    api_key_id: ApiKeyId | None = None


class ExtendHold(Operation[models.Hold]):
    """Set more credits aside for an open hold, give it more time, or both; once for each request id.

    The credits are decided like those of a new hold. The time runs from now, and is never shortened. Given
    more credits, the whole hold counts against caps from now on. Raises `HoldClosedError` or
    `HoldExpiredError` once the hold has ended.
    """

    model_config = ConfigDict(json_schema_extra=SOMETHING_MORE)
    idempotency = "request_id"

    hold_id: UUID
    org_id: OrgId | None = None
    credits: Credits | None = None
    ttl_seconds: HoldSeconds | None = None
    request_id: RequestId = Field(default_factory=new_request_id)

    @model_validator(mode="after")
    def _gives_something(self) -> "ExtendHold":
        if self.credits is None and self.ttl_seconds is None:
            raise ValueError("give credits, ttl_seconds or both")
        return self


class CaptureHold(Operation[models.Receipt]):
    """Charge a hold: all, less, or more if the balance allows. Repeating it changes nothing."""

    hold_id: UUID
    org_id: OrgId | None = None
    credits: Credits | None = None
    request_metadata: Metadata = Field(default_factory=dict)


class VoidHold(Operation[models.Hold]):
    """Give a hold back. Repeating it changes nothing."""

    hold_id: UUID
    org_id: OrgId | None = None


class GetHold(Operation[models.Hold]):
    """Look at a hold."""

    hold_id: UUID
    org_id: OrgId | None = None


class Refund(Operation[models.RefundReceipt]):
    """Give a charge back, whole or in part, never more than was taken.

    The charge is named by `charge_id`, or by its `request_id` and `org_id`; the refund has a key of its own.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["charge_id"],
                    "properties": {"charge_id": {"type": "string"}, "request_id": {"type": "null"}},
                },
                {
                    "required": ["request_id", "org_id"],
                    "properties": {
                        "request_id": {"type": "string"},
                        "org_id": {"type": "string"},
                        "charge_id": {"type": "null"},
                    },
                },
            ]
        }
    )
    idempotency = "idempotency_key"

    org_id: OrgId | None = None
    charge_id: UUID | None = None
    request_id: RequestId | None = None
    credits: Credits | None = None
    reason: Notes | None = None
    idempotency_key: RequestId = Field(default_factory=new_request_id)

    @model_validator(mode="after")
    def _names_one_charge(self) -> "Refund":
        if (self.charge_id is None) == (self.request_id is None):
            raise ValueError("name the charge by charge_id or by request_id, not both")
        if self.charge_id is None and self.org_id is None:
            raise ValueError("a request_id needs its org_id: it is unique within an organisation")
        return self
