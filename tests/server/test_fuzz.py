"""No input gives a 500: whatever stands in the fields, the query, the path and the headers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.routes import ROUTES

if TYPE_CHECKING:
    from httpx import Response

    from reference_server.routes import Route
    from tests.server.conftest import Organization, Running

ODD_TEXTS = [
    "",
    " ",
    "0",
    "-1",
    "1_0",
    "1e5",
    "NaN",
    "true",
    "null",
    "\x00",
    "\ud800",
    "'; --",
    "%s",
    "$1",
    "{}",
    "a" * 300,
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-02-30",
    "infinity",
    "00000000-0000-0000-0000-000000000000",
    "req_once",
    "monthly",
]
ODD_NUMBERS = [0, -1, 1, 0.001, 0.0001, 10**12, 10**12 + 1, 2**31, 2**63, 10**39, 1e300, -0.0]
scalars = st.one_of(
    st.sampled_from(ODD_TEXTS),
    st.sampled_from(ODD_NUMBERS),
    st.text(max_size=40),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def strategy(route: Route, organization: Organization) -> st.SearchStrategy[dict[str, Any]]:
    """Return fields of which some are right, so that the others get as far as they can."""
    right: dict[str, Any] = {
        "org_id": organization.org_id,
        "user_id": organization.member,
        "credits": 0.001,
        "allocated_credits": 0.001,
        "service_type": "contact_lookup",
        "charges": [organization.charge(credits=0.001)],
    }
    fields = {
        name: st.one_of(*([st.just(right[name])] * 3 if name in right else []), values)
        for name in route.address.operation.model_fields
    }
    needed = {name: fields[name] for name in fields if name in right or name in route.address.path_fields}
    others = {name: field for name, field in fields.items() if name not in needed}
    return st.fixed_dictionaries(needed, optional={**others, "unknown": values})


def send(server: Running, organization: Organization, route: Route, fields: dict[str, Any]) -> Response:
    path = route.address.path.format_map(
        {
            name: quote(str(fields.pop(name)).encode("utf-8", "replace"), safe="") or "-"
            for name in sorted(route.address.path_fields)
        }
    )
    session = organization.sessions["system_admin"]
    if not route.address.has_body:
        query = {name: str(value).encode("utf-8", "replace") for name, value in fields.items()}
        return server.request(route.address.method, path, params=query, bearer=session)
    content = json.dumps(fields).encode()
    headers = {"Content-Type": "application/json"}
    return server.request(route.address.method, path, content=content, headers=headers, bearer=session)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.address.operation.__name__)
@settings(max_examples=40, derandomize=True)
@given(data=st.data())
def test_every_input_has_an_answer(
    server: Running, shared_organization: Organization, route: Route, data: st.DataObject
) -> None:
    fields = data.draw(strategy(route, shared_organization))
    answer = send(server, shared_organization, route, fields)
    assert answer.status_code < 500, answer.text
    if answer.is_error:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"]


@settings(max_examples=200, derandomize=True)
@given(body=st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789.eE-ntfaulrs\\ ', max_size=60))
def test_every_body_has_an_answer(
    server: Running, shared_organization: Organization, body: bytes | str
) -> None:
    answer = server.post(
        "credits/deduct",
        content=body,
        key=shared_organization.keys["consume"],
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in {400, 422}
