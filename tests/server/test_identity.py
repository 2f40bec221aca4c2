"""Logging in and out as far as it needs no provider; the rest is in tests/peers."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from credit_sdk.errors import ConfigurationError
from reference_server.settings import Settings

if TYPE_CHECKING:
    from tests.server.conftest import Organization, Running, StartServer

BILLING = "/api/v1/org-billing/billing/user"
URL = "postgresql://user@db.example/credits"
PROVIDER = {"oidc_issuer": "http://127.0.0.1:1/realms/x", "oidc_client_id": "credits"}


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_without_a_provider(server: Running) -> None:
    assert problem(server.get("/auth/login")) == (404, "not_found")
    assert problem(server.get("/auth/callback?code=x&state=y")) == (404, "not_found")
    assert problem(server.get(BILLING, bearer="a.b.c")) == (401, "invalid_token")
    assert problem(server.post("/auth/logout")) == (401, "not_authenticated")
    wrong_method = server.get("/auth/logout")
    assert problem(wrong_method) == (405, "method_not_allowed")
    assert wrong_method.headers["allow"] == "POST"


@pytest.mark.parametrize("place", ["cookie", "bearer"])
def test_logging_out_of_a_session(server: Running, organization: Organization, place: str) -> None:
    credential: dict[str, Any] = {place: organization.sessions["member"]}
    assert server.get(BILLING, **credential).status_code == 200
    done = server.post("/auth/logout", **credential)
    assert done.json() == {"logout_url": None}
    assert done.headers["set-cookie"].startswith('session_token="";')
    assert problem(server.get(BILLING, **credential)) == (401, "invalid_token")
    assert server.post("/auth/logout", **credential).status_code == 200
    page = server.post("/auth/logout", headers={"Accept": "text/html"}, **credential)
    assert (page.status_code, page.headers["location"]) == (303, "/")


def test_logging_out_leaves_other_sessions_and_keys_alone(
    server: Running, organization: Organization
) -> None:
    key = organization.keys["read"]
    assert server.post("/auth/logout", key=key).status_code == 200
    server.post("/auth/logout", bearer=organization.sessions["admin"])
    path = f"credits/{organization.org_id}"
    assert server.get(path, key=key).status_code == 200
    assert server.get(path, bearer=organization.sessions["member"]).status_code == 200


def test_another_site_cannot_log_one_out(server: Running, organization: Organization) -> None:
    session = organization.sessions["member"]
    forged = server.post("/auth/logout", cookie=session, headers={"Origin": "https://evil.example"})
    assert problem(forged) == (403, "permission_denied")
    assert server.get(BILLING, cookie=session).status_code == 200


@pytest.mark.parametrize(
    "return_to",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/a\r\nSet-Cookie: x=y",
        "javascript:alert(1)",
        "evil",
        "",
        "/" + "a" * 1_024,
    ],
)
def test_open_redirects_are_refused(start_server: StartServer, return_to: str) -> None:
    response = start_server(**PROVIDER).get("/auth/login", params={"return_to": return_to})
    assert problem(response) == (422, "validation_failed")
    assert "set-cookie" not in response.headers


def test_a_provider_that_is_away(start_server: StartServer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        issuer = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        server = start_server(oidc_issuer=issuer, oidc_client_id="credits")
        header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"k"}').rstrip(b"=").decode()
        signed = f"{header}.e30.AAAA"
        for response in (server.get("/auth/login"), server.get(BILLING, bearer=signed)):
            assert problem(response) == (503, "unavailable")
            assert int(response.headers["retry-after"]) >= 1
            assert issuer not in response.text
            assert "set-cookie" not in response.headers


def test_a_flood_of_log_ins(start_server: StartServer) -> None:
    server = start_server(**PROVIDER, refused_per_minute=3)
    statuses = [server.get("/auth/callback?code=x&state=y").status_code for _ in range(4)]
    assert statuses == [400, 400, 400, 429]


def test_what_the_servers_role_may_do(server_database: str) -> None:
    with psycopg.connect(server_database, autocommit=True) as connection:
        connection.execute("set role credits_app")
        for statement in (
            "select identity.make_user('eve', 'eve@example.com', 'Eve')",
            "update users set user_type = 'admin'",
            "update auth_sessions set user_id = 'eve'",
            "select token_digest from auth_sessions",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OIDC_ISSUER", "accounts.example"),
        ("OIDC_ISSUER", "ftp://accounts.example"),
        ("OIDC_ISSUER", "https://accounts.example/?realm=x"),
        ("CREDITS_PUBLIC_URL", "https://credits.example/path"),
        ("CREDITS_SECRET_KEY", "short"),
    ],
)
def test_a_wrong_setting(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{variable}: "):
        Settings.of({"DATABASE_URL": URL, "OIDC_CLIENT_ID": "x", variable: value})


def test_a_provider_without_a_client_id() -> None:
    with pytest.raises(ConfigurationError, match=r"^OIDC_CLIENT_ID: the identity provider knows"):
        Settings.of({"DATABASE_URL": URL, "OIDC_ISSUER": "https://accounts.example"})


def test_what_workers_are_told() -> None:
    given = {"DATABASE_URL": URL, "OIDC_ISSUER": "https://accounts.example", "OIDC_CLIENT_ID": "credits"}
    settings = Settings.of(
        given | {"OIDC_CLIENT_SECRET": "canary", "CREDITS_PUBLIC_URL": "https://c.example/"}
    )
    told = Settings.of(settings.environment())
    assert told == settings
    assert told.secret_key == settings.secret_key != Settings.of(given).secret_key
    assert told.base_url == "https://c.example"
    assert told.access_audience == "credits"
    assert "canary" not in repr(told)
    assert settings.secret_key not in repr(told)
