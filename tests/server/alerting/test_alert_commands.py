"""The commands of the operator: a round by hand, and what the platform itself is told of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.server.alerting.conftest import Receiver, Watched
    from tests.server.conftest import Command


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "CREDITS_WEBHOOK_NETWORKS": "127.0.0.0/8,::1"}


def test_a_round_by_hand(
    command: Command, environment: dict[str, str], watched: Watched, receiver: Receiver
) -> None:
    assert command("alerts", "run", **environment) == (0, "Raised 0, cleared 0, delivered 0.\n", "")
    watched.client.alerts.set("acme", "pool.low", 2_000)
    _, said, _ = command("alerts", "run", "--json", **environment)
    assert json.loads(said) == {"raised": 1, "cleared": 0, "delivered": 1}
    assert len(receiver.received) == 1


def test_the_platform_hears_of_users_own_balances(
    command: Command, environment: dict[str, str], watched: Watched, receiver: Receiver
) -> None:
    code, secret, told = command("alerts", "add-endpoint", receiver.url, **environment)
    assert (code, secret[:6], told[:3]) == (0, "whsec_", "id ")
    assert command("alerts", "watch-balances", "5", **environment)[0] == 0
    watched.execute("INSERT INTO users (subject, email, credits) VALUES ('u7', 'u7@example.com', 4)")
    command("alerts", "run", **environment)
    [(_, body)] = receiver.received
    assert json.loads(body)["data"]["user_id"] == "u7"
    [endpoint] = json.loads(command("alerts", "endpoints", "--json", **environment)[1])
    assert command("alerts", "watch-balances", "1", "--user", "u7", **environment)[0] == 0
    assert command("alerts", "run", **environment)[1] == "Raised 0, cleared 1, delivered 0.\n"
    assert command("alerts", "watch-balances", "0", "--user", "u7", **environment)[0] == 0
    assert command("alerts", "delete-endpoint", endpoint["id"], **environment)[0] == 0
    code, _, error = command("alerts", "delete-endpoint", endpoint["id"], **environment)
    assert (code, "The platform has no endpoint" in error) == (1, True)


def test_what_was_given_up_is_listed(command: Command, environment: dict[str, str], watched: Watched) -> None:
    assert command("alerts", "dead", **environment) == (0, "No webhook was given up.\n", "")
    delivery_id = watched.test()
    watched.execute(
        "UPDATE webhook_deliveries SET status = 'dead', last_error = 'The endpoint answered 500.'"
    )
    _, said, _ = command("alerts", "dead", **environment)
    assert delivery_id in said
    assert "of acme" in said
    assert "answered 500" in said


@pytest.mark.parametrize("url", ["ftp://acme.example", "http://acme.example", "acme"])
def test_an_endpoint_is_an_https_address(command: Command, environment: dict[str, str], url: str) -> None:
    code, _, error = command("alerts", "add-endpoint", url, **environment)
    assert (code, "https://" in error) == (1, True)
