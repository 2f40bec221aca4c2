"""Users' own balances: charging, adding, giving back, looking."""

from typing import Any

from credit_sdk import models
from credit_sdk.amounts import format_credits, from_millicredits, to_millicredits
from credit_sdk.backends._memory_books import decode_cursor, encode_cursor
from credit_sdk.backends._memory_lots import refuse_lots
from credit_sdk.backends._memory_people import (
    BalanceHold,
    Content,
    People,
    Person,
    Transaction,
    already_used,
    content_of,
)
from credit_sdk.errors import ConflictError, NotFoundError, ValidationFailedError
from credit_sdk.operations import (
    CheckBalance,
    GetBalance,
    GetStatement,
    GrantCredits,
    ListTransactions,
    RefundSpending,
    Spend,
)

NEWEST = 10


class Balances(People):
    """The rules of balances."""

    def check_balance(self, operation: CheckBalance) -> models.CreditCheck:
        """Say whether `spend` would take so much now; from a user who was switched off: no, with zeros."""
        person, required = self.person(operation.user_id), to_millicredits(operation.credits)
        available = self.spendable_by(person) if person.is_active else 0
        document = {
            "has_sufficient_credits": required <= available,
            "remaining_credits": person.credits if person.is_active else 0,
            "available_credits": available,
            "required_credits": required,
        }
        return models.CreditCheck.model_validate(document, context=self.SCALE)

    def spend(self, operation: Spend) -> models.Spending:
        """Take credits, once for each request id."""
        person, content = self.person(operation.user_id), content_of(operation)
        earlier = self.spent(person, operation.request_id, content)
        if earlier is not None:
            return self.spending(earlier, replayed=True)
        self.refuse_balance_hold(person, operation.request_id)
        self.secure_balance(person, content[0], operation.request_id)
        row = self.move(
            person,
            -content[0],
            content,
            operation.request_id,
            description=operation.description,
            metadata=operation.request_metadata,
        )
        return self.spending(row)

    def grant_credits(self, operation: GrantCredits) -> models.Grant:
        """Add credits, once for each request id."""
        refuse_lots(operation)
        person, credits = self.person(operation.user_id), to_millicredits(operation.credits)
        content: Content = (credits, operation.transaction_type, None, None)
        earlier = self.transaction_by_request.get((person.number, operation.request_id))
        if earlier is not None:
            if earlier.amount < 0 or earlier.refund_of is not None or earlier.content != content:
                raise already_used(person, operation.request_id)
            return self._grant(earlier, replayed=True)
        self.refuse_balance_hold(person, operation.request_id)
        self.let_expire(self._overdue_under(person, operation.request_id))
        by = {} if operation.admin_id is None else {"admin_id": operation.admin_id}
        row = self.move(
            person,
            credits,
            content,
            operation.request_id,
            description=operation.description,
            metadata=operation.request_metadata | by,
        )
        return self._grant(row)

    def refund_spending(self, operation: RefundSpending) -> models.RefundReceipt:
        """Give back what a charge took, at most once altogether."""
        charge = self._charge(operation)
        person, key = charge.person, operation.idempotency_key
        earlier = self.transaction_by_request.get((person.number, key))
        if earlier is not None:
            return self._given_back_before(earlier, charge, operation)
        self.refuse_balance_hold(person, key)
        self.let_expire(self._overdue_under(person, key))
        left = -charge.amount - sum(
            each.amount for each in self.transactions.values() if each.refund_of == charge.id
        )
        credits = left if operation.credits is None else to_millicredits(operation.credits)
        if not 0 < credits <= left:
            raise ConflictError(
                f"Of the transaction {charge.id}, which took {_shown(-charge.amount)} credits, "
                f"{_shown(left)} can be refunded."
            )
        row = self.move(
            person,
            credits,
            (credits, "refund", *charge.content[2:]),
            key,
            description=operation.reason,
            metadata={} if operation.reason is None else {"reason": operation.reason},
            refund_of=charge.id,
            refundable=left - credits,
        )
        return self._refund_receipt_of(row)

    def get_balance(self, operation: GetBalance) -> models.UserBalance:
        """Look at a user's balance."""
        document = self._balance(self.person(operation.user_id))
        return models.UserBalance.model_validate(document, context=self.SCALE)

    def get_statement(self, operation: GetStatement) -> models.Statement:
        """Look at a user's balance and at their newest transactions."""
        person = self.person(operation.user_id)
        balance = self._balance(person)
        newest = sorted(self._of(person), key=lambda each: -each.id)[:NEWEST]
        status = "active" if balance["available_credits"] > 0 else "empty"
        document = balance | {
            "credit_status": status if person.is_active else "inactive",
            "transactions": [_row(each) for each in newest],
        }
        return models.Statement.model_validate(document, context=self.SCALE)

    def list_transactions(self, operation: ListTransactions) -> models.TransactionPage:
        """List a user's transactions, newest first."""
        found = [
            each
            for each in self._of(self.person(operation.user_id))
            if operation.transaction_type in {None, each.content[1]}
            and (operation.since is None or each.created_at >= operation.since)
            and (operation.until is None or each.created_at < operation.until)
        ]
        if operation.cursor is not None:
            last = _position(operation.cursor)
            found = [each for each in found if each.id < last]
        found.sort(key=lambda each: -each.id)
        page = found[: operation.limit]
        document = {
            "items": [_row(each) for each in page],
            "next_cursor": encode_cursor(str(page[-1].id)) if len(found) > len(page) else None,
        }
        return models.TransactionPage.model_validate(document, context=self.SCALE)

    def spending(self, row: Transaction, *, replayed: bool = False) -> models.Spending:
        """Return the receipt of a charge."""
        document = {
            "charge_id": row.id,
            "user_id": row.person.name,
            "credits_used": -row.amount,
            "remaining_credits": row.balance,
            "service_type": row.content[2],
            "service_name": row.content[3],
            "request_id": row.request_id,
            "created_at": row.created_at,
            "replayed": replayed,
        }
        return models.Spending.model_validate(document, context=self.SCALE)

    def _of(self, person: Person) -> list[Transaction]:
        return [each for each in self.transactions.values() if each.person is person]

    def _balance(self, person: Person) -> dict[str, Any]:
        return {
            "user_id": person.name,
            "credits": person.credits,
            "held_credits": person.held,
            "available_credits": self.spendable_by(person),
            "is_active": person.is_active,
        }

    def _overdue_under(self, person: Person, request_id: str) -> list[BalanceHold]:
        """Return the user's overdue holds, if one of them keeps this id from what is to be recorded."""
        is_held = (person.number, request_id) in self.live_balance_holds
        return self.overdue_of(person) if is_held else []

    def _grant(self, row: Transaction, *, replayed: bool = False) -> models.Grant:
        document = {
            "transaction_id": row.id,
            "user_id": row.person.name,
            "credits_added": row.amount,
            "credits": row.balance,
            "transaction_type": row.content[1],
            "description": row.description,
            "request_id": row.request_id,
            "created_at": row.created_at,
            "replayed": replayed,
        }
        return models.Grant.model_validate(document, context=self.SCALE)

    def _charge(self, operation: RefundSpending) -> Transaction:
        owner = None if operation.user_id is None else self.person(operation.user_id)
        if operation.transaction_id is not None:
            charge = self.transactions.get(operation.transaction_id)
        else:
            number = 0 if owner is None else owner.number
            charge = self.transaction_by_request.get((number, operation.request_id or ""))
        if charge is None or owner not in {None, charge.person}:
            named = operation.transaction_id or operation.request_id
            raise NotFoundError(f"There is no transaction {named} here.")
        if charge.amount > 0:
            raise ConflictError(f"The transaction {charge.id} took nothing, so it cannot be refunded.")
        return charge

    def _given_back_before(
        self, earlier: Transaction, charge: Transaction, operation: RefundSpending
    ) -> models.RefundReceipt:
        same = operation.credits is None or to_millicredits(operation.credits) == earlier.amount
        if earlier.refund_of != charge.id or not same:
            raise already_used(charge.person, earlier.request_id)
        return self._refund_receipt_of(earlier, replayed=True)

    def _refund_receipt_of(self, row: Transaction, *, replayed: bool = False) -> models.RefundReceipt:
        document = {
            "refund_id": row.id,
            "charge_id": row.refund_of,
            "user_id": row.person.name,
            "credits_refunded": row.amount,
            "refundable_credits": row.refundable,
            "remaining_credits": row.balance,
            "request_id": row.request_id,
            "created_at": row.created_at,
            "replayed": replayed,
        }
        return models.RefundReceipt.model_validate(document, context=self.SCALE)


def _row(row: Transaction) -> dict[str, Any]:
    return {
        "transaction_id": row.id,
        "user_id": row.person.name,
        "amount": row.amount,
        "balance_after": row.balance,
        "description": row.description,
        "transaction_type": row.content[1],
        "service_type": row.content[2],
        "service_name": row.content[3],
        "request_id": row.request_id,
        "request_metadata": row.metadata,
        "refund_of": row.refund_of,
        "hold_id": row.hold_id,
        "created_at": row.created_at,
    }


def _position(cursor: str) -> int:
    text = decode_cursor(cursor)
    if not text.isdecimal():
        raise ValidationFailedError("cursor: not a cursor of this list.")
    return int(text)


def _shown(millicredits: int) -> str:
    return format_credits(from_millicredits(millicredits))
