"""Charges, holds and captures of one organisation that come together are carried out together.

What comes alone goes to the ledger as it is. What comes meanwhile waits in the lane of its organisation,
and is the next batch as soon as that one ends, or is late: a connection that fell silent does not stop the
organisation. A batch is one statement, so that all
of it is written to the disk at once, and each of its items has the outcome that it would have had alone.

Lanes keep organisations apart: whoever is slow, or locked, stops only their own. A bounded number of lanes
is carried out at a time, in turn.
"""

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure

from credit_sdk.backends.sql import DEFAULT_POOL_SIZE, Actor
from credit_sdk.errors import ConfigurationError, CreditError, OutcomeUnknownError, UnavailableError
from credit_sdk.operations import (
    CaptureHold,
    CaptureHoldBatch,
    Deduct,
    DeductBatch,
    Operation,
    PlaceHold,
    PlaceHoldBatch,
    ResultT_co,
)
from reference_server.access import Ledger

logger = logging.getLogger(__name__)

MOST_LANES = DEFAULT_POOL_SIZE - 2
"""How many lanes are carried out at a time: all connections but those that are left for other questions."""
MOST_TOGETHER = 256
"""How many items a batch has. Others of its organisation wait for it."""
MOST_IN_A_LANE = 2_000
MOST_WAITING = 10_000
RETRY_AFTER_SECONDS = 1.0
PATIENCE_SECONDS = 0.2
"""How long a lane waits for its batch before the next one is carried out beside it."""
MOST_BESIDE = 3
"""How many batches of a lane are carried out beside each other, when all but the last are late."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How operations of a class become one, and its result their outcomes."""

    together: Callable[[str, Sequence[Any]], Operation[Any]]
    result: str
    """What an outcome that is not a problem is called."""


KINDS: Mapping[type[Operation[Any]], Kind] = {
    Deduct: Kind(lambda _, charges: DeductBatch(charges=tuple(charges)), "receipt"),
    PlaceHold: Kind(lambda org_id, holds: PlaceHoldBatch(org_id=org_id, holds=tuple(holds)), "hold"),
    CaptureHold: Kind(
        lambda org_id, captures: CaptureHoldBatch(org_id=org_id, captures=tuple(captures)), "receipt"
    ),
}


@dataclass(slots=True, eq=False)
class Item:
    """An operation that waits for its turn, and its answer."""

    operation: Operation[Any]
    answer: asyncio.Future[Any]

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.answer.done()

    def succeed(self, result: object) -> None:
        """Answer with a result."""
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, which is this item's alone: callers add to it."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True)
class Lane:
    """What waits for one organisation, first come first."""

    org_id: str
    items: deque[Item] = field(default_factory=deque)
    flights: int = 0
    """How many batches are carried out."""
    late: int = 0
    """How many of them nobody waits for any more before the next begins."""
    is_offered: bool = False
    """Whether it stands among those that have something to do."""

    @property
    def is_ready(self) -> bool:
        """Whether its next batch may begin."""
        return bool(self.items) and self.flights == self.late < MOST_BESIDE and not self.is_offered

    def next_batch(self, most: int) -> list[Item]:
        """Take what comes next: the first item, and what there is of its kind, up to `most`."""
        kind = type(self.items[0].operation)
        taken: list[Item] = []
        left: deque[Item] = deque()
        for item in self.items:
            fits = type(item.operation) is kind and len(taken) < most
            (taken if fits else left).append(item)
        self.items = left
        return taken


class GatheringLedger:
    """A ledger that gathers what comes together; everything else goes straight to `ledger`."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        lanes: int = MOST_LANES,
        most_together: int = MOST_TOGETHER,
        most_in_a_lane: int = MOST_IN_A_LANE,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._ledger = ledger
        self._most_lanes = lanes
        self._most_together = most_together
        self._most_in_a_lane = most_in_a_lane
        self._most_waiting = most_waiting
        self._waiting = 0
        self._lanes: dict[str, Lane] = {}
        # The lanes that have something to do and are not carried out, in turn.
        self._idle: deque[Lane] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        # How many of them have not run out of work: a task is done only when the loop has noticed.
        self._busy = 0

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result; raise `UnavailableError` when too many wait already."""
        org_id: str | None = getattr(operation, "org_id", None)
        if type(operation) not in KINDS or org_id is None or self._most_together == 1:
            return await self._ledger.execute(operation)
        item = Item(operation, asyncio.get_running_loop().create_future())
        self._put(org_id, item)
        return cast("ResultT_co", await item.answer)

    def on_behalf_of(self, actor: Actor) -> Ledger:
        """Return the ledger itself, whose audit names the actor: what is audited is no charge."""
        return self._ledger.on_behalf_of(actor)

    async def drain(self) -> None:
        """Wait until all that was taken in is answered."""
        while self._workers:
            await asyncio.wait(self._workers)

    def _put(self, org_id: str, item: Item) -> None:
        lane = self._lanes.get(org_id)
        if self._waiting >= self._most_waiting or (lane and len(lane.items) >= self._most_in_a_lane):
            raise UnavailableError(
                "Too many charges wait for their turn; send this one again.", retry_after=RETRY_AFTER_SECONDS
            )
        if lane is None:
            lane = self._lanes[org_id] = Lane(org_id)
        lane.items.append(item)
        self._waiting += 1
        self._offer(lane)

    def _offer(self, lane: Lane) -> None:
        """Have the next batch of a lane carried out, if it may begin."""
        if not lane.is_ready:
            return
        lane.is_offered = True
        self._idle.append(lane)
        if self._busy < self._most_lanes:
            self._busy += 1
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        """Carry out batch after batch, lane after lane, until nothing waits."""
        try:
            while self._idle:
                lane = self._idle.popleft()
                lane.is_offered = False
                lane.flights += 1
                try:
                    await self._all_have_come(lane)
                    await self._see_through(lane)
                finally:
                    lane.flights -= 1
                    self._offer(lane)
                    if not (lane.flights or lane.items):
                        del self._lanes[lane.org_id]
        finally:
            self._busy -= 1

    async def _see_through(self, lane: Lane) -> None:
        """Carry out what comes next in a lane, and let the lane go on when that is late."""
        is_late = False

        def go_on() -> None:
            nonlocal is_late
            is_late = True
            lane.late += 1
            self._offer(lane)

        patience = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, go_on)
        try:
            await self._carry_out(lane)
        finally:
            patience.cancel()
            lane.late -= is_late

    async def _all_have_come(self, lane: Lane) -> None:
        """Let those in who have been sent already, and are being read: as long as the lane grows.

        That takes a turn of the event loop each time, no timer. Without it, batches are a third as large.
        """
        seen = 0
        while seen < len(lane.items) < self._most_together:
            seen = len(lane.items)
            await asyncio.sleep(0)

    async def _carry_out(self, lane: Lane) -> None:
        """Carry out what comes next in a lane; whatever happens, each item has an answer then."""
        batch = lane.next_batch(self._most_together)
        self._waiting -= len(batch)
        wanted = [item for item in batch if not item.is_given_up]
        try:
            if len(wanted) > 1:
                wanted = await self._together(lane.org_id, wanted)
            for item in wanted:
                await self._alone(item)
        except BaseException as error:
            for item in wanted:
                item.fail(copy.copy(error))
            if not isinstance(error, Exception):
                raise
            logger.exception("A batch of %d could not be carried out.", len(batch))

    async def _together(self, org_id: str, batch: list[Item]) -> list[Item]:
        """Carry out a batch, and return the items that have to be carried out alone after all."""
        kind = KINDS[type(batch[0].operation)]
        try:
            result = await self._ledger.execute(kind.together(org_id, [item.operation for item in batch]))
        except CreditError as error:
            if _was_undone_for_one(error):
                return batch
            for item in batch:
                item.fail(copy.copy(error))
            return []
        for item, outcome in zip(batch, result.outcomes, strict=True):
            if outcome.problem is None:
                item.succeed(getattr(outcome, kind.result))
            else:
                item.fail(outcome.problem.exception())
        return []

    async def _alone(self, item: Item) -> None:
        try:
            item.succeed(await self._ledger.execute(item.operation))
        except CreditError as error:
            item.fail(error)


def _was_undone_for_one(error: CreditError) -> bool:
    """Whether a batch surely changed nothing, and may have failed because of one of its items.

    Not so for a lost connection, nor for a database that is away or too slow: that is every item's error, as
    it would have been alone. Callers repeat it, under the same request ids.
    """
    if isinstance(error, OutcomeUnknownError | ConfigurationError):
        return False
    if isinstance(error, UnavailableError):
        return isinstance(error.__cause__, DeadlockDetected | SerializationFailure | LockNotAvailable)
    return True
