"""A database of the first system: `has_sufficient_credits` and `deduct_credits`, and no holds.

Its functions explain themselves in words only, and know no request ids; so this is the one place that
reads a message, and that looks for the id before it deducts. Two processes that use the same id at
the same moment are both charged there: only a ledger of ours can refuse that.
"""

from decimal import Decimal
from typing import Any, cast

import psycopg

from credit_sdk.backends._statements import Call, Row, argument
from credit_sdk.errors import (
    ConfigurationError,
    CreditError,
    HoldsUnsupportedError,
    InsufficientCreditsError,
    NoAllocationError,
)
from credit_sdk.operations import CheckCredits, Deduct, Operation, PlaceHold, ResultT_co

PROBE = b"SELECT to_regproc('public.deduct_credits') IS NOT NULL AND to_regnamespace('ledger') IS NULL"
RAISED = "P0001"

_CHECK = b"""
SELECT
  has_sufficient_credits($1, $2, $3) AS has_sufficient_credits,
  coalesce(sum(allocated_credits - used_credits), 0)::bigint AS remaining_credits,
  coalesce(sum(allocated_credits - used_credits), 0)::bigint AS available_credits,
  $3::bigint AS required_credits
FROM user_credit_allocations
WHERE org_id = $1 AND user_id = $2 AND is_active
"""
_DEDUCT = b"""
SELECT deduct_credits($1, $2, $3, $4, $5, $6, $7::jsonb)
WHERE NOT EXISTS (SELECT FROM credit_usage_attribution WHERE org_id = $1 AND request_id = $6)
"""
_DEDUCTED = (
    *("org_id", "user_id", "credits", "service_type", "service_name"),
    *("request_id", "request_metadata"),
)
_RECEIPT = b"""
SELECT
  charge.id AS charge_id, charge.org_id, charge.user_id, charge.credits_used,
  allocation.allocated_credits - allocation.used_credits AS remaining_credits,
  charge.service_type, charge.service_name, charge.request_id, charge.created_at
FROM credit_usage_attribution AS charge
JOIN user_credit_allocations AS allocation
  ON allocation.org_id = charge.org_id AND allocation.user_id = charge.user_id
WHERE charge.org_id = $1 AND charge.request_id = $2
"""


def calls(operation: Operation[Any], scale: int) -> list[Call]:
    """Return the statements for a check or a deduction; raise for what the first system cannot do."""
    match operation:
        case CheckCredits():
            return [Call(_CHECK, _arguments(operation, scale, "org_id", "user_id", "credits"))]
        case Deduct():
            deduct = _arguments(operation, scale, *_DEDUCTED)
            return [Call(_DEDUCT, deduct), Call(_RECEIPT, (operation.org_id, operation.request_id))]
        case PlaceHold():
            raise HoldsUnsupportedError("This database is of the first system, which knows no holds.")
        case _:
            raise ConfigurationError(
                f"This database is of the first system, which has nothing for {type(operation).__name__}; "
                "run `credits migrate` on it."
            )


def result(
    operation: Operation[ResultT_co], columns: tuple[str, ...], rows: list[Row | None], scale: int
) -> ResultT_co:
    """Return the result that the last statement's row stands for."""
    fields = dict(zip(columns, cast("Row", rows[-1]), strict=True)) | {"replayed": rows[0] is None}
    return cast("ResultT_co", operation.result.model_validate(fields, context={"scale": scale}))


def refusal(error: psycopg.Error, operation: Operation[Any]) -> CreditError | None:
    """Return the refusal that the words of the first system's functions stand for."""
    message = error.diag.message_primary or ""
    required: Decimal | None = getattr(operation, "credits", None)
    if "Insufficient credits" in message:
        return InsufficientCreditsError(message, limit="allocation", required=required)
    if "No credit allocation" in message:
        return NoAllocationError(message, limit="no_allocation", required=required)
    return None


def _arguments(operation: Operation[Any], scale: int, *names: str) -> tuple[Any, ...]:
    return tuple(argument(operation, name, scale) for name in names)
