"""What administrators change is written down, whoever changes it and however; what members spend is not."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.ledger.conftest import Call

if TYPE_CHECKING:
    from tests.ledger.conftest import Books, Member

    Row = dict[str, Any]

BY_HAND: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "an organisation is renamed": (
        "UPDATE organizations SET display_name = 'New' WHERE id = '{org}'",
        "organization.updated", {"display_name": None}, {"display_name": "New"},
    ),
    "an organisation is suspended": (
        "UPDATE organizations SET status = 'suspended' WHERE id = '{org}'",
        "organization.updated", {"status": "active"}, {"status": "suspended"},
    ),
    "a member gets a role": (
        "UPDATE organization_members SET role = 'admin' WHERE org_id = '{org}' AND user_id = '{user}'",
        "member.updated", {"role": "member"}, {"role": "admin"},
    ),
    "a member goes": (
        "DELETE FROM organization_members WHERE org_id = '{org}' AND user_id = '{user}'",
        "member.deleted",
        {"org_id": "{org}", "user_id": "{user}", "role": "member", "is_default": False}, {},
    ),
    "a subscription is made": (
        "INSERT INTO organization_subscriptions (org_id, subscription_plan) VALUES ('{org}', 'byok')",
        "subscription.created", {},
        {"subscription_plan": "byok", "monthly_price": 0.0, "billing_cycle": "monthly", "status": "active"},
    ),
    "a pool is changed": (
        "UPDATE credit_pools SET allow_overage = TRUE, overage_limit = 7 WHERE org_id = '{org}'",
        "pool.updated",
        {"allow_overage": False, "overage_limit": 0}, {"allow_overage": True, "overage_limit": 7},
    ),
    "an allocation is lowered": (
        "UPDATE user_credit_allocations SET allocated_credits = 5 WHERE org_id = '{org}'",
        "allocation.updated", {"allocated_credits": 100000}, {"allocated_credits": 5},
    ),
    "an allocation is switched off": (
        "UPDATE user_credit_allocations SET is_active = FALSE WHERE org_id = '{org}'",
        "allocation.updated", {"is_active": True}, {"is_active": False},
    ),
    "an allocation gets a period": (
        "UPDATE user_credit_allocations SET reset_period = 'daily' WHERE org_id = '{org}'",
        "allocation.updated", {"reset_period": "never"}, {"reset_period": "daily"},
    ),
    "an allocation goes": (
        "DELETE FROM user_credit_allocations WHERE org_id = '{org}'",
        "allocation.deleted",
        {"allocated_credits": 100000, "reset_period": "never", "is_active": True}, {},
    ),
    "the documents' top-up": (
        "SELECT add_credits_to_pool('{org}', 1000)",
        "pool.updated", {"total_credits": 1000000000}, {"total_credits": 1000001000},
    ),
    "the documents' allocation": (
        "SELECT allocate_credits_to_user('{org}', 'somebody', 1000)",
        "allocation.updated", {"allocated_credits": 0}, {"allocated_credits": 1000},
    ),
}  # fmt: skip
FOLLOWS = {"a member goes": ["allocation.updated"]}
CHANGES_NOTHING = (
    "UPDATE organizations SET updated_at = now() WHERE id = '{org}'",
    "UPDATE organization_members SET role = role WHERE org_id = '{org}'",
    "UPDATE credit_pools SET total_credits = total_credits WHERE org_id = '{org}'",
    "UPDATE user_credit_allocations SET allocated_credits = allocated_credits WHERE org_id = '{org}'",
    "INSERT INTO user_credit_allocations (org_id, user_id) VALUES ('{org}', 'nobody yet')",
)


def audit(books: Books, subject: str | None = None) -> list[Row]:
    """Return what the organisation's audit says, or what is said of a subject."""
    if subject is not None:
        return books.execute("SELECT * FROM audit_log WHERE subject = %s ORDER BY created_at, id", subject)
    return books.execute("SELECT * FROM audit_log WHERE org_id = %s ORDER BY created_at, id", books.org_id)


def new(books: Books, before: list[Row]) -> list[Row]:
    known = {row["id"] for row in before}
    return [row for row in audit(books) if row["id"] not in known]


def filled(value: Any, **names: str) -> Any:
    if isinstance(value, dict):
        return {name: filled(each, **names) for name, each in value.items()}
    if isinstance(value, list):
        return [filled(each, **names) for each in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
    return value


@pytest.mark.parametrize("what", BY_HAND)
def test_a_change_by_hand_is_written_down(books: Books, ann: Member, what: str) -> None:
    change = filled(list(BY_HAND[what]), org=books.org_id, user=ann.user_id)
    statement, action, before, after = change
    known = audit(books)
    books.execute(statement)
    entry, *more = new(books, known)
    assert [each["action"] for each in more] == FOLLOWS.get(what, [])
    assert (entry["action"], entry["actor_kind"]) == (action, "database")
    assert entry["actor"] == books.connection.info.user
    assert entry["details"].get("before", {}) == before
    assert entry["details"].get("after", {}) == after


@pytest.mark.parametrize("statement", CHANGES_NOTHING)
def test_what_changes_nothing_is_not_written_down(books: Books, ann: Member, statement: str) -> None:
    known = audit(books)
    books.execute(statement.replace("{org}", ann.org_id))
    assert new(books, known) == []


def test_what_is_rolled_back_is_not_written_down(books: Books, ann: Member) -> None:
    known = audit(books)
    with pytest.raises(psycopg.Error):
        books.do(ann.allocate(10**14))
    assert new(books, known) == []


def written(books: Books) -> Counter[str]:
    """Return how many rows of each table this connection has written."""
    rows = books.execute("SELECT relname, n_tup_ins + n_tup_upd AS rows FROM pg_stat_xact_user_tables")
    return Counter({row["relname"]: row["rows"] for row in rows})


def test_what_members_spend_is_not_written_down(books: Books, ann: Member) -> None:
    """And writes no row but its own: two for a charge."""
    charged = {"user_credit_allocations": 1, "credit_usage_attribution": 1}
    held = {"user_credit_allocations": 1, "credit_holds": 1}
    with books.connection.transaction():
        charge, hold = books.do(ann.deduct(5)), books.do(ann.hold(5))
    other = books.do(ann.hold(5))
    for call, rows in (
        (ann.deduct(5), charged),
        (ann.hold(5), held),
        (books.capture(hold), charged | held),
        (books.void(other), held),
        (books.refund(charge), charged),
        (books.batch(ann.item(5), ann.item(6)), charged | {"credit_usage_attribution": 2}),
        (ann.check(5), {}),
    ):
        with books.connection.transaction():
            before = written(books)
            books.do(call)
            assert dict(written(books) - before) == rows, call


def test_no_trigger_of_the_audit_looks_at_a_charge(books: Books, ann: Member) -> None:
    def triggers(change: str) -> set[str]:
        [row] = books.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) UPDATE user_credit_allocations SET {change} WHERE org_id = %s",  # noqa: S608
            ann.org_id,
        )
        return {trigger["Trigger Name"] for trigger in row["QUERY PLAN"][0]["Triggers"]}

    assert triggers("used_credits = used_credits + 1, updated_at = ledger.now()") == set()
    assert triggers("held_credits = held_credits + 1, updated_at = ledger.now()") == set()
    assert "keep_audit_on_update" in triggers("allocated_credits = allocated_credits + 1")
    # The condition of a trigger is read anew for every statement, also where it is never true.
    on_insert = "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgtype & 4 <> 0"
    assert books.execute(on_insert, "credit_usage_attribution") == []
    assert books.execute(on_insert, "credit_holds") == []


def test_a_subscription_that_changes_in_many_ways_is_one_row(books: Books) -> None:
    made = books.do(
        Call("create_subscription", {"org_id": books.org_id, "subscription_plan": "byok", "trial_days": 3})
    )
    known = audit(books)
    change = {"subscription_plan": "hybrid", "billing_cycle": "yearly", "status": "active"}
    books.do(Call("update_subscription", {"subscription_id": str(made["subscription_id"])} | change))
    [entry] = new(books, known)
    assert entry["subject"] == str(made["subscription_id"])
    assert {name: entry["details"]["after"][name] for name in change} == change
    assert entry["details"]["after"]["monthly_price"] == 99


def test_who_acts_is_said_in_the_transaction(books: Books, ann: Member) -> None:
    known = audit(books)
    with books.connection.transaction():
        books.execute("SET LOCAL credits.actor = 'ada'")
        books.execute("SET LOCAL credits.actor_kind = 'user'")
        books.execute("SET LOCAL credits.request_id = 'a request'")
        books.do(ann.allocate(1))
    books.do(ann.allocate(1))
    first, second = new(books, known)
    assert (first["actor"], first["actor_kind"], first["request_id"]) == ("ada", "user", "a request")
    assert (second["actor_kind"], second["request_id"]) == ("database", None)


def test_who_acts_is_known_until_somebody_else_does(books: Books) -> None:
    with books.connection.transaction():
        [row] = books.execute("SELECT ledger.act_as(%s) AS before", Jsonb({"actor": "ada"}))
        assert row["before"]["actor"] in {None, ""}
        [row] = books.execute("SELECT ledger.act_as(%s) AS before", Jsonb({"actor": "bob"}))
        assert row["before"]["actor"] == "ada"
        books.execute("SELECT ledger.act_as(%s)", Jsonb(row["before"]))
        assert books.execute("SHOW credits.actor") == [{"credits.actor": "ada"}]
    assert books.execute("SHOW credits.actor") == [{"credits.actor": ""}]


@pytest.mark.parametrize(
    ("statement", "actor"),
    [
        ("SELECT * FROM ledger.run_due()", "run_due"),
        ("SELECT reset_allocations()", "reset_allocations"),
    ],
)
def test_resets_are_the_systems(own_books: Books, statement: str, actor: str) -> None:
    member = own_books.member()
    own_books.do(member.deduct(60_000))
    # The pool cannot refill it: the share becomes what is left.
    own_books.execute("UPDATE credit_pools SET total_credits = 100000")
    own_books.execute(
        "UPDATE user_credit_allocations SET reset_period = 'daily', next_reset_date = '2020-01-01'"
    )
    known = audit(own_books)
    with own_books.connection.transaction():
        own_books.execute(statement)
        own_books.execute("UPDATE organizations SET slug = 'by-hand'")
    reset, renamed = new(own_books, known)
    assert (reset["action"], reset["actor"], reset["actor_kind"]) == ("allocation.updated", actor, "system")
    assert reset["details"] == {
        "before": {"allocated_credits": 100_000},
        "after": {"allocated_credits": 40_000},
    }
    assert (renamed["action"], renamed["actor_kind"]) == ("organization.updated", "database")


def test_refreshes_are_the_systems(own_books: Books) -> None:
    own_books.execute("UPDATE credit_pools SET monthly_refresh_amount = 5, next_refresh_date = '2020-01-01'")
    known = audit(own_books)
    own_books.execute("SELECT refresh_pools()")
    [entry] = new(own_books, known)
    assert (entry["action"], entry["actor"], entry["actor_kind"]) == (
        "pool.updated",
        "refresh_pools",
        "system",
    )


def test_sessions_are_their_users_own(books: Books) -> None:
    user_id, digest = f"user-{secrets.token_hex(6)}", secrets.token_bytes(32)
    books.execute("SELECT identity.open_session(%s, %s, TRUE, 60)", digest, user_id)
    for _ in range(2):
        books.execute("SELECT identity.close_session(%s)", digest)
    opened, closed = audit(books, user_id)
    assert (opened["action"], closed["action"]) == ("session.created", "session.updated")
    for entry in opened, closed:
        assert (entry["actor"], entry["actor_kind"], entry["org_id"]) == (user_id, "user", None)
    assert opened["details"]["after"]["is_system_admin"] is True
    assert closed["details"]["after"].keys() == {"revoked_at"}


def test_people_come_in_their_own_name_and_rise_in_anothers(books: Books) -> None:
    user_id = f"user-{secrets.token_hex(6)}"
    for name in "Ann", "Anna":
        books.execute("SELECT identity.recognise(%s, %s, %s)", user_id, f"{user_id}@example.com", name)
    books.execute("UPDATE users SET user_type = 'admin' WHERE subject = %s", user_id)
    books.execute(
        "INSERT INTO credits_transactions (user_id, amount, description, transaction_type)"
        " SELECT id, 5, 'bought', 'purchase' FROM users WHERE subject = %s",
        user_id,
    )
    made, risen = audit(books, user_id)
    assert (made["action"], made["actor"], made["actor_kind"]) == ("user.created", user_id, "user")
    assert (risen["action"], risen["actor_kind"]) == ("user.updated", "database")
    assert risen["details"] == {"before": {"user_type": "customer"}, "after": {"user_type": "admin"}}


def test_of_secrets_only_is_said_that_they_changed(books: Books) -> None:
    digest, user_id = secrets.token_bytes(32), f"user-{secrets.token_hex(6)}"
    [key] = books.execute(
        "INSERT INTO api_keys (key_digest, name, org_id) VALUES (%s, 'key', %s) RETURNING id",
        secrets.token_bytes(32), books.org_id,
    )  # fmt: skip
    books.execute("UPDATE api_keys SET key_digest = %s, revoked_at = now() WHERE id = %s", digest, key["id"])
    books.execute(
        "INSERT INTO users (subject, email, password_hash) VALUES (%s, %s, 'canary-one')",
        user_id, f"{user_id}@example.com",
    )  # fmt: skip
    books.execute("UPDATE users SET password_hash = 'canary-two' WHERE subject = %s", user_id)
    books.execute("SELECT identity.open_session(%s, %s, FALSE, 60)", digest, user_id)
    entries = audit(books, str(key["id"])) + audit(books, user_id)
    assert [entry["details"].get("secrets") for entry in entries] == [
        None, ["key_digest"], None, ["password_hash"], None,
    ]  # fmt: skip
    told = str(entries)
    assert "canary" not in told
    assert digest.hex() not in told


def test_no_column_that_looks_like_a_secret_is_shown(books: Books) -> None:
    rows = books.execute(
        "SELECT tgrelid::regclass::text AS name, encode(tgargs, 'escape') AS arguments FROM pg_trigger"
        " WHERE tgfoid = 'ledger.keep_audit'::regproc"
    )
    assert len({row["name"] for row in rows}) == 17
    for row in rows:
        shown = row["arguments"].split("\\000")[3].split(" ")
        assert [column for column in shown if re.search("hash|digest|secret|token", column)] == [], row[
            "name"
        ]


def test_an_audit_is_listed_page_by_page(books: Books, ann: Member) -> None:
    for _ in range(4):
        books.do(ann.allocate(1500))
    everything = books.do(Call("list_audit", {"org_id": books.org_id, "limit": 500}))
    assert [entry["action"] for entry in everything["items"]] == [row["action"] for row in audit(books)][::-1]
    assert everything["next_cursor"] is None
    latest = everything["items"][0]
    assert latest["before"] == {"allocated_credits": 104.5}
    assert latest["after"] == {"allocated_credits": 106}
    seen, cursor = [], None
    while True:
        page = books.do(Call("list_audit", {"org_id": books.org_id, "limit": 3, "cursor": cursor}))
        assert len(page["items"]) <= 3
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == everything["items"]


def test_a_strange_cursor_is_refused(books: Books) -> None:
    refusal = books.refusal(Call("list_audit", {"org_id": books.org_id, "cursor": "____"}))
    assert refusal.state == "CR422"


def test_an_unknown_organisation_has_no_audit(books: Books) -> None:
    assert books.refusal(Call("list_audit", {"org_id": "nowhere"})).state == "CR413"
