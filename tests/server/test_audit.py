"""Whatever is administered over HTTP leaves one row that names the caller; what is refused leaves none."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from credit_sdk import AsyncBillingClient, BillingClient, MemoryLedger, operations
from credit_sdk.backends.sql import Actor, SqlBackend
from credit_sdk.errors import ConfigurationError, ConflictError
from credit_sdk.operations import AddMember
from credit_sdk.wire import ADDRESSES, BASE_PATH
from reference_server.routes import TERMS
from tests.server.test_access import send

if TYPE_CHECKING:
    from credit_sdk.operations import Operation
    from tests.server.conftest import Connection, MakeOrganization, Organization, Running
    from tests.server.test_access import Request

CHANGING: list[type[Operation[Any]]] = [
    each.operation
    for each in ADDRESSES
    if each.method != "GET" and not TERMS[each.operation].charging and each.path.startswith(BASE_PATH)
]
OF_A_SUBSCRIPTION = (
    operations.UpdateSubscription, operations.UpgradeSubscription, operations.CancelSubscription,
)  # fmt: skip
ACTIONS: dict[type[Operation[Any]], str] = {
    operations.AddCredits: "pool.updated",
    operations.Allocate: "allocation.updated",
    operations.CreateSubscription: "subscription.created",
    operations.UpdateSubscription: "subscription.updated",
    operations.UpgradeSubscription: "subscription.updated",
    operations.CancelSubscription: "subscription.updated",
    operations.AddMember: "member.created",
    operations.SetCap: "cap.created",
    operations.SetTopUp: "top_up.created",
    operations.RemoveTopUp: "top_up.deleted",
    operations.SetAlert: "alert.created",
    operations.CreateWebhook: "webhook.created",
    operations.DeleteWebhook: "webhook.deleted",
    operations.TestWebhook: "delivery.created",
    operations.RedeliverWebhook: "delivery.updated",
}
CALLERS = {"owner": "user", "system_admin": "user", "manage": "api_key"}


def request(kind: type[Operation[Any]], organization: Organization, made: str) -> Request:
    """Return a request that changes something; a new operation needs one here."""
    org_id = organization.org_id
    one = f"subscriptions/{made}"
    webhooks = f"organizations/{org_id}/webhooks"
    every: dict[type[Operation[Any]], Request] = {
        operations.AddCredits: ("POST", f"credits/{org_id}/add", {"credits": 5, "purchase_amount": 2}),
        operations.Allocate: (
            "POST",
            f"credits/{org_id}/allocate",
            {"user_id": organization.member, "allocated_credits": 5, "reset_period": "daily", "notes": "x"},
        ),
        operations.CreateSubscription: (
            "POST", "subscriptions", {"org_id": org_id, "subscription_plan": "byok"},
        ),
        operations.UpdateSubscription: (
            "PUT", one, {"monthly_price": 40, "billing_cycle": "yearly", "status": "paused"},
        ),
        operations.UpgradeSubscription: ("PUT", f"{one}/upgrade", {"new_plan": "hybrid"}),
        operations.CancelSubscription: ("DELETE", one, None),
        operations.SetCap: (
            "PUT",
            f"credits/{org_id}/caps",
            {"scope": "member", "subject": organization.member, "period": "day", "credits": 50},
        ),
        operations.SetTopUp: (
            "PUT",
            f"credits/{org_id}/top-up",
            {
                "package_id": made,
                "payment_method": "pm_1",
                "threshold": 50,
                "monthly_cents": 2000,
            },
        ),
        operations.RemoveTopUp: ("DELETE", f"credits/{org_id}/top-up", None),
        operations.SetAlert: (
            "PUT", f"organizations/{org_id}/alerts", {"kind": "pool.low", "threshold": 50},
        ),
        operations.CreateWebhook: (
            "POST", webhooks, {"url": "https://acme.example", "events": ["pool.low"]},
        ),
        operations.DeleteWebhook: ("DELETE", f"{webhooks}/{made}", None),
        operations.TestWebhook: ("POST", f"{webhooks}/{made}/test", {}),
        operations.RedeliverWebhook: ("POST", f"{webhooks}/deliveries/{made}/redeliver", {}),
        operations.AddMember: (
            "POST", f"organizations/{org_id}/members", {"user_id": f"new-in-{org_id}", "is_default": True},
        ),
    }  # fmt: skip
    return every[kind]


SUBSCRIPTION = """
INSERT INTO organization_subscriptions (org_id, subscription_plan) VALUES (%s, 'byok') RETURNING id
"""
WEBHOOK = """
INSERT INTO webhook_endpoints (org_id, url, events, secret, request_id)
VALUES (%s, 'https://acme.example', '{pool.low}', 'whsec_', 'made') RETURNING id
"""
DELIVERY = f"""
WITH endpoint AS ({WEBHOOK})
INSERT INTO webhook_deliveries (org_id, endpoint_id, event, payload)
SELECT %s, endpoint.id, 'webhook.test', '{{}}' FROM endpoint RETURNING id
"""  # noqa: S608
CUSTOMER = """
WITH customer AS (
  INSERT INTO stripe_customers (customer_id, org_id) VALUES ('cus_' || %s, %s)
), package AS (
  INSERT INTO credit_packages (id, name, credits, price_cents) VALUES ('pack-' || %s, 'Pack', 100, 2000)
  RETURNING id
)
"""
PACKAGE = f"{CUSTOMER} SELECT id FROM package"  # noqa: S608
BUYING = f"""{CUSTOMER}
INSERT INTO top_up_settings (customer_id, package_id, payment_method, threshold, monthly_cents)
SELECT 'cus_' || %s, package.id, 'pm_1', 50, 2000 FROM package RETURNING customer_id
"""  # noqa: S608
MADE: dict[type[Operation[Any]], str] = {
    operations.SetTopUp: PACKAGE,
    operations.RemoveTopUp: BUYING,
    **dict.fromkeys(OF_A_SUBSCRIPTION, SUBSCRIPTION),
    **dict.fromkeys((operations.DeleteWebhook, operations.TestWebhook), WEBHOOK),
    operations.RedeliverWebhook: DELIVERY,
}


def made_for(database: Connection, organization: Organization, kind: type[Operation[Any]]) -> str:
    """Return the id of what the request is about, if it is about one."""
    if kind not in MADE:
        return ""
    statement = MADE[kind].encode()
    row = database.execute(statement, [organization.org_id] * statement.count(b"%s")).fetchone()
    assert row is not None
    return str(row[0])


def entries(database: Connection, organization: Organization) -> list[tuple[Any, ...]]:
    """Return what the audit says of the organisation, and of nobody's, in order."""
    return database.execute(
        "SELECT actor, actor_kind, action, request_id, id FROM audit_log"
        " WHERE org_id = %s OR (org_id IS NULL AND request_id IS NOT NULL) ORDER BY created_at, id",
        [organization.org_id],
    ).fetchall()


def name_of(organization: Organization, caller: str, database: Connection) -> str:
    if caller == "system_admin":
        return f"root-of-{organization.org_id}"
    if caller == "manage":
        row = database.execute(
            "SELECT id::text FROM api_keys WHERE name = 'manage' AND org_id = %s", [organization.org_id]
        ).fetchone()
        assert row is not None
        return str(row[0])
    return organization.users[caller]


def test_every_operation_that_administers_is_tried() -> None:
    assert set(ACTIONS) == set(CHANGING)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("kind", CHANGING, ids=lambda kind: kind.__name__)
def test_it_leaves_one_row_that_names_the_caller(
    server: Running, organization: Organization, database: Connection, kind: type[Operation[Any]], caller: str
) -> None:
    asked = request(kind, organization, made_for(database, organization, kind))
    before = entries(database, organization)
    answer = send(server, caller, organization, asked)
    assert answer.status_code == 200, answer.text
    [(*said, _)] = [each for each in entries(database, organization) if each not in before]
    assert said == [name_of(organization, caller, database), CALLERS[caller], ACTIONS[kind], "the-same"]


@pytest.mark.parametrize("caller", ["member", "outsider", "read"])
@pytest.mark.parametrize("kind", CHANGING, ids=lambda kind: kind.__name__)
def test_who_may_not_leaves_no_row(
    server: Running, organization: Organization, database: Connection, kind: type[Operation[Any]], caller: str
) -> None:
    asked = request(kind, organization, made_for(database, organization, kind))
    before = entries(database, organization)
    assert send(server, caller, organization, asked).status_code in {403, 404}
    assert entries(database, organization) == before


@pytest.mark.parametrize("kind", CHANGING, ids=lambda kind: kind.__name__)
def test_what_the_ledger_refuses_leaves_no_row(
    server: Running, organization: Organization, database: Connection, kind: type[Operation[Any]]
) -> None:
    asked = request(kind, organization, made_for(database, organization, kind))
    database.execute(
        "UPDATE organization_subscriptions SET status = 'canceled' WHERE org_id = %s", [organization.org_id]
    )
    database.execute("UPDATE organizations SET status = 'deleted' WHERE id = %s", [organization.org_id])
    before = entries(database, organization)
    answer = send(server, "system_admin", organization, asked)
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"] != "validation_failed"
    assert entries(database, organization) == before


@pytest.mark.parametrize("again", [operations.AddCredits, operations.Allocate, operations.AddMember])
def test_what_is_done_again_leaves_no_further_row(
    server: Running, organization: Organization, database: Connection, again: type[Operation[Any]]
) -> None:
    method, path, body = request(again, organization, "")
    if again.idempotency:
        body = body | {"request_id": secrets.token_hex(8)}
    first = send(server, "owner", organization, (method, path, body))
    before = entries(database, organization)
    second = send(server, "owner", organization, (method, path, body))
    assert (first.status_code, second.status_code) == (200, 200)
    assert entries(database, organization) == before


def test_a_default_that_moves_is_written_down_where_it_was_too(
    server: Running, organization: Organization, make_organization: MakeOrganization, database: Connection
) -> None:
    former = make_organization()
    user_id = f"mover-of-{organization.org_id}"
    for each in former, organization:
        body = {"user_id": user_id, "is_default": True}
        asked = "POST", f"organizations/{each.org_id}/members", body
        assert send(server, "system_admin", organization, asked).status_code == 200
    last = entries(database, former)[-1]
    assert last[:3] == (name_of(organization, "system_admin", database), "user", "member.updated")


def test_charges_name_nobody_and_cost_nothing(
    server: Running, organization: Organization, database: Connection
) -> None:
    before = entries(database, organization)
    charged = send(server, "consume", organization, ("POST", "credits/deduct", organization.charge()))
    assert charged.status_code == 200
    assert entries(database, organization) == before


@pytest.mark.parametrize(("caller", "leaves"), [("system_admin", ["refund.created"]), ("consume", [])])
def test_refunds_by_persons_are_written_down_and_those_of_programs_are_not(
    server: Running, organization: Organization, database: Connection, caller: str, leaves: list[str]
) -> None:
    charge = send(server, "consume", organization, ("POST", "credits/deduct", organization.charge())).json()
    before = entries(database, organization)
    asked = "POST", "credits/refunds", {"charge_id": charge["charge_id"], "reason": "It was not good."}
    assert send(server, caller, organization, asked).status_code == 200
    new = [each for each in entries(database, organization) if each not in before]
    assert [action for _, _, action, *_ in new] == leaves
    if leaves:
        assert [new[0][0], new[0][1]] == [name_of(organization, caller, database), "user"]
        page = server.get(f"organizations/{organization.org_id}/audit", bearer=organization.sessions["admin"])
        told = page.json()["items"][0]
        assert told["subject"] == charge["user_id"]
        assert told["after"] == {
            "user_id": charge["user_id"],
            "credits_used": -charge["credits_used"],
            "refund_of": charge["charge_id"],
        }


def test_a_users_refund_by_an_administrator_is_written_down(
    server: Running, organization: Organization, database: Connection
) -> None:
    user_id = f"spender-of-{organization.org_id}"
    database.execute(
        "INSERT INTO users (subject, email, credits) VALUES (%s, %s, 100)", [user_id, f"{user_id}@x.invalid"]
    )
    root = organization.sessions["system_admin"]
    charge = server.post(f"/api/financial/credits/{user_id}/spend", {"amount": 5}, bearer=root).json()
    before = entries(database, organization)
    body = {"transaction_id": charge["charge_id"]}
    headers = {"X-Request-ID": "the-same"}
    refund = server.post("/api/financial/refunds", body, bearer=root, headers=headers)
    assert refund.status_code == 200, refund.text
    [(*said, _)] = [each for each in entries(database, organization) if each not in before]
    admin = name_of(organization, "system_admin", database)
    assert said == [admin, "user", "refund.created", "the-same"]


def test_packages_are_written_down(database: Connection) -> None:
    package_id = f"pack-{secrets.token_hex(6)}"
    database.execute(
        "INSERT INTO credit_packages (id, name, credits, price_cents) VALUES (%s, 'Pack', 100, 2000)",
        [package_id],
    )
    database.execute("UPDATE credit_packages SET price_cents = 1500 WHERE id = %s", [package_id])
    database.execute("UPDATE credit_packages SET updated_at = ledger.now() WHERE id = %s", [package_id])
    rows = database.execute(
        "SELECT action, actor_kind, details FROM audit_log WHERE subject = %s ORDER BY created_at, id",
        [package_id],
    ).fetchall()
    [made, changed] = rows
    assert made[:2] == ("package.created", "database")
    assert changed == (
        "package.updated", "database", {"before": {"price_cents": 2000}, "after": {"price_cents": 1500}},
    )  # fmt: skip


def test_the_caller_is_forgotten_after_the_request(
    server: Running, organization: Organization, database: Connection
) -> None:
    """Connections are used again, for others."""
    for caller in ("owner", "manage"):
        asked = request(operations.AddCredits, organization, "")
        assert send(server, caller, organization, asked).status_code == 200
    actors = [actor for actor, *_ in entries(database, organization)][-2:]
    assert actors == [name_of(organization, caller, database) for caller in ("owner", "manage")]


def test_the_audit_over_http(server: Running, organization: Organization) -> None:
    asked = request(operations.Allocate, organization, "")
    assert send(server, "manage", organization, asked).status_code == 200
    address = f"organizations/{organization.org_id}/audit"
    page = server.get(f"{address}?limit=1", bearer=organization.sessions["admin"]).json()
    [entry] = page["items"]
    assert entry["action"] == "allocation.updated"
    assert entry["subject"] == organization.member
    assert entry["before"] == {"allocated_credits": 100, "reset_period": "never"}
    assert entry["after"] == {"allocated_credits": 105, "reset_period": "daily"}
    assert (entry["actor_kind"], entry["request_id"], entry["secrets"]) == ("api_key", "the-same", [])
    more = server.get(f"{address}?cursor={page['next_cursor']}", bearer=organization.sessions["admin"]).json()
    assert entry not in more["items"]


def test_the_audit_by_the_client(server: Running, organization: Organization, server_database: str) -> None:
    asked = request(operations.AddCredits, organization, "")
    assert send(server, "owner", organization, asked).status_code == 200
    with (
        BillingClient(server.base_url, session_token=organization.sessions["admin"]) as over_http,
        BillingClient(server_database) as direct,
    ):
        shown = list(over_http.organizations.audit(organization.org_id))
        assert shown == list(direct.organizations.audit(organization.org_id))
    assert shown[0].actor == organization.users["owner"]
    assert shown[0].after == {"total_credits": 1005}


@pytest.mark.anyio
async def test_the_audit_by_the_awaiting_client(server_database: str, organization: Organization) -> None:
    async with AsyncBillingClient(server_database) as client:
        actions = [entry.action async for entry in client.organizations.audit(organization.org_id)]
    assert actions[-1] == "organization.created"


def test_a_ledger_in_memory_says_that_it_keeps_no_audit() -> None:
    ledger = MemoryLedger()
    ledger.add_organization("acme")
    with pytest.raises(ConfigurationError, match="keeps no audit"):
        next(BillingClient(ledger).organizations.audit("acme"))


def test_a_program_on_the_database_names_whom_it_acts_for(
    server_database: str, organization: Organization, database: Connection
) -> None:
    backend = SqlBackend(server_database, pool_size=1)
    acting = backend.on_behalf_of(Actor("ada", "user"))
    try:
        acting.execute(AddMember(org_id=organization.org_id, user_id="one"))
        backend.execute(AddMember(org_id=organization.org_id, user_id="two"))
        with pytest.raises(ConflictError):
            acting.execute(AddMember(org_id=organization.org_id, user_id=organization.users["owner"]))
    finally:
        backend.close()
    login = psycopg.conninfo.conninfo_to_dict(server_database)["user"]
    assert [each[:4] for each in entries(database, organization)[-2:]] == [
        ("ada", "user", "member.created", None),
        (login, "database", "member.created", None),
    ]


@pytest.mark.parametrize("called", ["credit_addition", "purchase", "subscription"])
def test_what_is_given_to_a_user_names_the_administrator(
    server: Running, organization: Organization, database: Connection, called: str
) -> None:
    user = f"given-in-{organization.org_id}"
    database.execute("INSERT INTO users (subject, email) VALUES (%s, %s)", [user, f"{user}@example.com"])
    before = entries(database, organization)
    address = f"/api/financial/credits/{user}/add"
    gift = {"amount": 5, "transaction_type": called}
    assert send(server, "member", organization, ("POST", address, gift)).status_code == 403
    assert send(server, "system_admin", organization, ("POST", address, gift)).status_code == 200
    [(*said, _)] = [each for each in entries(database, organization) if each not in before]
    assert said == [f"root-of-{organization.org_id}", "user", "grant.created", "the-same"]
