"""All tests of users' own credits, for `from credit_sdk.contract.users import *`."""

from credit_sdk.contract.balances import (
    TestBalanceExtensionsOnce,
    TestBillableOnBalances,
    TestCaptureOfBalanceHolds,
    TestChargeBlockOnBalances,
    TestCheckOfBalances,
    TestExpiryOfBalanceHolds,
    TestExtendBalanceHold,
    TestFallback,
    TestMethodsOnBalances,
    TestPlaceBalanceHold,
    TestRefundKeysOfUsers,
    TestRefundOfUsers,
    TestRequestIdsOfUsers,
    TestSpend,
    TestVoidOfBalanceHolds,
)
from credit_sdk.contract.crediting import TestBalance, TestGrant, TestSdk, TestTransactions

__all__ = [
    "TestBalance",
    "TestBalanceExtensionsOnce",
    "TestBillableOnBalances",
    "TestCaptureOfBalanceHolds",
    "TestChargeBlockOnBalances",
    "TestCheckOfBalances",
    "TestExpiryOfBalanceHolds",
    "TestExtendBalanceHold",
    "TestFallback",
    "TestGrant",
    "TestMethodsOnBalances",
    "TestPlaceBalanceHold",
    "TestRefundKeysOfUsers",
    "TestRefundOfUsers",
    "TestRequestIdsOfUsers",
    "TestSdk",
    "TestSpend",
    "TestTransactions",
    "TestVoidOfBalanceHolds",
]
