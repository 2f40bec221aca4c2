"""The chain of digests: every row is sealed once, in an order that skips none, and changes are named.

Each test has a database of its own, whose clock it sets ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from credit_sdk import proof
from tests.ledger.conftest import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ledger.conftest import Books, Member

    Row = dict[str, Any]

SEAL = Call("seal", {})
RENAMED = "UPDATE credit_usage_attribution SET service_name = 'other' WHERE request_id = %s"


def advance(books: Books, minutes: int) -> None:
    """Let the clock run that far ahead of the real one."""
    books.execute(
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE"
        f" RETURN clock_timestamp() + INTERVAL '{minutes} minutes'"
    )


@pytest.fixture
def books(own_books: Books) -> Books:
    return own_books


def seal_all(books: Books) -> None:
    while books.do(SEAL)["entries_sealed"]:
        pass


def let_others_end(books: Books) -> None:
    """Wait for the transactions that other tests have open in other databases of the cluster."""
    [now] = books.execute("SELECT pg_current_xact_id()::text AS xid")
    for _ in range(1_000):
        [oldest] = books.execute(
            "SELECT pg_snapshot_xmin(pg_current_snapshot()) > %s::xid8 AS newer", now["xid"]
        )
        if oldest["newer"]:
            return
        books.execute("SELECT pg_sleep(0.05)")
    pytest.fail("transactions of other tests do not end")


def sealed_requests(books: Books) -> list[str]:
    """Return the request ids of the sealed charges, in the order of the chain."""
    rows = books.execute(
        "SELECT charge.request_id FROM ledger_chain AS link"
        " JOIN credit_usage_attribution AS charge ON charge.id = link.entry_id"
        " WHERE link.org_id = %s ORDER BY link.sequence",
        books.org_id,
    )
    return [row["request_id"] for row in rows]


def settled_before(books: Books) -> Any:
    [row] = books.execute(
        "SELECT greatest(settled_before, '2000-01-01') AS moment FROM ledger_heads WHERE org_id = %s",
        books.org_id,
    )
    return row["moment"]


def created_at(books: Books, request_id: str) -> Any:
    [row] = books.execute(
        "SELECT created_at FROM credit_usage_attribution WHERE org_id = %s AND request_id = %s",
        books.org_id, request_id,
    )  # fmt: skip
    return row["created_at"]


def chain(books: Books, **more: Any) -> Row:
    return books.do(Call("list_chain", {"org_id": books.org_id} | more))


def verify(books: Books, org_id: str | None = None) -> Row:
    return books.do(Call("verify_chain", {"org_id": org_id}))


def tamper(books: Books, statement: str, *values: object) -> None:
    """Change history as a superuser can: with triggers switched off."""
    connection = books.connect()
    connection.execute("SET session_replication_role = replica")
    connection.execute(statement.encode(), values or None)


@pytest.fixture
def sealed(books: Books) -> Member:
    """A member with five sealed charges, job-1 to job-5, at 3 to 7 of the chain."""
    member = books.member()
    for number in range(1, 6):
        books.do(member.deduct(1_000 * number, f"job-{number}", service_name=f"né {number}"))
    seal_all(books)
    return member


def test_every_row_is_sealed_once_in_the_order_of_time(books: Books, sealed: Member) -> None:
    assert sealed_requests(books) == [f"job-{number}" for number in range(1, 6)]
    assert [item["sequence"] for item in chain(books)["items"]] == list(range(1, 8))
    assert books.do(SEAL)["entries_sealed"] == 0
    assert verify(books) == {"entries": 7, "detached": 0, "waiting": 0, "breaks": []}


def test_an_older_transaction_that_commits_after_a_younger_one_was_sealed_is_not_skipped(
    books: Books,
) -> None:
    slow, quick = books.member(), books.member()
    holding = books.connect()
    with holding.transaction():
        slow.deduct(10, "older").on(holding)
        # Long enough for every margin, and for many rounds.
        for minute in range(1, 6):
            advance(books, minute)
            books.do(quick.deduct(10, f"younger-{minute}"))
            seal_all(books)
        assert settled_before(books) < created_at(books, "younger-1")
    seal_all(books)
    assert sealed_requests(books) == [*(f"younger-{minute}" for minute in range(1, 6)), "older"]
    assert verify(books)["breaks"] == []


def test_what_has_ended_is_not_looked_at_again(books: Books) -> None:
    member = books.member()
    for minute in range(1, 4):
        advance(books, minute)
        books.do(member.deduct(10, f"minute-{minute}"))
        let_others_end(books)
        seal_all(books)
    assert created_at(books, "minute-1") < settled_before(books) < created_at(books, "minute-3")


def test_a_round_that_leaves_some_lets_the_next_begin_where_it_ended(books: Books) -> None:
    """However much waits, each row is looked at once: a long backlog is not sorted again for every round."""
    member = books.member()
    for minute in range(1, 6):
        advance(books, minute)
        books.do(member.deduct(10, f"minute-{minute}"))
    advance(books, 10)
    # What was granted and allocated comes first.
    books.do(Call("seal", {"org_id": books.org_id, "limit": 3}))
    let_others_end(books)
    books.do(Call("seal", {"limit": 2}))
    assert sealed_requests(books) == [f"minute-{minute}" for minute in range(1, 4)]
    assert settled_before(books) == created_at(books, "minute-3")
    seal_all(books)
    assert sealed_requests(books) == [f"minute-{minute}" for minute in range(1, 6)]
    assert verify(books)["breaks"] == []


def test_a_seal_late_in_its_transaction_does_not_settle_what_began_meanwhile(books: Books) -> None:
    slow, quick = books.member(), books.member()
    sealing, holding = books.connect(), books.connect()
    with sealing.transaction():
        sealing.execute("SELECT pg_current_xact_id()")
        holding.execute("BEGIN")
        slow.deduct(10, "in between").on(holding)
        advance(books, 5)
        SEAL.on(sealing)
    advance(books, 10)
    books.do(quick.deduct(10, "later"))
    seal_all(books)
    holding.execute("COMMIT")
    seal_all(books)
    assert sealed_requests(books) == ["later", "in between"]


def test_two_rows_under_one_id_are_left_out_and_stop_nothing(books: Books, sealed: Member) -> None:
    books.do(sealed.deduct(1, "job-6"))
    books.execute(
        "INSERT INTO credit_usage_attribution"
        " (id, org_id, user_id, allocation_id, credits_used, service_type)"
        " SELECT id, org_id, user_id, allocation_id, 1, service_type FROM credit_usage_attribution"
        " WHERE request_id = 'job-6'"
    )
    books.do(sealed.deduct(1, "job-7"))
    seal_all(books)
    assert sealed_requests(books)[-2:] == ["job-5", "job-7"]
    assert verify(books)["waiting"] == 2


def test_the_limit_leaves_the_rest_to_the_next_run(books: Books, sealed: Member) -> None:
    for number in range(6, 11):
        books.do(sealed.deduct(1, f"job-{number}"))
    limited = Call("seal", {"limit": 2})
    assert [books.do(limited)["entries_sealed"] for _ in range(4)] == [2, 2, 1, 0]
    assert sealed_requests(books) == [f"job-{number}" for number in range(1, 11)]


def test_many_at_once_seal_each_row_once(books: Books) -> None:
    member = books.member()
    for number in range(30):
        books.do(member.deduct(1, f"job-{number}"))
    outcomes = books.at_once([Call("seal", {"limit": 7})] * 6)
    seal_all(books)
    assert all(isinstance(outcome, dict) for outcome in outcomes)
    assert len(sealed_requests(books)) == 30
    assert verify(books)["breaks"] == []


def test_a_seal_waits_for_no_charge_and_no_charge_for_a_seal(books: Books, sealed: Member) -> None:
    charging, sealing = books.connect(), books.connect()
    with charging.transaction():
        sealed.deduct(1, "in flight").on(charging)
        with sealing.transaction():
            SEAL.on(sealing)
            books.do(books.member().deduct(1))
            assert books.do(SEAL) == {"entries_sealed": 0}


def test_chains_are_each_organisations_own(books: Books, sealed: Member) -> None:
    books.execute("INSERT INTO organizations (id, name) VALUES ('other', 'other')")
    books.do(Call("add_credits", {"org_id": "other", "credits": 5_000, "request_id": "grant"}))
    seal_all(books)
    [link] = books.do(Call("list_chain", {"org_id": "other"}))["items"]
    assert (link["sequence"], link["kind"]) == (1, "billing_event")
    assert verify(books, "other") == {"entries": 1, "detached": 0, "waiting": 0, "breaks": []}


def test_digests_are_those_that_python_computes(books: Books, sealed: Member) -> None:
    """The rows have what is hard to write twice: null, numerics, zones, nested JSON, other alphabets."""
    books.execute(
        "INSERT INTO credit_usage_attribution"
        " (org_id, user_id, allocation_id, credits_used, service_type, request_id, api_cost, markup_applied,"
        "  request_metadata, service_name, created_at)"
        " SELECT org_id, user_id, id, -5, 'x', 'by hand', 1.50, 0.000,"
        ' \'{"b": [1.0, null, {"ü": "\\ud83d\\ude00"}], "a": 1e3}\', \'本 \', \'2027-01-20 13:00+01\''
        " FROM user_credit_allocations"
    )
    books.execute(
        "INSERT INTO org_billing_history (org_id, event_type, amount, paid_at, notes, created_at)"
        " VALUES (%s, 'invoice_paid', 12.30, '2027-01-20 23:30:00.000001-11', '', ledger.now())",
        books.org_id,
    )
    connection = books.connect()
    connection.execute("SET TimeZone = 'Pacific/Kiritimati'; SET DateStyle = 'German'")
    SEAL.on(connection)
    page = Call("list_chain", {"org_id": books.org_id}).on(connection)
    previous = bytes(32)
    for link in page["items"]:
        row = proof.entry_digest(link["kind"], link["entry"])
        previous = proof.chain_digest(previous, link["sequence"], row)
        assert link["digest"] == previous.hex()
    by_hand = {link["entry"]["request_id"]: link["entry"] for link in page["items"]}["by hand"]
    assert (by_hand["api_cost"], by_hand["created_at"]) == ("1.50", "2027-01-20T12:00:00.000000Z")
    [paid] = [link["entry"] for link in page["items"] if link["entry"].get("event_type") == "invoice_paid"]
    assert paid["paid_at"] == "2027-01-21T10:30:00.000001Z"
    assert verify(books)["breaks"] == []


def test_every_column_is_digested_or_is_made_of_others(books: Books) -> None:
    """A column that is added later is not in the rows' digests until it is part of a new kind."""
    made_of_others = {"total_cost"}
    for kind, table in ("charge", "credit_usage_attribution"), ("billing_event", "org_billing_history"):
        columns = books.execute(
            "SELECT attname::text AS name FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            table,
        )
        [named] = books.execute("SELECT ledger.entry_names(%s) AS names", kind)
        assert {column["name"] for column in columns} - made_of_others == set(named["names"])
        assert tuple(named["names"]) == proof.FIELDS[kind]  # type: ignore[index]  # the kinds are Literals there


@dataclass(frozen=True)
class Change:
    """What somebody does to history, and what is said about it."""

    statement: str
    reason: str
    sequence: int | None


UNDER_AN_EARLIER_DATE = (
    "INSERT INTO credit_usage_attribution"
    " (org_id, user_id, allocation_id, credits_used, service_type, created_at)"
    " SELECT org_id, user_id, id, 1, 'x', '2020-01-01' FROM user_credit_allocations"
)
CHANGES = {
    "a row": Change(RENAMED.replace("%s", "'job-3'"), "the row was changed", 5),
    "two rows": Change(
        "UPDATE credit_usage_attribution SET credits_used = 1 WHERE request_id IN ('job-4', 'job-2')",
        "the row was changed",
        4,
    ),
    "a time by a microsecond": Change(
        "UPDATE credit_usage_attribution SET created_at = created_at + INTERVAL '1 microsecond'"
        " WHERE request_id = 'job-5'",
        "the row was changed",
        7,
    ),
    "metadata": Change(
        "UPDATE credit_usage_attribution SET request_metadata = '{\"a\": 1}' WHERE request_id = 'job-1'",
        "the row was changed",
        3,
    ),
    "the first event": Change(
        "UPDATE org_billing_history SET notes = '' WHERE event_type = 'credit_grant'",
        "the row was changed",
        1,
    ),
    "a deleted row": Change(
        "DELETE FROM credit_usage_attribution WHERE request_id = 'job-2'", "the row is missing", 4
    ),
    "a second row under an id": Change(
        "INSERT INTO credit_usage_attribution"
        " (id, org_id, user_id, allocation_id, credits_used, service_type)"
        " SELECT id, org_id, user_id, allocation_id, 1, service_type FROM credit_usage_attribution"
        " WHERE request_id = 'job-5'",
        "there is a second one",
        7,
    ),
    "a link's digest": Change(
        "UPDATE ledger_chain SET digest = sha256('x') WHERE sequence = 5", "the link was changed", 5
    ),
    "a row and the digest of it": Change(
        "UPDATE credit_usage_attribution SET credits_used = 1 WHERE request_id = 'job-3';"
        "UPDATE ledger_chain"
        " SET entry_digest = ledger.entry_digest(kind, ledger.entry_of(org_id, kind, entry_id))",
        "the link was changed",
        5,
    ),
    "a deleted link": Change("DELETE FROM ledger_chain WHERE sequence = 5", "links before this one", 6),
    "the end of the chain": Change(
        "DELETE FROM ledger_chain WHERE sequence > 5", "the chain does not end at its head", 5
    ),
    "the whole chain": Change("DELETE FROM ledger_chain", "the whole chain is missing", 7),
    "the head": Change(
        "UPDATE ledger_heads SET digest = sha256('x')", "the chain does not end at its head", 7
    ),
    "a row that was added under an earlier date": Change(UNDER_AN_EARLIER_DATE, "added later", None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_named_by_the_first_sequence_number(books: Books, sealed: Member, what: str) -> None:
    change = CHANGES[what]
    for minute in 5, 10:
        advance(books, minute)
        let_others_end(books)
        books.do(SEAL)
    tamper(books, change.statement)
    [found] = verify(books, books.org_id)["breaks"]
    assert (found["org_id"], found["sequence"]) == (books.org_id, change.sequence)
    assert change.reason in found["reason"]


def test_a_row_and_its_links_written_anew_fit_but_the_head_is_another(books: Books, sealed: Member) -> None:
    """What the chain alone cannot tell: for this, heads are noted down elsewhere."""
    [noted] = books.execute("SELECT digest FROM ledger_heads WHERE org_id = %s", books.org_id)
    tamper(books, RENAMED, "job-3")
    tamper(books, "DELETE FROM ledger_chain")
    tamper(books, "DELETE FROM ledger_heads")
    seal_all(books)
    assert verify(books)["breaks"] == []
    [now] = books.execute("SELECT digest FROM ledger_heads WHERE org_id = %s", books.org_id)
    assert now["digest"] != noted["digest"]


def seal_past(books: Books, request_id: str) -> None:
    """Seal until nothing as old as a charge can still be committed: transactions of other tests end first."""
    for minute in range(5, 500):
        advance(books, minute)
        books.do(SEAL)
        if settled_before(books) > created_at(books, request_id):
            return
        books.execute("SELECT pg_sleep(0.05)")
    pytest.fail("the moment before which everything is sealed does not move")


def test_an_administrator_seals_what_came_under_an_earlier_date(books: Books, sealed: Member) -> None:
    seal_past(books, "job-1")
    books.execute(UNDER_AN_EARLIER_DATE)
    assert books.do(SEAL)["entries_sealed"] == 0
    assert books.do(Call("seal", {"org_id": books.org_id}))["entries_sealed"] == 1
    assert verify(books)["breaks"] == []


def test_a_head_out_of_another_cluster_is_no_obstacle(books: Books, sealed: Member) -> None:
    books.execute("UPDATE ledger_heads SET candidate_xid = '999999999999'")
    seal_past(books, "job-1")
    assert verify(books)["breaks"] == []


@pytest.mark.parametrize("statement", [
    "UPDATE ledger_chain SET digest = sha256('x')", "DELETE FROM ledger_chain", "TRUNCATE ledger_chain",
])  # fmt: skip
def test_the_chain_is_append_only(books: Books, sealed: Member, statement: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        books.execute(statement)


@pytest.fixture
def receipt(books: Books, sealed: Member) -> Callable[[str], Row]:
    return lambda request_id: books.do(Call("get_proof", {"org_id": books.org_id, "request_id": request_id}))


def test_a_proof_leads_from_the_row_to_the_head(books: Books, receipt: Callable[[str], Row]) -> None:
    found = receipt("job-2")
    assert (found["sequence"], len(found["links"]), found["head"]["sequence"]) == (4, 3, 7)
    assert found["entry"]["credits_used"] == "2000"
    digests = [link["digest"] for link in chain(books)["items"]]
    assert [found["previous"], found["digest"], found["head"]["digest"]] == [
        digests[2], digests[3], digests[6],
    ]  # fmt: skip


def test_a_proof_leads_a_thousand_links_at_most(books: Books, sealed: Member) -> None:
    items = [sealed.item(1) for _ in range(999)]
    books.do(books.batch(*items))
    seal_all(books)
    found = books.do(Call("get_proof", {"org_id": books.org_id, "request_id": "job-1"}))
    assert (len(found["links"]), found["head"]["sequence"]) == (1_000, 1_003)


def test_a_charge_that_is_not_sealed_yet_is_not_proved_yet(books: Books, sealed: Member) -> None:
    books.do(sealed.deduct(1, "fresh"))
    call = Call("get_proof", {"org_id": books.org_id, "request_id": "fresh"})
    assert books.refusal(call).figures["code"] == "conflict"
    seal_all(books)
    assert books.do(call)["sequence"] == 8


@pytest.mark.parametrize("org_id", ["elsewhere", None])
def test_unknown_charges_and_organisations_are_refused(
    books: Books, sealed: Member, org_id: str | None
) -> None:
    refused = books.refusal(Call("get_proof", {"org_id": org_id or books.org_id, "request_id": "nobody's"}))
    assert refused.figures["code"] == ("not_a_member" if org_id else "not_found")


def test_an_application_reads_chains_of_its_organisation_only(books: Books, sealed: Member) -> None:
    application = books.connect()
    application.execute("SET ROLE credits_app")
    for table in "ledger_chain", "ledger_heads":
        count = f"SELECT count(*) AS rows FROM {table}".encode()  # noqa: S608
        application.execute("SELECT set_config('credits.org_id', 'other', FALSE)")
        assert application.execute(count).fetchone() == {"rows": 0}
        application.execute("SELECT set_config('credits.org_id', %s, FALSE)", [books.org_id])
        assert application.execute(count).fetchone() != {"rows": 0}


NEW_CHARGES = """
INSERT INTO credit_usage_attribution (org_id, user_id, allocation_id, credits_used, service_type)
SELECT org_id, user_id, id, 1, 'valuation' FROM user_credit_allocations CROSS JOIN generate_series(1, 2500)
"""


def test_sealing_new_books_does_not_read_their_rows_again_for_each_row(books: Books) -> None:
    """Nothing is known about tables that were never analysed; all charges are one organisation's."""
    books.member()
    books.execute(NEW_CHARGES)
    read = """SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::INTEGER AS rows
        FROM pg_stat_xact_user_tables WHERE relname IN ('credit_usage_attribution', 'ledger_chain')"""
    for _ in range(2):
        with books.connection.transaction():
            [before] = books.execute(read)
            assert books.do(SEAL)["entries_sealed"] == 1_000
            [after] = books.execute(read)
        assert after["rows"] - before["rows"] < 10 * 1_000
