"""How often a caller may call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.credentials import create_api_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx import Response

    from tests.server.conftest import Organization, StartServer

TOO_MANY = (429, "rate_limited")


def until_refused(send: Callable[[], Response], at_most: int) -> tuple[int, Response]:
    """Send until a request is refused; return how many were not, and the refusal."""
    for accepted in range(at_most + 1):
        response = send()
        if response.status_code == 429:
            return accepted, response
    raise AssertionError(f"{at_most + 1} requests were accepted")


def test_a_session_changes_twenty_times_a_minute(
    start_server: StartServer, organization: Organization
) -> None:  # row 95
    server = start_server()
    session = organization.sessions["member"]
    body = organization.charge(credits=0.001)
    accepted, refusal = until_refused(lambda: server.post("credits/deduct", body, bearer=session), 21)
    # A minute of the clock that begins in between leaves room for one more.
    assert accepted in {20, 21}
    assert (refusal.status_code, refusal.json()["code"]) == TOO_MANY
    assert refusal.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refusal.headers["retry-after"]) <= 60
    assert refusal.headers["ratelimit-policy"] == '"unsafe";q=20;w=60'
    assert re.fullmatch(r'"unsafe";r=0;t=\d+', refusal.headers["ratelimit"])
    # Reading has a figure of its own, and so has everyone else.
    assert server.get(f"credits/{organization.org_id}", bearer=session).status_code == 200
    other = server.post(
        "credits/deduct",
        organization.charge(user_id=organization.users["colleague"]),
        bearer=organization.sessions["colleague"],
    )
    assert other.status_code == 200


def test_a_session_reads_as_often_as_is_set(start_server: StartServer, organization: Organization) -> None:
    server = start_server(safe_per_minute=3)
    session = organization.sessions["owner"]
    first = server.get(f"credits/{organization.org_id}", bearer=session)
    assert first.headers["ratelimit-policy"] == '"safe";q=3;w=60'
    assert re.fullmatch(r'"safe";r=2;t=\d+', first.headers["ratelimit"])
    accepted, _ = until_refused(lambda: server.get("credits/user/x", cookie=session), 3)
    assert accepted in {2, 3}


def test_the_limit_belongs_to_the_user_not_the_session(
    start_server: StartServer, organization: Organization, database: Any
) -> None:
    from reference_server.credentials import open_session  # noqa: PLC0415

    server = start_server(safe_per_minute=3)
    sessions = [open_session(database, organization.member) for _ in range(8)]
    remaining = iter(sessions)
    accepted, _ = until_refused(
        lambda: server.get(f"credits/{organization.org_id}", bearer=next(remaining)), 4
    )
    assert accepted in {3, 4}


def test_what_is_refused_later_counts_too(start_server: StartServer, organization: Organization) -> None:
    server = start_server(safe_per_minute=2)
    accepted, _ = until_refused(lambda: server.get("nowhere", bearer=organization.sessions["owner"]), 3)
    assert accepted in {2, 3}


def test_keys_spend_without_a_limit(start_server: StartServer, organization: Organization) -> None:
    server = start_server(unsafe_per_minute=1, safe_per_minute=1)
    key = organization.keys["consume"]
    for _ in range(30):
        answer = server.post("credits/deduct", organization.charge(credits=0.001), key=key)
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers
    accepted, _ = until_refused(lambda: server.get(f"credits/{organization.org_id}", key=key), 2)
    assert accepted in {1, 2}


def test_a_key_with_a_figure_of_its_own(
    start_server: StartServer, organization: Organization, database: Any
) -> None:
    server = start_server()
    key = create_api_key(
        database, "slow", ["consume_credits"], org_id=organization.org_id, requests_per_minute=2
    )
    accepted, refusal = until_refused(
        lambda: server.post("credits/deduct", organization.charge(credits=0.001), key=key), 3
    )
    assert accepted in {2, 3}
    assert refusal.headers["ratelimit-policy"] == '"key";q=2;w=60'


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nobody"}], ids=["no one", "unknown"])
def test_floods_of_strangers(start_server: StartServer, headers: dict[str, str]) -> None:
    server = start_server(refused_per_minute=3)
    accepted, refusal = until_refused(lambda: server.post("credits/deduct", content=b"{", headers=headers), 4)
    assert accepted in {3, 4}
    assert (refusal.status_code, refusal.json()["code"]) == TOO_MANY


def test_strangers_do_not_lock_out_who_is_known(
    start_server: StartServer, organization: Organization
) -> None:
    server = start_server(refused_per_minute=1)
    until_refused(lambda: server.get("billing/user"), 2)
    assert server.get("billing/user", bearer=organization.sessions["member"]).status_code == 200


def test_a_forged_forwarded_for_helps_nobody(start_server: StartServer) -> None:  # row 96
    server = start_server(refused_per_minute=3)
    addresses = iter(range(10))
    accepted, _ = until_refused(
        lambda: server.get("billing/user", headers={"X-Forwarded-For": f"192.0.2.{next(addresses)}"}), 4
    )
    assert accepted in {3, 4}


def test_a_trusted_proxy_says_who_it_was(start_server: StartServer) -> None:
    server = start_server(refused_per_minute=2, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8"))

    def send(forwarded: str) -> Response:
        return server.get("billing/user", headers={"X-Forwarded-For": forwarded})

    until_refused(lambda: send("192.0.2.1, 10.1.2.3"), 3)
    assert send("192.0.2.2, 10.1.2.3").status_code == 401
    # What the client itself wrote stands to the left of what the proxies saw.
    assert send("192.0.2.9, 192.0.2.1").status_code == 429
    assert send("not an address").status_code == 401


@pytest.mark.parametrize(
    ("forwarded", "others"),
    [
        ("2001:db8:1:2::1", ["2001:db8:1:2:ffff::9", "[2001:db8:1:2::1]", "[2001:db8:1:2::1]:443"]),
        ("192.0.2.1", ["192.0.2.1:1024", "::ffff:192.0.2.1", "192.0.2.1:1025, 10.1.2.3:80"]),
    ],
    ids=["IPv6", "IPv4"],
)
def test_one_client_is_not_counted_as_many(
    start_server: StartServer, forwarded: str, others: list[str]
) -> None:
    server = start_server(refused_per_minute=2, trusted_proxies=("127.0.0.0/8", "10.0.0.0/8"))

    def send(forwarded: str) -> Response:
        return server.get("billing/user", headers={"X-Forwarded-For": forwarded})

    until_refused(lambda: send(forwarded), 3)
    assert [send(other).status_code for other in others] == [429] * len(others)
    assert send("2001:db8:1:3::1").status_code == 401
