"""The dashboard's pages over HTTP: who sees what."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from reference_server.dashboard.rendering import Pages
from tests.dashboard.visiting import home, live

if TYPE_CHECKING:
    from tests.server.conftest import Connection, MakeOrganization, Organization, Running, StartServer

NAME = "<script>alert(1)</script> & sons"
MANAGERS = {"owner", "admin", "billing_admin", "system_admin"}
MEMBERS = MANAGERS | {"member"}
SCREENS = {
    "": MANAGERS,
    "/members": MANAGERS,
    "/history": MANAGERS,
    "/charges": MEMBERS,
    "/charges.csv": MEMBERS,
}
CALLERS = sorted(MEMBERS | {"outsider"})


def test_a_member_sees_a_charge_on_their_screen(server: Running, organization: Organization) -> None:
    session = organization.sessions["member"]
    before = server.get("/dashboard", cookie=session)
    assert before.status_code == 200
    assert live(before.text, "remaining") == "100"
    charge = organization.charge(credits="5.5")
    assert server.post("credits/deduct", charge, key=organization.keys["consume"]).status_code == 200
    after = server.get("/dashboard", cookie=session).text
    assert (live(after, "remaining"), live(after, "used-30")) == ("94.5", "5.5")
    assert "contact_lookup" in after


def test_a_name_is_escaped(server: Running, organization: Organization, database: Connection) -> None:
    name = NAME + organization.org_id
    database.execute("update organizations set name = %s where id = %s", [name, organization.org_id])
    charge = organization.charge(service_name=NAME)
    assert server.post("credits/deduct", charge, key=organization.keys["consume"]).status_code == 200
    for caller, path in (
        ("member", "/dashboard"),
        ("owner", home(organization)),
        ("owner", "/dashboard/system?q=" + NAME),
    ):
        page = server.get(path, cookie=organization.sessions[caller]).text
        assert "<script>alert" not in page
    assert (
        "&lt;script&gt;alert(1)&lt;/script&gt; &amp; sons"
        in server.get(f"{home(organization)}/charges", cookie=organization.sessions["member"]).text
    )


def test_nobody_sees_a_screen_without_a_session(server: Running, organization: Organization) -> None:
    for cookie in (None, "cst_unknown"):
        answer = server.get(home(organization), cookie=cookie)
        assert answer.status_code == 401
        assert f'name="return_to" value="{home(organization)}"' in answer.text
    key = server.get("/dashboard", key=organization.keys["consume"])
    assert key.status_code == 403
    assert "for people" in key.text


def test_a_page_loads_nothing_from_elsewhere(server: Running, organization: Organization) -> None:
    answer = server.get("/dashboard", cookie=organization.sessions["member"])
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "form-action 'self'" in policy
    assert "unsafe" not in policy
    loaded = re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"]+)"', answer.text)
    assert len(loaded) == 3
    for address in loaded:
        file = server.get(address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        assert "url(" not in file.text
    assert server.get("/dashboard/static/../screens.py").status_code == 404


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("screen", SCREENS)
def test_who_sees_which_screen(
    server: Running, shared_organization: Organization, screen: str, caller: str
) -> None:
    answer = server.get(home(shared_organization) + screen, cookie=shared_organization.sessions[caller])
    assert answer.status_code == (200 if caller in SCREENS[screen] else 403)


@pytest.mark.parametrize("caller", CALLERS)
def test_only_a_system_administrator_sees_the_system(
    server: Running, shared_organization: Organization, caller: str
) -> None:
    answer = server.get("/dashboard/system", cookie=shared_organization.sessions[caller])
    assert answer.status_code == (200 if caller == "system_admin" else 403)
    assert (shared_organization.org_id in answer.text) is (caller == "system_admin")


def test_organisations_are_searched_for(server: Running, make_organization: MakeOrganization) -> None:
    wanted, other = make_organization(), make_organization()
    page = server.get(
        f"/dashboard/system?q={wanted.org_id.upper()}", cookie=wanted.sessions["system_admin"]
    ).text
    assert home(wanted) in page
    assert page.count(other.org_id) == 0


def test_an_organisation_without_anything_has_its_screens(
    server: Running, organization: Organization, database: Connection
) -> None:
    org_id = f"new-{organization.org_id}"
    database.execute("insert into organizations (id, name) values (%s, %s)", [org_id, org_id])
    for screen in SCREENS:
        answer = server.get(
            f"/dashboard/organizations/{org_id}{screen}", cookie=organization.sessions["system_admin"]
        )
        assert answer.status_code == 200
        assert 'id="updated"' in answer.text or screen.endswith(".csv")


def test_charges_are_filtered_and_exported(server: Running, organization: Organization) -> None:
    for service in ("contact_lookup", "llm_inference", "llm_inference"):
        charge = organization.charge(service_type=service)
        assert server.post("credits/deduct", charge, key=organization.keys["consume"]).status_code == 200
    session = organization.sessions["owner"]
    page = server.get(
        f"{home(organization)}/charges?service_type=llm_inference&user_id=", cookie=session
    ).text
    assert page.count("<td>llm_inference") == 2
    export = re.search(r'href="([^"]+charges\.csv[^"]*)"', page)
    assert export
    file = server.get(export[1], cookie=session)
    assert file.headers["content-disposition"] == 'attachment; filename="charges.csv"'
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [row["service_type"] for row in rows] == ["llm_inference", "llm_inference"]
    assert {row["org_id"] for row in rows} == {organization.org_id}


def test_an_export_has_all_pages_under_one_heading(
    server: Running, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [organization.charge(credits=1, org_id=organization.org_id) for _ in range(7)]
    answer = server.post("credits/deduct/batch", {"charges": batch}, key=organization.keys["consume"])
    assert answer.status_code == 200
    monkeypatch.setattr("credit_sdk.operations.LARGEST_PAGE", 3)
    file = server.get(f"{home(organization)}/charges.csv", cookie=organization.sessions["member"])
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert len(rows) == 7
    assert len({row["charge_id"] for row in rows}) == 7


def test_days_of_the_filter_are_whole_days(server: Running, organization: Organization) -> None:
    charged = server.post("credits/deduct", organization.charge(), key=organization.keys["consume"])
    assert charged.status_code == 200
    session = organization.sessions["member"]
    charges = server.get(f"credits/{organization.org_id}/charges", bearer=session).json()["items"]
    day = charges[0]["created_at"][:10]
    found = server.get(f"{home(organization)}/charges?since={day}&until={day}", cookie=session)
    assert "contact_lookup" in found.text
    for beside in ("since=2999-01-01", "until=2001-01-01"):
        assert "No charges." in server.get(f"{home(organization)}/charges?{beside}", cookie=session).text
    wrong = server.get(f"{home(organization)}/charges?since=yesterday", cookie=session)
    assert wrong.status_code == 422
    assert "From: must be a date" in wrong.text


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        ("org_id={org_id}&screen=members", "/dashboard/organizations/{org_id}/members"),
        ("org_id={org_id}&screen=own", "/dashboard?org_id={org_id}"),
        ("org_id=//evil.example&screen=overview", "/dashboard?org_id=%2F%2Fevil.example"),
    ],
)
def test_switching_stays_on_the_screen_where_it_is_allowed(
    server: Running, shared_organization: Organization, asked: str, place: str
) -> None:
    org_id = shared_organization.org_id
    answer = server.get(
        f"/dashboard/switch?{asked.format(org_id=org_id)}", cookie=shared_organization.sessions["owner"]
    )
    assert (answer.status_code, answer.headers["location"]) == (303, place.format(org_id=org_id))
    member = server.get(
        f"/dashboard/switch?org_id={org_id}&screen=members", cookie=shared_organization.sessions["member"]
    )
    assert member.headers["location"] == f"/dashboard?org_id={org_id}"


@pytest.mark.parametrize("org_id", ["x" * 37, "%00", "nowhere", "%20", "é"])
def test_what_is_no_organisation_is_a_page_not_a_failure(
    server: Running, shared_organization: Organization, org_id: str
) -> None:
    answer = server.get(
        f"/dashboard/organizations/{org_id}", cookie=shared_organization.sessions["system_admin"]
    )
    assert answer.status_code in {403, 404, 422}
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("caller", "words"),
    [("outsider", "not a member of this organisation"), ("system_admin", "There is no organisation")],
)
def test_a_refusal_is_a_page_without_filters(
    server: Running, shared_organization: Organization, caller: str, words: str
) -> None:
    answer = server.get(
        "/dashboard/organizations/nowhere/charges", cookie=shared_organization.sessions[caller]
    )
    assert answer.status_code == 403
    assert words in answer.text
    assert "<form class=" not in answer.text


@pytest.mark.parametrize(
    ("days", "words"), [("99.0", "99 days"), ("1", "1 day"), ("1.04", "1 day"), ("0.52", "0.5 days")]
)
def test_days_are_told_as_people_tell_them(days: str, words: str) -> None:
    template = Pages(None)._templates.from_string("{{ days | days }}")
    assert template.render(days=Decimal(days)) == words


def test_credits_are_bought_where_they_are_sold(
    server: Running, start_server: StartServer, shared_organization: Organization
) -> None:
    session = shared_organization.sessions["owner"]
    sold = server.get(home(shared_organization), cookie=session).text
    assert f'href="https://shop.example/buy?org={shared_organization.org_id}"' in sold
    assert "Buy credits" not in start_server().get(home(shared_organization), cookie=session).text


def test_the_site_begins_with_the_dashboard(server: Running) -> None:
    answer = server.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")


def test_pages_count_as_requests_of_the_session(
    start_server: StartServer, organization: Organization
) -> None:
    slow = start_server(safe_per_minute=1, unsafe_per_minute=1)
    session = organization.sessions["member"]
    assert slow.get("/dashboard", cookie=session).status_code == 200
    refused = slow.get("/dashboard", cookie=session)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "Too many requests" in refused.text
