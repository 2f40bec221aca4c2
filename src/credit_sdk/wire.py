"""The address of each operation on HTTP (SPEC section 6): the client and the server read the same table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any, Literal

from credit_sdk import operations
from credit_sdk.operations import Operation, crossapp

BASE_PATH = "/api/v1/org-billing"
FINANCIAL_PATH = "/api/financial"
CROSS_APP_PATH = "/api/cross-app"
IDEMPOTENCY_HEADER = "Idempotency-Key"
REQUEST_ID_HEADER = "X-Request-ID"
API_KEY_HEADER = "X-API-Key"
SESSION_COOKIE = "session_token"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an operation lives. Fields named in the path travel there, others in the query or the body."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    operation: type[Operation[Any]]
    wire_names: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What fields are called in a body, where that is not their own name."""

    @property
    def path_fields(self) -> frozenset[str]:
        """The fields of the operation that are part of the path."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.path) if name)

    @property
    def has_body(self) -> bool:
        """Whether the remaining fields travel in a JSON body."""
        return self.method in {"POST", "PUT"}


_AMOUNT = {"credits": "amount"}
_WEBHOOKS = BASE_PATH + "/organizations/{org_id}/webhooks"

ADDRESSES: tuple[Address, ...] = (
    Address("POST", BASE_PATH + "/credits/check", operations.CheckCredits),
    Address("POST", BASE_PATH + "/credits/charged", operations.CheckCharges),
    Address("POST", BASE_PATH + "/credits/deduct", operations.Deduct),
    Address("POST", BASE_PATH + "/credits/deduct/batch", operations.DeductBatch),
    Address("POST", BASE_PATH + "/credits/holds", operations.PlaceHold),
    Address("GET", BASE_PATH + "/credits/holds/{hold_id}", operations.GetHold),
    Address("POST", BASE_PATH + "/credits/holds/{hold_id}/extend", operations.ExtendHold),
    Address("POST", BASE_PATH + "/credits/holds/{hold_id}/charges", operations.ChargeHold),
    Address("POST", BASE_PATH + "/credits/holds/{hold_id}/capture", operations.CaptureHold),
    Address("POST", BASE_PATH + "/credits/holds/{hold_id}/void", operations.VoidHold),
    Address("POST", BASE_PATH + "/credits/refunds", operations.Refund),
    Address("GET", BASE_PATH + "/credits/user/{user_id}", operations.GetUserCredits),
    Address("GET", BASE_PATH + "/credits/{org_id}", operations.GetPool),
    Address("POST", BASE_PATH + "/credits/{org_id}/add", operations.AddCredits),
    Address("POST", BASE_PATH + "/credits/{org_id}/allocate", operations.Allocate),
    Address("GET", BASE_PATH + "/credits/{org_id}/allocations", operations.ListAllocations),
    Address("GET", BASE_PATH + "/credits/{org_id}/caps", operations.ListCaps),
    Address("PUT", BASE_PATH + "/credits/{org_id}/caps", operations.SetCap),
    Address("GET", BASE_PATH + "/credits/{org_id}/top-up", operations.GetTopUp),
    Address("PUT", BASE_PATH + "/credits/{org_id}/top-up", operations.SetTopUp),
    Address("DELETE", BASE_PATH + "/credits/{org_id}/top-up", operations.RemoveTopUp),
    Address("GET", BASE_PATH + "/credits/{org_id}/usage", operations.GetUsage),
    Address("GET", BASE_PATH + "/credits/{org_id}/forecast", operations.GetForecast),
    Address("GET", BASE_PATH + "/credits/{org_id}/burn-down", operations.GetBurnDown),
    Address("GET", BASE_PATH + "/credits/{org_id}/charges", operations.ListCharges),
    Address("GET", BASE_PATH + "/credits/{org_id}/charges/{request_id}/proof", operations.GetProof),
    Address("GET", BASE_PATH + "/billing/user", operations.GetUserBilling),
    Address("GET", BASE_PATH + "/billing/org/{org_id}", operations.GetOrganizationBilling),
    Address("GET", BASE_PATH + "/billing/system", operations.GetSystemBilling),
    Address("GET", BASE_PATH + "/billing/{org_id}/history", operations.ListBillingHistory),
    Address("POST", BASE_PATH + "/subscriptions", operations.CreateSubscription),
    Address("GET", BASE_PATH + "/subscriptions/org/{org_id}", operations.ListSubscriptions),
    Address("GET", BASE_PATH + "/subscriptions/{subscription_id}", operations.GetSubscription),
    Address("PUT", BASE_PATH + "/subscriptions/{subscription_id}", operations.UpdateSubscription),
    Address("PUT", BASE_PATH + "/subscriptions/{subscription_id}/upgrade", operations.UpgradeSubscription),
    Address("DELETE", BASE_PATH + "/subscriptions/{subscription_id}", operations.CancelSubscription),
    Address("GET", BASE_PATH + "/organizations", operations.ListOrganizations),
    Address("GET", BASE_PATH + "/organizations/{org_id}/members", operations.ListMembers),
    Address("POST", BASE_PATH + "/organizations/{org_id}/members", operations.AddMember),
    Address("GET", BASE_PATH + "/organizations/{org_id}/audit", operations.ListAudit),
    Address("GET", BASE_PATH + "/organizations/{org_id}/alerts", operations.ListAlerts),
    Address("PUT", BASE_PATH + "/organizations/{org_id}/alerts", operations.SetAlert),
    Address("GET", _WEBHOOKS, operations.ListWebhooks),
    Address("POST", _WEBHOOKS, operations.CreateWebhook),
    Address("GET", _WEBHOOKS + "/deliveries", operations.ListWebhookDeliveries),
    Address("POST", _WEBHOOKS + "/deliveries/{delivery_id}/redeliver", operations.RedeliverWebhook),
    Address("DELETE", _WEBHOOKS + "/{webhook_id}", operations.DeleteWebhook),
    Address("POST", _WEBHOOKS + "/{webhook_id}/test", operations.TestWebhook),
    Address("GET", FINANCIAL_PATH + "/credits/balance", operations.GetBalance),
    Address("GET", FINANCIAL_PATH + "/credits/{user_id}", operations.GetStatement),
    Address("GET", FINANCIAL_PATH + "/credits/{user_id}/transactions", operations.ListTransactions),
    Address("POST", FINANCIAL_PATH + "/credits/{user_id}/add", operations.GrantCredits, _AMOUNT),
    Address("POST", FINANCIAL_PATH + "/credits/{user_id}/spend", operations.Spend, _AMOUNT),
    Address("POST", FINANCIAL_PATH + "/credits/{user_id}/check", operations.CheckBalance),
    Address("POST", FINANCIAL_PATH + "/holds", operations.PlaceBalanceHold),
    Address("GET", FINANCIAL_PATH + "/holds/{hold_id}", operations.GetBalanceHold),
    Address("POST", FINANCIAL_PATH + "/holds/{hold_id}/extend", operations.ExtendBalanceHold),
    Address("POST", FINANCIAL_PATH + "/holds/{hold_id}/capture", operations.CaptureBalanceHold),
    Address("POST", FINANCIAL_PATH + "/holds/{hold_id}/void", operations.VoidBalanceHold),
    Address("POST", FINANCIAL_PATH + "/refunds", operations.RefundSpending),
)

CROSS_APP_ADDRESSES: tuple[Address, ...] = (
    Address("POST", CROSS_APP_PATH + "/auth", crossapp.LogIn),
    Address("POST", CROSS_APP_PATH + "/validate-token", crossapp.ValidateToken),
    Address("POST", CROSS_APP_PATH + "/refresh-token", crossapp.RefreshToken),
    Address("POST", CROSS_APP_PATH + "/logout", crossapp.LogOut),
    Address("GET", CROSS_APP_PATH + "/user-info", crossapp.GetUserInfo),
    Address("POST", CROSS_APP_PATH + "/credits/check", crossapp.CheckAppCredits),
    Address("POST", CROSS_APP_PATH + "/credits/consume", crossapp.ConsumeAppCredits),
    Address("POST", CROSS_APP_PATH + "/credits/purchase", crossapp.PurchaseCredits),
    Address("GET", CROSS_APP_PATH + "/credits/packages", crossapp.ListPackages),
    Address("GET", CROSS_APP_PATH + "/credits/subscriptions", crossapp.ListAppSubscriptions),
)
"""What applications ask about users who log in with them: no operations of the ledger."""

ADDRESS_OF: dict[type[Operation[Any]], Address] = {
    address.operation: address for address in (*ADDRESSES, *CROSS_APP_ADDRESSES)
}
