"""Random sequences of operations on a ledger, beside a model that says what it has to answer.

Outcomes are compared with error codes, figures and which id is which; at the end everything that can
be looked at is compared, and the books have to be right. Needs `hypothesis`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pydantic import BaseModel

from credit_sdk.amounts import Amount
from credit_sdk.backends.memory import MemoryLedger, utc_now
from credit_sdk.contract.harness import Harness, unique
from credit_sdk.contract.sums import MEMBERS, POOL, SHARE
from credit_sdk.errors import CreditError
from credit_sdk.operations import (
    AddCredits,
    Allocate,
    CaptureHold,
    ChargeHold,
    CheckCredits,
    Deduct,
    DeductBatch,
    ExpireHolds,
    ExtendHold,
    GetHold,
    GetPool,
    ListAllocations,
    ListCaps,
    ListCharges,
    Operation,
    Part,
    PlaceHold,
    Refund,
    SetCap,
    VerifyLedger,
    VoidHold,
)

IDS = tuple(f"job-{n}" for n in range(10))
GRANT_IDS = tuple(f"grant-{n}" for n in range(4))
KEY = "key-1"
REFUND_IDS = (*(f"refund-{n}" for n in range(4)), *IDS[:2])

members = st.sampled_from(MEMBERS)
amounts = st.sampled_from([Decimal(text) for text in ("0.001", "2.5", "10", "30", "50", "99.999", "120")])
# What becomes of a hold: voided, captured whole, or for less or more than it holds.
ENDS = ("void", None, Decimal(30), Decimal(500), "void", None, Decimal("0.001"), Decimal(50))
ids = st.sampled_from(IDS)
# Months are as days are; the model that sums everything anew knows no calendar.
periods = st.sampled_from(["call", "hour", "hour", "day"])
capped_amounts = st.sampled_from([None, *map(Decimal, ("10", "50", "60", "99.999", "120", "200"))])
services = st.sampled_from(["valuation", "contact_lookup"])
names = st.sampled_from([None, "full"])
keys = st.sampled_from([None, None, KEY])
spending = st.fixed_dictionaries(
    {
        "user_id": members,
        "credits": amounts,
        "service_type": services,
        "service_name": names,
        "request_id": ids,
        "api_key_id": keys,
    }
)
# Holds end between two moves of the clock, never near one: what a run takes in real time cannot matter.
STEP_SECONDS = 600
DAY_SECONDS = 86_400
TTLS = (300, 900, 3_900)
PART_IDS = ("part-0", "part-1", "part-2", "part-3", "part-4", "part-5")
part_amounts = st.sampled_from([Decimal("0.5"), Decimal(1), Decimal(10)])
EXTENSION_IDS = ("more-0", "more-1", "more-2")
BEYOND_IDS = tuple(f"beyond-{n}" for n in range(6))


class Model(Protocol):
    """What says how a ledger has to answer: a result's fields, or the same error."""

    def execute(self, operation: Operation[Any]) -> dict[str, Any]:
        """Return as much of the result as the model knows."""

    def set_allocation(self, org_id: str, user_id: str, credits: Amount) -> None:
        """Set what a member may use altogether."""

    def deactivate(self, org_id: str, user_id: str) -> None:
        """Switch a member's allocation off."""

    def advance(self, seconds: int) -> None:
        """Let time pass."""

    def begin(self, moment: datetime) -> None:
        """Let it be this moment, at which a day begins; nothing has happened yet."""

    def taken(self) -> Counter[tuple[str, Decimal, str]]:
        """Return the charges and refunds: user, credits, request id."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A ledger beside a model of it.

    `make_model` models an organisation with so much overage; `forget_other_holds` sees to it that no
    other organisation has holds that could expire. `seen` counts the outcomes of each operation.
    """

    ledger: Harness
    make_model: Callable[[str, int | None], Model]
    forget_other_holds: Callable[[], None] = lambda: None
    seen: Counter[str] = field(default_factory=Counter)


class LedgerMachine(RuleBasedStateMachine):
    """One organisation with three members, on a ledger and on its model."""

    def __init__(self, trial: Trial) -> None:
        super().__init__()
        self.trial = trial
        self.ledger = trial.ledger
        self.twins: dict[UUID, UUID] = {}
        self.holds: list[UUID] = []
        self.charges: list[UUID] = []
        self.asked: list[Operation[Any]] = []

    @initialize(overage=st.sampled_from([None, None, 20]), capped=st.sampled_from([False, False, True]))
    def open_books(self, overage: int | None, capped: bool) -> None:
        self.capped = capped
        self.trial.forget_other_holds()
        self.org_id = unique("org")
        administrator = self.ledger.administrator
        administrator.add_organization(self.org_id, credits=POOL)
        administrator.set_overage(self.org_id, overage)
        for member in MEMBERS:
            administrator.add_member(self.org_id, member, allocated=SHARE)
        self.model = self.trial.make_model(self.org_id, overage)
        if capped:
            self.model.begin(self.begin_day())
            self.change_cap("organization", "hour", Decimal(200))

    def begin_day(self) -> datetime:
        """Let time pass until a day begins, and return the moment: both sides count the same windows."""
        day = {"org_id": self.org_id, "scope": "organization", "period": "day"}
        [cap] = self.ledger.execute(SetCap.model_validate(day | {"credits": 1})).caps
        self.ledger.execute(SetCap.model_validate(day))
        assert cap.resets_at is not None
        self.ledger.advance((cap.resets_at - cap.updated_at).total_seconds())
        return cap.resets_at

    @precondition(lambda self: self.capped)
    @rule(
        scope=st.sampled_from(["organization", "member", "member", "api_key"]),
        member=members,
        period=periods,
        credits=capped_amounts,
    )
    def cap(self, scope: Any, member: str, period: Any, credits: Decimal | None) -> None:
        """Set, change or remove a cap, whatever was spent before."""
        subjects = {"member": member, "api_key": self.ledger.own_key or KEY}
        self.change_cap(scope, period, credits, subjects.get(scope))

    def change_cap(
        self, scope: Any, period: Any, credits: Decimal | None, subject: str | None = None
    ) -> None:
        cap = SetCap(org_id=self.org_id, scope=scope, subject=subject, period=period, credits=credits)
        self.same(cap)

    @precondition(lambda self: self.capped)
    @rule(fields=spending, end=st.sampled_from([Decimal(30), Decimal(50)]))
    def outgrow(self, fields: dict[str, Any], end: Decimal) -> None:
        """Capture more than was held, near a cap."""
        self.place_hold(fields | {"credits": Decimal(10)}, max(TTLS))
        self.change_cap("member", "call", Decimal(30), fields["user_id"])
        if self.holds:
            self.end_hold(self.holds[-1], end)

    @precondition(lambda self: self.capped)
    @rule(fields=spending, request_id=st.sampled_from(BEYOND_IDS))
    def extend_beyond_a_cap(self, fields: dict[str, Any], request_id: str) -> None:
        """Ask for more for an open hold than a cap leaves."""
        self.place_hold(fields | {"credits": Decimal(10)}, max(TTLS))
        self.change_cap("member", "call", Decimal(30), fields["user_id"])
        if self.holds:
            self.same(ExtendHold(hold_id=self.holds[-1], credits=Decimal(50), request_id=request_id))

    @precondition(lambda self: self.capped)
    @rule()
    def a_day_passes(self) -> None:
        self.ledger.advance(DAY_SECONDS)
        self.model.advance(DAY_SECONDS)

    @rule(fields=spending)
    def deduct(self, fields: dict[str, Any]) -> None:
        self.same(Deduct(org_id=self.org_id, **fields))

    @rule(fields=spending, ttl=st.sampled_from(TTLS))
    def place_hold(self, fields: dict[str, Any], ttl: int) -> None:
        self.same(PlaceHold(org_id=self.org_id, ttl_seconds=ttl, **fields))

    @rule(charges=st.lists(spending, min_size=1, max_size=5), only=st.none() | members)
    def deduct_batch(self, charges: list[dict[str, Any]], only: str | None) -> None:
        """Take a batch, of all members or of one."""
        of_one = {} if only is None else {"user_id": only}
        self.same(
            DeductBatch(charges=tuple(Deduct(org_id=self.org_id, **fields | of_one) for fields in charges))
        )

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        """Repeat what was asked before, whatever came of it and whatever happened since."""
        self.same(data.draw(st.sampled_from(self.asked)))

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), member=st.none() | members)
    def ask_for_something_else(self, data: st.DataObject, member: str | None) -> None:
        """Use an id again: for another member, or to deduct what was held and to hold what was deducted."""
        earlier = data.draw(st.sampled_from(self.asked))
        if member is not None and "user_id" in type(earlier).model_fields:
            self.same(earlier.model_copy(update={"user_id": member}))
        elif isinstance(earlier, PlaceHold):
            self.same(Deduct(**earlier.model_dump(exclude={"ttl_seconds", "by_payer"})))
        elif isinstance(earlier, Deduct):
            self.same(PlaceHold(**earlier.model_dump()))

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), end=st.sampled_from(ENDS))
    def settle(self, data: st.DataObject, end: Any) -> None:
        """Capture or void a hold, mostly one of the latest."""
        self.end_hold(data.draw(st.sampled_from(self.holds[-2:]) | st.sampled_from(self.holds)), end)

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
        more = ExtendHold(hold_id=hold_id, credits=credits, ttl_seconds=ttl, request_id=request_id)
        for _ in range(times):
            self.same(more)

    @rule(fields=spending, request_id=st.sampled_from(BEYOND_IDS), credits=amounts)
    def extend_otherwise(self, fields: dict[str, Any], request_id: str, credits: Decimal) -> None:
        """Extend a new hold, and use the id again for something else."""
        self.place_hold(fields | {"credits": Decimal(10)}, max(TTLS))
        if self.holds:
            for more in credits, credits + 1:
                self.same(ExtendHold(hold_id=self.holds[-1], credits=more, request_id=request_id))

    @precondition(lambda self: self.holds)
    @rule(
        data=st.data(),
        parts=st.dictionaries(st.sampled_from(PART_IDS) | ids, part_amounts, min_size=1, max_size=3),
        service=st.none() | services,
        close=st.sampled_from([False, False, True]),
        times=st.integers(1, 2),
    )
    def charge_parts(
        self, data: st.DataObject, parts: dict[str, Decimal], service: str | None, close: bool, times: int
    ) -> None:
        """Take parts of a hold, under ids that were used before perhaps, and end it perhaps."""
        hold_id = data.draw(st.sampled_from(self.holds[-2:]) | st.sampled_from(self.holds))
        charges = tuple(
            Part(request_id=request_id, credits=credits, service_type=service)
            for request_id, credits in sorted(parts.items())
        )
        for _ in range(times):
            self.same(ChargeHold(hold_id=hold_id, charges=charges, close=close))

    @rule(fields=spending, job=st.sampled_from(BEYOND_IDS))
    def work_through_a_job(self, fields: dict[str, Any], job: str) -> None:
        """Hold, and charge parts: one that fits, one that does not, the last, and one after it."""
        self.place_hold(fields | {"credits": Decimal(10)}, max(TTLS))
        if self.holds:
            for number, (credits, close) in enumerate(((1, False), (500, False), (1, True), (1, False))):
                part = Part(request_id=f"{job}/{number}", credits=Decimal(credits))
                self.same(ChargeHold(hold_id=self.holds[-1], charges=(part,), close=close))

    def end_hold(self, hold_id: UUID, end: Any) -> None:
        if end == "void":
            self.same(VoidHold(hold_id=hold_id))
        else:
            self.same(CaptureHold(hold_id=hold_id, credits=end))

    @rule(fields=spending, end=st.sampled_from(ENDS))
    def perform(self, fields: dict[str, Any], end: Any) -> None:
        """Hold and settle, as a charged operation does."""
        self.place_hold(fields, max(TTLS))
        if self.holds:
            self.end_hold(self.holds[-1], end)

    @rule(
        data=st.data(), credits=st.none() | amounts, key=st.sampled_from(REFUND_IDS), times=st.integers(1, 2)
    )
    def refund(self, data: st.DataObject, credits: Decimal | None, key: str, times: int) -> None:
        """Refund a charge, sometimes under a key that charges and holds use as well."""
        by_id = data.draw(st.sampled_from([True, False]))
        if by_id and self.charges:
            charge_id = data.draw(st.sampled_from(self.charges))
            refund = Refund(charge_id=charge_id, credits=credits, idempotency_key=key)
        else:
            request_id = data.draw(ids)
            refund = Refund(org_id=self.org_id, request_id=request_id, credits=credits, idempotency_key=key)
        for _ in range(times):
            self.same(refund)

    @rule(member=st.none() | members, credits=amounts, request_id=st.sampled_from(GRANT_IDS))
    def grant(self, member: str | None, credits: Decimal, request_id: str) -> None:
        """Add to the pool, or to a member's allocation."""
        fields: dict[str, Any] = {"org_id": self.org_id, "request_id": request_id}
        if member is None:
            self.same(AddCredits(**fields, credits=credits))
        else:
            self.same(Allocate(**fields, user_id=member, allocated_credits=credits))

    @rule(member=members, credits=st.sampled_from([None, 10, 60, 100, 100, 200]), fields=spending)
    def administrate(self, member: str, credits: int | None, fields: dict[str, Any]) -> None:
        """Set an allocation by hand, as the documents do, or switch one member's off, who tries to spend."""
        if credits is None:
            self.same_administration(lambda books: books.deactivate(self.org_id, "eve"))
            self.deduct(fields | {"user_id": "eve"})
        else:
            self.same_administration(lambda books: books.set_allocation(self.org_id, member, credits))

    @rule(steps=st.integers(0, 2), limit=st.sampled_from([None, 1, 1_000]))
    def time_passes(self, steps: int, limit: int | None) -> None:
        """Let time pass, and sweep perhaps."""
        self.ledger.advance(steps * STEP_SECONDS)
        self.model.advance(steps * STEP_SECONDS)
        if limit is not None:
            self.same(ExpireHolds(limit=limit))

    @rule(fields=spending, limit=st.sampled_from([None, 1_000]))
    def hold_too_long(self, fields: dict[str, Any], limit: int | None) -> None:
        """Leave a hold alone until its time is over."""
        self.place_hold(fields, min(TTLS))
        self.time_passes(1, limit)

    @rule(member=members, credits=amounts)
    def look_around(self, member: str, credits: Decimal) -> None:
        self.same(CheckCredits(org_id=self.org_id, user_id=member, credits=credits))
        self.same(ListCaps(org_id=self.org_id))
        self.same(ListAllocations(org_id=self.org_id))

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        for hold_id in self.holds:
            self.same(GetHold(hold_id=hold_id))
        self.same(ListAllocations(org_id=self.org_id))
        self.same(ListCaps(org_id=self.org_id))
        self.same(GetPool(org_id=self.org_id))
        charges = self.ledger.execute(ListCharges(org_id=self.org_id, limit=500)).items
        taken = Counter((each.user_id, each.credits_used, each.request_id) for each in charges)
        assert taken == self.model.taken()
        verification = self.ledger.execute(VerifyLedger(org_id=self.org_id))
        assert verification.differences == ()
        assert verification.charges == len(charges)

    def same(self, operation: Operation[Any]) -> None:
        """Carry an operation out on both and compare what came of it."""
        own_key = self.ledger.own_key
        sent = operation if own_key is None else _by_key(operation, None)
        outcome = outcome_of(lambda: self.ledger.execute(sent).model_dump())
        twin = self._for_model(operation if own_key is None else _by_key(operation, own_key))
        self._compare(outcome, outcome_of(lambda: self.model.execute(twin)), type(operation).__name__)
        self._note(operation, outcome)

    def same_administration(self, act: Callable[[Any], None]) -> None:
        """Do by hand to both and compare what came of it."""

        def done(books: Any) -> dict[str, Any]:
            act(books)
            return {}

        outcome = outcome_of(lambda: done(self.ledger.administrator))
        self._compare(outcome, outcome_of(lambda: done(self.model)), "administration")

    def _for_model(self, operation: Operation[Any]) -> Operation[Any]:
        """Name holds and charges as the model knows them."""
        named = {name: value for name, value in operation if isinstance(value, UUID)}
        return operation.model_copy(update={name: self.twins[value] for name, value in named.items()})

    def _compare(self, actual: Any, expected: Any, where: str) -> None:
        """Compare as much of an outcome as the model knows."""
        match actual, expected:
            case UUID(), UUID():
                twins = self.twins.setdefault(actual, expected), self.twins.setdefault(expected, actual)
                assert twins == (expected, actual), where
            case dict(), dict():
                assert ("code" in actual) == ("code" in expected), f"{where}: {actual} instead of {expected}"
                for name in expected.keys() - {"detail", "top_up_url", "org_id"}:
                    self._compare(actual[name], expected[name], f"{where}.{name}")
            case list() | tuple(), list() | tuple():
                assert len(actual) == len(expected), where
                for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
                    self._compare(one, other, f"{where}[{position}]")
            case datetime(), datetime():
                pass
            case _:
                assert actual == expected, f"{where}: {actual!r} instead of {expected!r}"

    def _note(self, operation: Operation[Any], outcome: dict[str, Any]) -> None:
        more = " replayed" if outcome.get("replayed") else ""
        if outcome.get("figures", {}).get("limit") == "cap":
            more = " cap"
        self.trial.seen[f"{type(operation).__name__} {outcome.get('code', 'done')}{more}"] += 1
        if operation.idempotency is not None or isinstance(
            operation, DeductBatch | ChargeHold | CaptureHold | VoidHold
        ):
            self.asked.append(operation)
        for name, known in ("hold_id", self.holds), ("charge_id", self.charges):
            if name in outcome and outcome[name] not in known:
                known.append(outcome[name])


def _by_key(operation: Operation[Any], key_id: str | None) -> Operation[Any]:
    """Return the operation as made with a key, which a server says by itself."""
    if isinstance(operation, DeductBatch):
        charges = tuple(_by_key(charge, key_id) for charge in operation.charges)
        return operation.model_copy(update={"charges": charges})
    if isinstance(operation, Deduct | PlaceHold):
        return operation.model_copy(update={"api_key_id": key_id})
    return operation


def outcome_of(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the fields of a result, or the code and figures of a refusal."""
    try:
        return act()
    except CreditError as error:
        figures = {name: value for name, value in error.figures().items() if name != "top_up_url"}
        return {"code": error.code, "figures": figures, "names": sorted(figures)}


class MemoryModel:
    """The ledger in memory as a model of another backend."""

    def __init__(self, org_id: str, overage: int | None) -> None:
        self.now = utc_now()
        self.ledger = MemoryLedger(now=lambda: self.now)
        self.ledger.add_organization(org_id, credits=POOL)
        self.ledger.set_overage(org_id, overage)
        for member in MEMBERS:
            self.ledger.add_member(org_id, member, allocated=SHARE)
        self.set_allocation, self.deactivate = self.ledger.set_allocation, self.ledger.deactivate

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def begin(self, moment: datetime) -> None:
        self.now = moment

    def execute(self, operation: Operation[Any]) -> dict[str, Any]:
        result: BaseModel = self.ledger.execute(operation)
        return result.model_dump()

    def taken(self) -> Counter[tuple[str, Decimal, str]]:
        rows = self.ledger.entries.values()
        return Counter((row.content[0], Decimal(row.credits) / 1_000, row.request_id) for row in rows)
