"""Make any function billable in prepaid credits.

Names are loaded when they are first used: `import credit_sdk` itself does no work.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credit_sdk._flows.retrying import Retries
    from credit_sdk.account import Account
    from credit_sdk.async_client import AsyncBillingClient
    from credit_sdk.async_cross_app import AsyncCrossApp
    from credit_sdk.async_sdk import AsyncCreditSDK
    from credit_sdk.async_service import AsyncCreditDeductionService
    from credit_sdk.backends.memory import MemoryLedger
    from credit_sdk.charge import AsyncOpenCharge, OpenCharge
    from credit_sdk.client import BillingClient
    from credit_sdk.context import acting_as, current_charge
    from credit_sdk.cross_app import CrossApp
    from credit_sdk.decorators import consume_credits, default_sdk, require_credits
    from credit_sdk.errors import (
        BrokenProofError,
        ConfigurationError,
        ConflictError,
        CreditError,
        HoldClosedError,
        HoldExpiredError,
        HoldsUnsupportedError,
        IdempotencyConflictError,
        InsufficientCreditsError,
        InvalidAmountError,
        InvalidTokenError,
        MalformedRequestError,
        NoAllocationError,
        NotAMemberError,
        NotAuthenticatedError,
        NotFoundError,
        OutboxError,
        OutcomeUnknownError,
        PaymentsUnavailableError,
        PermissionDeniedError,
        ProofsUnsupportedError,
        RateLimitedError,
        RefusedError,
        SchemaMissingError,
        TokenExpiredError,
        UnavailableError,
        UnexpectedResponseError,
        ValidationFailedError,
    )
    from credit_sdk.identifiers import new_request_id
    from credit_sdk.model_prices import ModelPrice
    from credit_sdk.models import (
        Charge,
        CreditCheck,
        CreditPool,
        Hold,
        OutboxEntry,
        PendingCharge,
        Proof,
        Receipt,
        RefundReceipt,
        Statement,
        Transaction,
        Usage,
    )
    from credit_sdk.operations import Deduct
    from credit_sdk.outbox import Outbox
    from credit_sdk.policy import ChargePolicy, LeasePolicy
    from credit_sdk.prices import LOOPNET_PRICES, PriceList
    from credit_sdk.sdk import CreditSDK
    from credit_sdk.service import CreditDeductionService

_ERRORS = (
    "BrokenProofError",
    "ConfigurationError",
    "ConflictError",
    "CreditError",
    "HoldClosedError",
    "HoldExpiredError",
    "HoldsUnsupportedError",
    "IdempotencyConflictError",
    "InsufficientCreditsError",
    "InvalidAmountError",
    "InvalidTokenError",
    "MalformedRequestError",
    "NoAllocationError",
    "NotAMemberError",
    "NotAuthenticatedError",
    "NotFoundError",
    "OutboxError",
    "OutcomeUnknownError",
    "PaymentsUnavailableError",
    "PermissionDeniedError",
    "ProofsUnsupportedError",
    "RateLimitedError",
    "RefusedError",
    "SchemaMissingError",
    "TokenExpiredError",
    "UnavailableError",
    "UnexpectedResponseError",
    "ValidationFailedError",
)
_MODELS = (
    "Charge",
    "CreditCheck",
    "CreditPool",
    "Hold",
    "OutboxEntry",
    "PendingCharge",
    "Proof",
    "Receipt",
    "RefundReceipt",
    "Statement",
    "Transaction",
    "Usage",
)

_HOMES = {
    "Account": "account",
    "AsyncBillingClient": "async_client",
    "AsyncCreditDeductionService": "async_service",
    "AsyncCreditSDK": "async_sdk",
    "AsyncCrossApp": "async_cross_app",
    "AsyncOpenCharge": "charge",
    "BillingClient": "client",
    "CreditDeductionService": "service",
    "CreditSDK": "sdk",
    "CrossApp": "cross_app",
    "Deduct": "operations",
    "LOOPNET_PRICES": "prices",
    "MemoryLedger": "backends.memory",
    "ChargePolicy": "policy",
    "LeasePolicy": "policy",
    "OpenCharge": "charge",
    "Outbox": "outbox",
    "ModelPrice": "model_prices",
    "PriceList": "prices",
    "Retries": "_flows.retrying",
    "acting_as": "context",
    "consume_credits": "decorators",
    "current_charge": "context",
    "default_sdk": "decorators",
    "new_request_id": "identifiers",
    "require_credits": "decorators",
    **dict.fromkeys(_ERRORS, "errors"),
    **dict.fromkeys(_MODELS, "models"),
}

__all__ = [
    "LOOPNET_PRICES",
    "Account",
    "AsyncBillingClient",
    "AsyncCreditDeductionService",
    "AsyncCreditSDK",
    "AsyncCrossApp",
    "AsyncOpenCharge",
    "BillingClient",
    "BrokenProofError",
    "Charge",
    "ChargePolicy",
    "ConfigurationError",
    "ConflictError",
    "CreditCheck",
    "CreditDeductionService",
    "CreditError",
    "CreditPool",
    "CreditSDK",
    "CrossApp",
    "Deduct",
    "Hold",
    "HoldClosedError",
    "HoldExpiredError",
    "HoldsUnsupportedError",
    "IdempotencyConflictError",
    "InsufficientCreditsError",
    "InvalidAmountError",
    "InvalidTokenError",
    "LeasePolicy",
    "MalformedRequestError",
    "MemoryLedger",
    "ModelPrice",
    "NoAllocationError",
    "NotAMemberError",
    "NotAuthenticatedError",
    "NotFoundError",
    "OpenCharge",
    "Outbox",
    "OutboxEntry",
    "OutboxError",
    "OutcomeUnknownError",
    "PaymentsUnavailableError",
    "PendingCharge",
    "PermissionDeniedError",
    "PriceList",
    "Proof",
    "ProofsUnsupportedError",
    "RateLimitedError",
    "Receipt",
    "RefundReceipt",
    "RefusedError",
    "Retries",
    "SchemaMissingError",
    "Statement",
    "TokenExpiredError",
    "Transaction",
    "UnavailableError",
    "UnexpectedResponseError",
    "Usage",
    "ValidationFailedError",
    "acting_as",
    "consume_credits",
    "current_charge",
    "default_sdk",
    "new_request_id",
    "require_credits",
]


def __getattr__(name: str) -> object:
    """Load a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"credit_sdk.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
