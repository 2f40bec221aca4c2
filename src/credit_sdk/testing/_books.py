"""What a test reads in the fake's books, and the assertions on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from credit_sdk.account import Account
from credit_sdk.amounts import MILLICREDITS_PER_CREDIT, Amount, format_credits, from_millicredits, parse_price
from credit_sdk.backends.memory import MemoryLedger
from credit_sdk.operations import (
    GetBalance,
    GetUserCredits,
    ListCharges,
    ListTransactions,
    Operation,
    VerifyLedger,
)


@dataclass(frozen=True, slots=True)
class FakeCharge:
    """A charge in the fake's books. `credits` is what is left of it after refunds."""

    charge_id: UUID | int
    org_id: str | None
    user_id: str
    credits: Decimal
    service_type: str
    service_name: str | None
    request_id: str
    metadata: dict[str, JsonValue]
    created_at: datetime

    def __str__(self) -> str:
        payer = f"{self.user_id} of {self.org_id}" if self.org_id else self.user_id
        return (
            f"{format_credits(self.credits)} credits for {self.service_type} by {payer} ({self.request_id})"
        )


@dataclass(frozen=True, slots=True)
class FakeHold:
    """Credits that are set aside."""

    org_id: str | None
    user_id: str
    credits: Decimal
    request_id: str

    def __str__(self) -> str:
        payer = f"{self.user_id} of {self.org_id}" if self.org_id else self.user_id
        return f"{format_credits(self.credits)} credits of {payer} ({self.request_id})"


class ReadableBooks:
    """Charges, holds and balances, and assertions that say what there was instead."""

    ledger: MemoryLedger

    @property
    def charges(self) -> list[FakeCharge]:
        """Every charge that was not refunded as a whole, oldest first."""
        found = [*self._of_organizations(), *self._of_users()]
        return sorted(found, key=lambda charge: charge.created_at)

    @property
    def open_holds(self) -> list[FakeHold]:
        """Every hold that was neither captured nor voided, and has not expired."""
        now = self.ledger.now()
        ledger = self.ledger
        members = [
            FakeHold(hold.org_id, hold.content[0], _credits(hold.credits), hold.request_id)
            for hold in ledger.holds.values()
            if hold.status == "held" and hold.expires_at > now
        ]
        users = [
            FakeHold(None, hold.person.name, _credits(hold.credits), hold.request_id)
            for hold in ledger.balance_holds.values()
            if hold.status == "held" and hold.expires_at > now
        ]
        return members + users

    def remaining(self, account: Account) -> Decimal:
        """Return what an account has left, in credits; what is held is counted."""
        if account.org_id is None:
            return self.ledger.execute(GetBalance(user_id=account.user_id)).credits
        standings = self.ledger.execute(GetUserCredits(user_id=account.user_id)).organizations
        return next(
            (each.remaining_credits for each in standings if each.org_id == account.org_id), Decimal(0)
        )

    def assert_charged(
        self,
        credits: Amount | None = None,
        *,
        account: Account | None = None,
        times: int = 1,
        **fields: Any,
    ) -> None:
        """Assert that there are exactly so many charges with these fields (and metadata, as `metadata=`).

        Charges with other fields do not matter: `assert_charged(50, times=1)` says nothing about a charge
        of 10. Without any field, it counts all charges.
        """
        wanted = _wanted(credits, account, fields)
        found = [charge for charge in self.charges if _fits(charge, wanted)]
        if len(found) != times:
            kind = ", ".join(f"{name}={value}" for name, value in wanted.items()) or "of any kind"
            raise AssertionError(
                f"Expected {times} charges ({kind}), but there are {len(found)}. {self._listed()}"
            )

    def assert_not_charged(self, account: Account | None = None, **fields: Any) -> None:
        """Assert that nothing was charged, to this account or with these fields if they are given."""
        self.assert_charged(account=account, times=0, **fields)

    def assert_no_open_holds(self) -> None:
        """Assert that nothing is set aside: every hold was captured, voided, or has expired."""
        if holds := self.open_holds:
            raise AssertionError("There are open holds:\n" + "\n".join(f"  {hold}" for hold in holds))

    def assert_remaining(self, account: Account, credits: Amount) -> None:
        """Assert what an account has left, in credits."""
        left, wanted = self.remaining(account), parse_price(credits)
        if left != wanted:
            raise AssertionError(
                f"Expected {format_credits(wanted)} credits left, but there are {format_credits(left)}. "
                f"{self._listed()}"
            )

    def assert_books_agree(self) -> None:
        """Assert that every balance is what its charges, grants and holds make of it."""
        outcome = self.ledger.execute(VerifyLedger())
        if not outcome.ok:
            raise AssertionError(f"The books do not agree: {outcome.differences}")

    def _listed(self) -> str:
        charges = self.charges
        return "The charges are:\n" + ("\n".join(f"  {charge}" for charge in charges) or "  none")

    def _of_organizations(self) -> Iterator[FakeCharge]:
        for org_id in list(self.ledger.organizations):
            rows = list(_pages(self.ledger, ListCharges(org_id=org_id)))
            refunds: dict[Any, Decimal] = {}
            for row in rows:
                if row.refund_of is not None:
                    refunds[row.refund_of] = refunds.get(row.refund_of, Decimal(0)) - row.credits_used
            for row in rows:
                left = row.credits_used - refunds.get(row.charge_id, Decimal(0))
                if row.refund_of is None and left > 0:
                    yield FakeCharge(
                        row.charge_id,
                        org_id,
                        row.user_id,
                        left,
                        row.service_type,
                        row.service_name,
                        row.request_id,
                        row.request_metadata,
                        row.created_at,
                    )

    def _of_users(self) -> Iterator[FakeCharge]:
        for name in [person.name for person in self.ledger.people.values()]:
            rows = list(_pages(self.ledger, ListTransactions(user_id=name)))
            refunds: dict[Any, Decimal] = {}
            for row in rows:
                if row.refund_of is not None:
                    refunds[row.refund_of] = refunds.get(row.refund_of, Decimal(0)) + row.amount
            for row in rows:
                left = -row.amount - refunds.get(row.transaction_id, Decimal(0))
                if row.amount < 0 and left > 0:
                    yield FakeCharge(
                        row.transaction_id,
                        None,
                        name,
                        left,
                        row.service_type or "",
                        row.service_name,
                        row.request_id,
                        row.request_metadata,
                        row.created_at,
                    )


def _pages(ledger: MemoryLedger, question: Operation[Any]) -> Iterator[Any]:
    cursor: str | None = None
    while True:
        page = ledger.execute(question.model_copy(update={"cursor": cursor}))
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _credits(millicredits: int) -> Decimal:
    return Decimal(from_millicredits(millicredits, MILLICREDITS_PER_CREDIT))


def _wanted(credits: Amount | None, account: Account | None, fields: dict[str, Any]) -> dict[str, Any]:
    wanted = dict(fields)
    unknown = set(wanted).difference(FakeCharge.__dataclass_fields__)
    if unknown:
        raise TypeError(
            f"A charge has no {min(unknown)!r}; its fields are {', '.join(FakeCharge.__dataclass_fields__)}."
        )
    if credits is not None:
        wanted["credits"] = parse_price(credits)
    if account is not None:
        wanted |= {"user_id": account.user_id, "org_id": account.org_id}
    return wanted


def _fits(charge: FakeCharge, wanted: dict[str, Any]) -> bool:
    for name, value in wanted.items():
        found = getattr(charge, name)
        if name == "metadata":
            if any(found.get(key) != expected for key, expected in value.items()):
                return False
        elif found != value:
            return False
    return True
