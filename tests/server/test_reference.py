"""The OpenAPI document and the page made from it."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jsonschema_rs
import pytest
from pydantic import TypeAdapter, ValidationError

from credit_sdk.amounts import Credits, MonthlyPrice, Price
from credit_sdk.errors import InvalidAmountError, ValidationFailedError
from credit_sdk.operations import Refund, parse
from credit_sdk.wire import ADDRESSES, CROSS_APP_ADDRESSES
from reference_server.llm.requests import SERVICES

if TYPE_CHECKING:
    from credit_sdk.wire import Address
    from tests.server.conftest import Connection, Running

SYSTEM = "/api/v1/org-billing/billing/system"
REFUNDS = "/api/v1/org-billing/credits/refunds"
NULL = {"type": "null"}
STRIPE = ("create-checkout-session", "products", "user-subscriptions", "webhook")


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
    of_operations = {
        (address.method, address.path, address.operation.__name__)
        for address in (*ADDRESSES, *CROSS_APP_ADDRESSES)
    }
    assert described >= of_operations
    assert {path for _, path, _ in described - of_operations} == {
        *(f"/api/v1/llm{path}" for path in (*SERVICES, "/models", "/models/{model}")),
        "/api/v1/llm/organizations/{org_id}/keys",
        "/api/v1/llm/organizations/{org_id}/keys/{provider}",
        *(f"/api/stripe/{name}" for name in STRIPE),
        *("/healthz", "/readyz", "/metrics"),
    }
    assert len({name for _, _, name in described}) == len(described)


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
    assert " ".join(deduct["responses"]) == "200 400 401 402 403 406 408 409 413 415 422 429 503"
    assert not {"400", "402", "404", "409"} & document["paths"][SYSTEM]["get"]["responses"].keys()
    refusal = document["components"]["responses"]["402"]
    assert list(refusal["content"]) == ["application/problem+json"]
    [_, said] = refusal["content"]["application/problem+json"]["schema"]["allOf"]
    assert said["properties"] == {"status": {"const": 402}, "code": {"enum": ["insufficient_credits"]}}
    assert document["components"]["responses"]["503"]["headers"].keys() == {"X-Request-ID", "Retry-After"}


@pytest.mark.parametrize(
    "address",
    [each for each in (*ADDRESSES, *CROSS_APP_ADDRESSES) if each.has_body],
    ids=lambda each: each.operation.__name__,
)
def test_every_body_has_an_example_that_fits(document: dict[str, Any], address: Address) -> None:
    content = document["paths"][address.path][address.method.lower()]["requestBody"]["content"]
    example = content["application/json"]["example"]
    in_path = dict.fromkeys(address.path_fields, str(UUID(int=0)))
    fields = {wire: name for name, wire in address.wire_names.items()}
    named = {fields.get(name, name): value for name, value in example.items()}
    assert isinstance(parse(address.operation, {**in_path, **named}), address.operation)
    schema = content["application/json"]["schema"]
    validator = jsonschema_rs.validator_for({**schema, "components": document["components"]})
    assert validator.is_valid(example)


def test_examples_of_the_gateway_fit_and_name_models_on_offer(
    document: dict[str, Any], database: Connection
) -> None:
    names = {row[0] for row in database.execute("SELECT model FROM llm_models").fetchall()}
    for path in SERVICES:
        content = document["paths"][f"/api/v1/llm{path}"]["post"]["requestBody"]["content"]
        said = content["application/json"]
        assert said["example"]["model"] in names
        validator = jsonschema_rs.validator_for({**said["schema"], "components": document["components"]})
        assert validator.is_valid(said["example"])


def test_what_may_be_left_out_of_a_body_may_be_null(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["PlaceHold"]
    nullable = {name for name, field in fields["properties"].items() if NULL in field.get("anyOf", [])}
    assert nullable == fields["properties"].keys() - fields["required"]


CHARGE_ID, ORG_ID = str(UUID(int=7)), "test-loopnet"


@pytest.mark.parametrize(
    ("refund", "fits"),
    [
        ({"charge_id": CHARGE_ID}, True),
        ({"charge_id": CHARGE_ID, "org_id": ORG_ID, "request_id": None}, True),
        ({"request_id": "job-7", "org_id": ORG_ID}, True),
        ({"request_id": "job-7"}, False),
        ({"charge_id": CHARGE_ID, "org_id": ORG_ID, "request_id": "job-7"}, False),
        ({}, False),
    ],
)
def test_a_refund_names_one_charge(document: dict[str, Any], refund: dict[str, Any], fits: bool) -> None:
    assert document["paths"][REFUNDS]["post"]["requestBody"]["required"] is True
    reference = {"$ref": "#/components/schemas/Refund", "components": document["components"]}
    assert jsonschema_rs.validator_for(reference).is_valid(refund) == fits
    with nullcontext() if fits else pytest.raises(ValidationFailedError):
        parse(Refund, {name: value for name, value in refund.items() if value is not None})


AMOUNT_TEXTS = [
    "0", "0.000", "-0", "-0.00", "0.001", "0.0001", "0.0010", "00.001", "1", "007",
    "1.", ".5", "-1", "+1", "1e3", " 1", "1 ",
    "999999999999.999", "1000000000000", "1000000000000.000", "1000000000000.001", "1000000000001",
    "9999999999.99", "9999999999.990", "9999999999.991", "10000000000", "12.34", "12.345", "", "1" * 13,
    "0" * 29 + "1", "0" * 30 + "1", "1." + "0" * 30, "1." + "0" * 31,
]  # fmt: skip


@pytest.mark.parametrize("text", AMOUNT_TEXTS)
@pytest.mark.parametrize("kind", [Credits, Price, MonthlyPrice], ids=["Credits", "Price", "MonthlyPrice"])
def test_amounts_in_text_are_described_exactly(kind: Any, text: str) -> None:
    adapter = TypeAdapter(kind)
    described = jsonschema_rs.validator_for(adapter.json_schema()).is_valid(text)
    try:
        adapter.validate_python(text)
    except (ValidationError, InvalidAmountError):
        assert not described
    else:
        assert described


def test_the_page_needs_no_network(server: Running) -> None:
    answer = server.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "POST /api/v1/org-billing/credits/deduct" in answer.text
    assert not re.search(r"<script|<link|<img|https?://", answer.text)
