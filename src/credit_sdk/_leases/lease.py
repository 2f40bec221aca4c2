"""One lease: what of it is free, promised to work under way, and spent but not settled. In millicredits.

Nothing here talks to the books. At every moment `held = free + reserved + unsettled`, where `held` is what
the hold has left by the books' last answer: so what is spent never goes beyond the hold.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from uuid import UUID

from credit_sdk._flows.leasing import Spend
from credit_sdk._leases.journal import Journal
from credit_sdk._leases.spends import (
    LeaseTerms,
    LeftLease,
    ended_line,
    held_line,
    opening_line,
    read_spends,
    settled_line,
    spend_line,
)
from credit_sdk.amounts import to_millicredits
from credit_sdk.errors import OutboxError
from credit_sdk.models import Hold

Clock = Callable[[], float]


CLOCK: Clock = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""What a lease's end is measured on, in seconds: no clock that anybody sets, and none that a suspended
computer stops."""


class Lease:
    """A hold that this process spends from. For several threads."""

    def __init__(self, terms: LeaseTerms, journal: Journal, clock: Clock) -> None:
        """Nothing can be spent until `grow` has told of a hold."""
        self.terms = terms
        self.hold_id: UUID | None = None
        self.is_over = False
        """Whether nothing will be spent from it any more."""
        self.is_given_back = False
        """Whether the books have it back, and there is nothing left to do."""
        self.was_used = False
        """Whether anybody has asked for credits since `prolong`."""
        self.was_asked = False
        """Whether anybody has done so since this was last set back."""
        self.lock = threading.Lock()
        self.journal = journal
        self._clock = clock
        self._held = 0
        self._reserved = 0
        self._unsettled = 0
        self._pending: deque[bytes] = deque()
        """The lines of what is not settled. As objects they would all be visited by the garbage collector."""
        self._settled_lines = 0
        self._ends_at = 0.0

    @classmethod
    def left_behind(cls, left: LeftLease, journal: Journal, clock: Clock) -> "Lease":
        """Return the lease of a process that has ended, to be settled and given back."""
        lease = cls(left.terms, journal, clock)
        lease.hold_id = left.hold_id
        lease.is_over = True
        lease._pending.extend(spend_line(left.terms.request_id, spend) for spend in left.unsettled)
        lease._unsettled = sum(spend.credits for spend in left.unsettled)
        return lease

    @property
    def free(self) -> int:
        """What can be spent, or promised to work that begins."""
        return self._held - self._reserved - self._unsettled

    @property
    def is_idle(self) -> bool:
        """Whether no work is under way that was promised credits."""
        return not self._reserved

    @property
    def pending(self) -> int:
        """How many spends are not settled."""
        return len(self._pending)

    def seconds_left(self) -> float:
        """Return for how long the lease can be spent from."""
        return 0.0 if self.is_over else self._ends_at - self._clock()

    def open(self) -> None:
        """Write down that the books are about to be asked; raises `OutboxError`."""
        with self.lock:
            self.journal.append(opening_line(self.terms))

    def grow(self, hold: Hold) -> None:
        """Take over what the books say that is held."""
        with self.lock:
            if self.hold_id is None:
                self.hold_id = hold.hold_id
                self._note(held_line(self.terms.request_id, hold.hold_id))
            self._take_over(hold)

    def prolong(self, ends_at: float) -> None:
        """Let it be spent from until then, on the lease's clock."""
        with self.lock:
            self._ends_at = max(self._ends_at, ends_at)
            self.was_used = False

    def end(self) -> None:
        """Let nothing be spent from it any more."""
        with self.lock:
            self.is_over = True

    def end_if_idle(self) -> bool:
        """Let nothing be spent from it any more, unless work is under way that was promised credits."""
        with self.lock:
            self.is_over = self.is_over or not self._reserved
            return self.is_over

    def reserve(self, credits: int) -> bool:
        """Promise credits to work that begins; False when there are too few, or it is too late."""
        with self.lock:
            self.was_used = self.was_asked = True
            free = self._held - self._reserved - self._unsettled
            if self.is_over or credits > free or self._clock() >= self._ends_at:
                return False
            self._reserved += credits
            return True

    def release(self, reserved: int) -> None:
        """Take a promise back: the work has failed, or is charged in another way."""
        with self.lock:
            self._reserved -= reserved

    def spend(self, spend: Spend, reserved: int) -> int | None:
        """Charge work that was promised `reserved` credits; None, and nothing, where it cannot be done here.

        Answers what is free then.

        Raises `OutboxError`, and nothing is spent, when it cannot be written down.
        """
        with self.lock:
            free = self._held - self._reserved - self._unsettled + reserved - spend.credits
            if self.is_over or free < 0 or self._clock() >= self._ends_at:
                return None
            line = spend_line(self.terms.request_id, spend)
            self.journal.append(line)
            self._reserved -= reserved
            self._unsettled += spend.credits
            self._pending.append(line)
            return free

    def unsettled(self, most: int) -> list[Spend]:
        """Return the oldest spends that the books may not know yet."""
        with self.lock:
            lines = list(islice(self._pending, most))
        return read_spends(lines)

    def settle(self, spends: Sequence[Spend], hold: Hold | None, *, has_ended: bool) -> None:
        """Let go of the oldest spends: the books have decided them, and may have told what is held now."""
        with self.lock:
            for spend in spends:
                self._unsettled -= spend.credits
                self._pending.popleft()
            self._settled_lines += len(spends)
            if hold is not None:
                self._take_over(hold)
            self.is_over = self.is_over or has_ended
            self._note(settled_line(self.terms.request_id, self._settled_lines))

    def close(self) -> None:
        """Write down that the books have taken it back."""
        with self.lock:
            self.is_over = True
            self.is_given_back = True
            self._note(ended_line(self.terms.request_id))

    def lines(self) -> Iterator[bytes]:
        """Tell the lease anew, for a journal that is written anew. The caller has the lock."""
        self._settled_lines = 0
        yield opening_line(self.terms)
        if self.hold_id is not None:
            yield held_line(self.terms.request_id, self.hold_id)
        yield from self._pending

    def _note(self, line: bytes) -> None:
        """Write down what only saves the next start some questions."""
        with suppress(OutboxError):
            self.journal.append(line)

    def _take_over(self, hold: Hold) -> None:
        self._held = to_millicredits(hold.credits)
        self.is_over = self.is_over or hold.status != "held"
