"""The user ledger: one balance for each user, made of transactions (SPEC section 5).

A `user_id` of at most 18 digits names a user by number, any other one by the identity provider's
subject. A request id is unique for a user. It stands for the credits, the transaction type, the service
type and the service name; description and metadata are not compared.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from credit_sdk import models
from credit_sdk.amounts import Credits
from credit_sdk.identifiers import new_request_id
from credit_sdk.operations._base import (
    DEFAULT_HOLD_SECONDS,
    LARGEST_PAGE,
    SOMETHING_MORE,
    AnyUserId,
    Cursor,
    ExpiryDays,
    HoldSeconds,
    LotPriority,
    Metadata,
    Moment,
    Notes,
    Operation,
    RequestId,
    ServiceName,
    ServiceType,
    Whole,
    expires_once,
)

UNNAMED_SERVICE = "service"
LARGEST_TRANSACTION_ID = 2**63 - 1

TransactionId = Annotated[int, Field(ge=1, le=LARGEST_TRANSACTION_ID), Whole]


class CheckBalance(Operation[models.CreditCheck]):
    """Ask whether a charge would be taken from a user's balance now."""

    user_id: AnyUserId
    credits: Credits


class Spend(Operation[models.Spending]):
    """Take credits from a user's balance for an operation that has succeeded."""

    idempotency = "request_id"

    user_id: AnyUserId
    credits: Credits
    description: Notes | None = None
    transaction_type: models.SpendingType = "service"
    request_id: RequestId = Field(default_factory=new_request_id)
    request_metadata: Metadata = Field(default_factory=dict)
    service_type: ServiceType = UNNAMED_SERVICE
    service_name: ServiceName | None = None


class PlaceBalanceHold(Operation[models.Hold]):
    """Set credits of a user's balance aside before an operation. `by_payer` is that of `PlaceHold`."""

    idempotency = "request_id"

    user_id: AnyUserId
    credits: Credits
    description: Notes | None = None
    transaction_type: models.SpendingType = "service"
    request_id: RequestId = Field(default_factory=new_request_id)
    request_metadata: Metadata = Field(default_factory=dict)
    service_type: ServiceType = UNNAMED_SERVICE
    service_name: ServiceName | None = None
    ttl_seconds: HoldSeconds = DEFAULT_HOLD_SECONDS
    by_payer: Literal[True] | None = None


class ExtendBalanceHold(Operation[models.Hold]):
    """Set more credits aside for an open hold, give it more time, or both; once for each request id.

    As `ExtendHold` does.
    """

    model_config = ConfigDict(json_schema_extra=SOMETHING_MORE)
    idempotency = "request_id"

    hold_id: UUID
    user_id: AnyUserId | None = None
    credits: Credits | None = None
    ttl_seconds: HoldSeconds | None = None
    request_id: RequestId = Field(default_factory=new_request_id)

    @model_validator(mode="after")
    def _gives_something(self) -> "ExtendBalanceHold":
        if self.credits is None and self.ttl_seconds is None:
            raise ValueError("give credits, ttl_seconds or both")
        return self


class CaptureBalanceHold(Operation[models.Spending]):
    """Charge a hold: all, less, or more if the balance allows. Repeating it changes nothing."""

    hold_id: UUID
    user_id: AnyUserId | None = None
    credits: Credits | None = None
    request_metadata: Metadata = Field(default_factory=dict)


class VoidBalanceHold(Operation[models.Hold]):
    """Give a hold back. Repeating it changes nothing."""

    hold_id: UUID
    user_id: AnyUserId | None = None


class GetBalanceHold(Operation[models.Hold]):
    """Look at a hold."""

    hold_id: UUID
    user_id: AnyUserId | None = None


class RefundSpending(Operation[models.RefundReceipt]):
    """Give a charge back to a user's balance, whole or in part, never more than was taken.

    The charge is named by `transaction_id`, or by its `request_id` and `user_id`; the refund has a key
    of its own.
    """

    idempotency = "idempotency_key"

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["transaction_id"],
                    "properties": {"transaction_id": {"type": "integer"}, "request_id": {"type": "null"}},
                },
                {
                    "required": ["request_id", "user_id"],
                    "properties": {
                        "request_id": {"type": "string"},
                        "user_id": {"type": ["string", "integer"]},
                        "transaction_id": {"type": "null"},
                    },
                },
            ]
        }
    )

    user_id: AnyUserId | None = None
    transaction_id: TransactionId | None = None
    request_id: RequestId | None = None
    credits: Credits | None = None
    reason: Notes | None = None
    idempotency_key: RequestId = Field(default_factory=new_request_id)

    @model_validator(mode="after")
    def _names_one_charge(self) -> "RefundSpending":
        if (self.transaction_id is None) == (self.request_id is None):
            raise ValueError("name the charge by transaction_id or by request_id, not both")
        if self.transaction_id is None and self.user_id is None:
            raise ValueError("a request_id needs its user_id: it is unique for a user")
        return self


class GrantCredits(Operation[models.Grant]):
    """Add bought or granted credits to a user's balance.

    With `expires_at`, or `expires_in_days` in its place, what is not used by then expires. Of credits that
    expire, a lower `priority` is used first (100 by default), then the soonest to expire.
    """

    idempotency = "request_id"

    user_id: AnyUserId
    credits: Credits
    description: Notes | None = None
    transaction_type: models.GrantType = "credit_addition"
    admin_id: AnyUserId | None = None
    request_id: RequestId = Field(default_factory=new_request_id)
    request_metadata: Metadata = Field(default_factory=dict)
    expires_at: Moment | None = None
    expires_in_days: ExpiryDays | None = None
    priority: LotPriority | None = None

    @model_validator(mode="after")
    def _expires_at_one_time(self) -> "GrantCredits":
        expires_once(self.expires_at, self.expires_in_days)
        return self


class GetBalance(Operation[models.UserBalance]):
    """Look at a user's balance; over HTTP, without `user_id`, at one's own."""

    user_id: AnyUserId | None = None


class GetStatement(Operation[models.Statement]):
    """Look at a user's balance and at their newest transactions."""

    user_id: AnyUserId


class ListTransactions(Operation[models.TransactionPage]):
    """List a user's transactions, newest first."""

    user_id: AnyUserId
    transaction_type: models.TransactionType | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), Whole] = 100
    cursor: Cursor | None = None
