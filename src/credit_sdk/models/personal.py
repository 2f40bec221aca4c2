"""Users' own balances and what moved them."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field, JsonValue, computed_field

from credit_sdk.amounts import Balance, format_credits
from credit_sdk.models._base import Result
from credit_sdk.models.charging import Receipt

TransactionType = Literal["service", "credit_addition", "purchase", "refund", "subscription", "expiry"]
SpendingType = Literal["service", "subscription"]
GrantType = Literal["credit_addition", "purchase", "subscription", "refund"]
CreditStatus = Literal["active", "empty", "inactive"]


class Spending(Receipt):
    """What a charge took from a user's balance, once."""

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def message(self) -> str:
        """What happened, for people."""
        return f"{format_credits(self.credits_used)} credits spent."

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def new_balance(self) -> Balance:
        """The balance right after this charge."""
        return self.remaining_credits


class Grant(Result):
    """An addition to a user's balance. `credits` is the balance right after it."""

    success: Literal[True] = True
    transaction_id: int
    user_id: str
    credits_added: Balance
    credits: Balance
    transaction_type: GrantType
    description: str | None = None
    request_id: str
    created_at: datetime
    replayed: bool = False

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def message(self) -> str:
        """What happened, for people."""
        return f"{format_credits(self.credits_added)} credits added."

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def new_balance(self) -> Balance:
        """The balance right after this addition."""
        return self.credits


class UserBalance(Result):
    """A user's own credits. `available_credits` is what of them is not held.

    `expiring_credits` expire next, at `expires_at`, if they are not used before.
    """

    user_id: str
    credits: Balance
    held_credits: Balance
    available_credits: Balance
    is_active: bool
    expiring_credits: Balance = Decimal(0)
    expires_at: datetime | None = None


class Transaction(Result):
    """One row of a user's ledger: a positive `amount` adds, a negative one takes."""

    transaction_id: int
    user_id: str
    amount: Balance
    balance_after: Balance
    description: str | None = None
    transaction_type: TransactionType
    service_type: str | None = None
    service_name: str | None = None
    request_id: str
    request_metadata: dict[str, JsonValue] = Field(default_factory=dict)
    refund_of: int | None = None
    hold_id: UUID | None = None
    created_at: datetime


class TransactionPage(Result):
    """A page of transactions, newest first; `next_cursor` asks for the next one."""

    items: tuple[Transaction, ...]
    next_cursor: str | None = None


class Statement(UserBalance):
    """A user's balance with its newest transactions. `credit_status` says whether anything can be spent."""

    credit_status: CreditStatus
    transactions: tuple[Transaction, ...]
