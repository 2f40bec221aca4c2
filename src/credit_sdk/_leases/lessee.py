"""An account's leases: taken when they are needed, grown, settled and given back at the books.

Work begins and ends on the lease alone as long as it has enough. `books` is held while the books are asked,
so that one thread asks for all that wait; what the lease still has is spent meanwhile.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from credit_sdk._flows import ChargePlan, Retries
from credit_sdk._flows.leasing import Spend, charging_beside_lease, millicredits
from credit_sdk._leases.lease import Lease
from credit_sdk._leases.spends import LeftLease
from credit_sdk._leases.supply import Shared, Supply
from credit_sdk.amounts import SMALLEST_AMOUNT, to_millicredits
from credit_sdk.errors import CreditError, IdempotencyConflictError, OutboxError
from credit_sdk.models import Receipt
from credit_sdk.operations import LARGEST_BATCH
from credit_sdk.policy import LeasePolicy

MOST_PENDING = 10 * LARGEST_BATCH
"""How many spends may wait for the time to settle. Settling takes the processor from those who charge."""
REMEMBERED = 10_000
"""How many request ids of the caller's own are known beside those that are not settled."""

_PLAIN_ID = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(slots=True)
class Promise:
    """What was promised to work that has begun. Without a lease, its request id was charged before."""

    lease: Lease | None
    reserved: int = 0


class Lessee:
    """One account, on one policy."""

    def __init__(self, org_id: str, user_id: str, policy: LeasePolicy, shared: Shared) -> None:
        self.policy = policy
        self._shared = shared
        enlist, retire = partial(shared.enlist, self), partial(shared.retire, self)
        self._supply = Supply(org_id, user_id, policy, shared, enlist=enlist, retire=retire)
        self._books = threading.Lock()
        self._ids = threading.Lock()
        self._known: dict[str, Spend] = {}
        self._checked: set[tuple[str, str | None]] = set()

    def begin(self, plan: ChargePlan) -> Promise | None:
        """Promise the estimate out of the present lease; None where that takes asking the books.

        Raises `ValidationFailedError` for what could not be charged afterwards, and
        `IdempotencyConflictError`.
        """
        if plan.is_own_id or plan.metadata or (plan.service_type, plan.service_name) not in self._checked:
            self._require_chargeable(plan)
            if plan.is_own_id and self._is_known(plan):
                return Promise(None)
        lease = self._supply.current
        estimate = millicredits(plan.estimate)
        return Promise(lease, estimate) if lease is not None and lease.reserve(estimate) else None

    def begin_asking(self, plan: ChargePlan) -> Promise | None:
        """Promise the estimate out of a lease that is taken or grown for it; None where there is none.

        Blocks. None means that the work has to be charged in the ordinary way.
        """
        estimate = to_millicredits(plan.estimate)
        with self._books:
            lease = self._lease_with(estimate)
        return None if lease is None else Promise(lease, estimate)

    def finish(self, promise: Promise, plan: ChargePlan) -> bool:
        """Charge work that is done out of its lease; False where that takes asking the books.

        Raises `IdempotencyConflictError`.
        """
        spend = Spend.of(plan)
        if not plan.is_own_id:
            return self._spend(promise, spend)
        with self._ids:
            known = self._known.get(spend.request_id)
            if known is not None:
                self.give_up(promise)
                _require_same(known, spend)
                return True
            is_spent = self._spend(promise, spend)
            if is_spent:
                self._known[spend.request_id] = spend
            return is_spent

    def finish_asking(self, promise: Promise, plan: ChargePlan) -> Receipt | None:
        """Charge work that is done and that its lease could not pay; raises what the books refuse. Blocks.

        None if it was paid by the lease after all, or left to the outbox: `plan.is_pending` says so.
        """
        lease = promise.lease
        if lease is None:
            return self._shared.run(charging_beside_lease(None, plan, self._shared.retries))
        with self._books:
            lacking = to_millicredits(plan.credits) - promise.reserved - lease.free
            if lacking > 0 and lease.seconds_left() > 0:
                self._supply.grow(lease, lacking)
            if self.finish(promise, plan):
                plan.is_pending = True
                return None
            leased = self._supply.hold_of(lease)
            try:
                return self._shared.run(charging_beside_lease(leased, plan, self._shared.retries))
            finally:
                # What the books took leaves the lease before the promise does: it is never free between.
                if leased.told is not None:
                    lease.grow(leased.told)
                lease.release(promise.reserved)

    def give_up(self, promise: Promise) -> None:
        """Take back what was promised to work that has failed, or cost nothing."""
        if promise.lease is not None:
            promise.lease.release(promise.reserved)

    def attend(self) -> None:
        """Settle what was spent, see to it that the lease lasts, give back what is over.

        Raises what the books say when they cannot be asked.
        """
        with self._books:
            for lease in list(self._supply.leases):
                self._supply.settle(lease)
                if lease is self._supply.current:
                    self._supply.renew(lease)
                self._supply.give_back_if_over(lease)
        self._forget()

    def settle_all(self) -> None:
        """Settle what was spent, and give back what is over."""
        with self._books:
            for lease in list(self._supply.leases):
                self._supply.settle(lease)
                self._supply.give_back_if_over(lease)

    def take_over(self, left: LeftLease) -> Lease:
        """Settle and give back, with the next round, what a process that has ended has left."""
        with self._books:
            return self._supply.take_over(left)

    @contextmanager
    def at_rest(self) -> Iterator[list[Lease]]:
        """Return the leases while none is taken or given back."""
        with self._books:
            yield list(self._supply.leases)

    def close(self, retries: Retries) -> None:
        """Settle and give back everything; raises what is in the way, when all was tried.

        Nothing is spent any more, before the first is settled: work that is under way is charged directly.
        """
        failure: CreditError | None = None
        with self._books:
            leases = list(self._supply.leases)
            for lease in leases:
                lease.end()
            for lease in leases:
                try:
                    self._supply.settle(lease, retries)
                    self._supply.give_back(lease, retries)
                except CreditError as error:
                    failure = failure or error
        if failure is not None:
            raise failure

    def _require_chargeable(self, plan: ChargePlan) -> None:
        """Check what differs from charge to charge; a service is checked once."""
        service = plan.service_type, plan.service_name
        is_doubtful = plan.is_own_id and not _is_plain(plan.request_id)
        if is_doubtful or plan.metadata or service not in self._checked:
            plan.deduct_request(plan.estimate or SMALLEST_AMOUNT)
            self._checked.add(service)

    def _is_known(self, plan: ChargePlan) -> bool:
        with self._ids:
            known = self._known.get(plan.request_id)
        if known is not None:
            if (known.service_type, known.service_name) != (plan.service_type, plan.service_name):
                raise _conflict(plan.request_id)
            return True
        return False

    def _spend(self, promise: Promise, spend: Spend) -> bool:
        lease = promise.lease
        if lease is None:
            return False
        try:
            free = lease.spend(spend, promise.reserved)
        except OutboxError:
            return False  # The journal has said why.
        if free is None:
            return False
        if lease.pending >= MOST_PENDING or (self._supply.is_low(free) and not self._supply.is_scarce()):
            self._shared.wake()
        return True

    def _lease_with(self, estimate: int) -> Lease | None:
        lease = self._supply.current
        if lease is not None and lease.reserve(estimate):
            return lease
        if self._shared.journal.is_broken:
            return None
        if lease is None or lease.seconds_left() <= 0:
            lease = None if self._supply.is_scarce() else self._supply.take(estimate)
            return lease if lease is not None and lease.reserve(estimate) else None
        if not self._supply.is_scarce():
            self._supply.grow(lease, estimate - lease.free)
            if lease.reserve(estimate):
                return lease
        self._supply.make_room(lease)
        return None

    def _forget(self) -> None:
        """Forget the oldest request ids. Spends are settled in their order, so those are settled."""
        with self._ids:
            surplus = (
                len(self._known) - REMEMBERED - sum(lease.pending for lease in list(self._supply.leases))
            )
            for request_id in list(self._known)[: max(0, surplus)]:
                del self._known[request_id]


def _is_plain(request_id: object) -> bool:
    """Whether a request id is one without any doubt; of others the operation knows what to say."""
    return isinstance(request_id, str) and _PLAIN_ID.fullmatch(request_id) is not None


def _require_same(known: Spend, spend: Spend) -> None:
    if (known.credits, known.service_type, known.service_name) != (
        spend.credits,
        spend.service_type,
        spend.service_name,
    ):
        raise _conflict(spend.request_id)


def _conflict(request_id: str) -> IdempotencyConflictError:
    return IdempotencyConflictError(
        f"The request id {request_id} was used for something else.", request_id=request_id
    )
