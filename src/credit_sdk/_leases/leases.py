"""All leases of a service in one process, the thread that looks after them, and what others have left."""

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from credit_sdk._flows import Retries
from credit_sdk._leases.journal import NOBODY, SUFFIX, FileJournal, Journal, NoJournal
from credit_sdk._leases.lease import CLOCK, Clock, Lease
from credit_sdk._leases.lessee import Lessee
from credit_sdk._leases.spends import LeftLease, read_lines
from credit_sdk._leases.supply import Shared
from credit_sdk._runners import Backend, Keeper
from credit_sdk.amounts import from_millicredits
from credit_sdk.errors import CreditError, OutboxError
from credit_sdk.policy import LeasePolicy

logger = logging.getLogger("credit_sdk")

LONGEST_WAIT_SECONDS = 15.0
CLOSING_SECONDS = 5.0
REWRITE_BYTES = 4 * 1024 * 1024
"""How long a journal may become before it is written anew, without what is settled."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process keeps its journals, and who it is among those that keep theirs there."""

    folder: Path
    slot: int
    is_alive: Callable[[int], bool | None]


@dataclass(frozen=True, slots=True)
class _LeftFile:
    """The journal of an ended process, until all its leases are given back."""

    path: Path
    leases: list[Lease]


class Leases:
    """The leases of one process for one service. `place` is None where the books end with the process."""

    def __init__(
        self,
        place: Place | None,
        backend: Callable[[], Backend],
        keeper: Keeper | None,
        retries: Retries,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self._place = place
        self._backend = backend
        self._keeper = keeper
        self._retries = retries
        self._clock = clock
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._taking_over = threading.Lock()
        self._lessees: dict[tuple[str, str, LeasePolicy], Lessee] = {}
        self._active: dict[Lessee, None] = {}
        self._journals: dict[float, Journal] = {}
        self._left: list[_LeftFile] = []
        self._wish = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        _open.add(self)

    def lessee(self, org_id: str, user_id: str, policy: LeasePolicy) -> Lessee:
        """Return the account as one that leases on this policy."""
        key = org_id, user_id, policy
        found = self._lessees.get(key)
        if found is None:
            with self._lock:
                found = self._lessees.get(key)
                if found is None:
                    found = self._lessees[key] = Lessee(org_id, user_id, policy, self._shared(policy))
        return found

    def wake(self) -> None:
        """Let the thread look after the leases now, and for as long as there are any."""
        self._wish.set()
        self.start()

    def start(self) -> None:
        """Let the thread look after the leases for as long as there are any."""
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._stopping.clear()
                    self._thread = threading.Thread(
                        target=self._look_after, name="credit-sdk leases", daemon=True
                    )
                    self._thread.start()

    def settle(self) -> None:
        """Settle now what was spent, and give back what ended processes have left.

        Raises what the books say when they cannot be asked; what was spent stays in the journal then.
        """
        self._take_over_left()
        for lessee in list(self._active):
            lessee.settle_all()
        self._remove_left()

    def close(self) -> None:
        """Settle and give back everything. What the books do not answer is left to the next start."""
        self._stopping.set()
        self._wish.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSING_SECONDS)
        retries = Retries(self._retries.attempts, min(self._retries.deadline, CLOSING_SECONDS))
        for lessee in list(self._active):
            try:
                lessee.close(retries)
            except CreditError as error:
                logger.warning("What was spent from a lease is settled by the next start (%s)", error)
        self._remove_left()
        with self._lock:
            is_settled = not self._active
            for journal in self._journals.values():
                journal.close(is_settled=is_settled)
            for left in self._left:
                _let_go(left.path)
            self._left.clear()
            if not is_settled:
                # The journals have been let go of: their leases are no longer this object's.
                self._active.clear()
            self._lessees.clear()

    def close_of_process(self) -> None:
        """Close at the end of the process, unless it is a child that has these from its parent."""
        if self._process == os.getpid():
            self.close()

    def _shared(self, policy: LeasePolicy) -> Shared:
        journal = self._journals.get(policy.sync_seconds)
        if journal is None:
            journal = NoJournal()
            if self._place is not None:
                place = self._place
                journal = FileJournal(place.folder, place.slot, sync_seconds=policy.sync_seconds)
            self._journals[policy.sync_seconds] = journal
        return Shared(
            backend=self._backend,
            keeper=self._keeper,
            journal=journal,
            clock=self._clock,
            enlist=self._enlist,
            retire=self._retire,
            wake=self._ask_for_attention,
            retries=self._retries,
            opening=self._opening,
        )

    def _ask_for_attention(self) -> None:
        # Each charge asks while there is something to do; to set it again would take as long as the charge.
        if not self._wish.is_set():
            self._wish.set()

    def _enlist(self, lessee: Lessee) -> None:
        self._active[lessee] = None
        self.start()

    def _retire(self, lessee: Lessee) -> None:
        self._active.pop(lessee, None)

    def _look_after(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self._wish.wait(min((lessee.policy.settle_seconds for lessee in list(self._active)), default=0.0))
            self._wish.clear()
            if self._stopping.is_set():
                return
            failures = 0 if self.attend() else failures + 1
            if failures:
                self._stopping.wait(min(2.0**failures, LONGEST_WAIT_SECONDS))
            with self._lock:
                if not self._active and not self._left and not self._wish.is_set():
                    self._thread = None
                    return

    def attend(self) -> bool:
        """Look after every lease once; False when the books or the disk were in the way."""
        is_fine = True
        try:
            self._take_over_left()
        except OutboxError as error:
            logger.warning("%s", error)
            is_fine = False
        for lessee in list(self._active):
            try:
                lessee.attend()
            except CreditError as error:
                logger.warning("What was spent from a lease is settled later (%s)", error)
                is_fine = False
        self._remove_left()
        try:
            self._write_anew()
        except OutboxError as error:
            logger.warning("%s", error)
            is_fine = False
        return is_fine

    def _write_anew(self) -> None:
        """Begin a journal anew that has become long, or refuses to be written.

        While the books are away nothing of it is settled: then it is written anew when it has doubled.
        """
        for journal in list(self._journals.values()):
            if not journal.is_broken and journal.size < max(REWRITE_BYTES, 2 * journal.new_size):
                continue
            while not self._rewrite(journal):
                pass

    def _rewrite(self, journal: Journal) -> bool:
        """Write a journal anew; False if an account began to lease while the others came to rest."""
        with ExitStack() as stack:
            lessees = list(self._active)
            leases = [
                lease
                for lessee in lessees
                for lease in stack.enter_context(lessee.at_rest())
                if lease.journal is journal
            ]
            stack.enter_context(self._opening)
            if not set(self._active) <= set(lessees):
                return False
            for lease in leases:
                stack.enter_context(lease.lock)
            journal.rewrite(line for lease in leases for line in lease.lines())
        return True

    def _take_over_left(self) -> None:
        # A file that is claimed is not found again: whoever settles all waits until its leases are known.
        with self._taking_over:
            for path in _left_in(self._place):
                self._claim(path)

    def _claim(self, path: Path) -> None:
        assert self._place is not None  # noqa: S101 - nothing is left where there is no place
        claimed = path.with_name(f"{self._place.slot}-{path.name.partition('-')[2]}")
        try:
            path.rename(claimed)
            with claimed.open("rb") as file:
                told, damaged = read_lines(file)
        except FileNotFoundError:
            return  # Another process was faster.
        except OSError as error:
            _put_aside(claimed, error)
            return
        if damaged:
            _keep_damaged(claimed, damaged)
        taken_over = _LeftFile(claimed, [self._take_over(left) for left in told])
        with self._lock:
            self._left.append(taken_over)

    def _take_over(self, left: LeftLease) -> Lease:
        terms = left.terms
        policy = LeasePolicy(credits=from_millicredits(terms.credits), ttl_seconds=terms.ttl_seconds)
        return self.lessee(terms.org_id, terms.user_id, policy).take_over(left)

    def _remove_left(self) -> None:
        with self._lock:
            left = self._left
            self._left = [each for each in left if not all(lease.is_given_back for lease in each.leases)]
        for each in left:
            if each not in self._left:
                with suppress(OSError):
                    each.path.unlink(missing_ok=True)


def anything_left(place: Place) -> bool:
    """Whether a process that has ended has left a journal."""
    return any(True for _ in _left_in(place))


def _left_in(place: Place | None) -> Iterator[Path]:
    if place is None or not place.folder.is_dir():
        return
    for path in sorted(place.folder.glob(f"*-*{SUFFIX}")):
        owner = path.name.partition("-")[0]
        if owner.isdigit() and (int(owner) == NOBODY or place.is_alive(int(owner)) is False):
            yield path


def _let_go(path: Path) -> None:
    with suppress(OSError):
        path.rename(path.with_name(f"{NOBODY}-{path.name.partition('-')[2]}"))


def _put_aside(path: Path, error: OSError) -> None:
    """Leave what cannot be read to a person, under a name that nobody takes over."""
    aside = path.with_suffix(".unreadable")
    with suppress(OSError):
        path.rename(aside)
    logger.error("A journal of leases cannot be read (%s): it is kept as %s.", error.strerror or error, aside)


def _keep_damaged(path: Path, lines: int) -> None:
    """Put a copy of a damaged journal aside; what can be read of it is settled."""
    aside = path.with_suffix(".damaged")
    with suppress(OSError):
        aside.write_bytes(path.read_bytes())
    logger.error(
        "%d lines of a journal of leases are damaged or cut off: what they said is not charged. "
        "The others are; a copy is %s.",
        lines,
        aside,
    )


_open: weakref.WeakSet[Leases] = weakref.WeakSet()


def _close_all() -> None:
    for leases in list(_open):
        leases.close_of_process()


atexit.register(_close_all)
