"""The journal: what it says is settled by the next start, and what cannot be written is charged directly."""

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from credit_sdk import InsufficientCreditsError, OutboxError
from credit_sdk._flows.leasing import Spend
from credit_sdk._leases import leases as all_leases
from credit_sdk._leases import mapped_file
from credit_sdk._leases.journal import FileJournal
from credit_sdk._leases.spends import read_lines, spend_line
from tests.leases.conftest import Process, Town


def succeed(town: Town) -> Process:
    """Let the next start settle what is left."""
    heir = town.process()
    heir.billing.settle_leases()
    heir.billing.close()
    return heir


def written_in(path: Path) -> bytes:
    """The lines of a journal, without the room behind them."""
    return path.read_bytes().rstrip(b"\0")


def test_a_process_that_died_has_spent_what_it_said_and_its_heir_gives_back_the_rest(town: Town) -> None:
    process = town.process()
    for number in range(3):
        process.spend(10, request_id=f"job-{number}", metadata={"note": "naïve “quotes”\n"})
    process.kill()
    assert town.books() == (0, 100)
    assert succeed(town).journals() == []
    assert town.charged() == {"job-0": 10, "job-1": 10, "job-2": 10}
    assert town.books() == (30, 0)


def test_settling_waits_for_what_the_background_is_taking_over(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = town.process()
    process.spend(10, request_id="job")
    process.kill()
    heir = town.process()
    is_taken, is_settled = threading.Event(), threading.Event()

    def read_slowly(lines: Any) -> Any:
        is_taken.set()
        is_settled.wait(0.3)
        return read_lines(lines)

    monkeypatch.setattr(all_leases, "read_lines", read_slowly)
    background = threading.Thread(target=heir.leases.attend)
    background.start()
    is_taken.wait()
    heir.billing.settle_leases()
    charged = town.charged()
    is_settled.set()
    background.join()
    assert charged == {"job": 10}


def test_what_a_living_process_writes_is_left_alone(town: Town) -> None:
    process = town.process()
    process.spend(10)
    succeed(town)
    assert town.books() == (0, 100)
    process.billing.close()
    assert town.books() == (10, 0)


def test_a_journal_with_damage_is_settled_as_far_as_it_can_be_read(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    process = town.process()
    for number in range(3):
        process.spend(10, request_id=f"job-{number}")
    process.kill()
    [path] = process.journals()
    lines = written_in(path).splitlines(keepends=True)
    lines[3] = lines[3].replace(b"10000", b"90000")
    path.write_bytes(b"".join(lines)[:-7])
    succeed(town)
    assert town.charged() == {"job-0": 10}
    assert town.books() == (10, 0)
    assert "2 lines of a journal of leases are damaged or cut off" in caplog.text
    [aside] = town.folder.glob("*.damaged")
    assert aside.read_bytes() == b"".join(lines)[:-7]


def test_a_line_that_a_process_had_only_begun_was_told_to_nobody_and_is_no_damage(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    process = town.process()
    for number in range(2):
        process.spend(10, request_id=f"job-{number}")
    process.kill()
    [path] = process.journals()
    lines = written_in(path).splitlines(keepends=True)
    room = bytes(100)
    half = lines[3][:20] + bytes(5) + lines[3][25:-1]
    path.write_bytes(b"".join(lines[:3]) + half + room)
    succeed(town)
    assert town.charged() == {"job-0": 10}
    assert "damaged" not in caplog.text
    assert list(town.folder.iterdir()) == []


def test_lines_that_did_not_reach_the_disk_are_damage_and_those_behind_them_count(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    process = town.process()
    for number in range(2):
        process.spend(10, request_id=f"job-{number}")
    process.billing.settle_leases()
    for number in range(2, 5):
        process.spend(10, request_id=f"job-{number}")
    process.kill()
    [path] = process.journals()
    lines = written_in(path).splitlines(keepends=True)
    lost = [bytes(len(line)) if b'"job-0"' in line or b'"job-3"' in line else line for line in lines]
    path.write_bytes(b"".join(lost) + bytes(100))
    succeed(town)
    assert town.charged() == {f"job-{number}": 10 for number in (0, 1, 2, 4)}
    assert "2 lines of a journal of leases are damaged" in caplog.text


def test_a_process_that_is_killed_while_it_writes_has_written_all_that_it_told(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], check=False, timeout=60)
    assert process.returncode == -signal.SIGKILL
    [path] = tmp_path.iterdir()
    with path.open("rb") as file:
        [lease], damaged = read_lines(file)
    assert [spend.request_id for spend in lease.spends] == [f"job-{number}" for number in range(1_000)]
    assert damaged == 0


DYING = """
import os, signal, sys
from pathlib import Path
from credit_sdk._flows.leasing import Spend
from credit_sdk._leases import mapped_file
from credit_sdk._leases.journal import FileJournal
from credit_sdk._leases.spends import LeaseTerms, opening_line, spend_line

mapped_file.ROOM_BYTES = 5_000
journal = FileJournal(Path(sys.argv[1]), 1, sync_seconds=0.001)
journal.append(opening_line(LeaseTerms("lease-1", "acme", "ada", 10, 900)))
for number in range(1_000):
    line = spend_line("lease-1", Spend(f"job-{number}", 10, "lookup", None, {}))
    journal.append(line)
memory, end = journal._file._memory, journal._file.size
memory[end : end + len(line) - 1] = line[:-1]
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A process that dies when the next line has everything but its end."""


def test_damage_to_what_is_settled_costs_nothing_that_is_not(town: Town) -> None:
    process = town.process()
    for number in range(2):
        process.spend(10, request_id=f"job-{number}")
    process.billing.settle_leases()
    process.spend(10, request_id="job-2")
    process.kill()
    [path] = process.journals()
    path.write_bytes(path.read_bytes().replace(b'"job-0",10000', b'"job-0",90000'))
    succeed(town)
    assert town.charged() == {"job-0": 10, "job-1": 10, "job-2": 10}
    assert town.books() == (30, 0)


def test_a_journal_that_is_no_journal_is_put_aside(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    town.folder.mkdir()
    (town.folder / "77-aa.journal").write_bytes(os.urandom(4096))
    process = succeed(town)
    assert process.journals() == []
    assert "damaged" in caplog.text
    assert town.process().spend(1)


def test_a_journal_that_cannot_be_read_is_kept_and_in_the_way_of_no_other(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    (town.folder / "77-aa.journal").mkdir(parents=True)
    process = town.process()
    process.spend(1)
    process.kill()
    succeed(town)
    assert town.books() == (1, 0)
    assert "cannot be read (Is a directory): it is kept as" in caplog.text
    assert [each.name for each in town.folder.iterdir()] == ["2-aa.unreadable"]


def _fail(reason: int) -> NoReturn:
    raise OSError(reason, os.strerror(reason))


class Disk:
    """A disk that has room for so many bytes more of a journal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: float = float("inf")
        self._allocate = os.posix_fallocate
        monkeypatch.setattr(os, "posix_fallocate", self.allocate)
        monkeypatch.setattr(mapped_file, "ROOM_BYTES", 300)

    def allocate(self, file: int, begin: int, length: int) -> None:
        if length > self.room:
            _fail(errno.ENOSPC)
        self.room -= length
        self._allocate(file, begin, length)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_full_disk_is_said_once_and_charges_go_to_the_books_until_there_is_room(
    town: Town, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    process = town.process()
    process.spend(10, request_id="job-1")
    disk.room = 0
    assert not process.spend(10, request_id="job-2")
    assert town.books() == (10, 90)
    assert not process.spend(10, request_id="job-3")
    [lessee] = process.leases._active
    assert lessee._supply.current is not None
    assert lessee._supply.current.free == 70_000
    assert not process.leases.attend()
    said = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert ["No space left on device" in each.getMessage() for each in said] == [True]

    disk.room = float("inf")
    assert process.leases.attend()
    assert process.spend(10, request_id="job-4")
    process.kill()
    succeed(town)
    assert town.charged() == {f"job-{number}": 10 for number in (1, 2, 3, 4)}
    assert town.books() == (40, 0)


@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, None], ids=["file system", "platform"])
def test_where_room_cannot_be_allocated_it_is_written(
    town: Town, monkeypatch: pytest.MonkeyPatch, refusal: int | None
) -> None:
    if refusal is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: _fail(refusal))
    process = town.process()
    process.spend(10)
    [path] = process.journals()
    assert path.stat().st_blocks * 512 >= mapped_file.ROOM_BYTES
    process.kill()
    succeed(town)
    assert town.books() == (10, 0)


def test_a_journal_that_is_let_go_of_keeps_no_room(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path, 1, sync_seconds=1)
    line = spend_line("lease-1", some_spend())
    journal.append(line)
    journal.close(is_settled=False)
    [path] = tmp_path.iterdir()
    assert path.read_bytes() == line


def test_a_journal_has_no_secrets(town: Town) -> None:
    process = town.process()
    process.spend(10, metadata={"password": "hunter2", "town": "Austin"})
    process.kill()
    [path] = process.journals()
    assert b'{"password":"[redacted]","town":"Austin"}' in written_in(path)


def test_without_a_journal_nothing_is_leased(town: Town) -> None:
    town.folder.write_text("This is no folder.")
    process = town.process()
    assert not process.spend(10)
    assert town.books() == (10, 0)


def test_a_long_journal_is_written_anew_without_what_is_settled(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_leases, "REWRITE_BYTES", 2_000)
    process = town.process(credits=500)
    for number in range(30):
        process.spend(1, request_id=f"job-{number}")
    [before] = process.journals()
    process.billing.settle_leases()
    process.spend(2, request_id="job-30")
    process.leases._write_anew()
    process.spend(3, request_id="job-31")
    [after] = process.journals()
    assert after != before
    told, damaged = read_lines(written_in(after).splitlines(keepends=True))
    assert ([spend.credits for spend in told[0].unsettled], damaged) == ([2_000, 3_000], 0)
    process.kill()
    succeed(town)
    assert town.books() == (35, 0)


def test_a_long_journal_of_which_nothing_is_settled_is_written_anew_when_it_has_doubled(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_leases, "REWRITE_BYTES", 1_000)
    process = town.process(credits=500)
    written = []
    for _ in range(30):
        process.spend(1)
        process.leases._write_anew()
        [path] = process.journals()
        written.append(path)
    sizes = [written.count(path) for path in dict.fromkeys(written)]
    assert sizes == sorted(sizes)
    assert len(sizes) <= 4
    process.kill()
    succeed(town)
    assert town.books() == (30, 0)


def some_spend() -> Spend:
    return Spend("job-1", 10, "lookup", None, {})


@pytest.mark.parametrize("waits", [True, False], ids=["each at once", "in groups"])
def test_lines_reach_the_disk_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    reached = threading.Semaphore(0)
    sync = os.fdatasync

    def note(file: int) -> None:
        sync(file)
        reached.release()

    monkeypatch.setattr(os, "fdatasync", note)
    journal = FileJournal(tmp_path, 1, sync_seconds=0 if waits else 0.001)
    for _ in range(3):
        journal.append(spend_line("lease-1", some_spend()))
        assert reached.acquire(blocking=not waits, timeout=None if waits else 60)
    journal.close(is_settled=True)


def test_what_the_disk_has_not_confirmed_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path, 1, sync_seconds=0)
    lines = [spend_line(f"lease-{number}", some_spend()) for number in (1, 2)]
    journal.append(lines[0])
    monkeypatch.setattr(os, "fdatasync", lambda _: _fail(errno.EIO))
    with pytest.raises(OutboxError):
        journal.append(lines[1])
    [path] = tmp_path.iterdir()
    assert written_in(path) == lines[0]


def test_a_disk_that_loses_what_was_written_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def fail(_: int) -> None:
        tried.set()
        _fail(errno.EIO)

    monkeypatch.setattr(os, "fdatasync", fail)
    journal = FileJournal(tmp_path, 1, sync_seconds=0.001)
    journal.append(b"x\n")
    assert tried.wait(60)
    journal.close(is_settled=True)
    syncing = journal._syncing
    assert syncing is not None
    syncing.join(60)
    assert journal.is_broken
    with pytest.raises(OutboxError):
        journal.append(b"y\n")


@pytest.fixture
def crowd() -> Callable[[Callable[[], Any]], list[Any]]:
    """Run something in eight threads at once."""

    def run(work: Callable[[], Any]) -> list[Any]:
        results: list[Any] = []
        threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return results

    return run


def test_threads_never_spend_more_than_there_is(
    tmp_path: Path, crowd: Callable[[Callable[[], Any]], list[Any]]
) -> None:
    town = Town(tmp_path, allocated=500)
    process = town.process(credits=50)

    def spend_all() -> int:
        spent = 0
        for _ in range(100):
            with suppress(InsufficientCreditsError):
                process.spend(1)
                spent += 1
        return spent

    spent = sum(crowd(spend_all))
    assert spent <= 500
    process.kill()
    succeed(town)
    assert town.books() == (spent, 0)
    assert town.debts.kept == {}
