"""What must hold when a simulated world has healed: one charge for each success, none for a failure."""

from typing import Literal

from credit_sdk._flows.settling import REFUSALS
from credit_sdk.operations import ExpireHolds, VerifyLedger
from tests.flows.simulated import Attempt, Job, was_done
from tests.flows.simulation import ORG, TTL_SECONDS, USER, World

Claim = Literal["owed", "possible", "never"]


def judge(world: World) -> None:
    """Fail with what is wrong; first as it is after every delivery, then when all time is over."""
    unknown_orphans = world.fired["disk full at keep"]
    for hold in world.ledger.live_holds.values():
        waits = any(record.charge.hold_id == hold.id for record in world.disk.values())
        assert waits or unknown_orphans or hold.id not in world.held_on_disk, f"{hold} is open for nobody"
    world.pass_time(2 * TTL_SECONDS)
    world.deliver_all()
    world.ledger.execute(ExpireHolds())
    assert not world.ledger.live_holds, "a hold outlives its time"
    for record in world.disk.values():
        assert record.owner is None, f"nobody delivers {record}"
        assert record.refused, f"there is no reason for {record}"
    for job in world.jobs:
        judge_job(world, job)
    allocation = world.ledger.allocations[ORG, USER]
    assert allocation.used <= allocation.allocated, "overspent"
    verification = world.ledger.execute(VerifyLedger())
    assert verification.ok, verification


def judge_job(world: World, job: Job) -> None:
    attempts = [attempt for attempt in world.attempts if attempt.job is job]
    charges = [entry for entry in world.ledger.entries.values() if entry.request_id == job.request_id]
    claims = {claim_of(world, attempt) for attempt in attempts}
    assert all(attempt.kept for attempt in attempts if attempt.performed), "work begins without a trace"
    assert len(charges) <= 1, f"{job.request_id} is charged {len(charges)} times"
    if "owed" in claims:
        assert charges, f"{job.request_id} is not charged"
    elif "possible" not in claims:
        assert not charges, f"{job.request_id} is charged for nothing"
    prices = {int(amount * 1_000) for amount in (job.cost, job.expected)}
    assert {entry.credits for entry in charges} <= prices, f"{job.request_id} costs something else"
    confirmed = {attempt.charge_id for attempt in attempts if attempt.charge_id is not None}
    assert confirmed <= {entry.id for entry in charges}, f"the receipt of {job.request_id} is void"


def claim_of(world: World, attempt: Attempt) -> Claim:
    """Say whether this attempt has to be charged, may be, or must not be."""
    if attempt.plan.entry_id in world.disk or attempt.job.request_id in world.came_late:
        # A debt that the balance does not cover; or a request that came when nobody waited any more.
        return "possible"
    match attempt.fate:
        case "acked" | "pending":
            return "owed" if attempt.ending == "succeeds" else "never"
        case "told":
            is_definite = isinstance(attempt.error, REFUSALS) and not world.fired["disk full when letting go"]
            return "possible" if attempt.performed and not is_definite else "never"
        case "crashed":
            return claim_of_crashed(world, attempt)
        case _:
            is_open = attempt.performed and attempt.ending == "uncertain"
            return claim_of_unfinished(attempt) if is_open else "never"


def claim_of_crashed(world: World, attempt: Attempt) -> Claim:
    match attempt.kept:
        case "succeeded":
            return "owed" if attempt.was_on_disk else "possible"
        case "uncertain":
            return claim_of_unfinished(attempt)
        case "performing" if attempt.was_on_disk:
            claim = claim_of_unfinished(attempt)
            # The outbox did not take it that the work had succeeded, and the charge may have been sent.
            is_unnoted = world.fired["disk full at keep"] and attempt.ending == "succeeds"
            return "possible" if is_unnoted and claim == "never" else claim
        case _:
            return "possible" if attempt.performed and attempt.ending == "succeeds" else "never"


def claim_of_unfinished(attempt: Attempt) -> Claim:
    """Say what the probe, or else the policy, makes of work whose end nobody has noted."""
    if attempt.kept not in {"performing", "uncertain"}:
        return "never"
    if attempt.job.probed:
        return "owed" if was_done(attempt) else "never"
    policy = attempt.job.policy
    settlement = policy.on_crash if attempt.kept == "performing" else policy.on_unknown
    return "owed" if settlement == "charge" else "never"
