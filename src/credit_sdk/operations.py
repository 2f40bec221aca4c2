"""Every ledger operation, declared once: its fields, its checks, its answer.

A backend turns an operation into its result; the HTTP client, the server's routes, the SQL call and
the OpenAPI document follow from the declarations here and from the addresses in `wire.py`.
Amounts are credits. Operations that move credits carry the request id that makes them safe to repeat.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from credit_sdk import models
from credit_sdk.amounts import LARGEST_AMOUNT, Credits
from credit_sdk.errors import FieldError, ValidationFailedError
from credit_sdk.identifiers import new_request_id
from credit_sdk.redaction import redact, redact_text

LARGEST_METADATA_BYTES = 16 * 1024
DEEPEST_METADATA = 8
LONGEST_HOLD_SECONDS = 86_400
DEFAULT_HOLD_SECONDS = 900
LARGEST_BATCH = 1_000
LARGEST_PAGE = 500

ResultT_co = TypeVar("ResultT_co", bound=BaseModel, covariant=True)
OperationT = TypeVar("OperationT", bound="Operation[Any]")


def _storable_text(text: str) -> str:
    """Refuse what PostgreSQL cannot keep as text: U+0000 and lone surrogates."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not contain U+0000 or lone surrogates")
    return text


def _metadata(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Check the size and depth of metadata, and take secrets out of it."""
    if not value:
        return value
    if _depth(value) > DEEPEST_METADATA:
        raise ValueError(f"must not be nested deeper than {DEEPEST_METADATA} levels")
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:
        raise ValueError("must be JSON: no NaN, no infinity, no lone surrogates") from error
    if size > LARGEST_METADATA_BYTES:
        raise ValueError(f"must be at most {LARGEST_METADATA_BYTES} bytes of JSON, not {size}")
    _storable_text(_texts(value))
    redacted: dict[str, JsonValue] = redact(value)
    return redacted


def _depth(value: JsonValue) -> int:
    levels, layer = 0, [value]
    while layer:
        containers = [item for item in layer if isinstance(item, dict | list)]
        layer = [
            child for item in containers for child in (item.values() if isinstance(item, dict) else item)
        ]
        levels += bool(containers)
        if levels > DEEPEST_METADATA:
            break
    return levels


def _texts(value: JsonValue) -> str:
    match value:
        case str():
            return value
        case dict():
            return "".join([*value, *map(_texts, value.values())])
        case list():
            return "".join(map(_texts, value))
        case _:
            return ""


# Ids travel in paths and headers and are compared byte by byte, so they are printable ASCII.
_PRINTABLE = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"
OrgId = Annotated[str, Field(min_length=1, max_length=36, pattern=_PRINTABLE)]
UserId = Annotated[str, Field(min_length=1, max_length=255, pattern=_PRINTABLE)]
RequestId = Annotated[str, Field(min_length=1, max_length=255, pattern=_PRINTABLE)]
ServiceType = Annotated[str, Field(min_length=1, max_length=100, pattern=_PRINTABLE)]
ServiceName = Annotated[
    str, Field(min_length=1, max_length=255), AfterValidator(_storable_text), AfterValidator(redact_text)
]
Notes = Annotated[str, Field(max_length=2_000), AfterValidator(_storable_text), AfterValidator(redact_text)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(_metadata)]
Cursor = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9_-]+$")]
PurchaseAmount = Annotated[Decimal, Field(ge=0, le=LARGEST_AMOUNT, allow_inf_nan=False, decimal_places=2)]


class Operation(BaseModel, Generic[ResultT_co]):
    """A frozen request to the ledger, answered by a `ResultT_co`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    result: ClassVar[type[BaseModel]]
    idempotency: ClassVar[str | None] = None
    """The field that carries the request id of an operation that changes something."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Take the result type from the base: `class Deduct(Operation[Receipt])`."""
        super().__pydantic_init_subclass__(**kwargs)
        for base in cls.__mro__[1:]:
            arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args")
            if arguments:
                cls.result = arguments[0]
                return


def parse(kind: type[OperationT], fields: Mapping[str, Any]) -> OperationT:
    """Make an operation out of fields from outside.

    Raises `InvalidAmountError` or `ValidationFailedError`, which name the argument; values are not repeated.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        raise validation_failed(error) from None


def validation_failed(error: ValidationError) -> ValidationFailedError:
    """Turn pydantic's error into the one that the specification names."""
    errors = [
        FieldError(loc=list(entry["loc"]), msg=_sentence(entry["msg"]), type=entry["type"])
        for entry in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    first = errors[0]
    where = ".".join(map(str, first["loc"])) or "The request"
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return ValidationFailedError(f"{where}: {first['msg']}{more}", errors=errors)


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ").replace(
        _PRINTABLE, "printable ASCII without blanks at the ends"
    )


class CheckCredits(Operation[models.CreditCheck]):
    """Ask whether a charge would be taken now."""

    org_id: OrgId
    user_id: UserId
    credits: Credits


class Deduct(Operation[models.Receipt]):
    """Take credits for an operation that has succeeded."""

    idempotency = "request_id"

    org_id: OrgId
    user_id: UserId
    credits: Credits
    service_type: ServiceType
    service_name: ServiceName | None = None
    request_id: RequestId = Field(default_factory=new_request_id)
    request_metadata: Metadata = Field(default_factory=dict)


class DeductBatch(Operation[models.BatchResult]):
    """Take many charges, each with an outcome of its own, as if one came after the other."""

    charges: Annotated[tuple[Deduct, ...], Field(min_length=1, max_length=LARGEST_BATCH)]


class PlaceHold(Operation[models.Hold]):
    """Set credits aside before an operation."""

    idempotency = "request_id"

    org_id: OrgId
    user_id: UserId
    credits: Credits
    service_type: ServiceType
    service_name: ServiceName | None = None
    request_id: RequestId = Field(default_factory=new_request_id)
    request_metadata: Metadata = Field(default_factory=dict)
    ttl_seconds: Annotated[int, Field(ge=1, le=LONGEST_HOLD_SECONDS)] = DEFAULT_HOLD_SECONDS


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


class GetPool(Operation[models.CreditPool]):
    """Look at an organisation's pool."""

    org_id: OrgId


class AddCredits(Operation[models.PoolChange]):
    """Add bought or granted credits to an organisation's pool. `purchase_amount` is in USD."""

    idempotency = "request_id"

    org_id: OrgId
    credits: Credits
    purchase_amount: PurchaseAmount = Decimal(0)
    request_id: RequestId = Field(default_factory=new_request_id)


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
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 100
    cursor: Cursor | None = None


class GetUserCredits(Operation[models.UserCredits]):
    """Look at a user's standing in all their organisations."""

    user_id: UserId


class GetUserBilling(Operation[models.UserBilling]):
    """Look at the billing screen of a user, or of whoever a session belongs to.

    `session_digest` is the SHA-256 of the session token; over HTTP the session itself travels as a cookie.
    """

    user_id: UserId | None = None
    session_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class GetUsage(Operation[models.Usage]):
    """Sum an organisation's usage of the last days."""

    org_id: OrgId
    days: Annotated[int, Field(ge=1, le=366)] = 30


class ListCharges(Operation[models.ChargePage]):
    """List an organisation's charges and refunds, newest first."""

    org_id: OrgId
    user_id: UserId | None = None
    service_type: ServiceType | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 100
    cursor: Cursor | None = None


class ExpireHolds(Operation[models.ExpiredHolds]):
    """Give back the holds whose time is over."""

    limit: Annotated[int, Field(ge=1, le=100_000)] = 1_000


class VerifyLedger(Operation[models.Verification]):
    """Recompute every balance from the append-only rows, of one organisation or of all."""

    org_id: OrgId | None = None
