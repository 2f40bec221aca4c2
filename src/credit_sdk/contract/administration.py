"""All tests of administering, for `from credit_sdk.contract.administration import *`."""

from credit_sdk.contract.due import TestPoolRefresh, TestReset, TestRunDue, TestSubscriptionTime
from credit_sdk.contract.organizing import TestAddMember, TestListMembers, TestListOrganizations
from credit_sdk.contract.screens import (
    TestBillingClient,
    TestBillingHistory,
    TestOrganizationBilling,
    TestSystemBilling,
)
from credit_sdk.contract.subscribing import (
    TestCancel,
    TestCreateSubscription,
    TestUpdate,
    TestUpgrade,
    TestWhichSubscription,
)

__all__ = [
    "TestAddMember",
    "TestBillingClient",
    "TestBillingHistory",
    "TestCancel",
    "TestCreateSubscription",
    "TestListMembers",
    "TestListOrganizations",
    "TestOrganizationBilling",
    "TestPoolRefresh",
    "TestReset",
    "TestRunDue",
    "TestSubscriptionTime",
    "TestSystemBilling",
    "TestUpdate",
    "TestUpgrade",
    "TestWhichSubscription",
]
