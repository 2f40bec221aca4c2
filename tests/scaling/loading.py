"""Callers who charge all the time, in several ways, while something is done to the system."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from credit_sdk import AsyncCreditDeductionService, CreditDeductionService
from tests.scaling.conftest import ANN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

SERVICE = {"service_type": "load"}
PATIENCE_SECONDS = 60
_BREATH_SECONDS = 0.02


class Load:
    """Several callers, with the retries that everybody has; what they were told, and how far they are."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._url = url
        self._options = options | {"outbox": False}
        self._enough = threading.Event()
        self._told = threading.Condition()
        self.receipts: list[str] = []
        self._callers: list[Future[None]] = []

    def go_on(self, charges: int) -> None:
        """Return when so many more were charged; fail with what stopped a caller."""
        with self._told:
            enough = len(self.receipts) + charges
            going_on = self._told.wait_for(
                lambda: len(self.receipts) >= enough or self._has_ended(), PATIENCE_SECONDS
            )
        for caller in self._callers:
            if caller.done():
                caller.result()
        assert going_on, "nothing is charged any more"

    def start(self, threads: ThreadPoolExecutor) -> None:
        self._callers = [threads.submit(call) for call in (self._call, self._call, self._call_async)]

    def stop(self) -> None:
        self._enough.set()
        for caller in self._callers:
            caller.result()

    def _has_ended(self) -> bool:
        return any(caller.done() for caller in self._callers)

    def _tell(self, request_id: str) -> None:
        with self._told:
            self.receipts.append(request_id)
            self._told.notify_all()

    def _call(self) -> None:
        with CreditDeductionService(self._url, **self._options) as billing:
            # Callers breathe, so that whatever is done meanwhile gets its share of the machine.
            while not self._enough.wait(_BREATH_SECONDS):
                self._tell(billing.deduct(ANN, "0.001", **SERVICE).request_id)
                self._tell(billing.capture(billing.hold(ANN, "0.002", **SERVICE), "0.001").request_id)
                with billing.charge(ANN, "0.001", **SERVICE) as charge:
                    pass
                self._tell(charge.receipt.request_id)

    def _call_async(self) -> None:
        asyncio.run(self._charge_async())

    async def _charge_async(self) -> None:
        async with AsyncCreditDeductionService(self._url, **self._options) as billing:

            async def charge() -> None:
                while not self._enough.is_set():
                    self._tell((await billing.deduct(ANN, "0.001", **SERVICE)).request_id)
                    await asyncio.sleep(_BREATH_SECONDS)

            await asyncio.gather(*(charge() for _ in range(4)))


@contextmanager
def under_load(url: str, **options: Any) -> Iterator[Load]:
    """Charge while the block runs; afterwards `receipts` is complete, or what went wrong is raised."""
    load = Load(url, options)
    with ThreadPoolExecutor(3) as threads:
        load.start(threads)
        try:
            yield load
        finally:
            load.stop()


@contextmanager
def asking(ask: Callable[[], None]) -> Iterator[None]:
    """Call a function again and again while the block runs, at least once; raise what it raises."""
    enough = threading.Event()

    def ask_on() -> None:
        while True:
            ask()
            if enough.wait(0.02):
                return

    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(ask_on)
        try:
            yield
        finally:
            enough.set()
            asked.result()
