"""What a run has to end with: books that agree, and charges that are all there."""

from typing import Any

from benchmarks.setting import Setting, query
from credit_sdk.operations import VerifyLedger


def charges(setting: Setting) -> int:
    """Return how many charges the ledger has."""
    return int(query(setting, "SELECT count(*) FROM credit_usage_attribution WHERE refund_of IS NULL"))


def verified(setting: Setting) -> dict[str, Any]:
    """Return whether the books agree after all that, and how many charges they have."""
    with setting.billing() as billing:
        books = billing.execute(VerifyLedger())
    return {"charges": books.charges, "verified": books.ok}
