"""The rows of users' own balances in memory, and what every rule asks of them. Amounts are millicredits.

Transactions are append-only in the database, so they are frozen here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from pydantic import JsonValue

from credit_sdk.amounts import LARGEST_AMOUNT, format_credits, from_millicredits, to_millicredits
from credit_sdk.backends._memory_books import Books
from credit_sdk.errors import (
    IdempotencyConflictError,
    InsufficientCreditsError,
    InvalidAmountError,
    Limit,
    NoAllocationError,
    NotFoundError,
)
from credit_sdk.models import HoldStatus, TransactionType
from credit_sdk.operations import PlaceBalanceHold, Spend

LONGEST_NUMBER = 18
LARGEST_BALANCE = to_millicredits(LARGEST_AMOUNT)
Content = tuple[int, TransactionType, str | None, str | None]
"""What a request id stands for: millicredits, transaction type, service type, service name."""


@dataclass(slots=True, eq=False)
class Person:
    """A user. `held` is kept beside the holds it sums, as the database keeps it."""

    number: int
    subject: str | None = None
    credits: int = 0
    held: int = 0
    is_active: bool = True

    @property
    def name(self) -> str:
        """By which id the ledger answers."""
        return self.subject or str(self.number)


@dataclass(slots=True, eq=False)
class BalanceHold:
    """Credits of a user set aside: those of its content at first, and what was added since."""

    person: Person
    content: Content
    request_id: str
    description: str | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    expires_at: datetime
    status: HoldStatus = "held"
    captured: int = 0
    added: int = 0
    by_payer: bool = False
    id: UUID = field(default_factory=uuid4)

    @property
    def credits(self) -> int:
        """What is set aside."""
        return self.content[0] + self.added


@dataclass(frozen=True, slots=True)
class Transaction:
    """One movement of a balance: `content` has what was given or taken, `amount` which of the two.

    `balance` is what there was right after it, `refundable` what was left then of the refunded charge.
    """

    id: int
    person: Person
    amount: int
    content: Content
    request_id: str
    created_at: datetime
    balance: int
    description: str | None = None
    metadata: dict[str, JsonValue] = field(default_factory=dict)
    hold_id: UUID | None = None
    refund_of: int | None = None
    refundable: int = 0


class People(Books):
    """The user ledger's tables as dictionaries, and the questions that all its rules ask."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        super().__init__(now=now)
        self.people: dict[int, Person] = {}
        self.numbers: dict[str, int] = {}
        self.transactions: dict[int, Transaction] = {}
        self.transaction_by_request: dict[tuple[int, str], Transaction] = {}
        self.balance_holds: dict[UUID, BalanceHold] = {}
        self.live_balance_holds: dict[tuple[int, str], BalanceHold] = {}

    def person(self, user_id: str | None) -> Person:
        """Return a user by number or by subject."""
        name = user_id or ""
        number = int(name) if is_number(name) else self.numbers.get(name, 0)
        if number not in self.people:
            raise NotFoundError(f"There is no user {name} here.")
        return self.people[number]

    def has_balance(self, user_id: str) -> bool:
        """Whether there is such a user."""
        number = int(user_id) if is_number(user_id) else self.numbers.get(user_id, 0)
        return number in self.people

    def new_person(self, user_id: str) -> Person:
        """Make a user, known by a number or by a subject; return them, or who is there already."""
        if is_number(user_id):
            number, subject = int(user_id), None
        else:
            number, subject = self.numbers.get(user_id, max(self.people, default=0) + 1), user_id
            self.numbers[user_id] = number
        return self.people.setdefault(number, Person(number, subject))

    def overdue_of(self, person: Person) -> list[BalanceHold]:
        """Return the user's holds whose time is over, but which were not given back yet."""
        live = self.live_balance_holds.values()
        return [hold for hold in live if hold.person is person and hold.expires_at <= self.moment]

    def spendable_by(self, person: Person) -> int:
        """Return what a charge could take now: overdue holds stand in nobody's way."""
        return person.credits - person.held + sum(hold.credits for hold in self.overdue_of(person))

    def secure_balance(self, person: Person, credits: int, request_id: str) -> None:
        """See to it that so much can be taken under this id, or refuse and change nothing.

        The user's overdue holds are given back if anything stands in the way.
        """
        require_active(person)
        is_held = (person.number, request_id) in self.live_balance_holds
        if is_held or credits > person.credits - person.held:
            available = self.spendable_by(person)
            if credits > available:
                raise too_few("balance", credits, available)
            self.let_expire(self.overdue_of(person))

    def let_expire(self, holds: list[BalanceHold]) -> None:
        """Give holds back whose time is over."""
        for hold in holds:
            self.close_balance_hold(hold, "expired")

    def close_balance_hold(self, hold: BalanceHold, status: HoldStatus) -> None:
        """End a live hold: what it set aside is free again."""
        hold.person.held -= hold.credits
        hold.status = status
        del self.live_balance_holds[hold.person.number, hold.request_id]

    def hold_in_the_way(self, person: Person, request_id: str) -> BalanceHold | None:
        """Return the hold under this id that is not overdue."""
        hold = self.live_balance_holds.get((person.number, request_id))
        return None if hold is not None and hold.expires_at <= self.moment else hold

    def refuse_balance_hold(self, person: Person, request_id: str) -> None:
        """Refuse a request id under which credits are held: it charges by capturing them."""
        hold = self.hold_in_the_way(person, request_id)
        if hold is not None:
            raise IdempotencyConflictError(
                f"The request id {request_id} holds credits; capture or void the hold {hold.id}."
            )

    def spent(self, person: Person, request_id: str, content: Content) -> Transaction | None:
        """Return the charge that was taken under this id; refuse an id that stands for something else."""
        earlier = self.transaction_by_request.get((person.number, request_id))
        if earlier is not None and (earlier.amount > 0 or earlier.content != content):
            raise already_used(person, request_id)
        return earlier

    def move(
        self, person: Person, amount: int, content: Content, request_id: str, **more: Any
    ) -> Transaction:
        """Append a transaction, and count it in the balance. Its request id is unique for ever."""
        if person.credits + amount > LARGEST_BALANCE:
            raise InvalidAmountError(
                f"A balance is at most {format_credits(LARGEST_AMOUNT)} credits; that of user {person.name} "
                f"is {format_credits(from_millicredits(person.credits))}."
            )
        person.credits += amount
        row = Transaction(
            len(self.transactions) + 1,
            person,
            amount,
            content,
            request_id,
            self.moment,
            balance=person.credits,
            **more,
        )
        self.transactions[row.id] = self.transaction_by_request[person.number, request_id] = row
        return row


def is_number(user_id: str) -> bool:
    """Whether an id is a user's number."""
    return user_id.isascii() and user_id.isdecimal() and len(user_id) <= LONGEST_NUMBER


def content_of(operation: Spend | PlaceBalanceHold) -> Content:
    """Return what the operation's request id stands for."""
    return (
        to_millicredits(operation.credits),
        operation.transaction_type,
        operation.service_type,
        operation.service_name,
    )


def require_active(person: Person) -> None:
    """Refuse to take anything from a user who was switched off."""
    if not person.is_active:
        raise NoAllocationError(f"User {person.name} is not active.", limit="inactive")


def too_few(limit: Limit, required: int, available: int) -> InsufficientCreditsError:
    """Return the refusal that names the limit, with its figures in credits."""
    free, needed = from_millicredits(max(available, 0)), from_millicredits(required)
    return InsufficientCreditsError(
        f"Insufficient credits: {format_credits(needed)} required, {format_credits(free)} available.",
        limit=limit,
        required=needed,
        available=free,
    )


def already_used(person: Person, request_id: str) -> IdempotencyConflictError:
    """Return the refusal of a request id that stands for something else."""
    return IdempotencyConflictError(
        f"The request id {request_id} was used before by user {person.name}, for something else."
    )
