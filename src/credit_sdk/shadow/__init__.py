"""Run the ledger beside code that charges by hand, take nothing, and learn where the two differ."""

from credit_sdk.shadow.balances import BalanceDifference, Comparison, compare_balances
from credit_sdk.shadow.report import DifferenceKind, ReportFile, ShadowDifference, ShadowReport
from credit_sdk.shadow.watching import Shadow

__all__ = [
    "BalanceDifference",
    "Comparison",
    "DifferenceKind",
    "ReportFile",
    "Shadow",
    "ShadowDifference",
    "ShadowReport",
    "compare_balances",
]
