"""An account's leases at the books: taken, grown, settled and given back. Nothing here is for two threads."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from credit_sdk._flows import Flow, Retries
from credit_sdk._flows.leasing import (
    LeasedHold,
    ending_lease,
    growing_lease,
    holding_for_lease,
    settling_spends,
)
from credit_sdk._flows.settling import REFUSALS
from credit_sdk._leases.journal import Journal, NoJournal
from credit_sdk._leases.lease import Clock, Lease
from credit_sdk._leases.spends import LeaseTerms, LeftLease
from credit_sdk._runners import Backend, Keeper, Run
from credit_sdk.amounts import from_millicredits, to_millicredits
from credit_sdk.errors import (
    CreditError,
    HoldClosedError,
    InsufficientCreditsError,
    NotFoundError,
    UnavailableError,
    UnexpectedResponseError,
)
from credit_sdk.identifiers import new_request_id
from credit_sdk.models import Hold
from credit_sdk.operations import LARGEST_BATCH
from credit_sdk.policy import LeasePolicy

logger = logging.getLogger("credit_sdk")

ReturnT = TypeVar("ReturnT")
SCARCE_SECONDS = 1.0
"""For how long the books are not asked for more after they could not give it."""
_ONCE = Retries(attempts=1)
_SERVICE = "lease"
"""The service type of a lease's hold; what is charged from it has that of the work."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What the leases of a process share."""

    backend: Callable[[], Backend]
    keeper: Keeper | None
    journal: Journal
    clock: Clock
    enlist: Callable[[Any], None]
    """Let the thread look after an account that has leases."""
    retire: Callable[[Any], None]
    """Let it do so no longer: there are none."""
    wake: Callable[[], None]
    retries: Retries
    opening: AbstractContextManager[Any]
    """Held while a lease is added and its first line written: whoever writes a journal anew misses none."""

    def run(self, flow: Flow[ReturnT]) -> ReturnT:
        """Carry out a flow, blocking."""
        return cast("ReturnT", Run(flow, self.backend(), self.keeper).start())


class Supply:
    """The leases of one account, on one policy."""

    def __init__(
        self,
        org_id: str,
        user_id: str,
        policy: LeasePolicy,
        shared: Shared,
        *,
        enlist: Callable[[], None],
        retire: Callable[[], None],
    ) -> None:
        """`enlist` is called when there are leases to be looked after, `retire` when there are none."""
        self.policy = policy
        self.leases: list[Lease] = []
        self.current: Lease | None = None
        """The one of them that is spent from; the others are being given back."""
        self._enlist = enlist
        self._retire = retire
        self._org_id = org_id
        self._user_id = user_id
        self._shared = shared
        self._size = policy.millicredits
        self._scarce_until = 0.0

    def hold_of(self, lease: Lease) -> LeasedHold:
        """Return the hold of a lease, for a charge beside it."""
        return LeasedHold(self._org_id, self._user_id, lease.hold_id)

    def take_over(self, left: LeftLease) -> Lease:
        """Add a lease that a process that has ended has left, to be settled and given back."""
        lease = Lease.left_behind(left, NoJournal(), self._shared.clock)
        self.leases.append(lease)
        self._enlist()
        return lease

    def is_low(self, free: int) -> bool:
        """Whether it is time to ask for more."""
        return 2 * free < self._size

    def is_scarce(self) -> bool:
        """Whether the books could give no more a moment ago."""
        return self._shared.clock() < self._scarce_until

    def make_room(self, lease: Lease) -> None:
        """Give back a remainder that is too small, so that the books can decide with all there is."""
        if lease.end_if_idle():
            try:
                self.settle(lease)
                self.give_back(lease)
            except CreditError as error:
                logger.warning("A lease of %s is given back later (%s)", self._user_id, error)

    def take(self, least: int) -> Lease | None:
        """Take a new lease, as large as the books can give it; None when they do not even give the least."""
        if any(lease.hold_id is None for lease in self.leases):
            # What became of an earlier one is not known yet: they would add up while the books are away.
            return None
        terms = LeaseTerms(new_request_id(), self._org_id, self._user_id, self._size, self.policy.ttl_seconds)
        lease = Lease(terms, self._shared.journal, self._shared.clock)
        try:
            hold = self._ask_for(max(self._size, least), partial(self._place, lease), least)
        except CreditError as error:
            self._not_given(error)
            # Where nobody knows whether it was placed the books tell, asked again, and it is given back.
            lease.end()
            if not isinstance(error, UnavailableError | UnexpectedResponseError):
                self._drop(lease)
            return None
        if hold is None:
            self._drop(lease)
            return None
        return lease

    def _place(self, lease: Lease, credits: int) -> Hold:
        lease.terms = LeaseTerms(
            lease.terms.request_id, self._org_id, self._user_id, credits, self.policy.ttl_seconds
        )
        with self._shared.opening:
            if lease not in self.leases:
                self.leases.append(lease)
                self.current = lease
                self._enlist()
            lease.open()
        began = self._shared.clock()
        hold = self._shared.run(holding_for_lease(_placing(lease.terms), _ONCE))
        lease.prolong(began + self.policy.ttl_seconds - self.policy.margin_seconds)
        lease.grow(hold)
        return hold

    def grow(self, lease: Lease, lacking: int) -> None:
        """Hold another portion for a lease, or as much of it as there is."""
        try:
            wanted = max(self._size - lease.free, lacking)
            self._ask_for(wanted, partial(self._extend, lease), lacking)
        except HoldClosedError:
            lease.end()
        except CreditError as error:
            self._not_given(error)

    def _extend(self, lease: Lease, credits: int) -> Hold:
        """Hold more for a lease, and for longer."""
        fields: dict[str, object] = {
            "hold_id": lease.hold_id,
            "org_id": self._org_id,
            "ttl_seconds": self.policy.ttl_seconds,
        }
        if credits:
            fields["credits"] = from_millicredits(credits)
        began = self._shared.clock()
        hold = self._shared.run(growing_lease(fields, _ONCE))
        lease.prolong(began + self.policy.ttl_seconds - self.policy.margin_seconds)
        lease.grow(hold)
        return hold

    def _ask_for(self, wanted: int, ask: Callable[[int], Hold], least: int) -> Hold | None:
        """Ask for what is wanted; where that is refused, for half of what there is, and for the least.

        Half leaves something to other processes on the same allocation.
        """
        while wanted >= least:
            try:
                return ask(wanted)
            except InsufficientCreditsError as error:
                self._scarce_until = self._shared.clock() + SCARCE_SECONDS
                available = to_millicredits(error.available or from_millicredits(0))
                smaller = max(least, available // 2)
                if available < smaller or smaller >= wanted:
                    return None
                wanted = smaller
        return None

    def renew(self, lease: Lease) -> None:
        """Prolong a lease that is in use, and fill it up; let one go that nobody has used for a while."""
        if lease.is_over:
            return
        is_asked, lease.was_asked = lease.was_asked, False
        is_ageing = lease.seconds_left() < self.policy.ttl_seconds / 2
        is_used = lease.was_used or not lease.is_idle
        try:
            if is_asked and self.is_low(lease.free) and not self.is_scarce():
                self.grow(lease, 0)
            elif is_used and is_ageing:
                self._extend(lease, 0)
            elif is_ageing:
                lease.end_if_idle()
        except (HoldClosedError, NotFoundError):
            lease.end()
        if lease.seconds_left() <= 0:
            lease.end()

    def settle(self, lease: Lease, retries: Retries = _ONCE) -> None:
        """Charge what was spent from a lease; raises what the books say when they cannot be asked."""
        while spends := lease.unsettled(LARGEST_BATCH):
            leased = LeasedHold(self._org_id, self._user_id, self._hold_of(lease, retries))
            self._shared.run(settling_spends(leased, spends, retries))
            lease.settle(spends, leased.told, has_ended=leased.hold_id is None)
            if len(spends) < LARGEST_BATCH:
                return

    def give_back_if_over(self, lease: Lease) -> None:
        """End the hold of a lease when nothing is spent from it, nor will be."""
        if lease.is_over and lease.is_idle:
            self.give_back(lease)

    def give_back(self, lease: Lease, retries: Retries = _ONCE) -> None:
        """End the hold of a lease that is over. All that was spent from it is settled."""
        if lease.pending:
            return
        leased = LeasedHold(self._org_id, self._user_id, self._hold_of(lease, retries))
        self._shared.run(ending_lease(leased, retries))
        self._drop(lease)

    def _hold_of(self, lease: Lease, retries: Retries) -> UUID | None:
        """Return a lease's hold; ask for it again under its request id where the answer was lost."""
        if lease.hold_id is None:
            try:
                hold = self._shared.run(holding_for_lease(_placing(lease.terms), retries))
            except REFUSALS:
                return None
            lease.grow(hold)
        return lease.hold_id

    def _drop(self, lease: Lease) -> None:
        lease.close()
        if lease in self.leases:
            self.leases.remove(lease)
        if lease is self.current:
            self.current = None
        if not self.leases:
            self._retire()

    def _not_given(self, error: CreditError) -> None:
        self._scarce_until = self._shared.clock() + SCARCE_SECONDS
        logger.info("No lease for %s of %s: %s", self._user_id, self._org_id, error)


def _placing(terms: LeaseTerms) -> dict[str, object]:
    return {
        "org_id": terms.org_id,
        "user_id": terms.user_id,
        "credits": from_millicredits(terms.credits),
        "service_type": _SERVICE,
        "request_id": terms.request_id,
        "ttl_seconds": terms.ttl_seconds,
    }
