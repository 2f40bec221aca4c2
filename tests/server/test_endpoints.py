"""What each endpoint answers."""

from __future__ import annotations

import csv
import io
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import Organization, Running


def test_check(server: Running, organization: Organization) -> None:
    body = {"org_id": organization.org_id, "user_id": organization.member, "credits": 100}
    answer = server.post("credits/check", body, key=organization.keys["consume"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "has_sufficient_credits": True,
        "remaining_credits": 100,
        "available_credits": 100,
        "required_credits": 100,
    }
    more = server.post("credits/check", body | {"credits": 100.001}, key=organization.keys["consume"])
    assert more.json()["has_sufficient_credits"] is False


def test_deduct(server: Running, organization: Organization) -> None:
    body = organization.charge(credits=0.05, service_name="Enrichment", request_id="job-1")
    answer = server.post("credits/deduct", body, key=organization.keys["consume"])
    receipt = answer.json()
    assert answer.status_code == 200
    assert uuid.UUID(receipt.pop("charge_id"))
    assert datetime.fromisoformat(receipt.pop("created_at")).tzinfo == UTC
    assert receipt == {
        "success": True,
        "org_id": organization.org_id,
        "user_id": organization.member,
        "credits_used": 0.05,
        "remaining_credits": 99.95,
        "service_type": "contact_lookup",
        "service_name": "Enrichment",
        "request_id": "job-1",
        "replayed": False,
    }


def test_amounts_have_no_trailing_zeros(server: Running, organization: Organization) -> None:
    answer = server.post(
        "credits/deduct", organization.charge(credits="50.000"), key=organization.keys["consume"]
    )
    assert '"credits_used":50,' in answer.text
    assert '"remaining_credits":50,' in answer.text


def test_deduct_more_than_there_is(server: Running, organization: Organization) -> None:
    answer = server.post(
        "credits/deduct", organization.charge(credits=100.5), key=organization.keys["consume"]
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["limit"]) == (
        402,
        "insufficient_credits",
        "allocation",
    )
    assert (problem["required"], problem["available"]) == (100.5, 100)
    assert problem["top_up_url"] == f"https://shop.example/buy?org={organization.org_id}"
    assert problem["type"].startswith("urn:")
    assert problem["title"]


def test_allocate_more_than_the_pool_has(server: Running, organization: Organization) -> None:  # row 52
    body = {"user_id": organization.member, "allocated_credits": 501}
    answer = server.post(f"credits/{organization.org_id}/allocate", body, key=organization.keys["manage"])
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["limit"]) == (402, "insufficient_credits", "pool")
    assert (problem["required"], problem["available"]) == (501, 500)


def test_deduct_without_an_allocation(server: Running, demo: dict[str, Any]) -> None:
    body = {
        "org_id": "test-org-llm-001",
        "user_id": demo["user_ids"]["loopnet-test-1@example.com"],
        "credits": 5,
        "service_type": "contact_lookup",
    }
    answer = server.post("credits/deduct", body, key=demo["service_api_key"])
    assert (answer.status_code, answer.json()["code"]) == (403, "no_allocation")
    assert answer.json()["top_up_url"] == "https://shop.example/buy?org=test-org-llm-001"


def test_batch(server: Running, organization: Organization) -> None:
    charges = [
        organization.charge(credits=60, request_id="first"),
        organization.charge(credits=60, request_id="second"),
        organization.charge(credits=40, request_id="third", user_id="nobody"),
        organization.charge(credits=40, request_id="fourth"),
    ]
    answer = server.post("credits/deduct/batch", {"charges": charges}, key=organization.keys["consume"])
    assert answer.status_code == 200
    outcomes = answer.json()["outcomes"]
    assert [outcome["request_id"] for outcome in outcomes] == ["first", "second", "third", "fourth"]
    assert outcomes[0]["receipt"]["remaining_credits"] == 40
    assert outcomes[1]["problem"]["code"] == "insufficient_credits"
    assert (outcomes[1]["problem"]["required"], outcomes[1]["problem"]["available"]) == (60, 40)
    assert outcomes[1]["problem"]["top_up_url"].endswith(organization.org_id)
    assert outcomes[2]["problem"]["code"] in {"not_a_member", "no_allocation"}
    assert outcomes[3]["receipt"]["remaining_credits"] == 0
    assert "problem" not in outcomes[0]


def test_a_batch_of_a_thousand(server: Running, organization: Organization) -> None:
    metadata = {"note": "x" * 500}
    charges = [organization.charge(credits=0.1, request_metadata=metadata) for _ in range(1_000)]
    answer = server.post("credits/deduct/batch", {"charges": charges}, key=organization.keys["consume"])
    assert answer.status_code == 200
    assert sum("receipt" in outcome for outcome in answer.json()["outcomes"]) == 1_000
    too_many = server.post(
        "credits/deduct/batch", {"charges": [*charges, charges[0]]}, key=organization.keys["consume"]
    )
    assert (too_many.status_code, too_many.json()["code"]) == (422, "validation_failed")
    none = server.post("credits/deduct/batch", {"charges": []}, key=organization.keys["consume"])
    assert none.status_code == 422


@pytest.fixture
def hold(server: Running, organization: Organization) -> dict[str, Any]:
    answer = server.post(
        "credits/holds",
        organization.charge(credits=40, request_id="held", ttl_seconds=60),
        key=organization.keys["consume"],
    )
    assert answer.status_code == 200
    placed: dict[str, Any] = answer.json()
    return placed


def test_hold(server: Running, organization: Organization, hold: dict[str, Any]) -> None:
    assert (hold["credits"], hold["captured_credits"], hold["status"]) == (40, 0, "held")
    lifetime = datetime.fromisoformat(hold["expires_at"]) - datetime.fromisoformat(hold["created_at"])
    assert 59 < lifetime.total_seconds() < 61
    seen = server.get(f"credits/holds/{hold['hold_id']}", key=organization.keys["read"])
    assert seen.json() == hold
    body = {"org_id": organization.org_id, "user_id": organization.member, "credits": 61}
    check = server.post("credits/check", body, key=organization.keys["consume"]).json()
    assert (check["has_sufficient_credits"], check["available_credits"]) == (False, 60)


def test_capture(server: Running, organization: Organization, hold: dict[str, Any]) -> None:
    address = f"credits/holds/{hold['hold_id']}/capture"
    captured = server.post(address, {"credits": 25}, key=organization.keys["consume"])
    assert (captured.status_code, captured.json()["credits_used"]) == (200, 25)
    assert (captured.json()["remaining_credits"], captured.json()["request_id"]) == (75, "held")
    again = server.post(address, {"credits": 25}, key=organization.keys["consume"])
    assert again.json() == captured.json() | {"replayed": True}
    other = server.post(address, {"credits": 26}, key=organization.keys["consume"])  # row 58
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    void = server.post(f"credits/holds/{hold['hold_id']}/void", key=organization.keys["consume"])  # row 57
    assert (void.status_code, void.json()["code"]) == (410, "hold_closed")


def test_capture_all_without_a_body(
    server: Running, organization: Organization, hold: dict[str, Any]
) -> None:
    captured = server.post(f"credits/holds/{hold['hold_id']}/capture", key=organization.keys["consume"])
    assert (captured.status_code, captured.json()["credits_used"]) == (200, 40)


def test_capture_beyond_the_hold(server: Running, organization: Organization, hold: dict[str, Any]) -> None:
    address = f"credits/holds/{hold['hold_id']}/capture"
    beyond = server.post(address, {"credits": 101}, key=organization.keys["consume"])  # row 55
    assert (beyond.status_code, beyond.json()["code"]) == (402, "insufficient_credits")
    covered = server.post(address, {"credits": 99}, key=organization.keys["consume"])
    assert (covered.status_code, covered.json()["remaining_credits"]) == (200, 1)


def test_void(server: Running, organization: Organization, hold: dict[str, Any]) -> None:
    address = f"credits/holds/{hold['hold_id']}"
    voided = server.post(f"{address}/void", key=organization.keys["consume"])
    assert (voided.status_code, voided.json()["status"]) == (200, "voided")
    assert server.post(f"{address}/void", {}, key=organization.keys["consume"]).status_code == 200
    captured = server.post(f"{address}/capture", {}, key=organization.keys["consume"])  # row 56
    assert (captured.status_code, captured.json()["code"]) == (410, "hold_closed")


@pytest.mark.parametrize("ttl", [0, -1, 86_401, 1.5, "soon"])
def test_lifetimes_of_holds(server: Running, shared_organization: Organization, ttl: Any) -> None:
    answer = server.post(
        "credits/holds", shared_organization.charge(ttl_seconds=ttl), key=shared_organization.keys["consume"]
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_refund(server: Running, organization: Organization) -> None:
    key = organization.keys["consume"]
    charge = server.post("credits/deduct", organization.charge(credits=20, request_id="job"), key=key).json()
    part = server.post("credits/refunds", {"charge_id": charge["charge_id"], "credits": 5}, key=key).json()
    assert (part["credits_refunded"], part["refundable_credits"], part["remaining_credits"]) == (5, 15, 85)
    rest = {"request_id": "job", "org_id": organization.org_id, "reason": "Wrong company"}
    answer = server.post("credits/refunds", rest, key=key, headers={"Idempotency-Key": "give-back"})
    assert (answer.json()["credits_refunded"], answer.json()["request_id"]) == (15, "give-back")
    more = server.post("credits/refunds", {"charge_id": charge["charge_id"], "credits": 1}, key=key)
    assert more.status_code in {402, 409, 422}
    assert server.post("credits/refunds", {}, key=key).status_code == 422


def test_pool(server: Running, organization: Organization) -> None:
    pool = server.get(f"credits/{organization.org_id}", bearer=organization.sessions["member"]).json()
    assert (pool["total_credits"], pool["allocated_credits"], pool["available_credits"]) == (1000, 500, 500)


@pytest.mark.parametrize("where", ["query", "body", "text in the body"])
def test_add(server: Running, organization: Organization, where: str) -> None:
    address, session = f"credits/{organization.org_id}/add", organization.sessions["billing_admin"]
    fields = {"credits": 5000, "purchase_amount": 99.5}
    if where == "query":
        answer = server.post(address, bearer=session, params=fields)
    else:
        body = {name: str(value) for name, value in fields.items()} if where.startswith("text") else fields
        answer = server.post(address, body, bearer=session)
    assert answer.status_code == 200
    assert (answer.json()["credits_added"], answer.json()["total_credits"]) == (5000, 6000)
    assert answer.json()["available_credits"] == 5500


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("credits=5", {"credits": 5}),
        ("credits=5&credits=5", None),
        ("credits=5&is_admin=1", None),
        ("a=1", {"credits": 5}),
    ],
    ids=["in both", "given twice", "unknown in the query", "unknown beside the body"],
)
def test_add_names_each_field_once(
    server: Running, shared_organization: Organization, query: str, body: dict[str, int] | None
) -> None:
    address = f"credits/{shared_organization.org_id}/add?{query}"
    answer = server.post(address, body, key=shared_organization.keys["manage"])
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("query", ["credits=0", "credits=-5", "credits=1_0", "credits=NaN", "credits="])
def test_add_in_the_query_checks_amounts(
    server: Running, shared_organization: Organization, query: str
) -> None:
    address = f"credits/{shared_organization.org_id}/add?{query}"
    answer = server.post(address, key=shared_organization.keys["manage"])
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_amount")


def test_other_addresses_take_nothing_in_the_query(server: Running, organization: Organization) -> None:
    answer = server.post(
        "credits/deduct?credits=1", organization.charge(credits=...), key=organization.keys["consume"]
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


def test_allocate(server: Running, organization: Organization) -> None:
    body = {
        "user_id": organization.member,
        "allocated_credits": 50,
        "reset_period": "monthly",
        "notes": "Q4",
    }
    address = f"credits/{organization.org_id}"
    answer = server.post(f"{address}/allocate", body, bearer=organization.sessions["owner"])
    assert answer.status_code == 200
    assert (answer.json()["credits_added"], answer.json()["allocated_credits"]) == (50, 150)
    page = server.get(f"{address}/allocations", bearer=organization.sessions["member"]).json()
    mine = next(item for item in page["items"] if item["user_id"] == organization.member)
    assert (mine["allocated_credits"], mine["reset_period"], mine["notes"]) == (150, "monthly", "Q4")
    too_much = server.post(
        f"{address}/allocate", body | {"allocated_credits": 9_999}, bearer=organization.sessions["owner"]
    )
    assert (too_much.status_code, too_much.json()["limit"]) == (402, "pool")


def test_allocations_are_written_in_the_name_of_who_allocates(
    server: Running, organization: Organization, database: Any
) -> None:
    address = f"credits/{organization.org_id}/allocate"
    body = {"user_id": organization.member, "allocated_credits": 1}
    forged = server.post(address, body | {"allocated_by": "god"}, bearer=organization.sessions["owner"])
    assert (forged.status_code, forged.json()["code"]) == (403, "permission_denied")
    server.post(address, body, bearer=organization.sessions["owner"])
    found = database.execute(
        "select allocated_by from user_credit_allocations where user_id = %s", [organization.member]
    ).fetchone()
    assert found == (organization.users["owner"],)


def test_pages(server: Running, organization: Organization) -> None:
    address, key = f"credits/{organization.org_id}/allocations", organization.keys["read"]
    whole = server.get(address, key=key).json()
    assert whole["next_cursor"] is None
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = server.get(address, key=key, params=query).json()
        assert len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == whole["items"]


def test_user_credits(server: Running, organization: Organization) -> None:
    address = f"credits/user/{organization.member}"
    standing = server.get(address, bearer=organization.sessions["member"]).json()
    assert standing["user_id"] == organization.member
    assert [each["org_id"] for each in standing["organizations"]] == [organization.org_id]
    assert standing["organizations"][0]["remaining_credits"] == 100
    assert server.get(address, key=organization.keys["everywhere"]).json() == standing


def test_user_billing(server: Running, demo: dict[str, Any]) -> None:
    billing = server.get("billing/user", cookie=demo["sessions"]["loopnet-test-1@example.com"]).json()
    assert billing["user_email"] == "loopnet-test-1@example.com"
    assert billing["user_id"] == demo["user_ids"]["loopnet-test-1@example.com"]
    assert [each["org_id"] for each in billing["organizations"]] == ["test-loopnet", "test-org-llm-001"]
    assert billing["organizations"][0]["is_default"] is True
    assert billing["organizations"][0]["subscription_plan"] == "platform"
    assert billing["organizations"][0]["monthly_price"] == 50
    assert "total_usage_last_30_days" in billing


def test_user_billing_of_a_key(server: Running, shared_organization: Organization) -> None:
    key = shared_organization.keys["everywhere"]
    nobody = server.get("billing/user", key=key)
    assert (nobody.status_code, nobody.json()["errors"][0]["loc"]) == (422, ["user_id"])
    named = server.get("billing/user", key=key, params={"user_id": shared_organization.member})
    assert named.json()["organizations"][0]["org_id"] == shared_organization.org_id
    digest = {"session_digest": "0" * 64}
    assert server.get("billing/user", key=key, params=digest).status_code == 422


def test_usage(server: Running, organization: Organization) -> None:
    for credits, service in ((10, "contact_lookup"), (2.5, "valuation")):
        server.post(
            "credits/deduct",
            organization.charge(credits=credits, service_type=service),
            key=organization.keys["consume"],
        )
    address = f"credits/{organization.org_id}/usage"
    usage = server.get(address, bearer=organization.sessions["member"], params={"days": 7}).json()
    assert (usage["total_credits_used"], usage["total_charges"], usage["days"]) == (12.5, 2, 7)
    assert {row["service_type"]: row["credits_used"] for row in usage["by_service"]} == {
        "contact_lookup": 10,
        "valuation": 2.5,
    }


def test_charges(server: Running, organization: Organization) -> None:
    for number in range(3):
        body = organization.charge(request_id=f"job-{number}", request_metadata={"cost": 0.05, "n": number})
        server.post("credits/deduct", body, key=organization.keys["consume"])
    address = f"credits/{organization.org_id}/charges"
    page = server.get(address, key=organization.keys["read"], params={"limit": 2}).json()
    assert [item["request_id"] for item in page["items"]] == ["job-2", "job-1"]
    assert page["items"][0]["request_metadata"] == {"cost": 0.05, "n": 2}
    rest = server.get(address, key=organization.keys["read"], params={"cursor": page["next_cursor"]}).json()
    assert [item["request_id"] for item in rest["items"]] == ["job-0"]
    none = server.get(address, key=organization.keys["read"], params={"user_id": organization.users["owner"]})
    assert none.json()["items"] == []


def test_charges_as_csv(server: Running, organization: Organization) -> None:
    for number in range(2):
        body = organization.charge(request_id=f"job-{number}", service_name="=cmd|' /C calc'!A0")
        server.post("credits/deduct", body, key=organization.keys["consume"])
    address = f"credits/{organization.org_id}/charges?limit=1"
    answer = server.get(address, key=organization.keys["read"], headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-next-cursor"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["request_id"] for row in rows] == ["job-1"]
    assert rows[0]["credits_used"] == "5"
    assert rows[0]["service_name"].startswith("'=")
