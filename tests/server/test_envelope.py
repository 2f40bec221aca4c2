"""What every answer has, whatever was asked."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.middleware import Envelope

if TYPE_CHECKING:
    from tests.server.conftest import Organization, Running

PATHS = ["/healthz", "/readyz", "/openapi.json", "/docs", "/nowhere", "billing/user", "nowhere", "/api", "/"]


@pytest.mark.parametrize("path", PATHS)
def test_careful_headers(server: Running, path: str) -> None:
    answer = server.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]


@pytest.mark.parametrize("path", ["/healthz", "billing/user", "/nowhere"])
@pytest.mark.parametrize("given", ["abc-123", 'a b {c} "d"', "x" * 128, "~"])
def test_the_callers_request_id_is_kept(server: Running, path: str, given: str) -> None:
    answer = server.get(path, headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given
    if answer.is_error:
        assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "caf\u00e9", "tab\there"])
def test_another_request_id_is_replaced(server: Running, given: str) -> None:
    raw: Any = given.encode("latin-1")
    answers = [server.get("billing/user", headers={"X-Request-ID": raw}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert given not in ids
    assert {answer.json()["request_id"] for answer in answers} == ids


def test_health(server: Running) -> None:
    assert server.get("/healthz").json() == {"status": "ok"}
    assert server.get("/readyz").json() == {"status": "ready"}
    assert server.request("HEAD", "/healthz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/dashboard/nowhere", 404, "not_found"),
        ("GET", "/healthz/", 404, "not_found"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api", 401, "not_authenticated"),
        ("GET", "/api/", 401, "not_authenticated"),
        ("GET", "/api/v2/%0A", 401, "not_authenticated"),
        ("DELETE", "/api/v1/org-billing/billing/user", 401, "not_authenticated"),
        ("TRACE", "/api/v1/org-billing/billing/user", 401, "not_authenticated"),
    ],
)
def test_problems(server: Running, method: str, path: str, status: int, code: str) -> None:
    answer = server.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "billing/user", "GET, HEAD, OPTIONS"),
        ("GET", "credits/deduct", "OPTIONS, POST"),
        ("PUT", "credits/holds", "OPTIONS, POST"),
        ("POST", "credits/some-org", "GET, HEAD, OPTIONS"),
        ("QUERY", "credits/some-org", "GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_methods(
    server: Running, shared_organization: Organization, method: str, path: str, allowed: str
) -> None:
    answer = server.request(method, path, key=shared_organization.keys["everywhere"])
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_options_and_head(server: Running, shared_organization: Organization) -> None:
    answer = server.request("OPTIONS", "credits/some-org")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, "GET, HEAD, OPTIONS", b"")
    assert server.request("OPTIONS", "nowhere").status_code == 401
    path, key = f"credits/{shared_organization.org_id}", shared_organization.keys["read"]
    head, get = server.request("HEAD", path, key=key), server.get(path, key=key)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert server.request("HEAD", path).status_code == 401


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/json", 200),
        ("application/*;q=0.1", 200),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200),
        ("application/problem+json, application/json", 200),
        ("", 200),
        ("text/html", 406),
        ("text/csv", 406),
        ("application/json;q=0", 406),
        ("application/json;q=0, */*", 406),
        ("application/json;q=nan", 406),
    ],
)
def test_accept(server: Running, shared_organization: Organization, accept: str, status: int) -> None:
    path, key = f"credits/{shared_organization.org_id}", shared_organization.keys["read"]
    answer = server.get(path, key=key, headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json()["code"] == "not_acceptable"


def _answers(app: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(Envelope(app)(scope, receive, send))
    return sent


def test_the_last_resort_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("the password is hunter2")

    start, body = _answers(broken)
    problem = json.loads(body["body"])
    assert (start["status"], problem["code"]) == (500, "internal_error")
    assert "hunter2" not in body["body"].decode()
    headers = dict(start["headers"])
    assert headers[b"x-request-id"].decode() == problem["request_id"]
    assert problem["request_id"] in caplog.text


def test_an_answer_that_has_begun_is_not_followed_by_another() -> None:
    async def broken(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        _answers(broken)
