"""Alerts: what is watched, when it fires, and that it fires once. Thresholds are in thousandths."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.ledger.conftest import Call, set_clock

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Connection, Member, Row

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TOTAL = 1_000_000_000


@pytest.fixture
def watched(own_books: Books) -> Books:
    """Books at noon, with an endpoint that wants to hear of everything."""
    set_clock(own_books, NOON)
    events = ["pool.low", "allocation.low", "spend.spike", "exhaustion.near"]
    endpoint = {"org_id": own_books.org_id, "url": "https://acme.example", "events": events}
    own_books.do(Call("create_webhook", endpoint))
    return own_books


def watch(books: Books, kind: str, threshold: int | None, subject: str | None = None) -> Row:
    about = {"org_id": books.org_id, "kind": kind, "subject": subject, "threshold": threshold}
    return books.do(Call("set_alert", about))


def look(books: Books) -> tuple[int, int]:
    """Do a round; return how many alerts it raised and cleared."""
    [row] = books.execute("SELECT * FROM alerts.detect()")
    later(books, timedelta(seconds=1))
    return row["raised"], row["cleared"]


def later(books: Books, time: timedelta) -> None:
    [row] = books.execute("SELECT ledger.now() AS now")
    set_clock(books, row["now"] + time)


def open_alerts(books: Books) -> list[tuple[Any, ...]]:
    found = books.do(Call("list_alerts", {"org_id": books.org_id}))["open"]
    return [(each["kind"], each["subject"], each["threshold"], each["value"]) for each in found]


def payloads(books: Books) -> list[Row]:
    rows = books.execute("SELECT payload FROM webhook_deliveries ORDER BY created_at, id")
    return [json.loads(row["payload"]) for row in rows]


def take_from_pool(books: Books, credits: int) -> None:
    """Add to the pool, or take from it, by hand."""
    books.execute(
        "UPDATE credit_pools SET total_credits = total_credits - %s WHERE org_id = %s", credits, books.org_id
    )


def test_a_threshold_fires_once_for_each_crossing(watched: Books) -> None:
    watch(watched, "pool.low", TOTAL)
    assert look(watched) == (0, 0)
    take_from_pool(watched, 1)
    assert [look(watched) for _ in range(3)] == [(1, 0), (0, 0), (0, 0)]
    take_from_pool(watched, -1)
    assert [look(watched) for _ in range(2)] == [(0, 1), (0, 0)]
    take_from_pool(watched, 1)
    assert [look(watched) for _ in range(2)] == [(1, 0), (0, 0)]
    assert len(payloads(watched)) == 2


def test_what_an_alert_says(watched: Books) -> None:
    watch(watched, "pool.low", TOTAL + 500)
    look(watched)
    [payload] = payloads(watched)
    assert payload["data"].pop("alert_id")
    assert payload == {
        "type": "pool.low",
        "timestamp": "2026-03-20T12:00:00.000000Z",
        "data": {"org_id": watched.org_id, "threshold": 1_000_000.5, "value": 1_000_000},
    }


def test_the_database_refuses_a_second_open_alert(watched: Books) -> None:
    watch(watched, "pool.low", TOTAL + 1)
    look(watched)
    with pytest.raises(psycopg.errors.UniqueViolation):
        watched.execute("INSERT INTO credit_alerts (org_id, kind) VALUES (%s, 'pool.low')", watched.org_id)


def test_rounds_at_the_same_time_raise_each_alert_once(watched: Books) -> None:
    for _ in range(20):
        watched.member(5_000)
    watch(watched, "allocation.low", 6_000)

    def detect(connection: Connection) -> int:
        row = connection.execute("SELECT raised FROM alerts.detect()").fetchone()
        assert row is not None
        raised: int = row["raised"]
        return raised

    assert sorted(watched.in_threads([detect] * 6)) == [0, 0, 0, 0, 0, 20]
    assert len(payloads(watched)) == 20


def test_a_round_is_left_out_when_the_last_one_is_young(watched: Books) -> None:
    watch(watched, "pool.low", TOTAL + 1)
    round_of_a_minute = "SELECT raised FROM alerts.detect(60)"
    assert look(watched) == (1, 0)
    take_from_pool(watched, -1)
    later(watched, timedelta(seconds=30))
    assert watched.execute("SELECT cleared FROM alerts.detect(60)") == [{"cleared": 0}]
    later(watched, timedelta(seconds=30))
    assert watched.execute("SELECT cleared FROM alerts.detect(60)") == [{"cleared": 1}]
    assert watched.execute(round_of_a_minute) == [{"raised": 0}]


def test_an_allocation_of_ones_own_rule_is_not_looked_at_by_that_for_everybody(watched: Books) -> None:
    ann, bob = watched.member(5_000), watched.member(5_000)
    watch(watched, "allocation.low", 5_001)
    watch(watched, "allocation.low", 1_000, ann.user_id)
    assert look(watched) == (1, 0)
    assert open_alerts(watched) == [("allocation.low", bob.user_id, 5_001, 5_000)]
    watched.do(ann.deduct(4_001))
    assert look(watched) == (1, 0)
    assert ("allocation.low", ann.user_id, 1_000, 999) in open_alerts(watched)
    watched.do(ann.allocate(5_000))
    assert look(watched) == (0, 1)


def test_a_hold_is_no_reason_to_alarm(watched: Books) -> None:
    ann = watched.member(5_000)
    watch(watched, "allocation.low", 5_000)
    watched.do(ann.hold(4_000))
    assert look(watched) == (0, 0)


def test_an_alert_that_nobody_watches_any_more_is_closed(watched: Books) -> None:
    ann = watched.member(5_000)
    watch(watched, "allocation.low", 6_000)
    look(watched)
    watched.execute("UPDATE user_credit_allocations SET is_active = FALSE WHERE user_id = %s", ann.user_id)
    assert look(watched) == (0, 1)
    watch(watched, "pool.low", TOTAL + 1)
    assert look(watched) == (1, 0)
    watch(watched, "pool.low", None)
    assert look(watched) == (0, 1)
    assert open_alerts(watched) == []


def spend_daily(books: Books, member: Member, credits: int, days: int) -> None:
    """Spend on each of some days, and end on the day after."""
    for _ in range(days):
        books.do(member.deduct(credits))
        later(books, DAY)


def test_no_spike_without_a_history(watched: Books) -> None:
    ann = watched.member(10_000_000)
    watch(watched, "spend.spike", 2_000)
    watched.do(ann.deduct(1_000_000))
    assert look(watched) == (0, 0)
    later(watched, DAY)
    spend_daily(watched, ann, 1_000, days=5)
    watched.do(ann.deduct(5_000_000))
    assert look(watched) == (0, 0)


def test_more_than_so_many_times_the_usual_is_a_spike_once_a_day(watched: Books) -> None:
    ann, bob = watched.member(10_000_000), watched.member(10_000_000)
    watch(watched, "spend.spike", 3_000)
    watch(watched, "spend.spike", 3_000, bob.user_id)
    spend_daily(watched, ann, 1_000, days=10)
    watched.do(ann.deduct(3_000))
    assert look(watched) == (0, 0)
    watched.do(ann.deduct(1))
    assert [look(watched) for _ in range(2)] == [(1, 0), (0, 0)]
    assert open_alerts(watched) == [("spend.spike", None, 3_000, 3_001)]
    later(watched, DAY)
    assert look(watched) == (0, 1)
    watched.do(ann.deduct(10_000))
    assert look(watched) == (1, 0)


def test_dear_figures_are_looked_at_less_often(watched: Books) -> None:
    ann = watched.member(10_000_000)
    watch(watched, "spend.spike", 2_000)
    spend_daily(watched, ann, 1_000, days=10)
    look(watched)
    watched.do(ann.deduct(10_000))
    assert watched.execute("SELECT raised FROM alerts.detect(0, 300)") == [{"raised": 0}]
    later(watched, timedelta(seconds=300))
    assert watched.execute("SELECT raised FROM alerts.detect(0, 300)") == [{"raised": 1}]
    later(watched, timedelta(seconds=10))
    # The round in between does not take the alert for over.
    assert watched.execute("SELECT cleared FROM alerts.detect(0, 300)") == [{"cleared": 0}]


def forecast(books: Books, **about: Any) -> Row:
    return books.do(Call("get_forecast", {"org_id": books.org_id} | about))


def test_credits_last_as_long_as_they_are_spent_as_before(watched: Books) -> None:
    ann = watched.member(100_000)
    assert forecast(watched)["days_left"] is None
    spend_daily(watched, ann, 2_000, days=10)
    seen = forecast(watched, user_id=ann.user_id)
    assert (seen["remaining_credits"], seen["credits_per_day"], seen["observed_days"]) == (80_000, 2_000, 10)
    assert seen["days_left"] == 40
    assert seen["exhausted_at"] == NOON + 50 * DAY
    whole = forecast(watched)
    assert (whole["user_id"], whole["remaining_credits"]) == (None, TOTAL - 20_000)


def test_a_charge_of_this_minute_is_no_months_habit(watched: Books) -> None:
    ann = watched.member(100_000)
    watched.do(ann.deduct(50_000))
    assert forecast(watched, user_id=ann.user_id)["days_left"] == 1


def test_refunds_are_no_spending(watched: Books) -> None:
    ann = watched.member(100_000)
    watched.do(watched.refund(watched.do(ann.deduct(50_000))))
    assert forecast(watched)["credits_per_day"] == 0


def test_an_alert_of_days_that_are_left(watched: Books) -> None:
    ann = watched.member(100_000)
    watch(watched, "exhaustion.near", 40_001, ann.user_id)
    spend_daily(watched, ann, 2_000, days=9)
    assert look(watched) == (0, 0)
    watched.do(ann.deduct(2_000))
    assert look(watched) == (1, 0)


def test_users_own_balances_are_told_to_the_platform_only(watched: Books) -> None:
    watched.execute("INSERT INTO users (subject, email, credits) VALUES ('u7', 'u7@example.com', 10)")
    watched.execute("INSERT INTO alert_rules (kind, threshold) VALUES ('balance.low', 6000)")
    watched.execute("SELECT alerts.open_endpoint(NULL, 'https://us.example', '[\"balance.low\"]', 'r')")
    assert look(watched) == (0, 0)
    watched.do(Call("spend", {"user_id": "u7", "credits": 5_000}))
    assert look(watched) == (1, 0)
    [payload] = payloads(watched)
    assert payload["data"] | {"alert_id": 0} == {"alert_id": 0, "user_id": "u7", "threshold": 6, "value": 5}
    [row] = watched.execute(
        "SELECT url FROM webhook_deliveries JOIN webhook_endpoints AS e ON e.id = endpoint_id"
    )
    assert row["url"] == "https://us.example"


def test_only_who_wants_to_hear_of_it_does(watched: Books) -> None:
    watched.execute("UPDATE webhook_endpoints SET events = '{spend.spike}'")
    watch(watched, "pool.low", TOTAL + 1)
    assert look(watched) == (1, 0)
    assert payloads(watched) == []


def test_a_charge_writes_nothing_for_alerts(watched: Books) -> None:
    ann = watched.member(5_000)
    for kind in ("pool.low", "allocation.low", "spend.spike", "exhaustion.near"):
        watch(watched, kind, TOTAL + 1)
    written = "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS rows FROM pg_stat_xact_user_tables"
    with watched.connection.transaction():
        before = watched.execute(written)
        watched.do(ann.deduct(5))
        more = [row["relname"] for row in watched.execute(written) if row not in before]
    assert sorted(more) == ["credit_usage_attribution", "user_credit_allocations"]


@pytest.mark.parametrize(
    ("kind", "threshold", "subject", "state"),
    [
        ("pool.low", 1, "ann", "CR422"),
        ("nothing.known", 1, None, "CR422"),
        ("balance.low", 1, None, "CR422"),
        ("pool.low", 0, None, "CR400"),
        ("pool.low", -1, None, "CR400"),
    ],
)
def test_what_cannot_be_watched(
    books: Books, kind: str, threshold: int, subject: str | None, state: str
) -> None:
    about = {"org_id": books.org_id, "kind": kind, "subject": subject, "threshold": threshold}
    assert books.refusal(Call("set_alert", about)).state == state


def test_the_same_request_makes_one_endpoint(books: Books) -> None:
    about = {"org_id": books.org_id, "url": "https://acme.example", "events": ["pool.low"], "request_id": "r"}
    made = books.do(Call("create_webhook", about))
    assert books.do(Call("create_webhook", about)) == made
    assert made["secret"].startswith("whsec_")
    other = Call("create_webhook", about | {"url": "https://other.example"})
    assert books.refusal(other).state == "CR409"


def test_an_organisation_has_a_bounded_number_of_endpoints(books: Books) -> None:
    about = {"org_id": books.org_id, "url": "https://acme.example", "events": ["pool.low"]}
    for _ in range(20):
        books.do(Call("create_webhook", about))
    assert books.refusal(Call("create_webhook", about)).state == "CR408"


def test_what_belongs_to_another_organisation_is_not_there(own_books: Books) -> None:
    books = own_books
    about = {"org_id": books.org_id, "url": "https://acme.example", "events": ["pool.low"]}
    made = books.do(Call("create_webhook", about))
    sent = books.do(Call("test_webhook", {"org_id": books.org_id, "webhook_id": made["webhook_id"]}))
    books.execute(
        "INSERT INTO organizations (id, name) VALUES ('next door', 'Next door') ON CONFLICT DO NOTHING"
    )
    for call in (
        Call("test_webhook", {"org_id": "next door", "webhook_id": made["webhook_id"]}),
        Call("redeliver_webhook", {"org_id": "next door", "delivery_id": sent["delivery_id"]}),
    ):
        assert books.refusal(call).state == "CR404"
    books.do(Call("delete_webhook", {"org_id": "next door", "webhook_id": made["webhook_id"]}))
    assert len(books.do(Call("list_webhooks", {"org_id": books.org_id}))["webhooks"]) == 1


def test_what_one_process_leases_no_other_waits_for(own_books: Books) -> None:
    about = {"org_id": own_books.org_id, "url": "https://acme.example", "events": ["pool.low"]}
    made = own_books.do(Call("create_webhook", about))
    for _ in range(2):
        own_books.do(Call("test_webhook", {"org_id": own_books.org_id, "webhook_id": made["webhook_id"]}))
    other = own_books.connect()
    leased: list[str] = []
    with other.transaction():
        for connection, limit in ((other, 1), (own_books.connection, 10)):
            row = connection.execute("SELECT alerts.lease(%s, 60) AS leased", [limit]).fetchone()
            assert row is not None
            leased += [each["delivery_id"] for each in row["leased"]]
    assert (len(leased), len(set(leased))) == (2, 2)
