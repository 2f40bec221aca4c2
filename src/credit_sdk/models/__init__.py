"""What operations answer: frozen values. All amounts are credits unless a name says otherwise."""

from credit_sdk.models._base import HoldStatus, ResetPeriod, Result, Role
from credit_sdk.models.charging import (
    BatchOutcome,
    BatchResult,
    CreditCheck,
    Hold,
    Problem,
    Receipt,
    RefundReceipt,
)
from credit_sdk.models.keeping import Difference, ExpiredHolds, Verification
from credit_sdk.models.pools import Allocation, AllocationChange, AllocationPage, CreditPool, PoolChange
from credit_sdk.models.reading import (
    Charge,
    ChargePage,
    OrganizationCredits,
    Usage,
    UsageByDay,
    UsageByService,
    UsageByUser,
    UserBilling,
    UserCredits,
)

__all__ = [
    "Allocation",
    "AllocationChange",
    "AllocationPage",
    "BatchOutcome",
    "BatchResult",
    "Charge",
    "ChargePage",
    "CreditCheck",
    "CreditPool",
    "Difference",
    "ExpiredHolds",
    "Hold",
    "HoldStatus",
    "OrganizationCredits",
    "PoolChange",
    "Problem",
    "Receipt",
    "RefundReceipt",
    "ResetPeriod",
    "Result",
    "Role",
    "Usage",
    "UsageByDay",
    "UsageByService",
    "UsageByUser",
    "UserBilling",
    "UserCredits",
    "Verification",
]
