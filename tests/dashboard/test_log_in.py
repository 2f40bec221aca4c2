"""Logging in with a password, and out, over HTTP."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.passwords import hash_password
from tests.dashboard.visiting import PASSWORD

if TYPE_CHECKING:
    import httpx

    from tests.server.conftest import Connection, Organization, Running, StartServer


def log_in(
    server: Running, email: str, password: str, origin: str | None = None, **more: str
) -> httpx.Response:
    return server.request(
        "POST",
        "/dashboard/login",
        headers={"Origin": origin or server.base_url},
        data={"email": email, "password": password, **more},
    )


def token_of(answer: httpx.Response) -> str:
    found = re.search(r"session_token=([^;]+); HttpOnly; Max-Age=86400; Path=/; SameSite=lax", cookie(answer))
    assert found, cookie(answer)
    return found[1]


def cookie(answer: httpx.Response) -> str:
    return answer.headers.get("set-cookie", "")


def test_a_password_opens_a_session_of_its_user(
    server: Running, organization: Organization, owner_email: str
) -> None:
    answer = log_in(server, owner_email, PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    page = server.get("/dashboard", cookie=token_of(answer)).text
    assert owner_email in page
    assert f"Name of {organization.org_id}" in page


def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(server: Running, owner_email: str) -> None:
    answers = [log_in(server, email, "wrong") for email in (owner_email, f"un{owner_email}")]
    for answer in answers:
        assert answer.status_code == 401
        assert "Email or password is wrong." in answer.text
        assert cookie(answer) == ""
        assert "wrong" not in re.findall(r'value="([^"]*)"', answer.text)
    known, unknown = (re.sub(r"(un)?org-\w+@example\.com", "EMAIL", answer.text) for answer in answers)
    assert known == unknown


@pytest.mark.parametrize("password", ["", "x" * 2_000, " " + PASSWORD, "nul\0", "'; drop table users; --"])
def test_what_is_no_password_is_a_wrong_one(server: Running, owner_email: str, password: str) -> None:
    answer = log_in(server, owner_email, password)
    assert answer.status_code == 401
    assert "Email or password is wrong." in answer.text


def test_passwords_are_tried_a_few_times_a_minute(
    start_server: StartServer, organization: Organization, owner_email: str
) -> None:
    # Three times as often as is allowed in a minute: a minute that ends meanwhile makes no difference.
    same = [(owner_email, "wrong"), (owner_email.upper(), PASSWORD)] * 3
    different = [(f"{number}-{owner_email}", "wrong") for number in range(6)]
    for settings, attempts in (({"logins_per_account": 2}, same), ({"logins_per_address": 2}, different)):
        strict = start_server(**settings)
        answers = [log_in(strict, *attempt) for attempt in attempts]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert answers[0].status_code == 401
        assert refused
        for answer in refused:
            assert int(answer.headers["retry-after"]) > 0
            assert "Too many requests" in answer.text
            assert cookie(answer) == ""


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example"])
def test_another_site_logs_nobody_in_or_out(
    server: Running, organization: Organization, owner_email: str, origin: str
) -> None:
    forged = log_in(server, owner_email, PASSWORD, origin)
    assert (forged.status_code, cookie(forged)) == (403, "")
    session = organization.sessions["member"]
    out = server.request("POST", "/dashboard/logout", cookie=session, headers={"Origin": origin})
    assert out.status_code == 403
    assert server.get("/dashboard", cookie=session).status_code == 200


def test_logging_out_ends_the_session(server: Running, organization: Organization) -> None:
    session = organization.sessions["member"]
    out = server.request("POST", "/dashboard/logout", cookie=session, headers={"Origin": server.base_url})
    assert (out.status_code, out.headers["location"]) == (303, "/dashboard/login")
    assert "Max-Age=0" in cookie(out)
    assert server.get("/dashboard", cookie=session).status_code == 401
    assert server.get("billing/user", bearer=session).status_code == 401
    again = server.request("POST", "/dashboard/logout", headers={"Origin": server.base_url})
    assert again.status_code == 303


@pytest.mark.parametrize(
    ("return_to", "place"),
    [
        (
            "/dashboard/organizations/acme/charges?user_id=x",
            "/dashboard/organizations/acme/charges?user_id=x",
        ),
        ("https://evil.example", "/dashboard"),
        ("//evil.example", "/dashboard"),
        ("/dashboard\\@evil.example", "/dashboard"),
        ("/dashboardx", "/dashboard"),
        ("/dashboard/logout", "/dashboard"),
        ("/api/v1/org-billing/billing/user", "/dashboard"),
    ],
)
def test_the_log_in_leads_back_to_the_dashboard_only(
    server: Running, owner_email: str, return_to: str, place: str
) -> None:
    answer = log_in(server, owner_email, PASSWORD, return_to=return_to)
    assert (answer.status_code, answer.headers["location"]) == (303, place)


def test_who_has_no_subject_logs_in_and_is_switched_off(
    server: Running, database: Connection, owner_email: str
) -> None:
    email = f"numbered-{owner_email}"
    database.execute(
        "insert into users (email, user_type, password_hash) values (%s, 'admin', %s)",
        [email, hash_password(PASSWORD)],
    )
    session = token_of(log_in(server, email, PASSWORD))
    assert server.get("/dashboard/system", cookie=session).status_code == 200
    database.execute("update users set is_active = false where email = %s", [email])
    assert server.get("/dashboard", cookie=session).status_code == 401
    assert log_in(server, email, PASSWORD).status_code == 401


def test_a_cookie_is_sent_over_https_only_where_there_is_https(
    start_server: StartServer, organization: Organization, owner_email: str
) -> None:
    secure = start_server(public_url="https://credits.example")
    assert "; Secure" in cookie(log_in(secure, owner_email, PASSWORD))


def test_the_identity_provider_is_offered_where_there_is_one(
    server: Running, start_server: StartServer, demo: dict[str, Any]
) -> None:
    assert "/auth/login" not in server.get("/dashboard/login").text
    provided = start_server(oidc_issuer="https://sso.example/realms/acme", oidc_client_id="credits")
    page = provided.get("/dashboard/login?return_to=/dashboard/system").text
    assert 'href="/auth/login?return_to=/dashboard/system"' in page
