"""A world in one process: applications, their outbox, the network and the books, driven by one seed.

Several processes run charges under way at once, one step of one of them at a time. Requests are lost,
carried out late or twice, answers are lost, disks are full, clocks move on, processes die between any two
steps, jobs run again under their request id, and whoever lives delivers what the dead have left. The
flows, the verdicts and the ledger are the product's own; `judging` says what must hold afterwards.
"""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from credit_sdk import ChargePolicy, MemoryLedger, Retries
from credit_sdk._flows import (
    ChargePlan,
    Failed,
    Forget,
    HandOver,
    Keep,
    Perform,
    Sleep,
    charging,
    deducting_afterwards,
    delivering,
    verdict_on,
)
from credit_sdk._flows.settling import REFUSALS
from credit_sdk.errors import (
    CreditError,
    OutboxError,
    UnavailableError,
)
from credit_sdk.models import PendingCharge, Receipt
from credit_sdk.operations import CaptureHold, Deduct, ExpireHolds, Operation
from tests.flows.simulated import (
    MISHAPS,
    Attempt,
    Ending,
    Job,
    Process,
    Record,
    Run,
    WorkFailedError,
    WorkTimedOutError,
    was_done,
)

ORG, USER = "acme", "ada"
RETRIES = Retries(attempts=3, deadline=60)
TTL_SECONDS = 900
LONGEST_RUN = 400


class World:
    """Everything of one schedule. `seed` decides all of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.clock = datetime.now(UTC)
        self.ledger = MemoryLedger(now=lambda: self.clock)
        self.ledger.add_organization(ORG, credits=10_000)
        self.ledger.add_member(ORG, USER, allocated=self.random.choice([100, 1_000, 1_000]))
        self.disk: dict[str, Record] = {}
        self.processes = [Process(0), Process(1)]
        self.runs: list[Run] = []
        self.late: list[Operation[Any]] = []
        self.came_late: set[str] = set()
        self.attempts: list[Attempt] = []
        self.held_on_disk: set[Any] = set()
        self.fired: Counter[str] = Counter()
        self.trace: list[str] = []
        self.is_over = False
        self.fault_rate = self.random.choice([0.02, 0.1, 0.3])
        self.away_until = 0
        self.moment = 0
        self.jobs = [self._job(number) for number in range(self.random.randint(2, 3))]

    def run(self) -> None:
        """Let the schedule happen, then let everything heal and be delivered."""
        to_start = self.jobs + [job for job in self.jobs if self.random.random() < 0.15]
        while to_start or self.runs:
            self.moment += 1
            if to_start and (not self.runs or self.random.random() < 0.15):
                self._start(to_start.pop(self.random.randrange(len(to_start))))
            elif self.random.random() < 0.12:
                to_start += self._something_happens()
            elif self.runs:
                self._step(self.random.choice(self.runs))
            if self.moment > LONGEST_RUN:
                to_start.clear()
                self.is_over = True
        self.heal()

    def heal(self) -> None:
        """End the faults, and deliver as the next starts of the application do."""
        self.is_over = True
        while self.late:
            self._carry_out_late()
        for process in self.processes:
            self._write_again(process)
        # Who still lives ends in good order; nobody works on anything any more.
        self._replace_processes()
        self.deliver_all()

    def deliver_all(self) -> None:
        """Deliver until nothing changes any more."""
        for _ in range(3):
            for entry_id in list(self.disk):
                self._deliver(self.processes[0], entry_id)
                while self.runs:
                    self._step(self.runs[0])

    def pass_time(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)

    def _job(self, number: int) -> Job:
        choose = self.random.choice
        cost = Decimal(choose([10, 40, 70]))
        estimate = cost + choose([0, 0, 20, -5])
        policy = ChargePolicy(
            when_unavailable=choose(["refuse", "refuse", "perform"]),
            on_crash=choose(["release", "release", "charge"]),
            on_unknown=choose(["release", "charge"]),
            uncertain=(WorkTimedOutError,),
        )
        expected = cost if self.random.random() < 0.8 else estimate
        reserve, probed = self.random.random() < 0.8, self.random.random() < 0.3
        return Job(f"job-{number}", cost, estimate, expected, reserve, policy, probed)

    def _start(self, job: Job) -> None:
        plan = ChargePlan(
            org_id=ORG, user_id=USER, service_type="export", request_id=job.request_id,
            credits=job.expected, estimate=job.estimate, ttl_seconds=TTL_SECONDS, policy=job.policy,
        )  # fmt: skip
        endings: list[Ending] = ["succeeds", "succeeds", "succeeds", "fails", "uncertain"]
        attempt = Attempt(job, plan, self.random.choice(endings), was_done=self.random.random() < 0.5)
        process = self.random.choice(self.processes)
        flow = (
            charging(plan, RETRIES, process.support) if job.reserve else deducting_afterwards(plan, RETRIES)
        )
        self.attempts.append(attempt)
        self.runs.append(Run(process, flow, lambda value, error: self._ended(attempt, value, error), attempt))
        self._note(f"{job.request_id} starts in process {process.number}")

    def _ended(self, attempt: Attempt, value: Any, error: BaseException | None) -> None:
        attempt.error = error
        if error is not None:
            attempt.fate = "told"
        elif isinstance(value, Receipt):
            attempt.fate, attempt.charge_id = "acked", value.charge_id
        else:
            attempt.fate = "pending" if attempt.plan.is_pending else "nothing"
        self._note(f"{attempt.job.request_id} ends: {attempt.fate} ({error!r})")

    def _something_happens(self) -> list[Job]:
        """Let one of the rarer things happen; returns the jobs that are to run again."""
        match self.random.randrange(8):
            case 0:
                return self._crash(self.random.choice(self.processes))
            case 1:
                self.pass_time(self.random.choice([1, 60, TTL_SECONDS + 1]))
                self.ledger.execute(ExpireHolds())
            case 2 if self.late:
                self._carry_out_late()
            case 3 if self.random.random() < 0.3:
                self.away_until = self.moment + 30
            case 4:
                over = [each.job for each in self.attempts if each.fate in {"told", "nothing"}]
                return over[:1] if self.random.random() < 0.5 and len(self.attempts) < 8 else []
            case _:
                process = self.random.choice(self.processes)
                self._write_again(process)
                free = [entry for entry, record in self.disk.items() if not self._is_owned(record)]
                if free:
                    self._deliver(process, self.random.choice(free))
        return []

    def _crash(self, process: Process) -> list[Job]:
        self.fired["crash"] += 1
        self._note(f"process {process.number} dies")
        dead = [run for run in self.runs if run.process is process]
        self.runs = [run for run in self.runs if run.process is not process]
        self.processes[self.processes.index(process)] = Process(process.number + 2)
        jobs = []
        for run in dead:
            if run.attempt is not None:
                run.attempt.fate = "crashed"
                run.attempt.was_on_disk = run.attempt.plan.entry_id in self.disk
                jobs.append(run.attempt.job)
        return [job for job in jobs if self.random.random() < 0.4 and len(self.attempts) < 8]

    def _replace_processes(self) -> None:
        self.processes = [Process(process.number + 2) for process in self.processes]

    def _is_owned(self, record: Record) -> bool:
        return any(process.number == record.owner for process in self.processes)

    def _deliver(self, process: Process, entry_id: str) -> None:
        """Do what the courier does with one charge."""
        record = self.disk[entry_id]
        pending = record.charge
        record.owner = process.number
        done, probed = self._ask(pending)
        verdict = verdict_on(pending, done=done, probed=probed, now=self.clock)
        self._note(f"{pending.request_id} ({pending.outcome}) is delivered: {verdict}")
        if verdict == "wait":
            record.owner = None
            return

        def ended(_: Any, error: BaseException | None) -> None:
            self._note(f"{pending.request_id} was delivered: {error!r}")
            if error is None:
                self._let_go(process, Forget(entry_id))
            else:
                self._let_go(process, HandOver(entry_id, str(error)), refused=isinstance(error, REFUSALS))

        self.runs.append(Run(process, delivering(pending, verdict, Retries(attempts=1)), ended))

    def _ask(self, pending: PendingCharge) -> tuple[bool | None, bool]:
        [attempt] = [each for each in self.attempts if each.plan.entry_id == pending.entry_id]
        if not attempt.job.probed or pending.outcome not in {"performing", "uncertain"}:
            return None, False
        return was_done(attempt), True

    def _step(self, run: Run) -> None:
        try:
            step = run.flow.throw(run.error) if run.error else run.flow.send(run.answer)
        except StopIteration as end:
            self.runs.remove(run)
            run.ended(end.value, None)
        except CreditError as error:
            self.runs.remove(run)
            run.ended(None, error)
        else:
            run.answer, run.error = self._answer(run, step)

    def _answer(self, run: Run, step: Any) -> tuple[Any, BaseException | None]:
        match step:
            case Perform():
                assert run.attempt is not None
                return self._perform(run.attempt), None
            case Sleep():
                return self._fires("interrupted sleep", 0.1), None
            case Keep():
                return self._keep(run, step)
            case Forget() | HandOver():
                self._let_go(run.process, step)
                return True, None
            case _:
                return self._request(step)

    def _perform(self, attempt: Attempt) -> Failed | None:
        if self._fires("cancelled before the work", 0.2):
            return Failed(WorkTimedOutError(), began=False)
        attempt.performed = True
        attempt.plan.credits = attempt.job.cost
        self._note(f"{attempt.job.request_id} is performed and {attempt.ending}")
        match attempt.ending:
            case "succeeds":
                return None
            case "fails":
                return Failed(WorkFailedError())
            case "uncertain":
                return Failed(WorkTimedOutError())

    def _keep(self, run: Run, step: Keep) -> tuple[bool, BaseException | None]:
        if self._fires("disk full at keep", 0.2):
            return False, OutboxError("the disk is full.")
        charge = step.charge
        self.disk[charge.entry_id] = Record(charge, run.process.number)
        if charge.hold_id is not None:
            self.held_on_disk.add(charge.hold_id)
        if run.attempt is not None:
            run.attempt.kept = charge.outcome
        return True, None

    def _let_go(self, process: Process, step: Forget | HandOver, *, refused: bool = False) -> None:
        def write() -> None:
            record = self.disk.get(step.entry_id)
            if isinstance(step, Forget):
                self.disk.pop(step.entry_id, None)
            elif record is not None:
                self.disk[step.entry_id] = replace(record, owner=None, refused=refused)

        if self._fires("disk full when letting go", 0.2):
            process.unwritten.append(write)
        else:
            write()

    def _write_again(self, process: Process) -> None:
        for write in process.unwritten:
            write()
        process.unwritten.clear()

    def _request(self, operation: Operation[Any]) -> tuple[Any, BaseException | None]:
        self._note(f"    {operation!r}")
        if not self.is_over and self.moment < self.away_until:
            self.fired["away"] += 1
            return None, UnavailableError()
        if not self._fires("network", 1):
            return self._execute(operation)
        mishap = self.random.choice(MISHAPS)
        answers = [self._execute(operation) for _ in range(mishap.times)]
        if mishap.comes_late:
            self.late.append(operation)
        return (None, mishap.error()) if mishap.error else answers[-1]

    def _carry_out_late(self) -> None:
        operation = self.late.pop(self.random.randrange(len(self.late)))
        self._note(f"late: {operation!r}")
        if isinstance(operation, Deduct):
            self.came_late.add(operation.request_id)
        elif isinstance(operation, CaptureHold):
            self.came_late.add(self.ledger.holds[operation.hold_id].request_id)
        self._execute(operation)

    def _execute(self, operation: Operation[Any]) -> tuple[Any, BaseException | None]:
        try:
            return self.ledger.execute(operation), None
        except CreditError as error:
            return None, error

    def _fires(self, fault: str, share: float) -> bool:
        if self.is_over or self.random.random() >= self.fault_rate * share:
            return False
        self.fired[fault] += 1
        self._note(f"    fault: {fault}")
        return True

    def _note(self, line: str) -> None:
        self.trace.append(line)


def simulate(seed: int) -> World:
    """Return the world after the schedule of a seed, when everything was delivered."""
    world = World(seed)
    world.run()
    return world
