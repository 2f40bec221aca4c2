"""The same request again: the same outcome, once. The numbers are rows of RELIABILITY section 5."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import MakeOrganization, Organization, Running


def remaining(server: Running, organization: Organization) -> float:
    body = {"org_id": organization.org_id, "user_id": organization.member, "credits": 1}
    check = server.post("credits/check", body, key=organization.keys["consume"]).json()
    available: float = check["available_credits"]
    return available


def bodies(organization: Organization) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Return for each endpoint that changes something: address, body, and who sends it."""
    return {
        "deduct": ("credits/deduct", organization.charge(), "consume"),
        "hold": ("credits/holds", organization.charge(), "consume"),
        "add": (f"credits/{organization.org_id}/add", {"credits": 5}, "manage"),
        "allocate": (
            f"credits/{organization.org_id}/allocate",
            {"user_id": organization.member, "allocated_credits": 5},
            "manage",
        ),
    }


@pytest.mark.parametrize("endpoint", ["deduct", "hold", "add", "allocate"])
@pytest.mark.parametrize("first", ["header", "body"])
@pytest.mark.parametrize("second", ["header", "body", "both"])
def test_a_replay_is_byte_equal(
    server: Running, organization: Organization, endpoint: str, first: str, second: str
) -> None:  # row 45
    address, body, who = bodies(organization)[endpoint]

    def send(where: str) -> Any:
        named = body if where == "header" else body | {"request_id": "once"}
        headers = {} if where == "body" else {"Idempotency-Key": "once"}
        return server.post(address, named, key=organization.keys[who], headers=headers)

    answer, again = send(first), send(second)
    assert answer.status_code == again.status_code == 200
    assert answer.json()["request_id"] == "once"
    assert '"replayed":false' in answer.text
    assert again.text == answer.text.replace('"replayed":false', '"replayed":true')


def test_a_refund_is_given_once(server: Running, organization: Organization) -> None:
    key = organization.keys["consume"]
    charge = server.post("credits/deduct", organization.charge(credits=10), key=key).json()
    body = {"charge_id": charge["charge_id"], "credits": 4}
    answers = [
        server.post("credits/refunds", body, key=key, headers={"Idempotency-Key": "back"}) for _ in range(2)
    ]
    assert answers[1].text == answers[0].text.replace('"replayed":false', '"replayed":true')
    assert remaining(server, organization) == 94


def test_a_batch_is_taken_once(server: Running, organization: Organization) -> None:
    charges = [organization.charge(), organization.charge(credits=7), organization.charge(request_id="own")]
    answers = [
        server.post(
            "credits/deduct/batch",
            {"charges": charges},
            key=organization.keys["consume"],
            headers={"Idempotency-Key": "batch-1"},
        )
        for _ in range(2)
    ]
    assert [outcome["request_id"] for outcome in answers[0].json()["outcomes"]] == [
        "batch-1:0",
        "batch-1:1",
        "own",
    ]
    assert answers[1].text == answers[0].text.replace('"replayed":false', '"replayed":true')
    assert remaining(server, organization) == 83


def test_header_and_body_name_different_keys(server: Running, organization: Organization) -> None:  # row 44
    answer = server.post(
        "credits/deduct",
        organization.charge(request_id="one"),
        key=organization.keys["consume"],
        headers={"Idempotency-Key": "other"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["loc"] == ["Idempotency-Key"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b\u00e9", "tab\there"])
def test_keys_that_are_none(server: Running, organization: Organization, key: str) -> None:  # rows 39 to 42
    raw: Any = key.encode("latin-1")
    answer = server.post(
        "credits/deduct",
        organization.charge(),
        key=organization.keys["consume"],
        headers={"Idempotency-Key": raw},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_two_headers_with_two_keys(server: Running, organization: Organization) -> None:
    address = f"{server.base_url}/api/v1/org-billing/credits/deduct"
    headers = [
        ("X-API-Key", organization.keys["consume"]),
        ("Idempotency-Key", "one"),
        ("Idempotency-Key", "two"),
    ]
    answer = server.http.post(address, json=organization.charge(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_without_a_key_the_server_makes_one(server: Running, organization: Organization) -> None:  # row 43
    answers = [
        server.post("credits/deduct", organization.charge(request_id=value), key=organization.keys["consume"])
        for value in (..., None)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.json()["request_id"] for answer in answers}) == 2


@pytest.mark.parametrize(
    "change",
    [{"credits": 6}, {"user_id": "colleague"}, {"service_type": "valuation"}],
    ids=["46 other amount", "47 other user", "other service"],
)
def test_the_same_key_for_something_else(
    server: Running, organization: Organization, change: dict[str, Any]
) -> None:
    if "user_id" in change:
        change = {"user_id": organization.users["colleague"]}
    key = organization.keys["consume"]
    assert server.post("credits/deduct", organization.charge(request_id="once"), key=key).status_code == 200
    answer = server.post("credits/deduct", organization.charge(request_id="once", **change), key=key)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
    assert remaining(server, organization) == 95


def test_the_same_key_at_another_address(server: Running, organization: Organization) -> None:  # row 48
    key = organization.keys["consume"]
    assert server.post("credits/holds", organization.charge(request_id="once"), key=key).status_code == 200
    answer = server.post("credits/deduct", organization.charge(request_id="once"), key=key)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")


def test_the_key_of_another_organisation(
    server: Running, organization: Organization, make_organization: MakeOrganization
) -> None:  # row 50
    other = make_organization()
    for each in (organization, other):
        answer = server.post("credits/deduct", each.charge(request_id="the-same"), key=each.keys["consume"])
        assert (answer.status_code, answer.json()["replayed"]) == (200, False)


def test_a_refused_attempt_does_not_use_the_key_up(server: Running, organization: Organization) -> None:
    key = organization.keys["consume"]
    refused = server.post("credits/deduct", organization.charge(credits=101, request_id="once"), key=key)
    assert refused.status_code == 402
    taken = server.post("credits/deduct", organization.charge(credits=99, request_id="once"), key=key)
    assert (taken.status_code, taken.json()["replayed"]) == (200, False)


def test_many_at_once_are_one(server: Running, organization: Organization) -> None:
    def send(_: int) -> Any:
        body = organization.charge(request_id="once")
        return server.post("credits/deduct", body, key=organization.keys["consume"])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(not answer.json()["replayed"] for answer in answers) == 1
    assert len({answer.json()["charge_id"] for answer in answers}) == 1
    assert remaining(server, organization) == 95
