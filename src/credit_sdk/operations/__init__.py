"""Every ledger operation, declared once: its fields, its checks, its answer.

A backend turns an operation into its result; the HTTP client, the server's routes, the SQL call and
the OpenAPI document follow from the declarations here and from the addresses in `wire.py`.
Amounts are credits. Operations that move credits carry the request id that makes them safe to repeat.
"""

from credit_sdk.operations._base import (
    DEEPEST_METADATA,
    DEFAULT_HOLD_SECONDS,
    LARGEST_BATCH,
    LARGEST_METADATA_BYTES,
    LARGEST_PAGE,
    LONGEST_HOLD_SECONDS,
    Metadata,
    Operation,
    OperationT,
    OrgId,
    RequestId,
    ResultT_co,
    UserId,
    parse,
    validation_failed,
)
from credit_sdk.operations.auditing import ListAudit
from credit_sdk.operations.caps import ListCaps, SetCap
from credit_sdk.operations.charging import (
    CaptureHold,
    CheckCredits,
    Deduct,
    DeductBatch,
    GetHold,
    PlaceHold,
    Refund,
    VoidHold,
)
from credit_sdk.operations.keeping import ExpireHolds, RunDue, VerifyLedger
from credit_sdk.operations.organizations import AddMember, ListMembers, ListOrganizations
from credit_sdk.operations.pools import AddCredits, Allocate, GetPool, ListAllocations
from credit_sdk.operations.reading import GetUsage, GetUserBilling, GetUserCredits, ListCharges
from credit_sdk.operations.subscriptions import (
    CancelSubscription,
    CreateSubscription,
    GetOrganizationBilling,
    GetSubscription,
    GetSystemBilling,
    ListBillingHistory,
    ListSubscriptions,
    UpdateSubscription,
    UpgradeSubscription,
)

__all__ = [
    "DEEPEST_METADATA",
    "DEFAULT_HOLD_SECONDS",
    "LARGEST_BATCH",
    "LARGEST_METADATA_BYTES",
    "LARGEST_PAGE",
    "LONGEST_HOLD_SECONDS",
    "AddCredits",
    "AddMember",
    "Allocate",
    "CancelSubscription",
    "CaptureHold",
    "CheckCredits",
    "CreateSubscription",
    "Deduct",
    "DeductBatch",
    "ExpireHolds",
    "GetHold",
    "GetOrganizationBilling",
    "GetPool",
    "GetSubscription",
    "GetSystemBilling",
    "GetUsage",
    "GetUserBilling",
    "GetUserCredits",
    "ListAllocations",
    "ListAudit",
    "ListBillingHistory",
    "ListCaps",
    "ListCharges",
    "ListMembers",
    "ListOrganizations",
    "ListSubscriptions",
    "Metadata",
    "Operation",
    "OperationT",
    "OrgId",
    "PlaceHold",
    "Refund",
    "RequestId",
    "ResultT_co",
    "RunDue",
    "SetCap",
    "UpdateSubscription",
    "UpgradeSubscription",
    "UserId",
    "VerifyLedger",
    "VoidHold",
    "parse",
    "validation_failed",
]
