"""Random sequences of operations on users' own balances, beside a model that says what they have to answer.

Outcomes are compared as in `machine`; at the end balances, holds and transactions are, too. Needs
`hypothesis`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pydantic import BaseModel

from credit_sdk.backends.memory import MemoryLedger, utc_now
from credit_sdk.contract.harness import Harness, unique
from credit_sdk.contract.machine import (
    ENDS,
    EXTENSION_IDS,
    GRANT_IDS,
    IDS,
    REFUND_IDS,
    STEP_SECONDS,
    TTLS,
    amounts,
    ids,
    names,
    outcome_of,
    services,
)
from credit_sdk.operations import (
    CaptureBalanceHold,
    CheckBalance,
    ExpireHolds,
    ExtendBalanceHold,
    GetBalance,
    GetBalanceHold,
    GetStatement,
    GrantCredits,
    ListTransactions,
    Operation,
    PlaceBalanceHold,
    RefundSpending,
    Spend,
    VoidBalanceHold,
)

PEOPLE = ("ada", "bob", "eve")
OPENING = 100

people = st.sampled_from(PEOPLE)
spending = st.fixed_dictionaries(
    {"credits": amounts, "service_type": services, "service_name": names, "request_id": ids}
)


class BalanceModel(Protocol):
    """What says how a ledger has to answer: a result's fields, or the same error."""

    def execute(self, operation: Operation[Any]) -> dict[str, Any]:
        """Return as much of the result as the model knows."""

    def switch_off(self, user_id: str) -> None:
        """Let a user spend nothing any more."""

    def advance(self, seconds: int) -> None:
        """Let time pass."""


@dataclass(frozen=True, slots=True)
class BalanceTrial:
    """A ledger beside a model of users with `OPENING` credits each.

    `forget_other_holds` sees to it that nobody else has holds that could expire. `seen` counts the outcomes
    of each operation.
    """

    ledger: Harness
    make_model: Callable[[list[str]], BalanceModel]
    forget_other_holds: Callable[[], None] = lambda: None
    seen: Counter[str] = field(default_factory=Counter)


class BalanceMachine(RuleBasedStateMachine):
    """Three users, on a ledger and on its model."""

    def __init__(self, trial: BalanceTrial) -> None:
        super().__init__()
        self.trial = trial
        self.ledger = trial.ledger
        self.twins: dict[Any, Any] = {}
        self.holds: list[Any] = []
        self.charges: list[Any] = []
        self.asked: list[Operation[Any]] = []

    @initialize()
    def open_books(self) -> None:
        self.trial.forget_other_holds()
        self.ids = {name: unique(name) for name in PEOPLE}
        for user_id in self.ids.values():
            self.ledger.administrator.add_user(user_id, credits=OPENING)
        self.model = self.trial.make_model(list(self.ids.values()))

    @rule(person=people, fields=spending)
    def spend(self, person: str, fields: dict[str, Any]) -> None:
        self.same(Spend(user_id=self.ids[person], **fields))

    @rule(person=people, fields=spending, ttl=st.sampled_from(TTLS))
    def place_hold(self, person: str, fields: dict[str, Any], ttl: int) -> None:
        self.same(PlaceBalanceHold(user_id=self.ids[person], ttl_seconds=ttl, **fields))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """Repeat what was asked before, whatever came of it and whatever happened since."""
        self.same(data.draw(st.sampled_from(self.asked)))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), person=st.none() | people)
    def ask_for_something_else(self, data: st.DataObject, person: str | None) -> None:
        """Use an id again: for another user, or to spend what was held and to hold what was spent."""
        earlier = data.draw(st.sampled_from(self.asked))
        if person is not None and getattr(earlier, "user_id", None) is not None:
            self.same(earlier.model_copy(update={"user_id": self.ids[person]}))
        elif isinstance(earlier, PlaceBalanceHold):
            self.same(Spend(**earlier.model_dump(exclude={"ttl_seconds", "by_payer"})))
        elif isinstance(earlier, Spend):
            self.same(PlaceBalanceHold(**earlier.model_dump()))

    @precondition(lambda self: self.holds)
    @rule(
        data=st.data(),
        credits=st.none() | amounts,
        ttl=st.sampled_from(TTLS),
        request_id=st.sampled_from(EXTENSION_IDS),
        times=st.integers(1, 2),
    )
    def extend(
        self, data: st.DataObject, credits: Decimal | None, ttl: int, request_id: str, times: int
    ) -> None:
        """Give a hold more time, and mostly more credits, under an id that was used before perhaps."""
        hold_id = data.draw(st.sampled_from(self.holds[-2:]) | st.sampled_from(self.holds))
        more = ExtendBalanceHold(hold_id=hold_id, credits=credits, ttl_seconds=ttl, request_id=request_id)
        for _ in range(times):
            self.same(more)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), end=st.sampled_from(ENDS))
    def settle(self, data: st.DataObject, end: Any) -> None:
        """Capture or void a hold, mostly one of the latest."""
        self.end_hold(data.draw(st.sampled_from(self.holds[-2:]) | st.sampled_from(self.holds)), end)

    def end_hold(self, hold_id: Any, end: Any) -> None:
        if end == "void":
            self.same(VoidBalanceHold(hold_id=hold_id))
        else:
            self.same(CaptureBalanceHold(hold_id=hold_id, credits=end))

    @rule(person=people, fields=spending, end=st.sampled_from(ENDS))
    def perform(self, person: str, fields: dict[str, Any], end: Any) -> None:
        """Hold and settle, as a charged operation does."""
        self.place_hold(person, fields, max(TTLS))
        if self.holds:
            self.end_hold(self.holds[-1], end)

    @rule(
        data=st.data(),
        person=people,
        credits=st.none() | amounts,
        key=st.sampled_from(REFUND_IDS),
        times=st.integers(1, 2),
    )
    def refund(self, data: st.DataObject, person: str, credits: Decimal | None, key: str, times: int) -> None:
        """Refund a charge, sometimes under a key that charges and holds use as well."""
        if data.draw(st.booleans()) and self.charges:
            named = {"transaction_id": data.draw(st.sampled_from(self.charges))}
        else:
            named = {"user_id": self.ids[person], "request_id": data.draw(ids)}
        refund = RefundSpending(**named, credits=credits, idempotency_key=key)
        for _ in range(times):
            self.same(refund)

    @rule(person=people, credits=amounts, request_id=st.sampled_from((*GRANT_IDS, *IDS[:2])))
    def grant(self, person: str, credits: Decimal, request_id: str) -> None:
        """Add credits, sometimes under an id that charges and holds use as well."""
        self.same(GrantCredits(user_id=self.ids[person], credits=credits, request_id=request_id))

    @rule(steps=st.integers(0, 2), limit=st.sampled_from([None, 1, 1_000]))
    def time_passes(self, steps: int, limit: int | None) -> None:
        """Let time pass, and sweep perhaps."""
        self.ledger.advance(steps * STEP_SECONDS)
        self.model.advance(steps * STEP_SECONDS)
        if limit is not None:
            self.same(ExpireHolds(limit=limit))

    @rule(person=people, fields=spending, limit=st.sampled_from([None, 1_000]))
    def hold_too_long(self, person: str, fields: dict[str, Any], limit: int | None) -> None:
        """Leave a hold alone until its time is over."""
        self.place_hold(person, fields, min(TTLS))
        self.time_passes(1, limit)

    @rule(person=people, credits=amounts)
    def look_around(self, person: str, credits: Decimal) -> None:
        self.same(CheckBalance(user_id=self.ids[person], credits=credits))
        self.same(GetStatement(user_id=self.ids[person]))

    @rule(often=st.integers(0, 5), fields=spending)
    def switch_off(self, often: int, fields: dict[str, Any]) -> None:
        """Switch one user off, now and then, who tries to spend."""
        if often == 0:
            self.ledger.administrator.switch_off(self.ids["eve"])
            self.model.switch_off(self.ids["eve"])
            self.spend("eve", fields)

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        for hold_id in self.holds:
            self.same(GetBalanceHold(hold_id=hold_id))
        for user_id in self.ids.values():
            self.same(GetBalance(user_id=user_id))
            self.same(ListTransactions(user_id=user_id, limit=500))

    def same(self, operation: Operation[Any]) -> None:
        """Carry an operation out on both and compare what came of it."""
        outcome = outcome_of(lambda: self.ledger.execute(operation).model_dump())
        twin = self._for_model(operation)
        self._compare(outcome, outcome_of(lambda: self.model.execute(twin)), type(operation).__name__)
        self._note(operation, outcome)

    def _for_model(self, operation: Operation[Any]) -> Operation[Any]:
        """Name holds and transactions as the model knows them."""
        named = {name: value for name, value in operation if name in _NAMES_THINGS and value is not None}
        return operation.model_copy(
            update={name: self.twins["hold" in name, value] for name, value in named.items()}
        )

    def _compare(self, actual: Any, expected: Any, where: str) -> None:
        """Compare as much of an outcome as the model knows; who is which is learnt on the way."""
        match actual, expected:
            case dict(), dict():
                assert ("code" in actual) == ("code" in expected), f"{where}: {actual} instead of {expected}"
                for name in expected.keys() - _NOT_COMPARED:
                    self._compare_named(name, actual[name], expected[name], f"{where}.{name}")
            case list() | tuple(), list() | tuple():
                assert len(actual) == len(expected), where
                for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
                    self._compare(one, other, f"{where}[{position}]")
            case _:
                assert actual == expected, f"{where}: {actual!r} instead of {expected!r}"

    def _compare_named(self, name: str, actual: Any, expected: Any, where: str) -> None:
        if name not in _NAMES_THINGS or actual is None or expected is None:
            self._compare(actual, expected, where)
            return
        assert self.twins.setdefault(("hold" in name, actual), expected) == expected, where

    def _note(self, operation: Operation[Any], outcome: dict[str, Any]) -> None:
        replayed = " replayed" if outcome.get("replayed") else ""
        self.trial.seen[f"{type(operation).__name__} {outcome.get('code', 'done')}{replayed}"] += 1
        if operation.idempotency is not None or isinstance(operation, CaptureBalanceHold | VoidBalanceHold):
            self.asked.append(operation)
        for name, known in ("hold_id", self.holds), ("charge_id", self.charges):
            if name in outcome and outcome[name] not in known:
                known.append(outcome[name])


_USED_IDS = frozenset({*IDS, *GRANT_IDS, *REFUND_IDS})
_NAMES_THINGS = frozenset({"hold_id", "charge_id", "refund_id", "transaction_id", "refund_of"})
_NOT_COMPARED = frozenset({"detail", "top_up_url", "created_at", "expires_at"})


class MemoryBalanceModel:
    """The ledger in memory as a model of another backend."""

    def __init__(self, user_ids: list[str]) -> None:
        self.ahead = timedelta()
        start = utc_now()
        self.ledger = MemoryLedger(now=lambda: start + self.ahead)
        for user_id in user_ids:
            self.ledger.add_user(user_id, credits=OPENING)
        self.switch_off = self.ledger.switch_off

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)

    def execute(self, operation: Operation[Any]) -> dict[str, Any]:
        result: BaseModel = self.ledger.execute(operation)
        answer = result.model_dump()
        for row in (*answer.get("items", ()), *answer.get("transactions", ())):
            if row["request_id"] not in _USED_IDS:
                # The opening grant has an id of its own on each side.
                del row["request_id"]
        return answer
