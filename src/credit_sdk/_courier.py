"""Delivers what the outbox keeps: in the background, at the next start, and on request."""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Literal, TypeAlias

from tenacity import Retrying, retry_if_result, sleep_using_event, stop_when_event_set
from tenacity.wait import wait_random_exponential

from credit_sdk._flows import Forget, HandOver, Keep, Recall, Retries, Safekeeping, delivering, verdict_on
from credit_sdk._flows.delivering import Verdict
from credit_sdk._flows.settling import REFUSALS, describe
from credit_sdk._resources import PerProcess
from credit_sdk._runners import Backend, run
from credit_sdk.errors import CreditError, OutboxError, UnavailableError
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
MOST_UNANSWERED = 10
"""After how many charges in a row that nobody answered a round of deliveries ends."""
_ONCE = Retries(attempts=1)


@dataclass(slots=True)
class _Thread:
    """The background of one process."""

    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    delivering: threading.RLock = field(default_factory=threading.RLock)
    """Held while a charge is delivered: whoever delivers beside the background waits for what it has."""
    thread: threading.Thread | None = None
    is_wanted: bool = False

    def take_wish(self) -> bool:
        """Whether deliveries were asked for since the last call; after False the thread ends."""
        with self.lock:
            is_wanted = self.is_wanted and not self.stopping.is_set()
            self.is_wanted = False
            if not is_wanted:
                self.thread = None
            return is_wanted


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


def _utc_now() -> datetime:
    return datetime.now(UTC)


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
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """`probes` say, by service type, whether an operation whose outcome is unknown was done.

        An outbox that is not required, because nobody named it, is done without where it cannot be used.
        """
        self.outbox = outbox
        self._is_required = is_required
        self._now = now
        self._warned = False
        self.destination = destination
        self._backend = backend
        self._probes = probes
        self._callers: dict[str, str] = {}
        self._unwritten: dict[str, Callable[[], None]] = {}
        self._background = PerProcess(_Thread, _stop)

    def has_probe(self, service_type: str) -> bool:
        """Whether this service can find out if an operation was done."""
        return service_type in self._probes

    def keeps(self, session_token: str | None) -> "KeptRun":
        """Return what a run of a charge needs to use the outbox."""
        return KeptRun(self, session_token)

    def keep(self, step: Keep) -> bool:
        """Write a charge into the outbox; False where there is none, or its allowance is used up."""
        try:
            return self.outbox.keep(step, self.destination)
        except OutboxError as error:
            if self._is_required:
                raise
            if not self._warned:
                logger.warning("%s Charges whose answer is lost are not sent again by themselves.", error)
                self._warned = True
            return False

    def owed(self, step: Recall) -> frozenset[str]:
        """Return which of the request ids are owed and not confirmed yet."""
        try:
            return self.outbox.owed(step, self.destination)
        except OutboxError:
            if self._is_required:
                raise
            return frozenset()

    def forget(self, step: Forget) -> None:
        """Take a settled charge out of the outbox."""
        self._let_go(step.entry_id, partial(self.outbox.forget, step))

    def deliver(self) -> Delivery:
        """Try once to deliver everything that nobody works on; what fails stays, with the reason.

        Raises `OutboxError`.
        """
        delivered = released = kept = away = 0
        charged = Decimal(0)
        delivering = self._background.get().delivering
        with delivering:
            self._write_again()
            waiting = self.outbox.deliverable(self.destination)
        for number, entry_id in enumerate(waiting):
            try:
                with delivering:
                    pending = self.outbox.claim(entry_id)
                    if pending is None:
                        continue
                    settled = self._settle(pending)
            except UnavailableError:
                kept += 1
                away += 1
                if away == MOST_UNANSWERED:
                    # Nobody is there: the others are not sent to them now.
                    kept += len(waiting) - number - 1
                    break
                continue
            away = 0
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
        self._let_go(step.entry_id, partial(self.outbox.hand_over, step))
        self.wake()

    def wake(self) -> None:
        """Deliver in the background until nothing is left."""
        background = self._background.get()
        with background.lock:
            background.is_wanted = True
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
            waits = self.outbox.waits(self.destination)
        except OutboxError as error:
            logger.warning("%s", error)
            return
        if waits:
            self.wake()

    def close(self) -> None:
        """Stop the background; what is left is delivered at the next start."""
        self._background.close()

    def _let_go(self, entry_id: str, write: Callable[[], None]) -> None:
        """Say that this process works on a charge no longer, as soon as the disk takes it.

        A failure is not the caller's: what the books know of the charge does not depend on it.
        """
        try:
            write()
        except OutboxError as error:
            logger.warning("What became of a charge is written again later: %s", error)
            self._unwritten[entry_id] = write
            self.wake()

    def _write_again(self) -> None:
        for entry_id, write in list(self._unwritten.items()):
            write()
            self._unwritten.pop(entry_id, None)

    def _settle(self, pending: PendingCharge) -> Decimal | None:
        """Deliver one charge: the credits taken, zero for what was given back, None for what stays.

        Raises `UnavailableError` when nobody answered; the charge stays then, too.
        """
        entry = pending.entry_id
        try:
            verdict = self._verdict(pending)
            if verdict == "wait":
                self._return(HandOver(entry, self._doubt(pending)))
                return None
            receipt = None
            # A job that runs again under its id has the same hold, which is not taken from under it.
            if verdict == "charge" or not self.outbox.is_under_way(pending):
                receipt = run(delivering(pending, verdict, _ONCE), self._backend_for(entry))
        except CreditError as error:
            refused = isinstance(error, REFUSALS)
            self._return(HandOver(entry, describe(error)), attempted=True, refused=refused)
            logger.warning("Charge %s stays in the outbox: %s", pending.request_id, error)
            if isinstance(error, UnavailableError):
                raise
            return None
        except BaseException as error:
            # The application's own probe, or an end of the program: the charge stays.
            self._return(HandOver(entry, describe(error)), attempted=True)
            if isinstance(error, Exception):
                logger.exception("Charge %s stays in the outbox", pending.request_id)
                return None
            raise
        self.forget(Forget(entry))
        self._callers.pop(entry, None)
        logger.info("Charge %s of the outbox is settled: %s", pending.request_id, verdict)
        return receipt.credits_used if receipt else Decimal(0)

    def _doubt(self, pending: PendingCharge) -> str:
        if pending.probed and not self.has_probe(pending.service_type):
            return f"only a service with a probe for {pending.service_type} knows if the work was done"
        return "whether the operation was done is not known yet"

    def _return(self, step: HandOver, **outcome: bool) -> None:
        self._let_go(step.entry_id, partial(self.outbox.hand_over, step, **outcome))

    def _verdict(self, pending: PendingCharge) -> Verdict:
        probe = self._probes.get(pending.service_type)
        asks = probe is not None and pending.outcome in {"performing", "uncertain"}
        done = probe(pending) if asks and probe is not None else None
        return verdict_on(pending, done=done, probed=asks, now=self._now())

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
        while background.take_wish():
            rounds(self._deliver_round)

    def _deliver_round(self) -> bool:
        try:
            self.deliver()
            return not self._unwritten and not self.outbox.waits(self.destination)
        except OutboxError as error:
            logger.warning("%s", error)
            return False


@dataclass(frozen=True, slots=True)
class KeptRun:
    """The outbox as one run of a charge sees it."""

    courier: Courier
    session_token: str | None

    def carry_out(self, step: Safekeeping) -> bool | frozenset[str]:
        """Do what a flow asks of the outbox, and answer it. May raise `OutboxError`."""
        match step:
            case Recall():
                return self.courier.owed(step)
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
