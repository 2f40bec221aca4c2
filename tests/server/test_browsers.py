"""Browsers: which other sites may read answers, and which may cause requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Organization, Running

ALLOWED = "https://app.example"
FOREIGN = [
    "null",
    "https://evil.example",
    "https://app.example.evil.example",
    "https://evilapp.example",
    "http://app.example",
    "https://app.example:8443",
    "https://app.example/",
    "https://APP.example.",
    "http://[",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_origins_are_told_nothing(server: Running, organization: Organization, origin: str) -> None:
    # row 81
    session = organization.sessions["member"]
    answer = server.get("billing/user", bearer=session, headers={"Origin": origin})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = server.request("OPTIONS", "credits/deduct", headers=asked)
    assert preflight.status_code == 204
    assert not [name for name in preflight.headers if name.startswith("access-control-")]


def test_configured_origins_may_read(server: Running, organization: Organization) -> None:
    session = organization.sessions["member"]
    for path, status in (("billing/user", 200), ("nowhere", 404)):
        answer = server.get(path, cookie=session, headers={"Origin": ALLOWED})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ALLOWED
        assert answer.headers["access-control-allow-credentials"] == "true"
        for name in ("X-Request-ID", "X-Cost-Incurred", "X-Credits-Remaining"):
            assert name in answer.headers["access-control-expose-headers"]
    stranger = server.get("billing/user", headers={"Origin": ALLOWED})
    assert stranger.headers["access-control-allow-origin"] == ALLOWED


def test_preflight(server: Running) -> None:
    asked = {
        "Origin": ALLOWED,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, idempotency-key",
    }
    answer = server.request("OPTIONS", "credits/deduct", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["x-request-id"]


FORGED = [
    *({"Origin": origin} for origin in FOREIGN),
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
]


@pytest.mark.parametrize("headers", FORGED, ids=str)
def test_another_site_causes_no_request(
    server: Running, organization: Organization, headers: dict[str, str]
) -> None:  # row 78
    session = organization.sessions["owner"]
    path = f"credits/{organization.org_id}/add?credits=5000"
    answer = server.post(path, cookie=session, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    pool = server.get(f"credits/{organization.org_id}", cookie=session, headers=headers)
    assert (pool.status_code, pool.json()["total_credits"]) == (200, 1000)


@pytest.mark.parametrize(
    "headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": ALLOWED}]
)
def test_the_own_site_does(server: Running, organization: Organization, headers: dict[str, str]) -> None:
    path = f"credits/{organization.org_id}/add?credits=5000"
    for given in (headers, {"Origin": server.base_url}):
        answer = server.post(path, cookie=organization.sessions["owner"], headers=given)
        assert answer.status_code == 200


def test_credentials_that_no_browser_sends_by_itself_are_not_forged(
    server: Running, organization: Organization
) -> None:
    path = f"credits/{organization.org_id}/add?credits=5000"
    foreign = {"Origin": "https://evil.example"}
    assert server.post(path, bearer=organization.sessions["owner"], headers=foreign).status_code == 200
    both = server.post(
        path,
        bearer=organization.sessions["owner"],
        cookie=organization.sessions["member"],
        headers=foreign,
    )
    assert both.status_code == 200
