"""All tests of the contract, for `from credit_sdk.contract.suite import *`."""

from credit_sdk.contract.batching import TestBatch
from credit_sdk.contract.billing import TestAccount, TestBillable, TestChargeBlock, TestMethods
from credit_sdk.contract.capping import TestCaps, TestSetCap
from credit_sdk.contract.capping_holds import TestCapsAndHolds
from credit_sdk.contract.capturing import TestCapture, TestExpiry
from credit_sdk.contract.deducting import TestCheck, TestDeduct, TestOverage, TestRequestIds, TestWhoMaySpend
from credit_sdk.contract.extending import TestCapsAndExtensions, TestExtendHold, TestExtensionsOnce
from credit_sdk.contract.forecasting import TestBurnDown, TestForecast
from credit_sdk.contract.holding import TestPlaceHold, TestVoid, TestWhichHold
from credit_sdk.contract.jobs import TestJobs
from credit_sdk.contract.parting import TestCapsAndParts, TestChargeHold, TestCheckCharges, TestPartsOnce
from credit_sdk.contract.pooling import TestAddCredits, TestAllocate, TestListAllocations, TestPool
from credit_sdk.contract.reading import (
    TestListCharges,
    TestUsage,
    TestUserBilling,
    TestUserCredits,
    TestVerifyLedger,
)
from credit_sdk.contract.refunding import TestRefund, TestRefundKeys, TestWhichCharge

__all__ = [
    "TestAccount",
    "TestAddCredits",
    "TestAllocate",
    "TestBatch",
    "TestBillable",
    "TestBurnDown",
    "TestCaps",
    "TestCapsAndExtensions",
    "TestCapsAndHolds",
    "TestCapsAndParts",
    "TestCapture",
    "TestChargeBlock",
    "TestChargeHold",
    "TestCheck",
    "TestCheckCharges",
    "TestDeduct",
    "TestExpiry",
    "TestExtendHold",
    "TestExtensionsOnce",
    "TestForecast",
    "TestJobs",
    "TestListAllocations",
    "TestListCharges",
    "TestMethods",
    "TestOverage",
    "TestPartsOnce",
    "TestPlaceHold",
    "TestPool",
    "TestRefund",
    "TestRefundKeys",
    "TestRequestIds",
    "TestSetCap",
    "TestUsage",
    "TestUserBilling",
    "TestUserCredits",
    "TestVerifyLedger",
    "TestVoid",
    "TestWhichCharge",
    "TestWhichHold",
    "TestWhoMaySpend",
]
