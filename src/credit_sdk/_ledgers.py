"""The two ledgers that can pay, and which operations move credits in each: the one place that knows both."""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from credit_sdk import operations
from credit_sdk.errors import Limit
from credit_sdk.models import CreditCheck, Hold, Receipt, RefundReceipt
from credit_sdk.operations import Operation


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger's operations. They have the same fields but for those named here."""

    owner: Literal["org_id", "user_id"]
    """The field that says whose a hold or a charge is."""
    charge: Literal["charge_id", "transaction_id"]
    """The field that names a charge to be refunded."""
    limit: Limit
    """The limit that a charge hits when there are too few credits."""
    check: type[Operation[CreditCheck]]
    deduct: type[Operation[Receipt]]
    place: type[Operation[Hold]]
    look: type[Operation[Hold]]
    extend: type[Operation[Hold]]
    capture: type[Operation[Receipt]]
    void: type[Operation[Hold]]
    refund: type[Operation[RefundReceipt]]


ORGANIZATIONS = Ledger(
    owner="org_id",
    charge="charge_id",
    limit="allocation",
    check=operations.CheckCredits,
    deduct=operations.Deduct,
    place=operations.PlaceHold,
    look=operations.GetHold,
    extend=operations.ExtendHold,
    capture=operations.CaptureHold,
    void=operations.VoidHold,
    refund=operations.Refund,
)
USERS = Ledger(
    owner="user_id",
    charge="transaction_id",
    limit="balance",
    check=operations.CheckBalance,
    deduct=operations.Spend,
    place=operations.PlaceBalanceHold,
    look=operations.GetBalanceHold,
    extend=operations.ExtendBalanceHold,
    capture=operations.CaptureBalanceHold,
    void=operations.VoidBalanceHold,
    refund=operations.RefundSpending,
)


def ledger_of(org_id: str | None) -> Ledger:
    """Return the ledger that pays for an account: its organisation's, or without one the user's own."""
    return USERS if org_id is None else ORGANIZATIONS


def payer_fields(org_id: str | None, user_id: str) -> dict[str, Any]:
    """Return the fields that name who pays."""
    return {"user_id": user_id} if org_id is None else {"org_id": org_id, "user_id": user_id}


def hold_fields(hold: Hold) -> dict[str, Any]:
    """Return the fields that name a hold."""
    owner = ledger_of(hold.org_id).owner
    return {"hold_id": hold.hold_id, owner: getattr(hold, owner)}


def refunding(charge: Receipt | UUID | int | str) -> tuple[Ledger, dict[str, Any]]:
    """Return the ledger that a charge stands in, and the fields that name it: users' charges have numbers."""
    if isinstance(charge, Receipt):
        ledger = ledger_of(charge.org_id)
        return ledger, {ledger.charge: charge.charge_id, ledger.owner: getattr(charge, ledger.owner)}
    if isinstance(charge, str) and charge.isascii() and charge.isdecimal():
        charge = int(charge)
    ledger = USERS if isinstance(charge, int) else ORGANIZATIONS
    return ledger, {ledger.charge: charge}
