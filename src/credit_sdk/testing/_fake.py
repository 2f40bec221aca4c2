"""The books of a test: in memory, with a clock, faults and assertions."""

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TypeVar

from credit_sdk import _runners
from credit_sdk._courier import Courier
from credit_sdk._flows import HandOver
from credit_sdk.account import Account, parse_account
from credit_sdk.amounts import Amount
from credit_sdk.async_sdk import AsyncCreditSDK
from credit_sdk.async_service import AsyncCreditDeductionService
from credit_sdk.backends.memory import MemoryLedger
from credit_sdk.models import Delivery
from credit_sdk.outbox import Outbox
from credit_sdk.sdk import CreditSDK
from credit_sdk.service import CreditDeductionService
from credit_sdk.testing._books import ReadableBooks
from credit_sdk.testing._clock import FakeClock
from credit_sdk.testing._faults import AsyncFaultyBackend, Faults, FaultyBackend, SimulatedCrash

ServiceT = TypeVar("ServiceT")
_ADDRESS = "https://fake-books.invalid"


class FakeCredits(ReadableBooks):
    """Books that a test owns. Nothing leaves the process, and nobody waits: time is `clock`'s.

    The application's own services keep their books here after `serve(billing)`; `service()` and its
    like make new ones. `faults` plans what goes wrong between them and the books.
    """

    def __init__(self, *, start: datetime | None = None) -> None:
        self.clock = FakeClock(start)
        self.ledger = MemoryLedger(now=self.clock.now)
        self.faults = Faults(self.clock)
        self._couriers: list[_PatientCourier] = []
        self._undo = ExitStack()

    def organization(self, org_id: str = "acme", *, credits: Amount = 1_000_000) -> str:
        """Open an organisation with credits in its pool, and return its id."""
        self.ledger.add_organization(org_id, credits=credits)
        return org_id

    def member(self, user_id: str = "ada", *, org_id: str = "acme", credits: Amount = 1_000) -> Account:
        """Let a user into an organisation, which is opened if need be, with credits to spend."""
        if org_id not in self.ledger.organizations:
            self.organization(org_id)
        self.ledger.add_member(org_id, user_id, allocated=credits or None)
        return parse_account(user_id, org_id)

    def user(self, user_id: str | int = 123, *, credits: Amount = 100) -> Account:
        """Open a user's own balance with credits on it."""
        self.ledger.add_user(user_id, credits=credits)
        return parse_account(user_id)

    def service(self, **options: Any) -> CreditDeductionService:
        """Return a new service on these books; takes what `CreditDeductionService` takes but for the URL."""
        return self.serve(CreditDeductionService(_ADDRESS, **_usable(options)))

    def async_service(self, **options: Any) -> AsyncCreditDeductionService:
        """Return a new service on these books for asyncio."""
        return self.serve(AsyncCreditDeductionService(_ADDRESS, **_usable(options)))

    def sdk(self, **options: Any) -> CreditSDK:
        """Return a new SDK for users' own credits on these books."""
        return self.serve(CreditSDK(_ADDRESS, outbox=False, **options))

    def async_sdk(self, **options: Any) -> AsyncCreditSDK:
        """Return a new SDK for users' own credits on these books, for asyncio."""
        return self.serve(AsyncCreditSDK(_ADDRESS, outbox=False, **options))

    def serve(self, service: ServiceT) -> ServiceT:
        """Let an application's service keep its books here until the test ends, and return it.

        That may be made at import, and its decorated functions too. Its outbox is one of the test's own,
        from which charges are delivered only by `deliver()`. Nothing is leased: each charge is seen at once.
        """
        own: Any = service
        till, probes = own._till, own._probes  # noqa: SLF001 - this is the service's own library
        connections = till.connections.__dict__
        before = dict(connections), till.courier, till.leasing
        connections["lasting_backend"] = FaultyBackend(self.ledger, self.faults)
        connections["lasting_async_backend"] = AsyncFaultyBackend(self.ledger, self.faults)
        courier = _PatientCourier(
            _MortalOutbox(self._folder() / "outbox.sqlite3", self.faults),
            _ADDRESS,
            lambda: connections["lasting_backend"],
            probes,
            now=self.clock.now,
        )
        self._couriers.append(courier)
        object.__setattr__(till, "courier", courier)  # it is frozen for everyone else
        object.__setattr__(till, "leasing", None)

        def restore() -> None:
            connections.clear()
            connections.update(before[0])
            object.__setattr__(till, "courier", before[1])
            object.__setattr__(till, "leasing", before[2])

        self._undo.callback(restore)
        return service

    def deliver(self) -> Delivery:
        """Deliver what the outbox keeps, as the background or the next start does."""
        outcomes = [courier.deliver() for courier in self._couriers]
        return Delivery(
            delivered=sum(each.delivered for each in outcomes),
            released=sum(each.released for each in outcomes),
            kept=outcomes[-1].kept if outcomes else 0,
            credits_charged=sum(
                (each.credits_charged for each in outcomes), start=Delivery().credits_charged
            ),
        )

    def restart(self) -> Delivery:
        """Start the application again after a `SimulatedCrash`: the outbox is delivered."""
        self.faults.is_crashed = False
        for courier in self._couriers:
            for entry in courier.outbox.entries():
                courier.outbox.hand_over(HandOver(entry.entry_id, "The process died."))
        return self.deliver()

    def __enter__(self) -> Self:
        """Let waits pass on the fake's clock."""
        self._undo.enter_context(_waits_pass(self.clock))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the application's services their own books back."""
        self._undo.close()

    def _folder(self) -> Path:
        if not hasattr(self, "_directory"):
            self._directory = self._undo.enter_context(TemporaryDirectory(prefix="fake-credits-"))
        return Path(self._directory)


class _PatientCourier(Courier):
    """Delivers when the test says so, and never in the background."""

    def wake(self) -> None:
        """Do nothing."""


class _MortalOutbox(Outbox):
    """An outbox that a dead process cannot write to."""

    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path)
        self._faults = faults

    def _opened(self) -> Any:
        if self._faults.is_crashed:
            raise SimulatedCrash
        return super()._opened()


def _usable(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a service whose outbox is the fake's, and which leases nothing."""
    return {name: value for name, value in options.items() if name != "lease"} | {"outbox": False}


def _waits_pass(clock: FakeClock) -> ExitStack:
    stack = ExitStack()
    before = _runners.pause, _runners.pause_async

    def restore() -> None:
        _runners.pause, _runners.pause_async = before

    def pass_time(seconds: float) -> None:
        clock.advance(seconds=seconds)

    async def pass_async(seconds: float) -> None:
        clock.advance(seconds=seconds)

    _runners.pause = pass_time
    _runners.pause_async = pass_async
    stack.callback(restore)
    return stack
