"""The dashboard: the user's screen, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.server.conftest import Connection, Organization, Running

NAME = "<script>alert(1)</script> & sons"


def test_a_member_sees_a_charge_on_their_screen(server: Running, organization: Organization) -> None:
    session = organization.sessions["member"]
    before = server.get("/dashboard", cookie=session)
    assert before.status_code == 200
    assert '<td class="amount">100</td>' in before.text
    charge = organization.charge(credits="5.5")
    assert server.post("credits/deduct", charge, key=organization.keys["consume"]).status_code == 200
    assert '<td class="amount">94.5</td>' in server.get("/dashboard", cookie=session).text


def test_a_name_is_escaped(server: Running, organization: Organization, database: Connection) -> None:
    database.execute(
        "update organizations set name = %s where id = %s", [NAME + organization.org_id, organization.org_id]
    )
    page = server.get("/dashboard", cookie=organization.sessions["member"]).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; sons" in page
    assert "<script" not in page


def test_nobody_sees_a_screen_without_a_session(server: Running, organization: Organization) -> None:
    for cookie in (None, "cst_unknown"):
        answer = server.get("/dashboard", cookie=cookie)
        assert answer.status_code == 401
        assert answer.headers["content-type"].startswith("text/html")
    assert server.get("/dashboard", key=organization.keys["consume"]).status_code == 403


def test_a_page_loads_nothing_from_elsewhere(server: Running, organization: Organization) -> None:
    answer = server.get("/dashboard", cookie=organization.sessions["member"])
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["content-security-policy"]
    style = server.get("/dashboard/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text
