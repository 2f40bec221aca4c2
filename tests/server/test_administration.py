"""Organisations, members and subscriptions over HTTP: who may what, and how requests look."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.server.test_access import (
    DENIED,
    KEYS,
    MANAGING,
    OK,
    PEOPLE,
    READING,
    STRANGER,
    UNKNOWN,
    Row,
    outcome,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx import Response

    from tests.server.conftest import Connection, MakeOrganization, Organization, Running
    from tests.server.test_access import Request

CONFLICT = (409, "conflict")
SYSTEM: Row = {**dict.fromkeys((*PEOPLE, *KEYS), DENIED), "system_admin": OK}
AUDITING: Row = {
    **dict.fromkeys((*PEOPLE, *KEYS), DENIED),
    **dict.fromkeys(("owner", "admin", "system_admin"), OK),
    "outsider": STRANGER,
}
# Each lists their own; a key of one organisation is nobody.
LISTING: Row = {
    **dict.fromkeys(PEOPLE, OK),
    **dict.fromkeys(KEYS, DENIED),
}
OWN_READING: Row = READING | {"outsider": UNKNOWN}
OWN_MANAGING: Row = MANAGING | {"outsider": UNKNOWN}
MATRIX: dict[str, Row] = {
    "organizations": LISTING,
    "members": READING,
    "add member": MANAGING,
    "subscribe": MANAGING,
    "subscriptions": READING,
    "subscription": OWN_READING,
    "subscription of organisation": OWN_READING,
    "update": OWN_MANAGING,
    "upgrade": OWN_MANAGING,
    "cancel": OWN_MANAGING,
    "organisation screen": MANAGING,
    "system screen": SYSTEM,
    "history": MANAGING,
    "audit": AUDITING,
}


def requests(org_id: str, member: str, subscription_id: str) -> dict[str, Request]:
    """Return a request for every endpoint of administration."""
    one = f"subscriptions/{subscription_id}"
    return {
        "organizations": ("GET", "organizations", None),
        "members": ("GET", f"organizations/{org_id}/members", None),
        "add member": ("POST", f"organizations/{org_id}/members", {"user_id": member}),
        "subscribe": ("POST", "subscriptions", {"org_id": org_id, "subscription_plan": "byok"}),
        "subscriptions": ("GET", f"subscriptions/org/{org_id}", None),
        "subscription": ("GET", one, None),
        "subscription of organisation": ("GET", f"subscriptions/{org_id}", None),
        "update": ("PUT", one, {"monthly_price": 40}),
        "upgrade": ("PUT", f"{one}/upgrade?new_plan=hybrid", None),
        "cancel": ("DELETE", one, None),
        "organisation screen": ("GET", f"billing/org/{org_id}", None),
        "system screen": ("GET", "billing/system", None),
        "history": ("GET", f"billing/{org_id}/history", None),
        "audit": ("GET", f"organizations/{org_id}/audit", None),
    }


def subscribe(server: Running, organization: Organization, plan: str = "platform") -> dict[str, Any]:
    """Subscribe an organisation, as its owner."""
    body = {"org_id": organization.org_id, "subscription_plan": plan}
    answer = server.post("subscriptions", body, bearer=organization.sessions["owner"])
    assert answer.status_code == 200, answer.text
    subscription: dict[str, Any] = answer.json()
    return subscription


@pytest.fixture(scope="module")
def other_organization(make_organization: MakeOrganization) -> Organization:
    return make_organization()


@pytest.fixture
def prepared(
    server: Running, shared_organization: Organization, database: Connection
) -> Callable[[str], str]:
    """Gives the organisation a fresh subscription, unless one is to be made; returns its id."""

    def prepare(endpoint: str) -> str:
        database.execute(
            "update organization_subscriptions set status = 'canceled' where org_id = %s",
            [shared_organization.org_id],
        )
        if endpoint == "subscribe":
            return ""
        id: str = subscribe(server, shared_organization)["subscription_id"]
        return id

    return prepare


def test_the_matrix_names_every_endpoint_and_every_caller() -> None:
    assert MATRIX.keys() == requests("", "", "").keys()
    for row in MATRIX.values():
        assert row.keys() == {*PEOPLE, *KEYS}


@pytest.mark.parametrize("caller", [*PEOPLE, *KEYS])
@pytest.mark.parametrize("endpoint", MATRIX)
def test_in_the_own_organisation(
    server: Running,
    shared_organization: Organization,
    prepared: Callable[[str], str],
    endpoint: str,
    caller: str,
) -> None:
    id = prepared(endpoint)
    request = requests(shared_organization.org_id, shared_organization.member, id)[endpoint]
    answer = send(server, caller, shared_organization, request)
    assert outcome(answer) == MATRIX[endpoint][caller]


NAMED = ("members", "add member", "subscribe", "subscriptions", "organisation screen", "history", "audit")
BY_ID = ("subscription", "update", "upgrade", "cancel")


@pytest.mark.parametrize("caller", [*PEOPLE[:-1], "consume", "read", "manage", "none"])
@pytest.mark.parametrize("endpoint", NAMED)
def test_a_foreign_organisation_looks_like_an_unknown_one(
    server: Running,
    shared_organization: Organization,
    other_organization: Organization,
    endpoint: str,
    caller: str,
) -> None:
    foreign, nowhere = (
        send(server, caller, shared_organization, requests(org_id, "somebody", "")[endpoint])
        for org_id in (other_organization.org_id, "no-such-org")
    )
    lacks_scope = caller in KEYS and MATRIX[endpoint][caller] == DENIED
    assert outcome(foreign) == (DENIED if lacks_scope else STRANGER)
    assert foreign.content == nowhere.content


@pytest.mark.parametrize("caller", [*PEOPLE[:-1], "consume", "read", "manage", "none"])
@pytest.mark.parametrize("endpoint", BY_ID)
def test_a_foreign_subscription_looks_like_a_random_id(
    server: Running,
    shared_organization: Organization,
    make_organization: MakeOrganization,
    endpoint: str,
    caller: str,
) -> None:
    other = make_organization()
    subscription, nothing = subscribe(server, other), str(uuid.uuid4())
    id = subscription["subscription_id"]
    lacks_scope = caller in KEYS and MATRIX[endpoint][caller] == DENIED
    for known, unknown in ((id, nothing), (other.org_id, "no-such-org")):
        foreign, nowhere = (
            send(server, caller, shared_organization, requests("", "", each)[endpoint])
            for each in (known, unknown)
        )
        assert outcome(foreign) == (DENIED if lacks_scope else UNKNOWN)
        assert foreign.text.replace(known, "") == nowhere.text.replace(unknown, "")
        assert {*foreign.headers} == {*nowhere.headers}
    assert server.get(f"subscriptions/{id}", bearer=other.sessions["owner"]).json() == subscription


def test_subscribing(server: Running, organization: Organization) -> None:
    subscription = subscribe(server, organization, "byok")
    assert subscription["monthly_price"] == 30
    assert subscription["status"] == "active"
    member = organization.sessions["member"]
    for path in (subscription["subscription_id"], organization.org_id):
        assert server.get(f"subscriptions/{path}", bearer=member).json() == subscription
    listed = server.get(f"subscriptions/org/{organization.org_id}", bearer=member)
    assert listed.json() == {"items": [subscription]}
    body = {"org_id": organization.org_id, "subscription_plan": "hybrid"}
    again = server.post("subscriptions", body, bearer=organization.sessions["owner"])
    assert outcome(again) == CONFLICT


def test_subscribing_makes_the_pool(
    server: Running, organization: Organization, database: Connection
) -> None:
    org_id = f"org-{uuid.uuid4().hex[:12]}"
    database.execute("insert into organizations (id, name) values (%s, %s)", [org_id, org_id])
    root = organization.sessions["system_admin"]
    assert outcome(server.get(f"credits/{org_id}", bearer=root)) == UNKNOWN
    body = {"org_id": org_id, "subscription_plan": "hybrid", "monthly_price": 80, "trial_days": 7}
    subscription = server.post("subscriptions", body, bearer=root).json()
    assert (subscription["status"], subscription["monthly_price"]) == ("trialing", 80)
    assert server.get(f"credits/{org_id}", bearer=root).json()["total_credits"] == 0


@pytest.mark.parametrize("where", ["query", "body"])
def test_upgrading_by_query_and_by_body(server: Running, organization: Organization, where: str) -> None:
    address = f"subscriptions/{subscribe(server, organization)['subscription_id']}/upgrade"
    owner = organization.sessions["owner"]

    def move(plan: str) -> Response:
        if where == "query":
            return server.request("PUT", f"{address}?new_plan={plan}", bearer=owner)
        return server.request("PUT", address, bearer=owner, json={"new_plan": plan})

    moved = move("hybrid")
    assert moved.status_code == 200
    assert (moved.json()["subscription_plan"], moved.json()["monthly_price"]) == ("hybrid", 99)
    assert outcome(move("hybrid")) == CONFLICT
    assert outcome(move("gold")) == (422, "validation_failed")


def test_upgrading_needs_a_plan_once(server: Running, organization: Organization) -> None:
    address = f"subscriptions/{subscribe(server, organization)['subscription_id']}/upgrade"
    owner = organization.sessions["owner"]
    twice = server.request("PUT", f"{address}?new_plan=byok", bearer=owner, json={"new_plan": "byok"})
    assert outcome(twice) == (422, "validation_failed")
    missing = server.request("PUT", address, bearer=owner, json={})
    assert (missing.status_code, missing.json()["errors"][0]["loc"]) == (422, ["new_plan"])


@pytest.mark.parametrize(("query", "status"), [("", "canceled"), ("?at_period_end=true", "active")])
def test_canceling(server: Running, organization: Organization, query: str, status: str) -> None:
    address = f"subscriptions/{subscribe(server, organization)['subscription_id']}"
    owner = organization.sessions["owner"]
    canceled = server.request("DELETE", address + query, bearer=owner)
    assert (canceled.status_code, canceled.json()["status"]) == (200, status)
    assert canceled.json()["canceled_at"]
    assert server.get(address, bearer=owner).json() == canceled.json()
    assert outcome(server.request("DELETE", address + query, bearer=owner)) == CONFLICT


@pytest.mark.parametrize("value", ["perhaps", "", "2"])
def test_canceling_when_is_yes_or_no(server: Running, organization: Organization, value: str) -> None:
    address = f"subscriptions/{subscribe(server, organization)['subscription_id']}"
    owner = organization.sessions["owner"]
    answer = server.request("DELETE", f"{address}?at_period_end={value}", bearer=owner)
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["at_period_end"])
    assert server.get(address, bearer=owner).json()["canceled_at"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subscription_plan": "gold"}, "subscription_plan"),
        ({"monthly_price": -1}, "monthly_price"),
        ({"monthly_price": "4.999"}, "monthly_price"),
        ({"monthly_price": 10**13}, "monthly_price"),
        ({"billing_cycle": "weekly"}, "billing_cycle"),
        ({"trial_days": -1}, "trial_days"),
        ({"trial_days": 366}, "trial_days"),
        ({"status": "canceled"}, "status"),
    ],
)
def test_what_no_subscription_can_be(
    server: Running, organization: Organization, change: dict[str, Any], field: str
) -> None:
    body = {"org_id": organization.org_id, "subscription_plan": "byok"} | change
    answer = server.post("subscriptions", body, bearer=organization.sessions["owner"])
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, [field])


def test_members_come_and_are_seen(server: Running, organization: Organization) -> None:
    address = f"organizations/{organization.org_id}/members"
    newcomer = {"user_id": f"new-in-{organization.org_id}", "role": "billing_admin", "is_default": True}
    added = server.post(address, newcomer, bearer=organization.sessions["admin"])
    assert added.status_code == 200
    assert {name: added.json()[name] for name in newcomer} == newcomer
    again = server.post(address, newcomer, bearer=organization.sessions["admin"])
    assert again.json() == added.json()
    page = server.get(f"{address}?limit=3", bearer=organization.sessions["member"]).json()
    rest = server.get(f"{address}?cursor={page['next_cursor']}", bearer=organization.sessions["member"])
    users = [each["user_id"] for each in page["items"] + rest.json()["items"]]
    everybody = {*organization.users.values(), newcomer["user_id"]} - {organization.users["outsider"]}
    assert users == sorted(everybody)


def test_no_organisation_makes_itself_the_default_of_anothers_member(
    server: Running, organization: Organization, make_organization: MakeOrganization
) -> None:
    address = f"organizations/{organization.org_id}/members"
    victim = {"user_id": make_organization().member, "is_default": True}
    for caller in ("owner", "manage"):
        assert outcome(send(server, caller, organization, ("POST", address, victim))) == DENIED
    as_guest = {**victim, "is_default": False}
    assert outcome(send(server, "owner", organization, ("POST", address, as_guest))) == OK
    assert outcome(send(server, "owner", organization, ("POST", address, victim))) == DENIED
    assert outcome(send(server, "system_admin", organization, ("POST", address, victim))) == OK
    owner = {"user_id": organization.users["owner"], "role": "owner", "is_default": True}
    assert outcome(send(server, "owner", organization, ("POST", address, owner))) == OK


def test_one_of_many_subscriptions_at_once(server: Running, organization: Organization) -> None:
    body = {"org_id": organization.org_id, "subscription_plan": "hybrid"}

    def create(_: int) -> tuple[int, str | None]:
        return outcome(server.post("subscriptions", body, bearer=organization.sessions["owner"]))

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(create, range(16)))
    assert sorted(outcomes, key=str) == [OK, *[CONFLICT] * 15]
    listed = server.get(f"subscriptions/org/{organization.org_id}", bearer=organization.sessions["owner"])
    assert len(listed.json()["items"]) == 1


def test_organisations_are_ones_own(
    server: Running, shared_organization: Organization, other_organization: Organization
) -> None:
    own = server.get("organizations", bearer=shared_organization.sessions["admin"]).json()["items"]
    assert [(each["org_id"], each["role"]) for each in own] == [(shared_organization.org_id, "admin")]
    assert server.get("organizations", bearer=shared_organization.sessions["outsider"]).json()["items"] == []
    somebody = f"organizations?user_id={other_organization.member}"
    assert outcome(server.get(somebody, bearer=shared_organization.sessions["owner"])) == DENIED
    root = server.get(somebody, bearer=shared_organization.sessions["system_admin"]).json()["items"]
    assert [each["org_id"] for each in root] == [other_organization.org_id]


def test_the_screens_of_administrators(server: Running, organization: Organization) -> None:
    subscription = subscribe(server, organization, "hybrid")
    server.post("credits/deduct", organization.charge(credits=2.5), key=organization.keys["consume"])
    screen = server.get(f"billing/org/{organization.org_id}", bearer=organization.sessions["owner"]).json()
    assert screen.keys() == {
        "organization",
        "subscription",
        "credit_pool",
        "user_allocations",
        "usage_stats_30_days",
    }
    assert screen["subscription"] == subscription
    assert screen["usage_stats_30_days"]["total_credits_used"] == 2.5
    assert screen["credit_pool"]["used_credits"] == 2.5
    assert len(screen["user_allocations"]) == 5
    system = server.get("billing/system", bearer=organization.sessions["system_admin"]).json()
    assert system.keys() == {
        "organizations",
        "revenue_metrics",
        "subscription_distribution",
        "top_organizations_by_usage",
    }
    assert system["revenue_metrics"].keys() == {"total_mrr", "total_arr", "active_subscriptions"}
    [line] = [each for each in system["organizations"] if each["org_id"] == organization.org_id]
    assert (line["subscription_plan"], line["monthly_price"], line["used_credits"]) == ("hybrid", 99, 2.5)


def test_the_history(server: Running, organization: Organization) -> None:
    subscribe(server, organization)
    address = f"billing/{organization.org_id}/history"
    owner = organization.sessions["owner"]
    page = server.get(f"{address}?limit=2", bearer=owner).json()
    assert page["items"][0]["event_type"] == "subscription_created"
    assert page["items"][0]["amount"] == 50
    rest = server.get(f"{address}?limit=500&cursor={page['next_cursor']}", bearer=owner).json()
    assert rest["next_cursor"] is None
    assert rest["items"][-1]["event_type"] == "credit_purchase"
    only = server.get(f"{address}?event_type=credit_purchase", bearer=owner).json()
    assert [each["credits"] for each in only["items"]] == [1000]
    assert outcome(server.get(f"{address}?event_type=DROP", bearer=owner)) == (422, "validation_failed")
