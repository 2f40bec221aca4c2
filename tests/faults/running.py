"""Carries a schedule out over real processes, and judges what is left of it."""

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from credit_sdk import CreditDeductionService
from credit_sdk.models import OutboxEntry
from tests.faults.rig import Rig, eventually
from tests.faults.schedules import CLIENT_DIES, DISK_FULL, Breaker, Schedule
from tests.faults.workload import Log, Workload

USER = "ada"
MILLI = 1_000
_TRIES = 100
_PAGE = 4_096
_SMALLEST_OUTBOX = 6 * _PAGE


@dataclass(frozen=True)
class Books:
    """What the database says of an organisation, in whole credits."""

    charges: list[tuple[str, int]]
    held: list[str]
    """The request ids of the open holds."""
    held_credits: int
    differences: list[Any]
    idle_in_transaction: int


@dataclass(frozen=True)
class Run:
    """What is known after a schedule."""

    schedule: Schedule
    org_id: str
    log: Log
    hits: int
    status: int
    left: list[OutboxEntry]
    after_delivery: Books
    at_last: Books


def carry_out(rig: Rig, schedule: Schedule, folder: Path) -> Run:
    """Run the client into the fault, heal everything, deliver, and look."""
    workload = _workload(rig, schedule, folder)
    open_books(rig, workload.org_id, schedule.allocated)
    breaker = Breaker(rig, schedule)
    doomed = replace(
        workload,
        dies_at=schedule.instant if schedule.fault == CLIENT_DIES else 0,
        largest_file=_SMALLEST_OUTBOX + schedule.instant * _PAGE if schedule.fault == DISK_FULL else 0,
    )
    client = rig.nursery.start("client", doomed.as_json())
    breaker.client_is(client)
    status = end_of(rig, client)
    breaker.wait(status, Log(workload.log))
    rig.heal()
    if schedule.runs_again or not Log(workload.log).said("done"):
        again = end_of(rig, rig.nursery.start("client", workload.as_json()))
        assert again == 0, f"the second run ends with {again}"
    left = deliver(workload)
    after_delivery = look(rig, workload.org_id)
    with rig.owner() as owner:
        owner.execute(
            "UPDATE credit_holds SET expires_at = ledger.now() - INTERVAL '1 second'"
            " WHERE org_id = %s AND status = 'held'",
            [workload.org_id],
        )
        owner.execute("SELECT ledger.expire_holds()")
    return Run(
        schedule=schedule,
        org_id=workload.org_id,
        log=Log(workload.log),
        hits=breaker.hits,
        status=status,
        left=left,
        after_delivery=after_delivery,
        at_last=look(rig, workload.org_id),
    )


def judge(run: Run) -> None:
    """Fail with what is wrong."""
    schedule, log = run.schedule, run.log
    assert run.hits, "the fault did not happen: nothing is shown"
    assert run.status == 0 or (schedule.kills_client and run.status < 0), f"the client ends with {run.status}"
    assert all(entry.state == "refused" and entry.reason for entry in run.left), run.left
    done, refused = Counter(log.said("done")), Counter(log.said("refused"))
    owed = {entry.charge.request_id for entry in run.left if entry.charge is not None}
    charged = Counter(request_id for request_id, _ in run.at_last.charges)
    prices = {job.request_id: job.cost for job in schedule.jobs}
    for request_id, cost in run.at_last.charges:
        assert request_id in prices, f"{request_id} is charged, which nobody asked for"
        assert cost == prices[request_id], f"{request_id} costs {cost}"
        assert done[request_id], f"{request_id} is charged and was not done"
    for request_id in done:
        assert charged[request_id] <= 1, f"{request_id} is charged {charged[request_id]} times"
        is_told = refused[request_id] or request_id in owed
        assert charged[request_id] or is_told, f"{request_id} was done and is not charged"
    for request_id in log.said("charged"):
        assert charged[request_id], f"the receipt of {request_id} is void"
    _judge_books(run)


def _judge_books(run: Run) -> None:
    began = set(run.log.said("began"))
    # A hold that is placed after its request was given up is nobody's: its time ends it.
    if not run.schedule.delays_requests:
        forgotten = began.intersection(run.after_delivery.held)
        assert not forgotten, f"the holds of {forgotten} are open for nobody"
    assert run.at_last.held == []
    assert run.at_last.held_credits == 0
    assert sum(cost for _, cost in run.at_last.charges) <= run.schedule.allocated
    # One silence may stop all that came together: then nobody has begun, and nothing may be charged.
    succeeds = {job.request_id for job in run.schedule.jobs if not job.fails}
    assert run.at_last.charges or not began & succeeds, "nothing was charged: nothing is shown"
    assert run.at_last.differences == []
    assert run.at_last.idle_in_transaction == 0


def deliver(workload: Workload) -> list[OutboxEntry]:
    """Deliver as the next start of the application does; returns what cannot be delivered."""
    with CreditDeductionService(workload.url, **workload.options) as billing:
        for _ in range(_TRIES):
            billing.flush_outbox()
            left = billing.pending_charges()
            if all(entry.state == "refused" for entry in left):
                break
            time.sleep(0.02)
        return left


def open_books(rig: Rig, org_id: str, allocated: int) -> None:
    """Make an organisation whose one member may spend so many credits."""
    with rig.owner() as owner:
        owner.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", [org_id, org_id])
        owner.execute("INSERT INTO organization_members (org_id, user_id) VALUES (%s, %s)", [org_id, USER])
        owner.execute("SELECT add_credits_to_pool(%s, 100000000)", [org_id])
        owner.execute("SELECT allocate_credits_to_user(%s, %s, %s)", [org_id, USER, allocated * MILLI])


def look(rig: Rig, org_id: str) -> Books:
    """Read the books past everything that was broken."""
    with rig.owner() as owner:
        charges = owner.execute(
            "SELECT request_id, credits_used FROM credit_usage_attribution WHERE org_id = %s",
            [org_id],
        ).fetchall()
        held = owner.execute(
            "SELECT request_id FROM credit_holds WHERE org_id = %s AND status = 'held'", [org_id]
        ).fetchall()
        [[held_credits]] = owner.execute(
            "SELECT held_credits FROM user_credit_allocations WHERE org_id = %s", [org_id]
        ).fetchall()
        [[idle]] = owner.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        ).fetchall()
        [[verification]] = owner.execute("SELECT ledger.verify_ledger(%s)", [org_id]).fetchall()
    ids = [request_id for [request_id] in held]
    return Books(
        charges=[(request_id, credits // MILLI) for request_id, credits in charges],
        held=ids,
        held_credits=held_credits,
        differences=verification["differences"],
        idle_in_transaction=idle,
    )


def _workload(rig: Rig, schedule: Schedule, folder: Path) -> Workload:
    return Workload(
        url=rig.client_url(schedule.transport),
        api_key=rig.api_key if schedule.transport == "http" else None,
        org_id=str(uuid4()),
        user_id=USER,
        jobs=list(schedule.jobs),
        outbox=str(folder / "outbox.sqlite3"),
        log=str(folder / "log"),
        is_async=schedule.is_async,
        at_once=schedule.at_once,
        plant=schedule.plant,
    )


def end_of(rig: Rig, client: int) -> int:
    """Wait until a client has ended, and return how."""
    statuses: list[int] = []

    def has_ended() -> bool:
        status = rig.nursery.has_ended(client)
        if status is not None:
            statuses.append(status)
        return bool(statuses)

    try:
        eventually(has_ended)
    except AssertionError:
        raise AssertionError("the client never ends") from None
    return statuses[0]
