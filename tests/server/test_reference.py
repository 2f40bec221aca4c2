"""The OpenAPI document and the page made from it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk.wire import ADDRESSES

if TYPE_CHECKING:
    from tests.server.conftest import Running


@pytest.fixture(scope="module")
def document(server: Running) -> dict[str, Any]:
    answer = server.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    loaded: dict[str, Any] = answer.json()
    return loaded


def test_every_address_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    described = {
        (method.upper(), path, operation["operationId"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described == {(address.method, address.path, address.operation.__name__) for address in ADDRESSES}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        place: Any = document
        for name in reference.split("/"):
            place = place[name]


def test_nothing_is_described_that_nobody_refers_to(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for kind in ("schemas", "responses", "headers"):
        for name in document["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text


def test_fields_stand_in_one_place(document: dict[str, Any]) -> None:
    allocate = document["paths"]["/api/v1/org-billing/credits/{org_id}/allocate"]["post"]
    assert [(field["name"], field["in"]) for field in allocate["parameters"]] == [
        ("org_id", "path"),
        ("Idempotency-Key", "header"),
    ]
    body = allocate["requestBody"]["content"]["application/json"]["schema"]
    assert "org_id" not in body["properties"]
    assert body["required"] == ["user_id", "allocated_credits"]
    assert body["additionalProperties"] is False
    add = document["paths"]["/api/v1/org-billing/credits/{org_id}/add"]["post"]
    assert ("credits", "query") in [(field["name"], field["in"]) for field in add["parameters"]]
    assert add["requestBody"]["required"] is False
    billing = document["paths"]["/api/v1/org-billing/billing/user"]["get"]
    assert [field["name"] for field in billing["parameters"]] == ["user_id"]


def test_problems_are_described(document: dict[str, Any]) -> None:
    deduct = document["paths"]["/api/v1/org-billing/credits/deduct"]["post"]
    wanted = {"200", "400", "401", "402", "403", "409", "413", "415", "422", "429", "503"}
    assert wanted <= deduct["responses"].keys()
    refusal = document["components"]["responses"]["402"]
    assert list(refusal["content"]) == ["application/problem+json"]
    assert document["components"]["responses"]["503"]["headers"].keys() == {"X-Request-ID", "Retry-After"}


def test_the_page_needs_no_network(server: Running) -> None:
    answer = server.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "POST /api/v1/org-billing/credits/deduct" in answer.text
    assert not re.search(r"<script|<link|<img|https?://", answer.text)
