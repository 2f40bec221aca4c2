"""What the contract's tests stand on: a ledger that can be set up, asked, and moved in time."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pytest
from pydantic import BaseModel

from credit_sdk import BillingClient, CreditDeductionService, CreditSDK
from credit_sdk._ledgers import ledger_of
from credit_sdk.account import Account
from credit_sdk.amounts import Amount
from credit_sdk.errors import CreditError, Limit
from credit_sdk.models import Allocation, Charge, Hold, Receipt, RefundReceipt, Role
from credit_sdk.operations import (
    Allocate,
    CheckCredits,
    Deduct,
    ListAllocations,
    ListCharges,
    Operation,
    OperationT,
    PlaceHold,
    Refund,
    ResultT_co,
    parse,
)

SERVICE = "contact_lookup"


class Administrator(Protocol):
    """What an administrator does by hand to a ledger. `MemoryLedger` is one. Amounts are credits."""

    def add_organization(self, org_id: str, name: str | None = None, *, credits: Amount = 0) -> None:
        """Open an active organisation's books, with credits in its pool."""

    def add_member(
        self,
        org_id: str,
        user_id: str,
        *,
        role: Role = "member",
        is_default: bool = False,
        allocated: Amount | None = None,
        email: str | None = None,
    ) -> None:
        """Let a user into an organisation, with credits of its pool if `allocated` is given."""

    def set_allocation(self, org_id: str, user_id: str, credits: Amount) -> None:
        """Set what a member may use altogether, by a plain `UPDATE`; raises what the ledger says of it."""

    def deactivate(self, org_id: str, user_id: str) -> None:
        """Switch a member's allocation off."""

    def suspend(self, org_id: str) -> None:
        """Suspend an organisation."""

    def add_user(self, user_id: str, *, credits: Amount = 0) -> None:
        """Open a user's own balance, known by a number or by a subject, with credits on it."""

    def switch_off(self, user_id: str) -> None:
        """Let a user spend nothing any more."""

    def set_overage(self, org_id: str, limit: Amount | None) -> None:
        """Let each member use so much more than is allocated, or no more than that (None)."""

    def set_seats(self, org_id: str, seats: int) -> None:
        """Set how many members an organisation may have."""

    def set_refresh(self, org_id: str, credits: Amount, *, days: float) -> None:
        """Let a pool grow by so much each month, for the first time in so many days."""

    def open_session(self, user_id: str) -> str:
        """Log a user in and return the session's token."""


@dataclass(frozen=True, slots=True)
class Payer:
    """A member of an organisation, and what they may ask of a ledger."""

    org_id: str
    user_id: str
    limit: ClassVar[Limit] = "allocation"
    """The limit that is hit when there are too few credits."""

    @property
    def account(self) -> Account:
        """The member as a payer."""
        return Account(org_id=self.org_id, user_id=self.user_id)

    def check(self, credits: Amount) -> CheckCredits:
        """Return the question whether so much would be taken."""
        return parse(CheckCredits, {"org_id": self.org_id, "user_id": self.user_id, "credits": credits})

    def deduct(self, credits: Amount, **fields: Any) -> Deduct:
        """Return a charge."""
        return parse(Deduct, self._spending(credits) | fields)

    def hold(self, credits: Amount, **fields: Any) -> PlaceHold:
        """Return a hold to be placed."""
        return parse(PlaceHold, self._spending(credits) | fields)

    def allocate(self, credits: Amount, **fields: Any) -> Allocate:
        """Return an addition to the member's allocation."""
        return make(Allocate, org_id=self.org_id, user_id=self.user_id, allocated_credits=credits, **fields)

    def refund(self, **fields: Any) -> Refund:
        """Return the refund of a charge that is known by its request id."""
        return make(Refund, org_id=self.org_id, **fields)

    def _spending(self, credits: Amount) -> dict[str, Any]:
        return {"org_id": self.org_id, "user_id": self.user_id, "credits": credits, "service_type": SERVICE}


@dataclass(frozen=True, slots=True)
class Harness:
    """A ledger under test.

    `billing` is a service on it that blocks, also where it awaits inside (see `blocking`). `carry_out`
    executes any operation with the rights that it needs, `advance` lets seconds pass on the ledger's clock.
    `client` is a system administrator's; it blocks as well. So does `sdk`, for users' own credits. `own_key`
    is the id of the API key that every charge and hold is made with, for a server, which notes that by
    itself; None where operations say so.
    """

    administrator: Administrator
    billing: CreditDeductionService
    carry_out: Callable[[Operation[Any]], Any]
    advance: Callable[[float], None]
    client: BillingClient
    sdk: CreditSDK
    own_key: str | None = None

    def api_key(self) -> tuple[str, dict[str, Any]]:
        """Return the id of an API key, and what charges and holds say to be made with it."""
        if self.own_key is not None:
            return self.own_key, {}
        key_id = unique("key")
        return key_id, {"api_key_id": key_id}

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        result: ResultT_co = self.carry_out(operation)
        return result

    def prepare(
        self, *, pool: Amount = 10_000, allocated: Amount | None = 1_000, overage: Amount | None = None
    ) -> Payer:
        """Return the only member of a new organisation; with None for `allocated`, without an allocation."""
        org_id = unique("org")
        self.administrator.add_organization(org_id, credits=pool)
        if overage is not None:
            self.administrator.set_overage(org_id, overage)
        return self.join(org_id, allocated=allocated)

    def join(
        self,
        org_id: str,
        *,
        user_id: str | None = None,
        allocated: Amount | None = 1_000,
        role: Role = "member",
        is_default: bool = False,
        email: str | None = None,
    ) -> Payer:
        """Return a further member of an organisation."""
        payer = Payer(org_id, user_id or unique("user"))
        self.administrator.add_member(
            org_id, payer.user_id, role=role, is_default=is_default, allocated=allocated, email=email
        )
        return payer

    def charges(self, payer: Payer) -> tuple[Charge, ...]:
        """Return the charges and refunds of a member's organisation, newest first."""
        return self.execute(ListCharges(org_id=payer.org_id)).items

    def deactivate(self, payer: Payer) -> None:
        """Let a member spend nothing any more."""
        self.administrator.deactivate(payer.org_id, payer.user_id)

    def allocation(self, payer: Payer) -> Allocation:
        """Return a member's allocation."""
        page = self.execute(ListAllocations(org_id=payer.org_id))
        return next(each for each in page.items if each.user_id == payer.user_id)

    def assert_balance(self, payer: Payer, *, allocated: Amount, used: Amount, held: Amount) -> None:
        """Compare what a member has allocated, used and held with what it should be."""
        assert_shows(
            self.allocation(payer), allocated_credits=allocated, used_credits=used, held_credits=held
        )


def make(kind: type[OperationT], **fields: Any) -> OperationT:
    """Return an operation, its amounts in whatever form a caller may give them."""
    return parse(kind, fields)


def changed(operation: OperationT, fields: Mapping[str, Any]) -> OperationT:
    """Return the operation with other fields."""
    return parse(type(operation), operation.model_dump() | dict(fields))


def capture(hold: Hold, credits: Amount | None = None, **fields: Any) -> Operation[Receipt]:
    """Return the capture of a hold."""
    return parse(ledger_of(hold.org_id).capture, {"hold_id": hold.hold_id, "credits": credits, **fields})


def extend(hold: Hold, **more: Any) -> Operation[Hold]:
    """Return the operation that gives a hold more credits or more time."""
    return parse(ledger_of(hold.org_id).extend, {"hold_id": hold.hold_id, **more})


def void(hold: Hold) -> Operation[Hold]:
    """Return the voiding of a hold."""
    return parse(ledger_of(hold.org_id).void, {"hold_id": hold.hold_id})


def look(hold: Hold) -> Operation[Hold]:
    """Return the question what became of a hold."""
    return parse(ledger_of(hold.org_id).look, {"hold_id": hold.hold_id})


def refund(
    charge: Receipt | RefundReceipt, credits: Amount | None = None, **fields: Any
) -> Operation[RefundReceipt]:
    """Return the refund of a charge (or, which must not work, of a refund)."""
    ledger = ledger_of(charge.org_id)
    number = charge.charge_id if isinstance(charge, Receipt) else charge.refund_id
    return parse(ledger.refund, {ledger.charge: number, "credits": credits, **fields})


def assert_shows(result: BaseModel, **fields: Any) -> None:
    """Compare some fields of a result."""
    assert {name: getattr(result, name) for name in fields} == fields


def shown(items: Iterable[BaseModel], *names: str) -> list[tuple[Any, ...]]:
    """Return some fields of each result."""
    return [tuple(getattr(each, name) for name in names) for each in items]


def unique(kind: str) -> str:
    """Return an id that no other test uses."""
    return f"{kind}-{secrets.token_hex(8)}"


@contextmanager
def refused(kind: type[CreditError], **figures: Any) -> Iterator[None]:
    """Expect exactly this error with exactly these figures."""
    with pytest.raises(kind) as caught:
        yield
    assert_refusal(caught.value, kind, **figures)


def assert_refusal(error: CreditError, kind: type[CreditError], **figures: Any) -> None:
    """Compare an error with what was expected; where to top up is the server's own business."""
    assert type(error) is kind
    assert {name: value for name, value in error.figures().items() if name != "top_up_url"} == figures
    assert error.detail
