"""Whatever happens in whatever order, lots are what a few lines of Python say that they are.

Everything is allocated to one member. The model uses lots up at each charge, where the ledger works it out
when lots change. In the model lots end in time, where the ledger may be late; which holds keep what is left
of them is decided by the ledger's sweep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.ledger.conftest import Call, Member, set_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ledger.conftest import Books, Row

SOAK = hypothesis.settings.get_current_profile_name() == "soak"
NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
STEP = timedelta(hours=5)
TTL = timedelta(hours=24)


@dataclass
class Lot:
    rest: int
    priority: int
    ends: datetime
    number: int
    ended: bool = False


@dataclass
class Held:
    credits: int
    made: datetime
    hold: Row
    ended: int = 0
    """What it keeps of lots that have ended."""


@dataclass
class Model:
    """What never expires, lots, and open holds."""

    now: datetime = NOON
    plain: int = 0
    lots: list[Lot] = field(default_factory=list)
    holds: list[Held] = field(default_factory=list)

    @property
    def balance(self) -> int:
        return self.plain + sum(lot.rest for lot in self.lots) + sum(each.ended for each in self.holds)

    @property
    def free(self) -> int:
        return self.balance - sum(each.credits for each in self.holds)

    def in_order(self) -> list[Lot]:
        return sorted(self.lots, key=lambda lot: (not lot.ended, lot.priority, lot.ends, lot.number))

    def spend(self, credits: int) -> None:
        for lot in self.in_order():
            used = min(lot.rest, credits)
            lot.rest, credits = lot.rest - used, credits - used
        self.plain -= credits

    def end(self) -> None:
        """Let lots end: no more of them is left than is held."""
        self.holds = [each for each in self.holds if each.made + TTL > self.now]
        held = sum(each.credits - each.ended for each in self.holds)
        for lot in self.in_order():
            if lot.ends <= self.now:
                lot.rest, lot.ended = min(lot.rest, held), True
                held -= lot.rest

    def sweep(self) -> None:
        """Leave what is left of lots that have ended to the holds, the oldest first."""
        for lot in self.in_order():
            for held in self.holds if lot.ended else ():
                kept = min(lot.rest, held.credits - held.ended)
                lot.rest, held.ended = lot.rest - kept, held.ended + kept


@dataclass
class Both:
    """The books and the model beside each other."""

    books: Books
    member: Member
    model: Model = field(default_factory=Model)

    def do(self, step: tuple[str, Any]) -> None:
        getattr(self, f"_{step[0]}")(step[1])
        is_over = any(held.ended and held.made + TTL <= self.model.now for held in self.model.holds)
        self.model.end()
        if is_over:
            # When the time of a hold is over is seen by a sweep, or by who finds too little.
            self._run_due()

    def _lot(self, lot: tuple[int, int, int]) -> None:
        credits, steps, priority = lot
        # A whole second later than others, so that no two end at once.
        ends = self.model.now + steps * STEP + timedelta(seconds=len(self.model.lots) + 1)
        self._add(credits, expires_at=ends, priority=priority)
        self.model.lots.append(Lot(credits, priority, ends, len(self.model.lots)))

    def _plain(self, credits: int) -> None:
        self._add(credits)
        self.model.plain += credits

    def _add(self, credits: int, **more: Any) -> None:
        # Else what is due would take of the new credits first, which the member does not have yet.
        self._run_due()
        self.books.do(Call("add_credits", {"org_id": self.member.org_id, "credits": credits} | more))
        self.books.do(self.member.allocate(credits))

    def _run_due(self) -> None:
        self.books.do(Call("run_due", {}))
        self.model.sweep()

    def _charge(self, credits: int) -> None:
        if credits <= self.model.free:
            self.books.do(self.member.deduct(credits))
            self.model.sweep()
            self.model.spend(credits)
        else:
            assert self.books.refusal(self.member.deduct(credits)).figures["available"] == self.model.free

    def _hold(self, credits: int) -> None:
        # A moment later than others, so that no two are of the same age.
        self.model.now += timedelta(milliseconds=1)
        set_clock(self.books, self.model.now)
        call = self.member.hold(credits, ttl_seconds=int(TTL.total_seconds()))
        if credits <= self.model.free:
            self.model.sweep()
            self.model.holds.append(Held(credits, self.model.now, self.books.do(call)))
        else:
            assert self.books.refusal(call).state == "CR402"

    def _capture(self, part: float) -> None:
        if self.model.holds:
            held = self.model.holds.pop(0)
            credits = max(1, round(held.credits * part))
            self.books.do(self.books.capture(held.hold, credits))
            self.model.spend(max(credits - held.ended, 0))

    def _part(self, part: tuple[float, bool]) -> None:
        if self.model.holds:
            share, close = part
            held = self.model.holds[0]
            credits = max(1, round(held.credits * share))
            about = {"hold_id": held.hold["hold_id"], "charges": [self.member.item(credits)], "close": close}
            self.books.do(Call("charge_hold", about))
            if held.ended:
                self.model.sweep()
            of_ended = min(credits, held.ended)
            held.credits, held.ended = held.credits - credits, held.ended - of_ended
            self.model.spend(credits - of_ended)
            if close or not held.credits:
                self.model.holds.pop(0)

    def _void(self, _: int) -> None:
        if self.model.holds:
            self.books.do(self.books.void(self.model.holds.pop(0).hold))

    def _pass(self, steps: int) -> None:
        self.model.now += steps * STEP
        set_clock(self.books, self.model.now)

    def _sweep(self, _: int) -> None:
        self._run_due()
        [pool] = self.books.execute(
            "SELECT total_credits - used_credits AS balance FROM organization_credit_pools WHERE org_id = %s",
            self.member.org_id,
        )
        assert pool["balance"] == self.model.balance


MIXES = [
    {"lot": 4, "plain": 1, "charge": 6, "hold": 5, "capture": 3, "part": 3, "void": 2, "pass": 6, "sweep": 3},
    # Holds that are charged in parts while lots end.
    {"lot": 8, "plain": 1, "charge": 3, "hold": 8, "capture": 1, "part": 8, "void": 1, "pass": 8, "sweep": 1},
]


def steps_of(random: Random, weights: dict[str, int], count: int) -> Iterator[tuple[str, Any]]:
    """Yield what happens: mostly a balance of a few lots that is used up now and then."""
    for kind in random.choices(list(weights), list(weights.values()), k=count):
        match kind:
            case "lot":
                yield kind, (random.randint(1, 30), random.randint(1, 6), random.choice([1, 100]))
            case "pass":
                yield kind, random.randint(1, 2)
            case "capture":
                yield kind, random.choice([0.3, 1.0])
            case "part":
                yield kind, (random.choice([0.3, 0.6]), random.choice([True, False]))
            case _:
                yield kind, random.randint(1, 20)


@pytest.fixture
def clocked(own_books: Books) -> Books:
    set_clock(own_books, NOON)
    return own_books


@pytest.mark.parametrize("first", range(0, 2_000 if SOAK else 60, 10))
def test_lots_are_what_the_model_says(clocked: Books, first: int) -> None:
    for seed in range(first, first + 10):
        member = Member(f"org-{seed}", "ann")
        set_clock(clocked, NOON)
        clocked.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", member.org_id, member.org_id)
        clocked.execute(
            "INSERT INTO organization_members (org_id, user_id) VALUES (%s, 'ann')", member.org_id
        )
        both = Both(clocked, member)
        steps = list(steps_of(Random(seed), MIXES[seed % 2], 60))
        for step in [("plain", 10), *steps, ("sweep", 0), ("pass", 40), ("sweep", 0)]:
            both.do(step)
        found = clocked.do(Call("verify_ledger", {"org_id": member.org_id}))["differences"]
        assert found == [], f"seed {seed}"
