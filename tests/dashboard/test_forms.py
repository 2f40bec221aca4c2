"""The dashboard's forms over HTTP: what they change, who may send them, what they say when refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboard.visiting import home, live

if TYPE_CHECKING:
    import httpx

    from tests.server.conftest import Connection, Organization, Running


FORMS = {
    "credits": {"credits": "5"},
    "allocations": {"user_id": "me", "allocated_credits": "5"},
    "caps": {"period": "day", "credits": "5"},
    "subscription": {"new_plan": "hybrid"},
}


def send(
    server: Running, organization: Organization, form: str, caller: str, **fields: Any
) -> httpx.Response:
    """Send a form as a browser does from the site's own page."""
    return server.request(
        "POST",
        f"{home(organization)}/{form}",
        cookie=organization.sessions[caller],
        headers={"Origin": server.base_url},
        data=fields,
    )


def test_credits_are_added_once_however_often_the_form_is_sent(
    server: Running, organization: Organization, database: Connection
) -> None:
    page = server.get(home(organization), cookie=organization.sessions["owner"]).text
    request_id = re.findall(r'name="request_id" value="([^"]+)"', page)[0]
    for _ in range(2):
        sent = send(
            server,
            organization,
            "credits",
            "owner",
            credits="50.5",
            purchase_amount="5",
            request_id=request_id,
        )
        assert (sent.status_code, sent.headers["location"]) == (303, f"{home(organization)}?done=added")
    shown = server.get(sent.headers["location"], cookie=organization.sessions["owner"]).text
    assert live(shown, "pool-total") == "1,050.5"
    assert "were added" in shown
    audited = database.execute(
        "select actor, actor_kind, request_id from audit_log where org_id = %s and action = 'pool.updated'"
        " order by id desc limit 1",
        [organization.org_id],
    ).fetchone()
    assert audited
    assert audited[:2] == (organization.users["owner"], "user")


def test_a_member_is_allocated_more(server: Running, organization: Organization) -> None:
    sent = send(
        server, organization, "allocations", "owner", user_id=organization.member, allocated_credits="25"
    )
    assert sent.status_code == 303
    own = server.get("/dashboard", cookie=organization.sessions["member"]).text
    assert live(own, "remaining") == "125"
    allocations = server.get(
        f"credits/{organization.org_id}/allocations", bearer=organization.sessions["owner"]
    ).json()["items"]
    assert {each["user_id"]: each["allocated_credits"] for each in allocations}[organization.member] == 125


@pytest.mark.parametrize(
    ("form", "fields", "status", "sentence"),
    [
        ("credits", {"credits": "-5"}, 400, "Credits: must be more than zero"),
        ("credits", {"credits": "1,000"}, 400, "Credits: must be a plain number"),
        ("credits", {"purchase_amount": "7"}, 422, "Credits: field required"),
        ("credits", {"credits": "5", "purchase_amount": "0.001"}, 422, "Paid (USD): must have at most 2"),
        ("allocations", {"allocated_credits": "0"}, 400, "Credits: must be more than zero"),
        ("allocations", {"allocated_credits": "999999"}, 402, "999,999"),
        ("caps", {"credits": "-5", "period": "day"}, 400, "At most: must be more than zero"),
        ("caps", {"credits": "0.0001", "period": "call"}, 400, "At most: must have at most 3"),
    ],
)
def test_a_refusal_is_a_sentence_at_the_field(
    server: Running,
    shared_organization: Organization,
    *,
    form: str,
    fields: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    whose = {"user_id": shared_organization.member} if form == "allocations" else {}
    answer = send(server, shared_organization, form, "owner", **fields, **whose)
    assert answer.status_code == status
    problem = re.search(r'<p class="problem" id="([^"]+)-problem">([^<]*)</p>', answer.text)
    assert problem, answer.text
    assert sentence in problem[2]
    field = re.search(rf'<input id="{problem[1]}"[^>]*>', answer.text)
    assert field
    assert 'aria-invalid="true"' in field[0]
    assert f"{problem[1]}-problem" in field[0]
    for value in fields.values():
        assert f'value="{value}"' in answer.text


def plan_of(server: Running, organization: Organization) -> str:
    address = f"subscriptions/{organization.org_id}"
    plan: str = server.get(address, bearer=organization.sessions["owner"]).json()["subscription_plan"]
    return plan


def test_the_plan_is_changed(server: Running, organization: Organization, database: Connection) -> None:
    for plan in ("platform", "hybrid"):
        sent = send(server, organization, "subscription", "billing_admin", new_plan=plan)
        assert sent.headers["location"] == f"{home(organization)}?done=planned"
        assert plan_of(server, organization) == plan
    shown = server.get(home(organization), cookie=organization.sessions["billing_admin"]).text
    assert '<option value="hybrid" selected>' in shown
    rows = database.execute(
        "select actor, action from audit_log where org_id = %s and action like 'subscription.%%' order by id",
        [organization.org_id],
    ).fetchall()
    billing_admin = organization.users["billing_admin"]
    assert rows == [(billing_admin, "subscription.created"), (billing_admin, "subscription.updated")]


@pytest.mark.parametrize(("plan", "status"), [("gold", 422), ("hybrid", 409)])
def test_a_plan_that_it_cannot_move_to_is_explained_at_its_field(
    server: Running, organization: Organization, plan: str, status: int
) -> None:
    assert send(server, organization, "subscription", "owner", new_plan="hybrid").status_code == 303
    answer = send(server, organization, "subscription", "owner", new_plan=plan)
    assert answer.status_code == status
    assert re.search(r'<p class="problem" id="new-plan-problem">[^<]', answer.text)
    assert re.search(r'<select id="new-plan"[^>]*aria-invalid="true"', answer.text)


@pytest.mark.parametrize("scope", ["organization", "member"])
def test_a_cap_is_set_and_removed(server: Running, organization: Organization, scope: str) -> None:
    subject = {"subject": organization.member} if scope == "member" else {}
    screen = home(organization) + ("/members" if subject else "")
    address, owner = f"credits/{organization.org_id}/caps", organization.sessions["owner"]
    sent = send(server, organization, "caps", "owner", period="day", credits="25.5", **subject)
    assert sent.headers["location"] == f"{screen}?done=capped"
    [cap] = server.get(address, bearer=owner).json()["caps"]
    assert (cap["scope"], cap["period"], cap["credits"]) == (scope, "day", 25.5)
    assert "25.5 a day" in server.get(sent.headers["location"], cookie=owner).text
    sent = send(server, organization, "caps", "owner", period="day", credits="", **subject)
    assert sent.headers["location"] == f"{screen}?done=uncapped"
    assert server.get(address, bearer=owner).json()["caps"] == []


@pytest.mark.parametrize("scope", ["organization", "member"])
@pytest.mark.parametrize(
    ("period", "words"),
    [
        ("call", "25.5 in one call"),
        ("hour", "25.5 an hour"),
        ("day", "25.5 a day"),
        ("month", "25.5 a month"),
    ],
)
def test_the_period_of_a_cap_is_said_in_words(
    server: Running, organization: Organization, scope: str, period: str, words: str
) -> None:
    subject = {"subject": organization.member} if scope == "member" else {}
    sent = send(server, organization, "caps", "owner", period=period, credits="25.5", **subject)
    shown = server.get(sent.headers["location"], cookie=organization.sessions["owner"])
    assert words in shown.text


def test_members_are_paged_and_allocated_to_where_they_stand(
    server: Running, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_server.dashboard.organization._PAGE", 3)
    session = organization.sessions["owner"]
    first = server.get(f"{home(organization)}/members", cookie=session).text
    assert first.count('name="allocated_credits"') == 3
    following = re.search(r'href="(\?cursor=[^"]+)"', first)
    assert following
    second = server.get(f"{home(organization)}/members{following[1]}", cookie=session).text
    assert f'value="{organization.member}"' in second
    form = re.search(r'action="[^"]*/(allocations\?cursor=[^"]+)"', second)
    assert form
    fields = {"user_id": organization.member, "allocated_credits": "-1"}
    refused = send(server, organization, form[1], "owner", **fields)
    assert 'class="problem" id="member-' in refused.text
    sent = send(server, organization, form[1], "owner", **fields | {"allocated_credits": "1"})
    assert f'value="{organization.member}"' in server.get(sent.headers["location"], cookie=session).text
    elsewhere = send(server, organization, "allocations", "owner", **fields)
    assert '<p class="problem" role="alert">Credits: must be more than zero' in elsewhere.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example"])
@pytest.mark.parametrize("form", FORMS)
def test_a_forged_form_is_refused(
    server: Running, shared_organization: Organization, form: str, origin: str
) -> None:
    # https://app.example may use the API, but a form of the dashboard is sent from the dashboard.
    answer = server.request(
        "POST",
        f"{home(shared_organization)}/{form}",
        cookie=shared_organization.sessions["owner"],
        headers={"Origin": origin},
        data=FORMS[form],
    )
    assert answer.status_code == 403
    assert "sent from this site" in answer.text


@pytest.mark.parametrize("form", FORMS)
def test_a_member_sends_no_form_of_the_administrators(
    server: Running, shared_organization: Organization, form: str
) -> None:
    assert send(server, shared_organization, form, "member", **FORMS[form]).status_code == 403
