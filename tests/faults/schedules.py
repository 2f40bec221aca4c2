"""Which jobs, which fault, at which moment: all of it chosen by one seed."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from tests.faults.proxy import Mishap, Proxy
from tests.faults.rig import Rig, Transport, eventually, stop_process
from tests.faults.workload import Job, Log, Shape

STOPPED_SECONDS = 0.5
Breaking = Callable[[Rig, int], None]


def _kill_client(_: Rig, client: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(client, signal.SIGKILL)


def _refuse(proxy: Proxy) -> None:
    proxy.is_refusing = True
    proxy.cut()
    time.sleep(STOPPED_SECONDS)
    proxy.is_refusing = False


PROCESS_FAULTS: dict[str, Breaking] = {
    "client killed": _kill_client,
    "client stopped for a while": lambda _, client: stop_process(client, STOPPED_SECONDS),
    "server killed": lambda rig, _: rig.kill_server(),
    "server restarted": lambda rig, _: rig.restart_server(),
    "server stopped for a while": lambda rig, _: rig.stop_server(STOPPED_SECONDS),
    "server refuses connections": lambda rig, _: _refuse(rig.to_server),
    "database killed": lambda rig, _: rig.kill_database(),
    "database restarted": lambda rig, _: rig.restart_database(),
    "database refuses connections": lambda rig, _: _refuse(rig.to_database),
    "database refuses the server": lambda rig, _: _refuse(rig.behind_server),
    "sessions stopped for a while": lambda rig, _: rig.stop_sessions(STOPPED_SECONDS),
    "sessions terminated": lambda rig, _: rig.terminate_sessions(),
    "a session killed": lambda rig, _: rig.kill_a_session(),
}
CLIENT_DIES = "client dies at a step of its own"
DISK_FULL = "client's disk is full"
SERVER_FAULTS = {name for name in PROCESS_FAULTS if "server" in name}
DATABASE_MISHAPS = {each for each in Mishap if each not in {Mishap.TWICE, Mishap.AGAIN_LATER}}


@dataclass(frozen=True)
class Schedule:
    """One run."""

    seed: int
    transport: Transport
    fault: str
    instant: int
    """Which request it meets, or which step of the client; the first is 1."""
    repeats: int
    """How many requests in a row a mishap of the network meets."""
    delay: float
    """How long after that request a process is broken, in seconds."""
    jobs: tuple[Job, ...]
    allocated: int
    is_async: bool
    at_once: int
    runs_again: bool
    plant: str = ""
    """A bug that the client has on purpose; none if empty."""

    @property
    def kills_client(self) -> bool:
        return self.fault in {CLIENT_DIES, "client killed"}

    @property
    def delays_requests(self) -> bool:
        """Whether a request may be carried out when nobody waits for it any more."""
        return self.fault.endswith(("AGAIN_LATER", "stopped for a while"))

    @classmethod
    def of_seed(cls, seed: int) -> "Schedule":
        random = Random(seed)
        # Faults take turns, so that as many seeds as there are faults meet them all.
        transport, fault = FAULTS[seed % len(FAULTS)]
        jobs = tuple(_job(random, f"{seed}-{number}", number) for number in range(random.randint(5, 8)))
        total = sum(job.cost for job in jobs if not job.fails)
        return cls(
            seed=seed,
            transport=transport,
            fault=fault,
            instant=random.randint(1, 18 if fault == CLIENT_DIES else 5),
            repeats=random.choice([1, 1, 2, 4]),
            delay=random.choice([0, 0, 0.002, 0.01]),
            jobs=jobs,
            allocated=random.choice([10_000, 10_000, 10_000, max(total // 2, 50)]),
            is_async=random.random() < 0.5,
            at_once=random.randint(1, 4),
            runs_again=random.random() < 0.4,
        )


def _faults() -> list[tuple[Transport, str]]:
    found: list[tuple[Transport, str]] = []
    for mishap in Mishap:
        found.append(("http", f"network: {mishap.name}"))
        if mishap in DATABASE_MISHAPS:
            found += [("sql", f"network: {mishap.name}"), ("http", f"behind the server: {mishap.name}")]
    for name in [CLIENT_DIES, DISK_FULL, *PROCESS_FAULTS]:
        if name not in SERVER_FAULTS:
            found.append(("sql", name))
        if name != "database refuses connections":
            found.append(("http", name))
    return found


FAULTS = _faults()


def _job(random: Random, request_id: str, number: int) -> Job:
    cost = random.choice([1, 5, 20])
    shapes: list[Shape] = ["block", "block", "function", "stream", "afterwards"]
    estimate = cost + random.choice([0, 0, 3])
    # The first two send requests for certain, which the fault may meet.
    if number < 2:
        return Job(request_id, cost, estimate, fails=False, shape="block")
    return Job(request_id, cost, estimate, random.random() < 0.2, random.choice(shapes))


class Breaker:
    """Lets the fault of a schedule happen when its moment has come."""

    def __init__(self, rig: Rig, schedule: Schedule) -> None:
        self.hits = 0
        self._rig = rig
        self._schedule = schedule
        self._client = threading.Event()
        self._client_pid = 0
        where, _, mishap = schedule.fault.rpartition(": ")
        self._mishap = Mishap[mishap] if where else None
        self._proxy = rig.behind_server if where.startswith("behind") else rig.proxy(schedule.transport)
        self._thread = threading.Thread(target=self._break)
        self._proxy.heal()
        self._proxy.on_request = self._on_request

    def client_is(self, pid: int) -> None:
        self._client_pid = pid
        self._client.set()

    def wait(self, status: int, log: Log) -> None:
        """Return when what was broken is whole again. `status` is how the client has ended."""
        if self._schedule.fault == CLIENT_DIES:
            self.hits = int(status == -signal.SIGKILL)
        if self._schedule.fault == DISK_FULL:
            self.hits = len(log.said("full"))
        if self._thread.ident is not None:
            self._thread.join()
        eventually(lambda: self._proxy.still_coming == 0)

    def _on_request(self, number: int) -> Mishap | None:
        first = self._schedule.instant
        if self._mishap is not None:
            if not first <= number < first + self._schedule.repeats:
                return None
            self.hits += 1
            return self._mishap
        if number == first and self._schedule.fault in PROCESS_FAULTS:
            self.hits += 1
            self._thread.start()
        return None

    def _break(self) -> None:
        self._client.wait()
        time.sleep(self._schedule.delay)
        PROCESS_FAULTS[self._schedule.fault](self._rig, self._client_pid)
