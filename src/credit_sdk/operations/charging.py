"""Take credits, set them aside, give them back."""

from collections.abc import Iterable
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

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


class CheckCharges(Operation[models.ChargedIds]):
    """Ask which of up to 1,000 request ids have charged a member already."""

    org_id: OrgId
    user_id: UserId
    request_ids: Annotated[tuple[RequestId, ...], Field(min_length=1, max_length=LARGEST_BATCH)]


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
    """Set credits aside before an operation. `api_key_id` is that of `Deduct`.

    `by_payer` says that the payer does it in person, who may end the hold then. A server fills it in, too.
    """

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
    by_payer: Literal[True] | None = None


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


class Part(BaseModel):
    """A charge for a part of a hold; what it leaves open is the hold's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    request_id: RequestId = Field(default_factory=new_request_id)
    credits: Credits
    service_type: ServiceType | None = None
    service_name: ServiceName | None = None
    request_metadata: Metadata = Field(default_factory=dict)


class ChargeHold(Operation[models.HoldCharges]):
    """Take up to 1,000 parts of an open hold, each once for its request id; the rest stays held.

    All are taken, or none; one that is said twice stands once. `close` gives back what is left and ends the
    hold. Raises `InsufficientCreditsError` when the hold has too little left, `HoldExpiredError` once its
    time is over, `HoldClosedError`, and `IdempotencyConflictError` for an id that was used for something
    else.
    """

    hold_id: UUID
    charges: Annotated[tuple[Part, ...], Field(min_length=1, max_length=LARGEST_BATCH)]
    org_id: OrgId | None = None
    close: StrictBool = False

    @field_validator("charges", mode="after")
    @classmethod
    def _each_once(cls, charges: tuple[Part, ...]) -> tuple[Part, ...]:
        once: dict[str, Part] = {}
        if any(once.setdefault(part.request_id, part) != part for part in charges):
            raise ValueError("each of the charges needs a request_id of its own")
        return tuple(once.values())


class CaptureHold(Operation[models.Receipt]):
    """Charge a hold: all, less, or more if the balance allows. Repeating it changes nothing."""

    hold_id: UUID
    org_id: OrgId | None = None
    credits: Credits | None = None
    request_metadata: Metadata = Field(default_factory=dict)


class PlaceHoldBatch(Operation[models.HoldBatchResult]):
    """Place many holds of one organisation, each with an outcome, as if one came after the other."""

    org_id: OrgId
    holds: Annotated[tuple[PlaceHold, ...], Field(min_length=1, max_length=LARGEST_BATCH)]

    @model_validator(mode="after")
    def _is_of_one_organization(self) -> "PlaceHoldBatch":
        _require_organization(self.org_id, self.holds)
        return self


class CaptureHoldBatch(Operation[models.CaptureBatchResult]):
    """Capture many holds of one organisation, each with an outcome, as if one came after the other."""

    org_id: OrgId
    captures: Annotated[tuple[CaptureHold, ...], Field(min_length=1, max_length=LARGEST_BATCH)]

    @model_validator(mode="after")
    def _is_of_one_organization(self) -> "CaptureHoldBatch":
        _require_organization(self.org_id, self.captures)
        return self


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


def _require_organization(org_id: str, items: Iterable[PlaceHold | CaptureHold]) -> None:
    if any(item.org_id != org_id for item in items):
        raise ValueError("each item must name the organisation of the batch")
