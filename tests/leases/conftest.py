"""Processes that lease from one ledger in memory: they share its clock, and can die at any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk import Account, CreditDeductionService, LeasePolicy, MemoryLedger
from credit_sdk._flows import Forget, HandOver, Keep, Retries
from credit_sdk._leases.leases import Leases, Place
from credit_sdk._leases.leasing import Leasing
from credit_sdk._resources import PerProcess
from credit_sdk.operations import GetUserCredits, ListCharges, Operation
from credit_sdk.testing._clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from credit_sdk._flows import Safekeeping
    from credit_sdk.models import OrganizationCredits, PendingCharge

ADA = Account(org_id="acme", user_id="ada")
ONCE = Retries(attempts=1)


class Crash(BaseException):
    """The process dies here."""


class UnhurriedLeases(Leases):
    """Leases that are looked after when the test says so."""

    def start(self) -> None:
        """Start no thread."""


class Debts:
    """An outbox that outlives its processes."""

    def __init__(self) -> None:
        self.kept: dict[str, PendingCharge] = {}

    def carry_out(self, step: Safekeeping) -> bool:
        match step:
            case Keep():
                self.kept[step.charge.entry_id] = step.charge
            case Forget():
                self.kept.pop(step.entry_id, None)
            case HandOver():
                assert step.entry_id in self.kept
        return True


class Line:
    """The way to the ledger, on which requests and answers can be lost, and processes die."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self.ledger = ledger
        self.requests: list[Operation[Any]] = []
        self.strike: Callable[[Operation[Any], Callable[[], Any]], Any] | None = None
        """Called instead of the next request, once, with the way to carry it out."""

    def execute(self, operation: Operation[Any]) -> Any:
        self.requests.append(operation)
        strike, self.strike = self.strike, None
        if strike is not None:
            return strike(operation, lambda: self.ledger.execute(operation))
        return self.ledger.execute(operation)

    def as_caller(self, session_token: str) -> Line:
        raise AssertionError(session_token)

    def close(self) -> None:
        """Keep nothing open."""


class Process:
    """An application's process with a service that leases."""

    def __init__(self, town: Town, slot: int, policy: LeasePolicy) -> None:
        self.town = town
        self.slot = slot
        self.line = Line(town.ledger)
        self.billing = CreditDeductionService(town.ledger, retries=ONCE, lease=policy)
        till = self.billing._till
        till.connections.__dict__["lasting_backend"] = self.line
        place = Place(town.folder, slot, town.alive.__contains__)
        self.leases = UnhurriedLeases(
            place, lambda: self.line, town.debts, ONCE, clock=lambda: town.clock.now().timestamp()
        )
        assert isinstance(till.leasing, Leasing)
        self.leasing = till.leasing
        self.leasing._leases = PerProcess(lambda: self.leases, Leases.close)
        self.leasing._leases.get()

    def spend(self, credits: int, **options: Any) -> bool:
        """Charge something; whether a lease paid it."""
        with self.billing.charge(ADA, credits, service_type="lookup", **options) as charge:
            pass
        return charge.is_pending

    def kill(self) -> None:
        """Let it die: whatever it has in memory is gone."""
        self.town.alive.discard(self.slot)
        self.leases._journals.clear()
        self.leases._active.clear()

    def journals(self) -> list[Path]:
        return sorted(self.town.folder.glob("*.journal"))


class Town:
    """A ledger in which ada of acme has 1,000 credits, and the processes that lease from it."""

    def __init__(self, folder: Path, *, allocated: int = 1_000) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.ledger = MemoryLedger(now=self.clock.now)
        self.ledger.add_organization("acme", credits=10_000)
        self.ledger.add_member("acme", "ada", allocated=allocated)
        self.slots = 0
        self.alive: set[int] = set()
        self.debts = Debts()

    def process(self, *, credits: int = 100, **terms: Any) -> Process:
        self.slots += 1
        self.alive.add(self.slots)
        return Process(self, self.slots, LeasePolicy(credits=credits, sync_seconds=60, **terms))

    def standing(self) -> OrganizationCredits:
        [standing] = self.ledger.execute(GetUserCredits(user_id="ada")).organizations
        return standing

    def books(self) -> tuple[int, int]:
        """What ada has used and what is held of the rest, in credits."""
        standing = self.standing()
        return int(standing.used_credits), int(standing.held_credits)

    def charged(self) -> dict[str, int]:
        """What was charged, by request id."""
        charges: dict[str, int] = {}
        cursor = None
        while True:
            page = self.ledger.execute(ListCharges(org_id="acme", limit=500, cursor=cursor))
            for charge in page.items:
                assert charge.request_id is not None
                assert charge.request_id not in charges
                charges[charge.request_id] = int(charge.credits_used)
            cursor = page.next_cursor
            if cursor is None:
                return charges


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path / "journals")
