"""How sessions of applications end, and what is asked about applications and sessions that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reference_server.crossapp.people import People
from tests.server.test_cross_app import (
    INVALID,
    Customer,
    assembled,
    customer,
    jti_of,
    make_customer,
    refusal,
    segments,
)

if TYPE_CHECKING:
    from tests.server.conftest import Connection, Running, StartServer

__all__ = ["customer", "make_customer"]


@pytest.fixture
def server(start_server: StartServer) -> Running:
    """A server where one may log in often."""
    return start_server(logins_per_address=1_000_000)


def test_whoever_logs_out_ends_all_that_came_of_the_log_in(customer: Customer) -> None:
    """Also the token that was exchanged a moment ago, which could be exchanged again in its grace."""
    first, apart = customer.token(), customer.token()
    second, third = (
        customer.post("refresh-token", {"session_token": first}).json()["new_session_token"] for _ in range(2)
    )
    fourth = customer.post("refresh-token", {"session_token": third}).json()["new_session_token"]
    assert customer.post("logout", {"session_token": second}).status_code == 200
    for token in (first, second, third, fourth):
        assert refusal(customer.post("refresh-token", {"session_token": token})) == INVALID
        assert refusal(customer.get("user-info", token)) == INVALID
    assert customer.get("user-info", apart).status_code == 200


def test_a_session_that_ends_while_its_token_is_exchanged_opens_no_other(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = customer.token()
    open_session = People.open_session

    async def late(people: People, *given: Any, **more: Any) -> Any:
        await people.close_session(more["replaces"])
        return await open_session(people, *given, **more)

    monkeypatch.setattr(People, "open_session", late)
    assert refusal(customer.post("refresh-token", {"session_token": token})) == INVALID


def test_sessions_that_nobody_can_exchange_are_forgotten(customer: Customer, database: Connection) -> None:
    ended, late = customer.token(), customer.token()
    age = "UPDATE cross_app_sessions SET expires_at = now() - %s::interval WHERE jti = %s"
    for token, for_how_long in ((ended, "25 hours"), (late, "23 hours")):
        database.execute(age, [for_how_long, jti_of(token)])
    latest = customer.token()
    rows = database.execute("SELECT jti FROM cross_app_sessions WHERE user_id = %s", [customer.id]).fetchall()
    assert {str(row[0]) for row in rows} == {jti_of(late), jti_of(latest)}


@pytest.mark.parametrize("audience", ["an\0app", "\ud800", "x" * 101, ""], ids=ascii)
def test_a_token_for_an_application_that_cannot_be(customer: Customer, audience: str) -> None:
    header, payload, signature = segments(customer.token())
    forged = assembled(header, payload | {"aud": audience}, signature)
    assert refusal(customer.get("user-info", forged)) == INVALID
    for path in ("/api/cross-app/user-info", "/api/stripe/user-subscriptions"):
        assert refusal(customer.server.get(path, bearer=forged)) == INVALID


@pytest.mark.parametrize("app_id", ["an\0app", "x" * 101, "", 5, None, ["app"]])
def test_an_application_that_cannot_be(customer: Customer, app_id: Any) -> None:
    body = {"app_id": app_id, "session_token": "nonsense"}
    assert refusal(customer.server.post("/api/cross-app/validate-token", body)) == INVALID
