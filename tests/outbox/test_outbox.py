"""The file that keeps unconfirmed charges: across threads, processes, crashes and damage."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest
import time_machine

from credit_sdk import Outbox, OutboxError
from credit_sdk._flows import Forget, HandOver, Keep
from credit_sdk.models import PendingCharge
from credit_sdk.outbox import default_path

BOOKS = "https://ops.example"


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "state" / "outbox.sqlite3")


def charge(entry_id: str = "one", credits: str = "50") -> PendingCharge:
    now = datetime.now(UTC)
    return PendingCharge(
        entry_id=entry_id,
        outcome="succeeded",
        org_id="acme",
        user_id="ada",
        service_type="export",
        request_id=f"req-{entry_id}",
        credits=Decimal(credits),
        estimate=Decimal(credits),
        ttl_seconds=900,
        metadata={"file": "a.csv"},
        hold_id=uuid4(),
        expires_at=now + timedelta(seconds=900),
        created_at=now,
    )


def kept(outbox: Outbox) -> list[tuple[str, str]]:
    return [(entry.entry_id, entry.state) for entry in outbox.entries()]


def in_another_process(outbox: Outbox, code: str) -> subprocess.CompletedProcess[str]:
    program = f"""
import os, signal
from credit_sdk import Outbox
from credit_sdk._flows import Forget, HandOver, Keep
from credit_sdk.models import PendingCharge
outbox = Outbox({str(outbox.path)!r})
charge = PendingCharge.model_validate_json({charge("theirs").model_dump_json()!r})
{code}
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def claim_next(outbox: Outbox) -> PendingCharge | None:
    """Claim the oldest charge that can be, as a round of deliveries does."""
    claims = (outbox.claim(entry_id) for entry_id in outbox.deliverable(BOOKS))
    return next((claimed for claimed in claims if claimed is not None), None)


def test_what_is_kept_comes_back_as_it_was(outbox: Outbox) -> None:
    wanted = charge(credits="0.125")
    assert outbox.keep(Keep(wanted), BOOKS)
    outbox.hand_over(HandOver("one", "the books are away"))
    assert claim_next(outbox) == wanted
    [entry] = outbox.entries()
    assert entry.charge == wanted
    assert entry.reason == "the books are away"


def test_a_charge_that_this_process_works_on_is_nobody_elses(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), BOOKS)
    assert kept(outbox) == [("one", "under way")]
    assert claim_next(outbox) is None
    theirs = in_another_process(outbox, f"print(outbox.deliverable({BOOKS!r}))")
    assert theirs.stdout == "[]\n", theirs.stderr


def test_charges_for_other_books_are_left_alone(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), "https://other.example")
    outbox.hand_over(HandOver("one", "away"))
    assert claim_next(outbox) is None
    assert not outbox.waits(BOOKS)
    assert outbox.waits("https://other.example")


def test_a_killed_process_leaves_its_charge_to_the_next(outbox: Outbox) -> None:
    dead = in_another_process(
        outbox, f"outbox.keep(Keep(charge, durable=True), {BOOKS!r})\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert dead.returncode < 0
    assert kept(outbox) == [("theirs", "waiting")]
    pending = claim_next(outbox)
    assert pending is not None
    assert pending.entry_id == "theirs"
    assert claim_next(outbox) is None
    outbox.forget(Forget("theirs"))
    assert kept(outbox) == []


def test_a_forked_child_is_another_process(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), BOOKS)
    child = os.fork()
    if child == 0:
        owned = claim_next(outbox) is None
        outbox.keep(Keep(charge("of the child")), BOOKS)
        os._exit(0 if owned else 1)
    assert os.waitpid(child, 0)[1] == 0
    # The child has died with its charge; the parent's own is still under way.
    assert sorted(kept(outbox)) == [("of the child", "waiting"), ("one", "under way")]


PATIENCE_SECONDS = 20


def test_what_a_forked_child_keeps_outlives_the_parents_connection(outbox: Outbox) -> None:
    """SQLite's locks are not inherited: the parent would take the write-ahead log away beneath the child."""
    outbox.keep(Keep(charge("parent's")), BOOKS)
    has_kept, tell_kept = os.pipe()
    has_closed, tell_closed = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_SECONDS)
        outbox.keep(Keep(charge("child's first")), BOOKS)
        os.write(tell_kept, b".")
        os.read(has_closed, 1)
        outbox.keep(Keep(charge("child's second"), durable=True), BOOKS)
        os._exit(0)
    os.read(has_kept, 1)
    outbox.close()
    os.write(tell_closed, b".")
    assert os.waitpid(child, 0)[1] == 0
    assert {name for name, _ in kept(outbox)} == {"parent's", "child's first", "child's second"}


def test_threads_use_the_outbox_while_the_process_forks(outbox: Outbox) -> None:
    names = [f"charge {number}" for number in range(60)]

    def keep_all() -> None:
        for name in names:
            outbox.keep(Keep(charge(name)), BOOKS)

    thread = threading.Thread(target=keep_all)
    thread.start()
    children = []
    for number in range(5):
        child = os.fork()
        if child == 0:
            signal.alarm(PATIENCE_SECONDS)
            outbox.keep(Keep(charge(f"of child {number}")), BOOKS)
            os._exit(0)
        children.append(child)
    thread.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
    assert {name for name, _ in kept(outbox)} == {*names, *(f"of child {number}" for number in range(5))}


def test_each_waiting_charge_is_claimed_by_one_of_many_threads(outbox: Outbox) -> None:
    names = {f"charge {number}" for number in range(20)}
    for name in names:
        outbox.keep(Keep(charge(name)), BOOKS)
        outbox.hand_over(HandOver(name, "away"))
    claimed: list[str] = []

    def claim_all() -> None:
        while (pending := claim_next(outbox)) is not None:
            claimed.append(pending.entry_id)

    threads = [threading.Thread(target=claim_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(names)


def test_what_is_performed_unpaid_stays_within_the_allowance_of_all_together(outbox: Outbox) -> None:
    def keep(name: str) -> bool:
        return outbox.keep(Keep(charge(name, "40"), unpaid=True, allowance=Decimal(100)), BOOKS)

    assert [keep("a"), keep("b"), keep("c")] == [True, True, False]
    outbox.keep(Keep(charge("paid", "1000")), BOOKS)
    outbox.forget(Forget("a"))
    assert keep("c")


def test_a_damaged_record_is_reported_kept_and_not_in_the_way(outbox: Outbox) -> None:
    for name in ("damaged", "sound"):
        outbox.keep(Keep(charge(name)), BOOKS)
        outbox.hand_over(HandOver(name, "away"))
    with sqlite3.connect(outbox.path) as connection:
        connection.execute("update charges set body = replace(body, '50', '90') where entry_id = 'damaged'")
    connection.close()
    assert sorted(kept(outbox)) == [("damaged", "unreadable"), ("sound", "waiting")]
    pending = claim_next(outbox)
    assert pending is not None
    assert pending.entry_id == "sound"
    [reason] = [entry.reason for entry in outbox.entries() if entry.state == "unreadable"]
    assert reason is not None
    assert "checksum" in reason


def test_an_outbox_of_a_newer_version_is_not_touched(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), BOOKS)
    outbox.close()
    with sqlite3.connect(outbox.path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(OutboxError, match="newer version"):
        outbox.entries()


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(outbox: Outbox) -> None:
    outbox.path.parent.mkdir()
    outbox.path.write_text("something else entirely, long enough to be looked at" * 100)
    before = outbox.path.read_bytes()
    with pytest.raises(OutboxError, match=r"outbox\.sqlite3 cannot be used: it is damaged"):
        outbox.keep(Keep(charge()), BOOKS)
    assert outbox.path.read_bytes() == before


def test_a_full_disk_is_said_and_what_was_kept_stays(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), BOOKS)
    with outbox._opened() as store, store.writing() as connection:
        [pages] = connection.execute("pragma page_count").fetchone()
    with outbox._opened() as store:
        store.reading(f"pragma max_page_count = {pages}", [])
    huge = charge("huge").model_copy(update={"metadata": {"text": "x" * 100_000}})
    with pytest.raises(OutboxError, match="the disk is full"):
        outbox.keep(Keep(huge), BOOKS)
    assert kept(outbox) == [("one", "under way")]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match="file/outbox cannot be used"):
        Outbox(tmp_path / "file" / "outbox").keep(Keep(charge()), BOOKS)


def test_a_clock_that_jumps_back_makes_no_negative_age(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), BOOKS)
    with time_machine.travel(datetime.now(UTC) - timedelta(days=400)):
        [entry] = outbox.entries()
    assert entry.age_seconds == 0


def test_only_the_owner_may_read_the_file(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), BOOKS)
    assert outbox.path.stat().st_mode & 0o077 == 0
    assert outbox.path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({}, Path("~/.local/state/credit-sdk/outbox.sqlite3")),
        ({"XDG_STATE_HOME": "/state"}, Path("/state/credit-sdk/outbox.sqlite3")),
        ({"CREDIT_SDK_OUTBOX": "/data/outbox"}, Path("/data/outbox")),
        ({"CREDIT_SDK_OUTBOX": "off"}, None),
    ],
)
def test_the_default_is_the_users_state_folder(environment: dict[str, str], path: Path | None) -> None:
    assert default_path(environment) == path


def test_a_person_may_give_a_charge_up(outbox: Outbox) -> None:
    outbox.keep(Keep(charge()), BOOKS)
    assert outbox.discard("one")
    assert not outbox.discard("one")
    assert kept(outbox) == []
