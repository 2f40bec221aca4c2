"""One request of each kind, as the OpenAPI document shows it."""

from collections.abc import Mapping
from typing import Any

from credit_sdk import operations
from credit_sdk.operations import Operation, crossapp

_CHARGE = {
    "org_id": "test-loopnet",
    "user_id": "user-7",
    "credits": 50,
    "service_type": "company_enrichment",
    "request_id": "enrich-c-1042",
}

_APP = {"app_id": "print-shop"}

EXAMPLES: Mapping[type[Operation[Any]], Mapping[str, Any]] = {
    operations.CheckCredits: {"org_id": "test-loopnet", "user_id": "user-7", "credits": 50},
    operations.CheckCharges: {
        "org_id": "test-loopnet",
        "user_id": "user-7",
        "request_ids": ["export-7/r-1", "export-7/r-2"],
    },
    operations.Deduct: _CHARGE | {"request_metadata": {"company_id": "c-1042"}},
    operations.DeductBatch: {"charges": [_CHARGE]},
    operations.PlaceHold: _CHARGE | {"ttl_seconds": 900},
    operations.ExtendHold: {"credits": 25, "ttl_seconds": 900, "request_id": "enrich-c-1042-more"},
    operations.ChargeHold: {"charges": [{"request_id": "export-7/r-1", "credits": 5}], "close": True},
    operations.CaptureHold: {"credits": 37.5, "request_metadata": {"records": 15}},
    operations.VoidHold: {},
    operations.Refund: {
        "org_id": "test-loopnet",
        "request_id": "enrich-c-1042",
        "credits": 25,
        "reason": "Half of the record was empty.",
        "idempotency_key": "refund-c-1042",
    },
    operations.AddCredits: {"credits": 10_000, "purchase_amount": 9.99, "request_id": "order-88"},
    operations.Allocate: {"user_id": "user-7", "allocated_credits": 1_000, "reset_period": "monthly"},
    operations.SetCap: {"scope": "member", "subject": "user-7", "period": "day", "credits": 500},
    operations.SetTopUp: {
        "package_id": "standard",
        "payment_method": "pm_1042",
        "threshold": 500,
        "monthly_cents": 20_000,
    },
    operations.CreateSubscription: {
        "org_id": "test-loopnet",
        "subscription_plan": "platform",
        "billing_cycle": "yearly",
        "trial_days": 14,
    },
    operations.UpdateSubscription: {"monthly_price": 45},
    operations.UpgradeSubscription: {"new_plan": "hybrid"},
    operations.CheckBalance: {"credits": 5},
    operations.Spend: {"amount": 5, "description": "Print job", "request_id": "print-c-1042"},
    operations.PlaceBalanceHold: {"user_id": "user-7", "credits": 5, "ttl_seconds": 900},
    operations.ExtendBalanceHold: {"credits": 2.5, "request_id": "print-c-1042-more"},
    operations.CaptureBalanceHold: {"credits": 3.5},
    operations.VoidBalanceHold: {},
    operations.RefundSpending: {"transaction_id": 1042, "credits": 2.5, "reason": "The label was smeared."},
    operations.GrantCredits: {"amount": 100, "description": "Welcome"},
    operations.SetAlert: {"kind": "pool.low", "threshold": 500},
    operations.CreateWebhook: {"url": "https://acme.example/credits", "events": ["pool.low", "spend.spike"]},
    operations.TestWebhook: {},
    operations.RedeliverWebhook: {},
    operations.AddMember: {"user_id": "user-8", "role": "billing_admin"},
    crossapp.LogIn: {"app_id": "print-shop", "email": "ada@example.com", "password": "correct horse"},
    crossapp.ValidateToken: _APP,
    crossapp.RefreshToken: _APP,
    crossapp.LogOut: _APP,
    crossapp.CheckAppCredits: _APP | {"required_credits": 5},
    crossapp.ConsumeAppCredits: _APP | {"credits": 5, "service": "print", "request_id": "print-c-1042"},
    crossapp.PurchaseCredits: _APP | {"package_id": "small", "return_url": "https://app.example/back"},
}
"""Bodies; fields that stand in the path are left out."""
