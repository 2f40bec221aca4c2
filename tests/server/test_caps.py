"""Caps over HTTP: with which key something is spent, and who set a cap."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reference_server.credentials import digest
from reference_server.openapi import openapi

if TYPE_CHECKING:
    from collections.abc import Callable

    from httpx import Response

    from tests.server.conftest import Connection, Organization, Running

    SetBy = Callable[..., str | None]


def who(organization: Organization, caller: str) -> dict[str, str]:
    """Return the credential of a person or a key of the organisation."""
    if caller in organization.keys:
        return {"key": organization.keys[caller]}
    return {"bearer": organization.sessions[caller]}


def cap(
    server: Running,
    organization: Organization,
    scope: str = "organization",
    *,
    bearer: str | None = None,
    key: str | None = None,
    **body: Any,
) -> Response:
    """Set a cap on calls, as the owner unless somebody else does."""
    credential = {"key": key} if key else {"bearer": bearer or organization.sessions["owner"]}
    asked = {"scope": scope, "period": "call", "credits": 10} | body
    return server.request("PUT", f"credits/{organization.org_id}/caps", json=asked, **credential)


def key_id(database: Connection, key: str) -> str:
    row = database.execute("select id::text from api_keys where key_digest = %s", [digest(key)]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def set_by(server: Running, organization: Organization, database: Connection) -> SetBy:
    """Sets a cap as one of the callers, and tells whose name is written down."""

    def set_cap(caller: str, **body: Any) -> str | None:
        assert cap(server, organization, **who(organization, caller), **body).status_code == 200
        statement = "select updated_by from credit_caps where org_id = %s"
        [(name,)] = database.execute(statement, [organization.org_id])
        return None if name is None else str(name)

    return set_cap


def test_are_set_listed_and_removed(server: Running, organization: Organization) -> None:
    made = cap(server, organization, "member", subject=organization.member, period="day", credits=2.5)
    assert made.status_code == 200, made.text
    [shown] = made.json()["caps"]
    assert shown.pop("resets_at").endswith("T00:00:00Z")
    assert shown.pop("updated_at")
    assert shown == {
        "scope": "member",
        "subject": organization.member,
        "period": "day",
        "credits": 2.5,
        "used_credits": 0,
    }
    listed = server.get(f"credits/{organization.org_id}/caps", bearer=organization.sessions["member"])
    assert listed.json() == made.json()
    gone = cap(server, organization, "member", subject=organization.member, period="day", credits=None)
    assert gone.json() == {"caps": []}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scope": "organization", "subject": "ada"}, "validation_failed"),
        ({"scope": "member"}, "validation_failed"),
        ({"scope": "team"}, "validation_failed"),
        ({"period": "year"}, "validation_failed"),
        ({"credits": 0}, "invalid_amount"),
        ({"credits": -1}, "invalid_amount"),
        ({"credits": "0.0001"}, "invalid_amount"),
        ({"used_credits": 0}, "validation_failed"),
    ],
    ids=json.dumps,
)
def test_that_cannot_be_are_refused(
    server: Running, shared_organization: Organization, body: dict[str, Any], code: str
) -> None:
    answer = cap(server, shared_organization, **body)
    assert (answer.status_code, answer.json()["code"]) == (400 if code == "invalid_amount" else 422, code)


def test_a_refusal_explains_itself(server: Running, organization: Organization) -> None:
    cap(server, organization, period="month")
    answer = server.post("credits/deduct", organization.charge(credits=11), key=organization.keys["consume"])
    assert answer.status_code == 402
    problem = answer.json()
    assert problem["resets_at"].endswith("-01T00:00:00Z")
    assert {name: problem[name] for name in ("code", "limit", "required", "available")} == {
        "code": "insufficient_credits",
        "limit": "cap",
        "required": 11,
        "available": 10,
    }
    assert f"cap of 10 a month for organisation {organization.org_id}" in problem["detail"]


def test_of_a_key_bound_what_is_spent_with_it(
    server: Running, organization: Organization, database: Connection
) -> None:
    key = organization.keys["consume"]
    cap(server, organization, "api_key", subject=key_id(database, key), period="day")
    charge = organization.charge(credits=6)
    for path, body in ("credits/holds", charge), ("credits/deduct/batch", {"charges": [charge]}):
        assert server.post(path, body, key=organization.keys["everywhere"]).status_code == 200
    assert server.post("credits/deduct", charge, bearer=organization.sessions["member"]).status_code == 200
    assert server.post("credits/deduct", charge, key=key).status_code == 200
    for path in "credits/deduct", "credits/holds":
        assert server.post(path, charge, key=key).json()["limit"] == "cap"
    batch = server.post("credits/deduct/batch", {"charges": [charge]}, key=key).json()
    assert batch["outcomes"][0]["problem"]["limit"] == "cap"


def test_whoever_captures_a_hold_counts_for_its_key(
    server: Running, organization: Organization, database: Connection
) -> None:
    key = organization.keys["consume"]
    cap(server, organization, "api_key", subject=key_id(database, key), period="day", credits=50)
    hold = server.post("credits/holds", organization.charge(credits=20), key=key).json()
    captured = server.post(
        f"credits/holds/{hold['hold_id']}/capture", {"credits": 30}, key=organization.keys["everywhere"]
    )
    assert captured.status_code == 200, captured.text
    listed = server.get(f"credits/{organization.org_id}/caps", key=key).json()
    assert [each["used_credits"] for each in listed["caps"]] == [30]


@pytest.mark.parametrize("path", ["credits/deduct", "credits/holds", "credits/deduct/batch"])
@pytest.mark.parametrize("caller", ["consume", "member"])
def test_nobody_says_with_which_key_they_spend(
    server: Running, shared_organization: Organization, path: str, caller: str
) -> None:
    charge = shared_organization.charge(credits=0.001, api_key_id="another")
    batched = path.endswith("batch")
    body = {"charges": [charge | {"api_key_id": None}, charge]} if batched else charge
    answer = server.post(path, body, **who(shared_organization, caller))
    assert answer.status_code == 422
    where = ["charges", 1, "api_key_id"] if batched else ["api_key_id"]
    assert [error["loc"] for error in answer.json()["errors"]] == [where]
    assert answer.json()["detail"].startswith(".".join(map(str, where)))


def test_the_reference_does_not_offer_it() -> None:
    assert "api_key_id" not in {
        name
        for schema in openapi()["components"]["schemas"].values()
        for name in schema.get("properties", ())
    }


@pytest.mark.parametrize(
    ("caller", "named", "written"),
    [
        ("owner", None, "owner"),
        ("owner", "owner", "owner"),
        ("system_admin", "member", "member"),
        ("manage", "member", "member"),
    ],
)
def test_it_is_written_down_who_set_one(
    set_by: SetBy,
    organization: Organization,
    caller: str,
    named: str | None,
    written: str,
) -> None:
    said = {} if named is None else {"updated_by": organization.users[named]}
    assert set_by(caller, **said) == organization.users[written]


def test_a_key_names_nobody_by_itself(set_by: SetBy) -> None:
    assert set_by("manage") is None


def test_nobody_sets_one_in_anothers_name(server: Running, organization: Organization) -> None:
    answer = cap(server, organization, updated_by=organization.member)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
