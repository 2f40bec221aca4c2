"""What comes together to one organisation is carried out together, and nobody notices but the disk."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from psycopg.errors import DeadlockDetected

from credit_sdk import MemoryLedger
from credit_sdk.errors import (
    CreditError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NotFoundError,
    OutcomeUnknownError,
    UnavailableError,
    UnexpectedResponseError,
)
from credit_sdk.operations import CaptureHold, Deduct, Operation, PlaceHold, parse
from reference_server import gathering
from reference_server.gathering import MOST_BESIDE, GatheringLedger

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference_server.access import Ledger

pytestmark = pytest.mark.anyio

ORGANIZATIONS = ("a", "b", "c")
ALLOCATED = 100
PATIENCE_SECONDS = 10


class SlowLedger:
    """Books in memory, which carry an organisation's operations out only while it is let through."""

    def __init__(self) -> None:
        self.books = MemoryLedger()
        self.seen: list[tuple[str, str, int]] = []
        """What was carried out: organisation, class and number of items."""
        self.failures: deque[Callable[[Operation[Any]], CreditError | None]] = deque()
        """What is asked for the error of the next operations, one after the other."""
        self._gates = {org_id: asyncio.Event() for org_id in ORGANIZATIONS}
        for org_id, gate in self._gates.items():
            gate.set()
            self.books.add_organization(org_id, credits=1_000)
            self.books.add_member(org_id, "ann", allocated=ALLOCATED)

    def stop(self, org_id: str) -> None:
        self._gates[org_id].clear()

    def let_through(self, org_id: str) -> None:
        self._gates[org_id].set()

    async def execute(self, operation: Operation[Any]) -> Any:
        fields = operation.model_dump()
        items = fields.get("charges") or fields.get("holds") or fields.get("captures") or [fields]
        org_id = fields.get("org_id") or items[0]["org_id"]
        self.seen.append((org_id, type(operation).__name__, len(items)))
        if org_id is not None:
            await self._gates[org_id].wait()
        failure = self.failures.popleft()(operation) if self.failures else None
        if failure is not None:
            raise failure
        return self.books.execute(operation)

    def on_behalf_of(self, actor: Any) -> Ledger:
        raise NotImplementedError


def charge(credits: float = 1, request_id: str | None = None, org_id: str = "a") -> Deduct:
    fields = {"org_id": org_id, "user_id": "ann", "credits": credits, "service_type": "lookup"}
    return parse(Deduct, fields | ({"request_id": request_id} if request_id else {}))


def hold(credits: float = 1, org_id: str = "a") -> PlaceHold:
    return parse(
        PlaceHold, {"org_id": org_id, "user_id": "ann", "credits": credits, "service_type": "lookup"}
    )


async def begun(ledger: GatheringLedger, *operations: Operation[Any]) -> list[asyncio.Task[Any]]:
    """Return operations that are carried out, or wait for it."""
    tasks = [asyncio.ensure_future(ledger.execute(operation)) for operation in operations]
    await settled()
    return tasks


async def settled() -> None:
    """Let every task go on until it waits for something that this test decides."""
    for _ in range(20):
        await asyncio.sleep(0)


async def gathered(slow: SlowLedger, ledger: GatheringLedger, *operations: Operation[Any]) -> list[Any]:
    """Return the outcomes of operations that come while another one is carried out."""
    org_id = getattr(operations[0], "org_id")  # noqa: B009 - not every operation has one
    slow.stop(org_id)
    first = await begun(ledger, charge(0.001, org_id=org_id))
    tasks = await begun(ledger, *operations)
    slow.let_through(org_id)
    _, *outcomes = await asyncio.gather(*first, *tasks, return_exceptions=True)
    return outcomes


@pytest.fixture
def slow() -> SlowLedger:
    return SlowLedger()


@pytest.fixture
def ledger(slow: SlowLedger) -> GatheringLedger:
    return GatheringLedger(slow)


async def test_what_comes_alone_is_carried_out_as_it_is(slow: SlowLedger, ledger: GatheringLedger) -> None:
    for _ in range(3):
        await ledger.execute(charge())
    assert slow.seen == [("a", "Deduct", 1)] * 3


async def test_what_comes_at_the_same_moment_is_one_batch(slow: SlowLedger, ledger: GatheringLedger) -> None:
    receipts = await asyncio.gather(*(ledger.execute(charge()) for _ in range(5)))
    assert [receipt.remaining_credits for receipt in receipts] == [99, 98, 97, 96, 95]
    assert slow.seen == [("a", "DeductBatch", 5)]


async def test_a_batch_that_is_late_does_not_stop_its_organisation(
    slow: SlowLedger, ledger: GatheringLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_SECONDS", 0)
    slow.stop("a")
    late = [task for _ in range(MOST_BESIDE) for task in await begun(ledger, charge())]
    assert slow.seen == [("a", "Deduct", 1)] * MOST_BESIDE
    waiting = await begun(ledger, charge(), charge())
    assert len(slow.seen) == MOST_BESIDE
    slow.let_through("a")
    receipts = await asyncio.gather(*late, *waiting)
    assert len({receipt.charge_id for receipt in receipts}) == MOST_BESIDE + 2
    assert slow.seen[MOST_BESIDE:] == [("a", "DeductBatch", 2)]
    await ledger.execute(charge())
    assert slow.seen[-1] == ("a", "Deduct", 1)


async def test_a_batch_that_is_not_late_is_waited_for(slow: SlowLedger, ledger: GatheringLedger) -> None:
    slow.stop("a")
    first = await begun(ledger, charge())
    second = await begun(ledger, charge())
    assert slow.seen == [("a", "Deduct", 1)]
    slow.let_through("a")
    await asyncio.gather(*first, *second)


async def test_what_comes_meanwhile_is_the_next_batch_of_its_kind(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    open_holds = [await ledger.execute(hold(2)) for _ in range(2)]
    slow.seen.clear()
    captures = [parse(CaptureHold, {"hold_id": each.hold_id, "org_id": "a"}) for each in open_holds]
    outcomes = await gathered(
        slow, ledger, charge(3), hold(4), captures[0], charge(5), hold(6), captures[1], charge(7)
    )
    assert [getattr(each, "credits_used", None) or each.credits for each in outcomes] == [3, 4, 2, 5, 6, 2, 7]
    assert [what[1:] for what in slow.seen] == [
        ("Deduct", 1), ("DeductBatch", 3), ("PlaceHoldBatch", 2), ("CaptureHoldBatch", 2),
    ]  # fmt: skip


async def test_each_item_has_the_outcome_that_it_would_have_alone(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    taken, replay, conflict, too_large, unknown = await gathered(
        slow,
        ledger,
        charge(10, "job-1"),
        charge(10, "job-1"),
        charge(11, "job-1"),
        charge(95),
        parse(CaptureHold, {"hold_id": uuid4(), "org_id": "a"}),
    )
    assert replay == taken.model_copy(update={"replayed": True})
    assert type(conflict) is IdempotencyConflictError
    assert type(unknown) is NotFoundError
    with pytest.raises(InsufficientCreditsError) as alone:
        slow.books.execute(charge(95))
    assert type(too_large) is InsufficientCreditsError
    assert (too_large.detail, too_large.figures()) == (alone.value.detail, alone.value.figures())


async def test_a_capture_that_names_no_organisation_goes_straight(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    placed = await ledger.execute(hold())
    slow.stop("a")
    await begun(ledger, charge())
    receipt = await ledger.execute(parse(CaptureHold, {"hold_id": placed.hold_id}))
    assert receipt.credits_used == 1
    slow.let_through("a")
    await ledger.drain()


async def test_one_organisation_does_not_wait_for_another(slow: SlowLedger, ledger: GatheringLedger) -> None:
    slow.stop("a")
    stuck = await begun(ledger, *(charge() for _ in range(3)))
    receipts = await asyncio.gather(*(ledger.execute(charge(org_id="b")) for _ in range(3)))
    assert len(receipts) == 3
    assert not any(task.done() for task in stuck)
    slow.let_through("a")
    await asyncio.gather(*stuck)


async def test_lanes_are_carried_out_in_turn(slow: SlowLedger) -> None:
    ledger = GatheringLedger(slow, lanes=1)
    slow.stop("a")
    tasks = await begun(ledger, charge())
    tasks += await begun(ledger, *(charge(org_id=org_id) for org_id in ("a", "a", "b", "c", "b")))
    slow.let_through("a")
    await asyncio.gather(*tasks)
    assert slow.seen == [
        ("a", "Deduct", 1),
        ("b", "DeductBatch", 2),
        ("c", "Deduct", 1),
        ("a", "DeductBatch", 2),
    ]


async def test_a_stopped_lane_takes_one_place_only(slow: SlowLedger) -> None:
    ledger = GatheringLedger(slow, lanes=2)
    slow.stop("a")
    stuck = await begun(ledger, *(charge() for _ in range(3)))
    stuck += await begun(ledger, *(hold() for _ in range(3)))
    assert (await ledger.execute(charge(org_id="b"))).remaining_credits == 99
    assert (await ledger.execute(charge(org_id="c"))).remaining_credits == 99
    slow.let_through("a")
    await asyncio.gather(*stuck)


async def test_a_full_lane_turns_newcomers_away_and_others_not(slow: SlowLedger) -> None:
    ledger = GatheringLedger(slow, most_in_a_lane=2)
    slow.stop("a")
    tasks = await begun(ledger, charge())
    tasks += await begun(ledger, charge(), charge())
    with pytest.raises(UnavailableError) as refused:
        await asyncio.wait_for(ledger.execute(charge()), PATIENCE_SECONDS)
    assert refused.value.retry_after == 1
    assert (await ledger.execute(charge(org_id="b"))).remaining_credits == 99
    slow.let_through("a")
    await asyncio.gather(*tasks)
    assert (await ledger.execute(charge())).remaining_credits == 96


async def test_a_server_whose_lanes_are_full_turns_everybody_away(slow: SlowLedger) -> None:
    ledger = GatheringLedger(slow, most_waiting=2)
    slow.stop("a")
    tasks = await begun(ledger, charge())
    tasks += await begun(ledger, charge(), charge())
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(ledger.execute(charge(org_id="b")), PATIENCE_SECONDS)
    slow.let_through("a")
    await asyncio.gather(*tasks)
    assert (await ledger.execute(charge(org_id="b"))).remaining_credits == 99


async def test_who_gives_up_leaves_the_others(slow: SlowLedger, ledger: GatheringLedger) -> None:
    slow.stop("a")
    [first] = await begun(ledger, charge())
    [early] = await begun(ledger, charge(10))
    early.cancel()
    tasks = await begun(ledger, charge(), charge())
    slow.let_through("a")
    await first
    slow.stop("a")
    await settled()
    tasks[0].cancel()
    slow.let_through("a")
    assert (await tasks[1]).remaining_credits == 97
    assert [what[1:] for what in slow.seen] == [("Deduct", 1), ("DeductBatch", 2)]


async def test_everything_taken_in_is_answered_before_the_end(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    slow.stop("a")
    tasks = await begun(ledger, charge())
    tasks += await begun(ledger, charge(), charge())
    draining = asyncio.ensure_future(ledger.drain())
    await settled()
    assert not draining.done()
    slow.let_through("a")
    await draining
    await settled()
    assert all(task.done() for task in tasks)


async def test_a_lost_connection_is_the_error_of_every_item(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    slow.failures.extend([lambda _: None, lambda _: OutcomeUnknownError("lost")])
    outcomes = await gathered(slow, ledger, charge(), charge())
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknownError] * 2
    assert outcomes[0] is not outcomes[1]
    assert [what[1:] for what in slow.seen] == [("Deduct", 1), ("DeductBatch", 2)]


async def test_a_database_that_is_away_is_not_asked_again_for_each(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    slow.failures.extend([lambda _: None, lambda _: UnavailableError("away")])
    outcomes = await gathered(slow, ledger, charge(), charge())
    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 2
    assert len(slow.seen) == 2


async def test_a_batch_that_met_another_in_a_circle_is_carried_out_one_by_one(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    deadlock = UnavailableError("deadlock")
    deadlock.__cause__ = DeadlockDetected()
    slow.failures.extend([lambda _: None, lambda _: deadlock])
    outcomes = await gathered(slow, ledger, charge(10), charge(20))
    assert [outcome.credits_used for outcome in outcomes] == [10, 20]
    assert [what[1:] for what in slow.seen] == [
        ("Deduct", 1),
        ("DeductBatch", 2),
        ("Deduct", 1),
        ("Deduct", 1),
    ]


async def test_an_item_that_no_statement_survives_fails_alone(
    slow: SlowLedger, ledger: GatheringLedger
) -> None:
    def poisoned(operation: Operation[Any]) -> CreditError | None:
        return UnexpectedResponseError("refused") if '"poison"' in operation.model_dump_json() else None

    slow.failures.extend([poisoned] * 5)
    fine, poison, also_fine = await gathered(slow, ledger, charge(), charge(1, "poison"), charge())
    assert type(poison) is UnexpectedResponseError
    assert [each.credits_used for each in (fine, also_fine)] == [1, 1]


async def test_a_broken_ledger_leaves_nobody_waiting(slow: SlowLedger, ledger: GatheringLedger) -> None:
    def broken(_: Operation[Any]) -> CreditError | None:
        raise ZeroDivisionError

    slow.failures.extend([broken, broken])
    outcomes = await gathered(slow, ledger, charge(), charge())
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 2
    assert (await ledger.execute(charge())).remaining_credits == 99
