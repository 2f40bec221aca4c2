"""Old charges give their details to the archive, whose months can be detached; the books notice nothing."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from reference_server.archiving import archive_before
from tests.ledger.conftest import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ledger.conftest import Books, Member, Row

OLD = "2026-01-15 12:00:00+00"
LATER = datetime(2026, 2, 1, tzinfo=UTC)
MONTH = "credit_usage_archive_2026_01"
DETAILS = {"company": "c-1", "rows": [1, 2.50]}
COUNT = 7


@pytest.fixture
def ann(own_books: Books) -> Member:
    return own_books.member()


@pytest.fixture
def old_charges(own_books: Books, ann: Member) -> list[Row]:
    """Charges of last January, sealed."""
    with at(own_books, OLD):
        charges = [
            own_books.do(ann.deduct(1_000 + number, f"old-{number}", request_metadata=DETAILS))
            for number in range(COUNT)
        ]
    seal(own_books)
    return charges


@contextmanager
def at(books: Books, moment: str) -> Iterator[None]:
    """Let the clock of the database stand still."""

    def show(clock: str) -> None:
        function = "CREATE OR REPLACE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE"
        books.execute(f"{function} RETURN {clock}")

    show(f"TIMESTAMPTZ '{moment}'")
    yield
    show("clock_timestamp()")


def seal(books: Books) -> None:
    """Seal everything there is, until sealing has moved on over it: until nobody else is at work."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        books.execute("SELECT ledger.seal()")
        [row] = books.execute(
            "SELECT bool_and(settled_before > %s) AS settled FROM ledger_heads", datetime.fromisoformat(OLD)
        )
        if row["settled"]:
            return
        time.sleep(0.01)
    pytest.fail("other transactions did not end")


def archive(books: Books, limit: int = 1_000, before: datetime = LATER) -> int:
    [row] = books.execute("SELECT ledger.archive(%s, %s) AS count", before, limit)
    count: int = row["count"]
    return count


def metadata(books: Books) -> list[Any]:
    rows = books.execute("SELECT request_metadata FROM credit_usage_attribution ORDER BY created_at, id")
    return [row["request_metadata"] for row in rows]


def listed(books: Books) -> dict[str, Any]:
    [row] = books.execute("SELECT ledger.list_charges(%s) AS document", books.org_id)
    return {item["request_id"]: item["request_metadata"] for item in row["document"]["items"]}


def chain(books: Books) -> Row:
    [row] = books.execute("SELECT ledger.verify_chain() AS document")
    document: Row = row["document"]
    return document


def detach(books: Books) -> None:
    books.execute(f"ALTER TABLE credit_usage_archive DETACH PARTITION {MONTH} CONCURRENTLY")


def test_details_of_old_charges_leave_their_rows_and_are_still_listed(
    own_books: Books, ann: Member, old_charges: list[Row]
) -> None:
    own_books.do(ann.deduct(5, "new", request_metadata=DETAILS))
    assert archive(own_books) == COUNT
    assert archive(own_books) == 0
    assert metadata(own_books) == [None] * COUNT + [DETAILS]
    assert all(details == DETAILS for details in listed(own_books).values())


def test_batches_are_as_small_as_one_likes(own_books: Books, old_charges: list[Row]) -> None:
    """All of one moment, which no batch may be stuck at."""
    assert [archive(own_books, limit=3) for _ in range(4)] == [3, 3, 1, 0]
    assert metadata(own_books) == [None] * COUNT


def test_an_archived_charge_is_replayed_refused_and_refunded_as_before(
    own_books: Books, ann: Member, old_charges: list[Row]
) -> None:
    archive(own_books)
    for detached in (False, True):
        if detached:
            detach(own_books)
        replay = own_books.do(ann.deduct(1_000, "old-0", request_metadata=DETAILS))
        assert replay == old_charges[0] | {"replayed": True}
        assert own_books.refusal(ann.deduct(999, "old-0")).state == "CR409"
        assert own_books.refusal(own_books.member().deduct(1_000, "old-0")).state == "CR409"
    assert own_books.do(own_books.refund(old_charges[1]))["credits_refunded"] == 1_001
    assert own_books.differences() == []


def test_balances_and_usage_do_not_change(own_books: Books, ann: Member, old_charges: list[Row]) -> None:
    def figures() -> list[Any]:
        [usage] = own_books.execute("SELECT ledger.get_usage(%s, 366) AS document", own_books.org_id)
        del usage["document"]["since"]
        return [own_books.balance(ann), own_books.taken(), usage, own_books.differences()]

    before = figures()
    archive(own_books)
    assert figures() == before
    detach(own_books)
    assert figures() == before


def test_the_chain_fits_with_the_archive_and_without_it(own_books: Books, old_charges: list[Row]) -> None:
    archive(own_books)
    whole = chain(own_books)
    assert (whole["breaks"], whole["detached"]) == ([], 0)
    detach(own_books)
    assert chain(own_books) == whole | {"detached": COUNT}


def test_a_detached_month_can_be_attached_again(own_books: Books, old_charges: list[Row]) -> None:
    archive(own_books)
    detach(own_books)
    assert not any(listed(own_books).values())
    own_books.execute(
        f"ALTER TABLE credit_usage_archive ATTACH PARTITION {MONTH}"
        " FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z')"
    )
    assert all(details == DETAILS for details in listed(own_books).values())
    assert chain(own_books)["detached"] == 0


def test_an_archive_that_was_changed_breaks_the_chain(own_books: Books, old_charges: list[Row]) -> None:
    archive(own_books)
    own_books.execute("SET session_replication_role = replica")
    own_books.execute("UPDATE credit_usage_archive SET entry[11] = '{}' WHERE charge_id = %s",
                      old_charges[3]["charge_id"])  # fmt: skip
    [broken] = chain(own_books)["breaks"]
    assert broken["entry_id"] == str(old_charges[3]["charge_id"])


def test_what_is_not_sealed_yet_is_not_archived(own_books: Books, ann: Member) -> None:
    with at(own_books, OLD):
        own_books.do(ann.deduct(1, request_metadata=DETAILS))
    assert archive(own_books) == 0
    seal(own_books)
    assert archive(own_books) == 1


def test_a_charge_that_was_changed_is_not_archived(own_books: Books, old_charges: list[Row]) -> None:
    own_books.execute("SET session_replication_role = replica")
    own_books.execute("UPDATE credit_usage_attribution SET request_metadata = '{\"company\": 2}'"
                      " WHERE request_id = 'old-2'")  # fmt: skip
    own_books.execute("SET session_replication_role = DEFAULT")
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="not as it was sealed"):
        archive(own_books)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE credit_usage_attribution SET request_metadata = NULL",
        "UPDATE credit_usage_attribution SET request_metadata = '{}'",
        "UPDATE credit_usage_archive SET entry = '{}'",
        "DELETE FROM credit_usage_archive",
        "TRUNCATE credit_usage_archive",
    ],
)
def test_the_owner_too_can_only_move_what_is_archived(
    own_books: Books, ann: Member, old_charges: list[Row], statement: str
) -> None:
    archive(own_books)
    own_books.do(ann.deduct(1, request_metadata=DETAILS))
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        own_books.execute(statement)


def test_details_leave_a_row_alone(own_books: Books, ann: Member, old_charges: list[Row]) -> None:
    """What is in the archive already does not let other values of the row change with it."""
    insert = """INSERT INTO credit_usage_archive (org_id, charge_id, created_at, entry)
    SELECT org_id, id, created_at, ledger.entry_of(org_id, 'charge', id) FROM credit_usage_attribution"""
    own_books.execute("SELECT ledger.require_archive_of('2026-01-01Z')")
    own_books.execute(insert)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        own_books.execute("UPDATE credit_usage_attribution SET request_metadata = NULL, credits_used = 1")


def test_an_application_may_not_archive(own_books: Books, old_charges: list[Row]) -> None:
    own_books.execute("SET ROLE credits_app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        archive(own_books)


def test_charges_run_on_while_months_are_archived_and_detached(
    own_books: Books, ann: Member, old_charges: list[Row]
) -> None:
    """Members charge, some under ids of last January, until everything is archived and detached."""
    done = threading.Event()
    members = [ann, own_books.member(), own_books.member()]

    def charge(connection: Any) -> int:
        member, charges = members.pop(), 0
        while not done.is_set():
            member.deduct(1).on(connection)
            ann.deduct(1_000, "old-0").on(connection)
            charges += 1
        return charges

    def work(connection: Any) -> int:
        try:
            archived = archive_before(own_books.database_url, LATER, batch=2)
            detach(own_books)
            return archived
        finally:
            done.set()

    archived, *charges = own_books.in_threads([work, *[charge] * len(members)])
    assert archived == COUNT
    assert len(own_books.taken()) == COUNT + sum(charges)
    assert own_books.differences() == []
    assert chain(own_books)["breaks"] == []
