"""What a client process does: jobs in several threads or tasks, with a log that outlives it.

Every line of the log is on the disk before the job goes on, so that it says of a killed process what was
done. The log is the judge's: the product never reads it, but for the probe that a real application has.
"""

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import wraps
from inspect import iscoroutinefunction
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest

from credit_sdk import Account, AsyncCreditDeductionService, CreditDeductionService, Outbox, Retries
from credit_sdk.backends import http, sql
from credit_sdk.errors import ConflictError, CreditError, HoldClosedError, OutboxError, RefusedError
from credit_sdk.models import PendingCharge
from tests.faults import planted

SERVICE = "fault_run"
RETRIES = Retries(attempts=3, deadline=2, first_wait=0.005, longest_wait=0.02)
TIMEOUT_SECONDS = 0.4
Shape = Literal["block", "function", "stream", "afterwards"]
_DEFINITE = (RefusedError, ConflictError, HoldClosedError)


class WorkFailedError(Exception):
    """The work did not succeed."""


@dataclass(frozen=True)
class Job:
    """What is charged under one request id. Amounts are whole credits."""

    request_id: str
    cost: int
    estimate: int
    fails: bool
    shape: Shape


@dataclass(frozen=True)
class Workload:
    """The jobs of one process, and where everything is."""

    url: str
    api_key: str | None
    org_id: str
    user_id: str
    jobs: list[Job]
    outbox: str
    log: str
    is_async: bool
    at_once: int
    dies_at: int = 0
    """The step at which the process kills itself; 0 for none."""
    largest_file: int = 0
    """How many bytes a file may have, as if the disk were full then; 0 for as many as it likes."""
    plant: str = ""
    """A bug of `planted` that it has; none if empty."""

    @property
    def account(self) -> Account:
        return Account(org_id=self.org_id, user_id=self.user_id)

    @property
    def options(self) -> dict[str, Any]:
        settings = {"outbox": self.outbox, "retries": RETRIES, "timeout": TIMEOUT_SECONDS}
        return settings | {"api_key": self.api_key, "probes": {SERVICE: Log(self.log).was_done}}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> "Workload":
        return cls(**document | {"jobs": [Job(**job) for job in document["jobs"]]})


@dataclass
class Log:
    """The lines `word request_id`; appending is atomic, also between processes."""

    path: str
    _file: int | None = field(default=None, repr=False)

    def write(self, word: str, job: Job) -> None:
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(self._file, f"{word} {job.request_id}\n".encode())
        os.fsync(self._file)

    def said(self, word: str) -> list[str]:
        """Return the request ids of the lines of a word."""
        path = Path(self.path)
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split()[1] for line in lines if line.startswith(f"{word} ")]

    def was_done(self, pending: PendingCharge) -> bool:
        return pending.request_id in self.said("done")


def run(workload: Workload) -> None:
    """Do the jobs, and close the service as a well-behaved application does."""
    if workload.plant:
        getattr(planted, workload.plant)(pytest.MonkeyPatch())
    if workload.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (workload.largest_file, workload.largest_file))
    if workload.dies_at:
        _die_at(workload.dies_at)
    # Who waits for a database that says nothing waits long enough to see it, and no longer.
    sql.GRACE_SECONDS = TIMEOUT_SECONDS
    if workload.is_async:
        asyncio.run(_run_async(workload))
        return
    log = Log(workload.log)
    with (
        CreditDeductionService(workload.url, **workload.options) as billing,
        ThreadPoolExecutor(workload.at_once) as threads,
    ):
        list(threads.map(lambda job: _run_job(billing, workload.account, job, log), workload.jobs))


def _die_at(step: int) -> None:
    """Let the process kill itself at one of the moments between which something lasting happens."""
    steps = count(1)

    def pass_step() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    for owner in (sql.SqlBackend, sql.AsyncSqlBackend, http.HttpBackend, http.AsyncHttpBackend):
        owner.execute = _between(owner.execute, pass_step)  # type: ignore[method-assign]
    for name in ("keep", "forget", "hand_over"):
        setattr(Outbox, name, _between(getattr(Outbox, name), pass_step))
    Log.write = _between(Log.write, pass_step)  # type: ignore[method-assign]


def _between(function: Callable[..., Any], pass_step: Callable[[], None]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        pass_step()
        result = function(*arguments, **named)
        pass_step()
        return result

    @wraps(function)
    async def call_async(*arguments: Any, **named: Any) -> Any:
        pass_step()
        result = await function(*arguments, **named)
        pass_step()
        return result

    return call_async if iscoroutinefunction(function) else call


def _run_job(billing: CreditDeductionService, account: Account, job: Job, log: Log) -> None:
    priced = {"estimate": job.estimate, "request_id": job.request_id}
    try:
        match job.shape:
            case "function":
                billing.billable(SERVICE, cost=job.cost, account=account, **priced)(_work)(job, log)
            case "stream":
                list(billing.billable(SERVICE, cost=job.cost, account=account, **priced)(_stream)(job, log))
            case _:
                reserve = job.shape == "block"
                with billing.charge(
                    account, job.cost, service_type=SERVICE, reserve=reserve, **priced
                ) as charge:
                    _work(job, log)
                log.write("pending" if charge.is_pending else "charged", job)
    except WorkFailedError:
        pass
    except CreditError as error:
        log.write(_name(error), job)


async def _run_async(workload: Workload) -> None:
    log, limit = Log(workload.log), asyncio.Semaphore(workload.at_once)
    async with AsyncCreditDeductionService(workload.url, **workload.options) as billing:

        async def run_one(job: Job) -> None:
            async with limit:
                await _run_job_async(billing, workload.account, job, log)

        await asyncio.gather(*map(run_one, workload.jobs))


async def _run_job_async(billing: AsyncCreditDeductionService, account: Account, job: Job, log: Log) -> None:
    priced = {"estimate": job.estimate, "request_id": job.request_id}

    async def work() -> None:
        await asyncio.sleep(0)
        _work(job, log)

    try:
        if job.shape in {"function", "stream"}:
            await billing.billable(SERVICE, cost=job.cost, account=account, **priced)(work)()
            return
        reserve = job.shape == "block"
        async with billing.charge(
            account, job.cost, service_type=SERVICE, reserve=reserve, **priced
        ) as charge:
            await work()
        log.write("pending" if charge.is_pending else "charged", job)
    except WorkFailedError:
        pass
    except CreditError as error:
        log.write(_name(error), job)


def _work(job: Job, log: Log) -> None:
    log.write("began", job)
    if job.fails:
        log.write("failed", job)
        raise WorkFailedError
    log.write("done", job)


def _stream(job: Job, log: Log) -> Iterator[Decimal]:
    yield Decimal(1)
    _work(job, log)
    yield Decimal(2)


def _name(error: CreditError) -> str:
    if isinstance(error, OutboxError):
        return "full"
    return "refused" if isinstance(error, _DEFINITE) else "unknown"
