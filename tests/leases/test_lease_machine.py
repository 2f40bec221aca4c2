"""Random spends, settlements, losses, deaths and expiries, against what callers were told.

Whatever happens, each charge that a caller was told of is taken once, or kept as owed where it could not be
taken any more; nothing else is taken, nothing stays held, and no lease ever promises more than it has.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from credit_sdk import CreditError, InsufficientCreditsError, OutcomeUnknownError, UnavailableError
from credit_sdk._leases.lease import Lease
from credit_sdk.charge import OpenCharge
from credit_sdk.errors import RefusedError
from credit_sdk.operations import Deduct, ExpireHolds, Operation, VerifyLedger
from tests.leases.conftest import ADA, Crash, Process, Town

ALLOCATED = 400
TTL = 100
amounts = st.integers(1, 60)


class Leasing(RuleBasedStateMachine):
    """Some processes of one application, and another user of the same allocation."""

    processes = Bundle("processes")
    works = Bundle("works")

    def __init__(self) -> None:
        super().__init__()
        self.town = Town(Path(tempfile.mkdtemp()), allocated=ALLOCATED)
        self.told: dict[str, int] = {}
        """What callers were told to have been charged."""
        self.open_to_doubt: dict[str, int] = {}
        """What was charged, or was not: the answer was lost, or the process died on its way."""
        self.started: list[Process] = []
        self.beside = 0
        self.may_owe = False
        self.number = 0

    def next_id(self) -> str:
        self.number += 1
        return f"job-{self.number}"

    def attempt(self, process: Process, charges: dict[str, int], work: Callable[[], Any]) -> None:
        """Let a process do something in which it may die, or lose the books."""
        if process.slot not in self.town.alive:
            return
        try:
            work()
        except RefusedError:
            return
        except Crash:
            process.kill()
        except CreditError:
            pass
        else:
            self.told.update(charges)
            return
        finally:
            process.line.strike = None
        self.open_to_doubt.update({name: each for name, each in charges.items() if name not in self.told})

    @rule(target=processes, credits=st.sampled_from([5, 40, 150]))
    def start(self, credits: int) -> Any:
        if len(self.town.alive) >= 3:
            return multiple()
        process = self.town.process(credits=credits, ttl_seconds=TTL)
        self.started.append(process)
        return process

    @rule(process=processes, credits=amounts, is_own=st.booleans())
    def spend(self, process: Process, credits: int, is_own: bool) -> None:
        request_id = self.next_id()
        self.attempt(process, {request_id: credits}, lambda: process.spend(credits, request_id=request_id))
        if is_own and request_id in self.told:
            self.attempt(
                process, {request_id: credits}, lambda: process.spend(credits, request_id=request_id)
            )

    @rule(target=works, process=processes, estimate=amounts)
    def begin(self, process: Process, estimate: int) -> Any:
        charge = process.billing.charge(ADA, estimate, service_type="lookup", request_id=self.next_id())
        entered: list[OpenCharge] = []
        self.attempt(process, {}, lambda: entered.append(charge.__enter__()))
        return (process, charge) if entered else multiple()

    @rule(work=works, cost=st.integers(0, 80), fails=st.booleans())
    def end(self, work: tuple[Process, OpenCharge], cost: int, fails: bool) -> None:
        process, charge = work
        if charge.request_id in self.told or charge.request_id in self.open_to_doubt or charge._has_ended:
            return
        charge.credits = cost
        error = ZeroDivisionError() if fails else None
        charges = {} if fails or not cost else {charge.request_id: cost}
        self.attempt(process, charges, lambda: charge.__exit__(type(error), error, None))
        charge._has_ended = True

    @rule(process=processes)
    def attend(self, process: Process) -> None:
        self.attempt(process, {}, process.leases.attend)

    @rule(process=processes)
    def close(self, process: Process) -> None:
        self.attempt(process, {}, process.leasing.close)

    @rule(process=processes)
    def kill(self, process: Process) -> None:
        process.kill()

    @rule(
        process=processes,
        after=st.integers(0, 2),
        is_carried_out=st.booleans(),
        error=st.sampled_from([Crash, OutcomeUnknownError]),
    )
    def plan_a_fault(
        self, process: Process, after: int, is_carried_out: bool, error: type[BaseException]
    ) -> None:
        left = after

        def strike(_: Operation[Any], carry_out: Callable[[], Any]) -> Any:
            nonlocal left
            if left:
                left -= 1
                process.line.strike = strike
                return carry_out()
            if is_carried_out:
                carry_out()
            raise error if is_carried_out or error is Crash else UnavailableError

        process.line.strike = strike

    @rule(credits=st.one_of(amounts, st.just(None)))
    def charge_beside(self, credits: int | None) -> None:
        """Let somebody else spend a part of the allocation, or all that is left of it."""
        if credits is None:
            self.town.ledger.execute(ExpireHolds())
            standing = self.town.standing()
            credits = int(standing.remaining_credits - standing.held_credits)
            if not credits:
                return
        request = Deduct(org_id="acme", user_id="ada", credits=credits, service_type="lookup")
        try:
            self.town.ledger.execute(request)
        except InsufficientCreditsError:
            return
        self.beside += credits

    @rule(seconds=st.sampled_from([1, TTL // 2, TTL * 2]))
    def pass_time(self, seconds: int) -> None:
        self.town.clock.advance(seconds=seconds)
        self.may_owe = True

    @invariant()
    def no_lease_promises_more_than_it_has(self) -> None:
        charged = self.town.charged()
        for lease in self.leases():
            hold = next((h for h in self.town.ledger.holds.values() if h.id == lease.hold_id), None)
            if hold is None or hold.status != "held":
                continue
            owed = sum(spend.credits for spend in lease.unsettled(10_000) if spend.request_id not in charged)
            assert owed + lease._reserved <= hold.credits

    def leases(self) -> list[Lease]:
        """The leases of those that live."""
        return [
            lease
            for process in self.started
            if process.slot in self.town.alive
            for lessee in process.leases._active
            for lease in lessee._supply.leases
        ]

    def teardown(self) -> None:
        for slot in list(self.town.alive):
            self.town.alive.discard(slot)
        heir = self.town.process()
        heir.billing.settle_leases()
        heir.billing.close()
        assert heir.journals() == []
        assert not [hold for hold in self.town.ledger.live_holds.values() if hold.content[2] == "lease"]
        self.town.clock.advance(seconds=90_000)
        self.town.ledger.execute(ExpireHolds())

        debts = self.deliver()
        charged = {name: credits for name, credits in self.town.charged().items() if name.startswith("job-")}
        certain = {name: credits for name, credits in charged.items() if name not in self.open_to_doubt}
        assert self.may_owe or not debts
        assert certain | {name: each for name, each in debts.items() if name in self.told} == self.told
        for name, credits in charged.items():
            assert credits == (self.told | self.open_to_doubt)[name]
        assert self.town.books() == (sum(charged.values()) + self.beside, 0)
        assert self.town.ledger.execute(VerifyLedger()).differences == ()
        shutil.rmtree(self.town.folder, ignore_errors=True)

    def deliver(self) -> dict[str, int]:
        """Deliver what the outbox keeps, and answer what is refused still."""
        debts = {}
        for charge in self.town.debts.kept.values():
            fields = charge.model_dump(include={"org_id", "user_id", "credits", "service_type", "request_id"})
            try:
                self.town.ledger.execute(Deduct.model_validate(fields))
            except InsufficientCreditsError:
                debts[charge.request_id] = int(charge.credits)
        return debts


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
