"""Logging in and out through real OpenID Connect providers."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.peers.conftest import Join, MockProvider, Site, StartSite

    Connection = psycopg.Connection[tuple[Any, ...]]

BILLING = "/api/v1/org-billing/billing/user"


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """Keeps cookies, follows redirects."""
    with httpx.Client(follow_redirects=True) as client:
        yield client


def someone() -> str:
    return f"user-{secrets.token_hex(6)}"


def submit(browser: httpx.Client, page: httpx.Response, **fields: str) -> httpx.Response:
    """Send a page's form as a browser does; a redirect is not followed when it is ours."""
    action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    assert action, page.text
    url = page.url.join(html.unescape(action[1]))
    return browser.post(url, data=dict(hidden) | fields)


def log_in(browser: httpx.Client, site: Site, login: str, return_to: str = BILLING) -> httpx.Response:
    """Go through the provider's forms, to where one wanted to go."""
    page = browser.get(f"{site.base_url}/auth/login", params={"return_to": return_to})
    consent = submit(browser, page, login=login, password="anything")
    return submit(browser, consent)


def cookies_set(response: httpx.Response) -> dict[str, str]:
    return {line.partition("=")[0]: line for line in response.headers.get_list("set-cookie")}


def problem(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# ------------------------------------------------------------------ the whole way through oidc-provider


def test_logging_in_and_out(code_site: Site, browser: httpx.Client, join: Join) -> None:
    login = someone()
    org_id = join(login)
    screen = log_in(browser, code_site, login)
    assert screen.url == code_site.base_url + BILLING
    body = screen.json()
    assert body["user_id"] == login
    assert body["user_email"] == f"{login}@example.com"
    assert [organization["org_id"] for organization in body["organizations"]] == [org_id]

    callback = screen.history[-1]
    assert callback.url.path == "/auth/callback"
    session = cookies_set(callback)["session_token"]
    assert "HttpOnly" in session
    assert "SameSite=lax" in session
    assert "Path=/;" in session
    assert "Secure" not in session  # over http; see test_cookies_over_https
    assert 'login_attempt=""' in cookies_set(callback)["login_attempt"]

    token = browser.cookies["session_token"]
    hint = browser.cookies["id_token_hint"]
    done = browser.post(f"{code_site.base_url}/auth/logout")
    assert done.status_code == 200
    url = done.json()["logout_url"]
    assert parse_qs(urlsplit(url).query) == {
        "id_token_hint": [hint],
        "client_id": [code_site.settings.oidc_client_id],
        "post_logout_redirect_uri": [f"{code_site.base_url}/"],
    }
    assert "session_token" not in browser.cookies
    assert "id_token_hint" not in browser.cookies
    assert problem(code_site.billing(cookies={"session_token": token})) == (401, "invalid_token")

    farewell = submit(browser, browser.get(url), logout="yes")
    assert farewell.url == f"{code_site.base_url}/dashboard"


def test_logging_out_as_a_form(code_site: Site, browser: httpx.Client) -> None:
    log_in(browser, code_site, someone())
    response = browser.post(
        f"{code_site.base_url}/auth/logout",
        headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Origin": code_site.base_url},
        follow_redirects=False,
    )
    assert response.status_code == 303
    assert response.headers["location"].startswith(f"{code_site.settings.oidc_issuer}/session/end?")


def test_another_site_cannot_log_one_out(code_site: Site, browser: httpx.Client) -> None:
    log_in(browser, code_site, someone())
    token = browser.cookies["session_token"]
    response = browser.post(f"{code_site.base_url}/auth/logout", headers={"Origin": "https://evil.example"})
    assert problem(response) == (403, "permission_denied")
    assert code_site.billing(cookies={"session_token": token}).status_code == 200


def test_the_provider_makes_system_administrators(code_site: Site, browser: httpx.Client, join: Join) -> None:
    foreign = join(someone())
    log_in(browser, code_site, f"root-{secrets.token_hex(4)}")
    url = f"{code_site.base_url}/api/v1/org-billing/credits/{foreign}/allocations"
    assert browser.get(url).status_code == 200
    browser.cookies.clear()
    log_in(browser, code_site, someone())
    assert problem(browser.get(url)) == (403, "not_a_member")


def test_a_callback_works_once(code_site: Site, browser: httpx.Client) -> None:
    callback = log_in(browser, code_site, someone()).history[-1].url
    again = browser.get(callback)
    assert problem(again) == (400, "login_failed")
    assert "session_token" not in cookies_set(again)


def test_a_replayed_code_is_refused_by_the_provider(code_site: Site, browser: httpx.Client) -> None:
    """Whoever kept cookie and address of a log-in cannot use them a second time."""
    page = browser.get(f"{code_site.base_url}/auth/login")
    kept = next(cookie for cookie in browser.cookies.jar if cookie.name == "login_attempt").value
    assert kept
    consent = submit(browser, page, login=someone(), password="anything")
    steps = [response.url for response in submit(browser, consent).history]
    [callback] = [url for url in steps if url.path == "/auth/callback"]
    again = httpx.get(callback, cookies={"login_attempt": kept})
    assert problem(again) == (400, "login_failed")
    assert "session_token" not in cookies_set(again)


def test_a_callback_belongs_to_its_browser(code_site: Site, browser: httpx.Client) -> None:
    """A code that was made for one browser opens no session in another (log-in forgery)."""
    page = browser.get(f"{code_site.base_url}/auth/login")
    consent = submit(browser, page, login=someone(), password="anything")
    browser.follow_redirects = False
    callback = submit(browser, consent)
    while urlsplit(callback.headers["location"]).path != "/auth/callback":
        callback = browser.get(callback.url.join(callback.headers["location"]))
    url = callback.headers["location"]
    assert problem(httpx.get(url)) == (400, "login_failed")  # no cookie
    other = httpx.get(f"{code_site.base_url}/auth/login").cookies["login_attempt"]
    assert problem(httpx.get(url, cookies={"login_attempt": other})) == (400, "login_failed")
    unsigned = jwt.encode({"state": parse_qs(urlsplit(url).query)["state"][0]}, "k" * 32)
    assert problem(httpx.get(url, cookies={"login_attempt": unsigned})) == (400, "login_failed")
    mixed_up = httpx.URL(url).copy_set_param("iss", "https://evil.example")
    assert problem(browser.get(mixed_up)) == (400, "login_failed")
    assert browser.get(url).headers["location"] == "/"  # the right one still can


def test_a_refused_log_in(code_site: Site, browser: httpx.Client) -> None:
    page = browser.get(f"{code_site.base_url}/auth/login")
    abort = page.url.join(html.unescape(re.findall(r'href="([^"]*/abort)"', page.text)[0]))
    refused = browser.get(abort)
    assert refused.url.path == "/auth/callback"
    assert problem(refused) == (403, "permission_denied")
    assert "session_token" not in browser.cookies


# ---------------------------------------------------------------------------------------- beginning


def test_where_a_log_in_begins(site: Site, mock_provider: MockProvider) -> None:
    response = site.get("/auth/login?return_to=/docs%3Fa=b")
    assert response.status_code == 303
    url = urlsplit(response.headers["location"])
    query = {name: value for name, (value,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{mock_provider.issuer}/authorize"
    assert query["redirect_uri"] == f"{site.base_url}/auth/callback"
    assert query["scope"] == "openid profile email"
    assert query["code_challenge_method"] == "S256"
    line = cookies_set(response)["login_attempt"]
    assert {"HttpOnly", "Path=/auth", "SameSite=lax", "Max-Age=600"} <= set(line.split("; "))
    sealed = jwt.decode(response.cookies["login_attempt"], options={"verify_signature": False})
    assert sealed["return_to"] == "/docs?a=b"
    assert (sealed["state"], sealed["nonce"]) == (query["state"], query["nonce"])
    challenge = base64.urlsafe_b64encode(hashlib.sha256(sealed["verifier"].encode()).digest())
    assert query["code_challenge"] == challenge.decode().rstrip("=")


def test_cookies_over_https(start_site: StartSite, mock_provider: MockProvider) -> None:
    site = start_site(
        oidc_issuer=mock_provider.issuer, oidc_client_id="credits", public_url="https://credits.example"
    )
    assert "Secure" in cookies_set(site.get("/auth/login"))["login_attempt"].split("; ")


def test_workers_share_the_key(start_site: StartSite, mock_provider: MockProvider) -> None:
    """What one process sealed, another one opens, when they were given the same key."""
    given: dict[str, Any] = {
        "oidc_issuer": mock_provider.issuer,
        "oidc_client_id": "credits",
        "secret_key": "k" * 32,
    }
    first, second = start_site(**given), start_site(**given)
    begun = first.get("/auth/login")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    cookies = {"login_attempt": begun.cookies["login_attempt"]}
    denied = {"state": state, "error": "access_denied"}
    assert problem(second.get("/auth/callback", params=denied, cookies=cookies)) == (403, "permission_denied")
    busy = second.get(
        "/auth/callback", params={"state": state, "error": "temporarily_unavailable"}, cookies=cookies
    )
    assert problem(busy) == (503, "unavailable")


def test_a_provider_of_another_name(start_site: StartSite, mock_provider: MockProvider) -> None:
    other = mock_provider.issuer.replace("127.0.0.1", "localhost")
    site = start_site(oidc_issuer=other, oidc_client_id="credits")
    assert problem(site.get("/auth/login")) == (503, "unavailable")


# ------------------------------------------------------------------- what a provider might answer


def come_back(
    site: Site, peer: MockProvider, *, status: int = 200, change: dict[str, str] | None = None, **answer: Any
) -> httpx.Response:
    """Log in at the mock provider, whose token endpoint answers this.

    A token is given by its claims; `nonce` stands for this log-in's own.
    """
    begun = site.get("/auth/login")
    attempt = jwt.decode(begun.cookies["login_attempt"], options={"verify_signature": False})
    body = {
        name: peer.token(
            peer.new_key(), **claims | ({"nonce": attempt["nonce"]} if "nonce" in claims else {})
        )
        if isinstance(claims, dict)
        else claims
        for name, claims in answer.items()
    }
    peer.answer_next(status, body)
    url = httpx.URL(begun.headers["location"]).copy_merge_params(change or {})
    back = peer.http.get(url).headers["location"].removeprefix(site.base_url)
    return site.get(back, headers={"Cookie": f"login_attempt={begun.cookies['login_attempt']}"})


THIS: dict[str, Any] = {"nonce": "this log-in's"}


def test_roles_in_the_access_token(site: Site, mock_provider: MockProvider, join: Join) -> None:
    """Keycloak puts roles there, and makes the token for the audience `account`."""
    user_id, path = someone(), f"/api/v1/org-billing/credits/{join(someone())}/allocations"
    roles = {"aud": "account", "typ": "Bearer", "realm_access": {"roles": ["credits-admin"]}}

    def seen(**access: Any) -> int:
        done = come_back(site, mock_provider, id_token=THIS | {"sub": user_id}, access_token=roles | access)
        assert done.status_code == 303
        return site.get(
            path, headers={"Cookie": f"session_token={done.cookies['session_token']}"}
        ).status_code

    assert seen(sub=user_id) == 200
    assert seen(sub=someone()) == 403
    assert seen(sub=user_id, iss="https://evil.example") == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce_": "left out"},
        THIS | {"aud": "another"},
        THIS | {"azp": "another"},
        THIS | {"iss": "https://evil.example"},
        THIS | {"exp": 1},
        THIS | {"sub": ""},
        "opaque",
        None,
    ],
)
def test_an_id_token_that_is_no_good(site: Site, mock_provider: MockProvider, claims: Any) -> None:
    response = come_back(site, mock_provider, id_token=claims)
    assert problem(response) == (400, "login_failed")
    assert not cookies_set(response)


@pytest.mark.parametrize(
    "change", [{"nonce": "another log-in's"}, {"code_challenge": "A" * 43}, {"state": "another"}]
)
def test_a_browser_that_was_sent_elsewhere(
    site: Site, mock_provider: MockProvider, change: dict[str, str]
) -> None:
    """The provider hears another nonce, challenge or state than this server chose."""
    assert problem(come_back(site, mock_provider, change=change)) == (400, "login_failed")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, (400, "login_failed")), (401, (503, "unavailable")), (500, (503, "unavailable"))],
)
def test_a_token_endpoint_that_refuses(
    site: Site, mock_provider: MockProvider, status: int, expected: tuple[int, str]
) -> None:
    assert problem(come_back(site, mock_provider, status=status, error="some_error")) == expected


def test_a_user_who_was_switched_off(site: Site, mock_provider: MockProvider, database: Connection) -> None:
    user_id = someone()
    assert come_back(site, mock_provider, id_token=THIS | {"sub": user_id}).status_code == 303
    database.execute("update users set is_active = false where subject = %s", [user_id])
    refused = come_back(site, mock_provider, id_token=THIS | {"sub": user_id})
    assert problem(refused) == (401, "invalid_token")
    assert not cookies_set(refused)


def test_a_long_id_token_is_no_cookie(site: Site, mock_provider: MockProvider) -> None:
    done = come_back(site, mock_provider, id_token=THIS | {"sub": someone(), "groups": ["g" * 64] * 64})
    assert "session_token" in cookies_set(done)
    assert 'id_token_hint=""; ' in cookies_set(done)["id_token_hint"]
