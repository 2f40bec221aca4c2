"""The commands that move credits, as an operator types them: on a database and over HTTP."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from reference_server.callers import SCOPES
from reference_server.credentials import create_api_key

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]

    from tests.server.conftest import Command, Organization, Running


@pytest.fixture(params=["database", "server"])
def run(request: pytest.FixtureRequest, command: Command, server: Running) -> Run:
    """Runs a command on the same books by either way."""
    if request.param == "database":
        return lambda *arguments: command(*arguments, CREDIT_SDK_URL=server.database_url)
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        key = create_api_key(connection, "operator", SCOPES)
    return lambda *arguments: command(*arguments, CREDIT_SDK_URL=server.base_url, CREDIT_SDK_API_KEY=key)


def answer(outcome: tuple[int, str, str]) -> dict[str, Any]:
    """Return what a command answered with --json."""
    code, out, err = outcome
    assert (code, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    return document


def test_a_charge_and_its_refund(run: Run, organization: Organization) -> None:
    payer = (organization.member, "--org", organization.org_id)
    charged = answer(run("charge", payer[0], "7.5", *payer[1:], "--service-type", "repair", "--json"))
    assert (charged["credits_used"], charged["remaining_credits"]) == (7.5, 92.5)
    sentence = (
        f"Gave 5 credits back to {organization.member} in {organization.org_id}; "
        "2.5 of the charge are left to refund.\n"
    )
    refund = run("refund", charged["charge_id"], "--credits", "5", "--reason", "half done")
    assert refund == (0, sentence, "")


def test_the_same_request_id_charges_once(run: Run, organization: Organization) -> None:
    request = ("charge", organization.member, "10", "--org", organization.org_id, "--request-id", "job-7")
    assert "90 are left" in run(*request)[1]
    assert "before, under the same request id; 90 are left" in run(*request)[1]


def test_a_hold_is_placed_shown_captured_in_part_and_voided(run: Run, organization: Organization) -> None:
    place = ("hold", "place", organization.member, "40", "--org", organization.org_id, "--json")
    first, second = answer(run(*place)), answer(run(*place))
    assert answer(run("hold", "show", first["hold_id"], "--json"))["status"] == "held"
    captured = answer(run("hold", "capture", first["hold_id"], "--credits", "25", "--json"))
    assert (captured["credits_used"], captured["remaining_credits"]) == (25, 75)
    assert ", voided, until " in run("hold", "void", second["hold_id"])[1]
    code, out, err = run("hold", "capture", second["hold_id"])
    assert (code, out, len(err.splitlines())) == (1, "", 1)


def test_a_refusal_says_how_much_there_is(run: Run, organization: Organization) -> None:
    code, out, err = run("charge", organization.member, "1000", "--org", organization.org_id)
    assert (code, out) == (1, "")
    assert "100" in err
    assert "1,000" in err


def test_credits_reach_a_member_by_grant_and_allocation(run: Run, organization: Organization) -> None:
    pool = answer(run("grant", "500", "--org", organization.org_id, "--paid", "25", "--json"))
    assert pool["credits_added"] == 500
    code, out, _ = run("allocate", organization.org_id, organization.member, "50", "--notes", "for May")
    assert code == 0
    assert out == (
        f"{organization.member} has 150 credits allocated in {organization.org_id}: "
        "150 not used, open holds included.\n"
    )


def test_credits_of_a_users_own(command: Command, server: Running) -> None:
    number = str(secrets.randbelow(10**12) + 10**6)
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (id, email) VALUES (%s, %s)", [number, f"{number}@example.com"])
    url = {"CREDIT_SDK_URL": server.database_url}
    granted = command("grant", "20", "--user", number, "--description", "welcome", **url)
    assert granted == (0, f"User {number} has 20 credits.\n", "")
    charged = answer(command("charge", number, "5", "--own", "--json", **url))
    assert (charged["org_id"], charged["remaining_credits"]) == (None, 15)
    assert "Gave 5 credits back" in command("refund", str(charged["charge_id"]), **url)[1]
    assert answer(command("balance", number, "--json", **url))["balance"]["credits"] == 20


def test_usage_is_summed_by_service_user_and_day(run: Run, organization: Organization) -> None:
    nothing = run("usage", organization.org_id)[1]
    assert f"{organization.org_id} used 0 credits in 0 charges since " in nothing
    for service in ("repair", "repair", "export"):
        run("charge", organization.member, "2", "--org", organization.org_id, "--service-type", service)
    lines = [line.split() for line in run("usage", organization.org_id, "--days", "7")[1].splitlines()]
    assert ["repair", "2", "4"] in lines
    assert ["export", "1", "2"] in lines
    assert [organization.member, "3", "6"] in lines
    assert answer(run("usage", organization.org_id, "--json"))["total_credits_used"] == 6


WRONG = {
    "both payers": ("charge", "ada", "1", "--org", "acme", "--own"),
    "no receiver": ("grant", "5"),
    "two receivers": ("grant", "5", "--org", "acme", "--user", "ada"),
    "a paid grant to a user": ("grant", "5", "--user", "ada", "--paid", "3"),
    "a described grant to a pool": ("grant", "5", "--org", "acme", "--description", "x"),
    "metadata that is no JSON": ("charge", "ada", "1", "--metadata", "{"),
    "metadata that is no object": ("charge", "ada", "1", "--metadata", "[1]"),
    "no charge": ("refund", "seven"),
    "no hold": ("hold", "void", "seven"),
    "no period": ("allocate", "acme", "ada", "5", "--reset-period", "hourly"),
    "too many days": ("usage", "acme", "--days", "400"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_exit_code_2(command: Command, name: str) -> None:
    code, out, err = command(*WRONG[name], CREDIT_SDK_URL="memory://")
    assert (code, out) == (2, "")
    assert "Usage: credits" in err


@pytest.mark.parametrize("amount", ["0", "-5", "0.0001", "many", "1e30"])
def test_an_impossible_amount_is_refused_in_one_line(command: Command, amount: str) -> None:
    code, out, err = command("charge", "--org", "acme", "--", "ada", amount, CREDIT_SDK_URL="memory://")
    assert (code, out, len(err.splitlines())) == (1, "", 1)


def test_what_is_not_there_is_refused_in_one_line(run: Run) -> None:
    for arguments in (("refund", str(uuid4())), ("hold", "show", str(uuid4()))):
        code, out, err = run(*arguments)
        assert (code, out, len(err.splitlines())) == (1, "", 1)
