"""A model of users' own balances: each is what the only member of an organisation would have.

`Sums` knows what a charge, a hold and a refund do; here is what differs: additions are rows like charges,
with an id in the same space, and overdue holds stand in nobody's way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from credit_sdk import operations as ops
from credit_sdk.contract.harness import make
from credit_sdk.contract.sums import SHARE, Row, Sums
from credit_sdk.errors import ConflictError, HoldExpiredError, InsufficientCreditsError, RefusedError
from credit_sdk.operations import Operation

ORG = "balance"
MEMBER = "ada"
NEWEST = 10


class _Sums(Sums):
    """The sums of one user."""

    def make_room_again(self, hold: Row, credits: Decimal) -> None:
        """Make room for a late capture; overdue holds go only if it needs them to."""
        self.refuse_held_id(hold.user, hold.request_id)
        try:
            self.require_room(hold.user, credits)
        except RefusedError as error:
            raise HoldExpiredError from error
        is_held = any(row.request_id == hold.request_id for row in self.held(hold.user))
        if is_held or credits > self.room(hold.user, without=[]):
            self.expire(self.overdue(hold.user))


class SumsOfUsers:
    """What happened to some users; every balance is summed from it anew, in credits."""

    def __init__(self, user_ids: list[str]) -> None:
        self.books = {user_id: _Sums(ORG, None) for user_id in user_ids}
        self.placed: list[Row] = []

    def advance(self, seconds: int) -> None:
        for books in self.books.values():
            books.advance(seconds)

    def switch_off(self, user_id: str) -> None:
        self.books[user_id].deactivate(ORG, MEMBER)

    def execute(self, operation: Operation[Any]) -> dict[str, Any]:
        with _told_as_balance():
            match operation:
                case ops.ExpireHolds():
                    return self._expire(operation.limit)
                case (
                    ops.ExtendBalanceHold()
                    | ops.CaptureBalanceHold()
                    | ops.VoidBalanceHold()
                    | ops.GetBalanceHold()
                ):
                    return self._on_hold(operation)
                case ops.RefundSpending():
                    return self._refund(operation)
                case _:
                    user_id: str = operation.user_id  # type: ignore[attr-defined]  # all others name one
                    return self._on_user(self.books[user_id], operation)

    def _on_user(self, books: Sums, operation: Any) -> dict[str, Any]:
        match operation:
            case ops.CheckBalance(credits=credits):
                answer = books.check_credits(ops.CheckCredits(org_id=ORG, user_id=MEMBER, credits=credits))
            case ops.Spend():
                answer = books.deduct(_as_members(ops.Deduct, operation))
            case ops.PlaceBalanceHold():
                answer = self._place(books, operation)
            case ops.GrantCredits():
                answer = _grant(books, operation)
            case ops.ListTransactions():
                return {"items": _transactions(books), "next_cursor": None}
            case _:
                answer = _balance(books)
                if isinstance(operation, ops.GetStatement):
                    answer["transactions"] = _transactions(books)[:NEWEST]
        if "user_id" in answer:
            answer["user_id"] = operation.user_id
        return answer

    def _place(self, books: Sums, operation: ops.PlaceBalanceHold) -> dict[str, Any]:
        answer = books.place_hold(_as_members(ops.PlaceHold, operation))
        if not answer["replayed"]:
            self.placed.append(books.holds[-1])
        return answer

    def _on_hold(
        self,
        operation: ops.ExtendBalanceHold | ops.CaptureBalanceHold | ops.VoidBalanceHold | ops.GetBalanceHold,
    ) -> dict[str, Any]:
        user_id, books = self._of(operation.hold_id)
        match operation:
            case ops.ExtendBalanceHold():
                fields = operation.model_dump(exclude={"user_id"})
                answer = books.extend_hold(ops.ExtendHold(**fields))
            case ops.CaptureBalanceHold(hold_id=hold_id, credits=credits):
                answer = books.capture_hold(ops.CaptureHold(hold_id=hold_id, credits=credits))
            case ops.VoidBalanceHold(hold_id=hold_id):
                answer = books.void_hold(ops.VoidHold(hold_id=hold_id))
            case _:
                answer = books.get_hold(ops.GetHold(hold_id=operation.hold_id))
        return answer | {"user_id": user_id}

    def _of(self, row_id: Any) -> tuple[str, Sums]:
        """Return whose hold or transaction it is."""
        return next(
            (user_id, books)
            for user_id, books in self.books.items()
            if any(row.id == row_id for row in (*books.holds, *books.charges))
        )

    def _expire(self, limit: int) -> dict[str, Any]:
        [time] = {books.time for books in self.books.values()}
        overdue = [row for row in self.placed if row.state == "held" and row.until <= time]
        overdue.sort(key=lambda row: (row.until, row.order))
        for row in overdue[:limit]:
            row.state = "expired"
        return {"expired": len(overdue[:limit])}

    def _refund(self, ask: ops.RefundSpending) -> dict[str, Any]:
        if ask.transaction_id is not None:
            _, books = self._of(ask.transaction_id)
        else:
            books = self.books[ask.user_id or ""]
        for row in books.charges:
            if row.id == ask.transaction_id or row.request_id == ask.request_id:
                if row.credits < 0:
                    raise ConflictError
                _give_way(books, ask.idempotency_key)
        fields = {"charge_id": ask.transaction_id, **ask.model_dump(exclude={"user_id", "transaction_id"})}
        return books.refund(make(ops.Refund, org_id=ORG, **fields))


def _as_members(kind: type[Any], operation: ops.Spend | ops.PlaceBalanceHold) -> Any:
    fields = operation.model_dump(include=set(kind.model_fields))
    return kind(**fields | {"org_id": ORG, "user_id": MEMBER})


def _give_way(books: Sums, request_id: str) -> None:
    """Let overdue holds expire if one of them keeps an id that something else wants."""
    overdue = books.overdue(MEMBER)
    if any(row.request_id == request_id for row in overdue) and not any(
        row.request_id == request_id for row in books.charges
    ):
        books.expire(overdue)


def _grant(books: Sums, ask: ops.GrantCredits) -> dict[str, Any]:
    content = MEMBER, -ask.credits, "grant", ask.transaction_type
    earlier = books.charged(ask.request_id, content)
    if earlier is None:
        books.refuse_held_id(MEMBER, ask.request_id)
        _give_way(books, ask.request_id)
    row = earlier or books.take(Row(*content, ask.request_id))
    return {
        "transaction_id": row.id,
        "credits_added": -row.credits,
        "credits": row.left,
        "request_id": row.request_id,
        "replayed": earlier is not None,
    }


def _balance(books: Sums) -> dict[str, Any]:
    held = sum((row.credits for row in books.held(MEMBER)), Decimal(0))
    return {
        "credits": books.left(MEMBER),
        "held_credits": held,
        "available_credits": books.room(MEMBER, without=books.overdue(MEMBER)),
        "is_active": MEMBER not in books.inactive,
    }


def _transactions(books: Sums) -> list[dict[str, Any]]:
    rows = [
        {
            "transaction_id": row.id,
            "amount": -row.credits,
            "balance_after": row.left,
            "request_id": row.request_id,
            "refund_of": row.refund_of and row.refund_of.id,
        }
        for row in books.charges
    ]
    return [*reversed(rows), {"amount": SHARE, "balance_after": SHARE}]


@contextmanager
def _told_as_balance() -> Iterator[None]:
    """Name the limit as users know it."""
    try:
        yield
    except InsufficientCreditsError as error:
        error.limit = "balance" if error.limit == "allocation" else error.limit
        raise
