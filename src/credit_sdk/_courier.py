"""Delivers what the outbox keeps: in the background, at the next start, and on request."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from tenacity import Retrying, retry_if_result, sleep_using_event, stop_when_event_set
from tenacity.wait import wait_random_exponential

from credit_sdk._flows import Forget, HandOver, Keep, Retries, Safekeeping, delivering, verdict_on
from credit_sdk._flows.delivering import Verdict
from credit_sdk._flows.settling import REFUSALS, describe
from credit_sdk._resources import PerProcess
from credit_sdk._runners import Backend, run
from credit_sdk.errors import CreditError, OutboxError
from credit_sdk.models import Delivery, PendingCharge
from credit_sdk.outbox import VARIABLE, Outbox, default_path

logger = logging.getLogger("credit_sdk")

OutboxChoice: TypeAlias = "Outbox | str | os.PathLike[str] | Literal[False] | None"
"""Which outbox: a file or an `Outbox`, None for the default, False for none."""
Probe: TypeAlias = Callable[[PendingCharge], bool | None]
"""Says whether an operation was done: True, False, or None when that is not known (yet)."""

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
CLOSING_SECONDS = 5.0
_ONCE = Retries(attempts=1)


@dataclass(slots=True)
class _Thread:
    """The background of one process."""

    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None


def make_courier(
    outbox: OutboxChoice, destination: str, backend: Callable[[], Backend], probes: Mapping[str, Probe]
) -> "Courier | None":
    """Return the courier for an application's choice of outbox; None if it wants none."""
    if outbox is False:
        return None
    if isinstance(outbox, Outbox):
        return Courier(outbox, destination, backend, probes)
    path = default_path(os.environ) if outbox is None else outbox
    if path is None:
        return None
    is_named = outbox is not None or bool(os.environ.get(VARIABLE))
    return Courier(Outbox(path), destination, backend, probes, is_required=is_named)


class Courier:
    """Brings the charges of one destination from an outbox to the books."""

    def __init__(
        self,
        outbox: Outbox,
        destination: str,
        backend: Callable[[], Backend],
        probes: Mapping[str, Probe],
        *,
        is_required: bool = True,
    ) -> None:
        """`probes` say, by service type, whether an operation whose outcome is unknown was done.

        An outbox that is not required, because nobody named it, is done without where it cannot be used.
        """
        self.outbox = outbox
        self._is_required = is_required
        self._warned = False
        self._destination = destination
        self._backend = backend
        self._probes = probes
        self._callers: dict[str, str] = {}
        self._background = PerProcess(_Thread, _stop)

    def keeps(self, session_token: str | None) -> "KeptRun":
        """Return what a run of a charge needs to use the outbox."""
        return KeptRun(self, session_token)

    def keep(self, step: Keep) -> bool:
        """Write a charge into the outbox; False where there is none, or its allowance is used up."""
        try:
            return self.outbox.keep(step, self._destination)
        except OutboxError as error:
            if self._is_required:
                raise
            if not self._warned:
                logger.warning("%s Charges whose answer is lost are not sent again by themselves.", error)
                self._warned = True
            return False

    def forget(self, step: Forget) -> None:
        """Take a settled charge out of the outbox."""
        try:
            self.outbox.forget(step)
        except OutboxError as error:
            # It will be delivered again, which changes nothing.
            logger.warning("A settled charge stays in the outbox: %s", error)

    def deliver(self) -> Delivery:
        """Try once to deliver everything that nobody works on; what fails stays, with the reason.

        Raises `OutboxError`.
        """
        delivered = released = kept = 0
        charged = Decimal(0)
        tried: set[str] = set()
        while (pending := self.outbox.claim(self._destination, tried)) is not None:
            tried.add(pending.entry_id)
            settled = self._settle(pending)
            if settled is None:
                kept += 1
            elif settled:
                delivered += 1
                charged += settled
            else:
                released += 1
        return Delivery(delivered=delivered, released=released, kept=kept, credits_charged=charged)

    def hand_over(self, step: HandOver, session_token: str | None) -> None:
        """Take a charge over from the run that could not confirm it."""
        if session_token is not None:
            # A session's token is not written to the disk: it serves as long as this process lives.
            self._callers[step.entry_id] = session_token
        self.outbox.hand_over(step)
        self.wake()

    def wake(self) -> None:
        """Deliver in the background until nothing is left."""
        background = self._background.get()
        with background.lock:
            if background.thread is not None and background.thread.is_alive():
                return
            background.stopping.clear()
            background.thread = threading.Thread(
                target=self._deliver_until_empty, args=[background], name="credit-sdk outbox", daemon=True
            )
            background.thread.start()

    def wake_if_waiting(self) -> None:
        """Deliver what an earlier process has left."""
        try:
            waits = self.outbox.waits(self._destination)
        except OutboxError as error:
            logger.warning("%s", error)
            return
        if waits:
            self.wake()

    def close(self) -> None:
        """Stop the background; what is left is delivered at the next start."""
        self._background.close()

    def _settle(self, pending: PendingCharge) -> Decimal | None:
        """Deliver one charge: the credits taken, zero for what was given back, None for what stays."""
        entry = pending.entry_id
        try:
            verdict = self._verdict(pending)
            if verdict == "wait":
                self.outbox.hand_over(HandOver(entry, "whether the operation was done is not known yet"))
                return None
            receipt = run(delivering(pending, verdict, _ONCE), self._backend_for(entry))
        except CreditError as error:
            refused = isinstance(error, REFUSALS)
            self.outbox.hand_over(HandOver(entry, describe(error)), attempted=True, refused=refused)
            logger.warning("Charge %s stays in the outbox: %s", pending.request_id, error)
            return None
        except BaseException as error:
            # The application's own probe, or an end of the program: the charge stays.
            with suppress(OutboxError):
                self.outbox.hand_over(HandOver(entry, describe(error)), attempted=True)
            if isinstance(error, Exception):
                logger.exception("Charge %s stays in the outbox", pending.request_id)
                return None
            raise
        self.forget(Forget(entry))
        self._callers.pop(entry, None)
        logger.info("Charge %s of the outbox is settled: %s", pending.request_id, verdict)
        return receipt.credits_used if receipt else Decimal(0)

    def _verdict(self, pending: PendingCharge) -> Verdict:
        probe = self._probes.get(pending.service_type)
        asks = probe is not None and pending.outcome in {"performing", "uncertain"}
        done = probe(pending) if asks and probe is not None else None
        return verdict_on(pending, done=done, probed=asks, now=datetime.now(UTC))

    def _backend_for(self, entry_id: str) -> Backend:
        token = self._callers.get(entry_id)
        return self._backend().as_caller(token) if token else self._backend()

    def _deliver_until_empty(self, background: _Thread) -> None:
        rounds = Retrying(
            sleep=sleep_using_event(background.stopping),
            stop=stop_when_event_set(background.stopping),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            retry=retry_if_result(lambda is_empty: not is_empty),
            retry_error_callback=lambda _: None,
        )
        rounds(self._deliver_round)

    def _deliver_round(self) -> bool:
        try:
            self.deliver()
            return not self.outbox.waits(self._destination)
        except OutboxError as error:
            logger.warning("%s", error)
            return False


@dataclass(frozen=True, slots=True)
class KeptRun:
    """The outbox as one run of a charge sees it."""

    courier: Courier
    session_token: str | None

    def carry_out(self, step: Safekeeping) -> bool:
        """Do what a flow asks of the outbox; answers whether it is kept. May raise `OutboxError`."""
        match step:
            case Keep():
                return self.courier.keep(step)
            case HandOver():
                self.courier.hand_over(step, self.session_token)
            case Forget():
                self.courier.forget(step)
        return True


def _stop(background: _Thread) -> None:
    background.stopping.set()
    thread = background.thread
    if thread is not None and thread is not threading.current_thread():
        thread.join(CLOSING_SECONDS)
