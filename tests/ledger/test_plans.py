"""An index exists because a query needs it, and is named after it: see `named_queries.sql`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Call, Row

NAMED = re.compile(r"^-- (\w+)\n(.*?)(?=^-- |\Z)", re.MULTILINE | re.DOTALL)
QUERIES = [
    (index, query.strip())
    for index, queries in NAMED.findall(Path(__file__).with_name("named_queries.sql").read_text())
    for query in queries.split(";")
    if query.strip()
]
GROWING_TABLES = [
    "credit_usage_attribution", "credit_holds", "user_credit_allocations", "org_billing_history",
    "organization_subscriptions", "users", "credits_transactions", "user_credit_holds",
]  # fmt: skip
# 20 organisations beside ours, each with the same 100 users; and 500 users of the user ledger.
MANY_BOOKS = """
INSERT INTO organizations (id, name) SELECT n, n FROM generate_series(1, 20) AS n;
INSERT INTO user_credit_allocations (org_id, user_id)
SELECT organizations.id, n FROM organizations CROSS JOIN generate_series(1, 100) AS n;
INSERT INTO credit_usage_attribution (org_id, user_id, allocation_id, credits_used, service_type)
SELECT org_id, user_id, id, 1, 'valuation' FROM user_credit_allocations CROSS JOIN generate_series(1, 3);
INSERT INTO credit_holds (org_id, user_id, credits, service_type, request_id, expires_at)
SELECT org_id, user_id, 1, 'valuation', id, now() + user_id::int * INTERVAL '1 minute'
FROM user_credit_allocations;
INSERT INTO org_billing_history (org_id, event_type, request_id)
SELECT org_id, 'credit_grant', id FROM user_credit_allocations;
INSERT INTO users (subject, email, credits) SELECT 'u' || n, n, 100 FROM generate_series(1, 500) AS n;
INSERT INTO credits_transactions (user_id, amount) SELECT id, -1 FROM users CROSS JOIN generate_series(1, 3);
INSERT INTO user_credit_holds (user_id, credits, service_type, request_id, expires_at)
SELECT id, 1, 'valuation', id, now() + id * INTERVAL '1 minute' FROM users;
ANALYZE;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
"""


@pytest.fixture
def planner(own_books: Books) -> Books:
    """Books beside those of others, whose planner avoids reading whole tables and sorting."""
    own_books.execute(MANY_BOOKS)
    return own_books


def indexes_of(books: Books, query: str) -> set[str]:
    [row] = books.execute(f"EXPLAIN (FORMAT JSON) {query}")
    return set(re.findall(r"'Index Name': '(\w+)'", str(row["QUERY PLAN"])))


def test_queries_use_the_index_that_is_named_after_them(planner: Books) -> None:
    for index, query in QUERIES:
        asked = query.replace("'o'", f"'{planner.org_id}'").replace("'u'", "'7'")
        assert indexes_of(planner, asked) == {index}, query


def test_every_index_has_its_query(books: Books) -> None:
    rows = books.execute("SELECT indexname FROM pg_indexes WHERE tablename = ANY(%s)", GROWING_TABLES)
    assert {row["indexname"] for row in rows} <= {index for index, _ in QUERIES}


def test_functions_read_no_table_as_a_whole(planner: Books) -> None:
    """What the functions do on their usual ways is done by index."""
    member = planner.member()
    read = "SELECT relname, seq_scan FROM pg_stat_xact_user_tables ORDER BY relname"
    with planner.connection.transaction():
        before = planner.execute(read)
        charge, hold = planner.do(member.deduct(5)), planner.do(member.hold(5))
        for call in (
            planner.capture(hold),
            planner.refund(charge),
            planner.void(planner.do(member.hold(5))),
            planner.batch(member.item(5), member.item(6)),
            planner.batch(member.item(5, "twice"), member.item(6, "twice")),
            planner.sweep(),
            member.check(5),
            member.allocate(5),
            planner.add(5),
        ):
            planner.do(call)
        assert planner.execute(read) == before


def test_functions_of_users_read_no_table_as_a_whole(planner: Books, make_call: type[Call]) -> None:
    def of_user(function: str, **arguments: object) -> Row:
        return planner.do(make_call(function, {"user_id": "u7"} | arguments))

    read = "SELECT relname, seq_scan FROM pg_stat_xact_user_tables ORDER BY relname"
    with planner.connection.transaction():
        before = planner.execute(read)
        charge = of_user("spend", credits=5)
        hold, other = (of_user("place_balance_hold", credits=5) for _ in range(2))
        of_user("capture_balance_hold", hold_id=hold["hold_id"])
        of_user("void_balance_hold", hold_id=other["hold_id"])
        of_user("refund_spending", transaction_id=charge["charge_id"])
        of_user("grant_credits", credits=5, request_id="gift")
        of_user("grant_credits", credits=5, request_id="gift")
        of_user("check_balance", credits=5)
        of_user("get_statement")
        planner.do(planner.sweep())
        assert planner.execute(read) == before


def test_what_a_user_has_spent_before_is_not_read_again(own_books: Books, make_call: type[Call]) -> None:
    """Neither before nor after there are statistics. (A small table may well be read as a whole.)"""
    own_books.execute("SET enable_seqscan = off")
    own_books.execute("INSERT INTO users (subject, email, credits) VALUES ('u7', 'u7@example.com', 100)")
    spending = {"user_id": "u7", "credits": 5}
    read = (
        "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables"
        " WHERE relname = 'credits_transactions' AND seq_scan = 0"
    )
    for _ in range(2):
        with own_books.connection.transaction():
            before = own_books.execute(read)
            for _ in range(10):
                own_books.do(make_call("spend", spending))
                hold = own_books.do(make_call("place_balance_hold", spending))
                own_books.do(make_call("capture_balance_hold", {"hold_id": hold["hold_id"]}))
            assert own_books.execute(read) == before
        own_books.execute("ANALYZE")


LONG_HISTORY = """
INSERT INTO credit_usage_attribution (org_id, user_id, allocation_id, credits_used, service_type)
SELECT org_id, user_id, id, 1, 'valuation' FROM user_credit_allocations CROSS JOIN generate_series(1, 20000);
INSERT INTO credit_holds (org_id, user_id, credits, status, service_type, request_id, expires_at)
SELECT org_id, user_id, 1, 'captured', service_type, request_id, now() FROM credit_usage_attribution;
ANALYZE credit_usage_attribution, credit_holds;
"""


def test_what_is_charged_together_reads_nothing_of_a_long_history(
    own_books: Books, make_call: type[Call]
) -> None:
    """Whatever the planner thinks of it: a part of a hold looks for its own request id only."""
    ann, count = own_books.member(), 20
    own_books.execute(LONG_HISTORY)
    own_books.execute("UPDATE user_credit_allocations SET used_credits = 20000, allocated_credits = 10^9")
    held = own_books.do(ann.hold(1_000_000))
    # These ids come behind all others, which a merge of both would read through.
    items = [ann.item(5, f"the-part-{number}") for number in range(count)]
    batch = [ann.item(5, f"the-charge-{number}") for number in range(count)]
    holds = [ann.item(5, f"the-hold-{number}") | {"ttl_seconds": 900} for number in range(count)]
    org = {"org_id": own_books.org_id}
    read = """SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::INTEGER AS rows
        FROM pg_stat_xact_user_tables WHERE relname IN ('credit_usage_attribution', 'credit_holds')"""
    with own_books.connection.transaction():
        [before] = own_books.execute(read)
        own_books.do(make_call("deduct_batch", org | {"charges": batch}))
        own_books.do(make_call("charge_hold", org | {"hold_id": held["hold_id"], "charges": items}))
        placed = own_books.do(make_call("place_hold_batch", org | {"holds": holds}))["outcomes"]
        captures = [{"hold_id": outcome["hold"]["hold_id"]} for outcome in placed]
        own_books.do(make_call("capture_hold_batch", org | {"captures": captures}))
        [after] = own_books.execute(read)
    assert after["rows"] - before["rows"] < 20 * count


def test_a_charge_reads_no_other_open_holds_before_there_are_statistics(own_books: Books) -> None:
    ann = own_books.member()
    for _ in range(20):
        own_books.do(ann.hold(5))
    read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'credit_holds_overdue'"
    own_books.execute("SELECT pg_stat_force_next_flush()")
    before = own_books.execute(read)
    own_books.do(ann.deduct(5))
    own_books.execute("SELECT pg_stat_force_next_flush()")
    assert own_books.execute(read) == before
