"""The catalogue of bad input: every row has its status and code, none a 500, and none takes a credit.

The numbers are the rows of the catalogue in RELIABILITY section 5.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from credit_sdk.errors import MalformedRequestError
from reference_server.bodies import read_body

if TYPE_CHECKING:
    from httpx import Response

    from tests.server.conftest import Organization, Running

JSON = {"Content-Type": "application/json"}


def problem(response: Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["detail"]
    return response.status_code, body["code"]


def charge(organization: Organization, **changes: Any) -> bytes:
    return json.dumps(organization.charge(**changes)).encode()


def raw(organization: Organization, **changes: str) -> bytes:
    """Return the body of a charge in which some members are JSON texts, as nobody would encode them."""
    members = {name: json.dumps(value) for name, value in organization.charge().items()} | changes
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}").encode()


INVALID_AMOUNTS = {
    "1 negative": "-5",
    "1 negative fraction": "-0.5",
    "2 zero": "0",
    "2 zero with decimals": "0.000",
    "3 2^63": str(2**63),
    "4 above the largest": "1000000000001",
    "4 just above the largest": "1000000000000.001",
    "5 a fourth decimal": "0.0005",
    "5 a thirtieth decimal": "5.000000000000000000000000000001",
    "6 true": "true",
    "6 false": "false",
    "7 underscore": '"1_0"',
    "8 another script's digit": '"\\u0665"',
    "9 empty text": '""',
    "9 blank": '" 5"',
    "9 hexadecimal": '"0x10"',
    "9 exponent in a text": '"1e2"',
    "9 NaN in a text": '"NaN"',
    "9 a list": "[5]",
    "9 an object": '{"amount": 5}',
    "12 1e308": "1e308",
    "12 1e-308": "1e-308",
}


@pytest.mark.parametrize("amount", INVALID_AMOUNTS.values(), ids=INVALID_AMOUNTS.keys())
@pytest.mark.parametrize("path", ["credits/deduct", "credits/check", "credits/holds"])
def test_amounts_that_are_none(
    server: Running, shared_organization: Organization, path: str, amount: str
) -> None:
    changes = {"credits": amount}
    body = raw(shared_organization, **changes)
    if path == "credits/check":
        body = raw_check(shared_organization, amount)
    response = server.post(path, key=shared_organization.keys["consume"], content=body, headers=JSON)
    assert problem(response) == (400, "invalid_amount")


def raw_check(organization: Organization, amount: str) -> bytes:
    return (
        f'{{"org_id": "{organization.org_id}", "user_id": "{organization.member}", "credits": {amount}}}'
    ).encode()


@pytest.mark.parametrize(
    ("amount", "taken"),
    [
        ("5", 5),
        ("5.5", 5.5),
        ("5.0", 5),
        ('"5"', 5),
        ('"0.001"', 0.001),
        ("0.10", 0.1),
        ("5e0", 5),
        ("5.00000", 5),
    ],
)
def test_amounts_that_are_fine(
    server: Running, organization: Organization, amount: str, taken: float
) -> None:
    body = raw(organization, credits=amount)
    response = server.post("credits/deduct", key=organization.keys["consume"], content=body, headers=JSON)
    assert (response.status_code, response.json()["credits_used"]) == (200, taken)


MALFORMED = {
    "12 NaN": {"credits": "NaN"},
    "13 Infinity": {"credits": "Infinity"},
    "13 -Infinity": {"credits": "-Infinity"},
    "14 1e400": {"credits": "1e400"},
    "15 NaN in metadata": {"request_metadata": '{"a": NaN}'},
    "16 5,000 digits": {"credits": "9" * 5_000},
    "16 41 digits": {"credits": "9" * 41},
    "22 duplicate keys": {"a": '1, "a": 1'},
    "22 duplicate keys in metadata": {"request_metadata": '{"a": 1, "a": 2}'},
    "23 100k nesting": {"credits": "[" * 30_000 + "]" * 30_000},
    "24 depth over 8": {"credits": "[" * 8 + "]" * 8},
}


@pytest.mark.parametrize("changes", MALFORMED.values(), ids=MALFORMED.keys())
def test_members_that_are_not_json(
    server: Running, shared_organization: Organization, changes: dict[str, str]
) -> None:
    body = raw(shared_organization, **changes)
    response = server.post(
        "credits/deduct", key=shared_organization.keys["consume"], content=body, headers=JSON
    )
    assert problem(response) == (400, "malformed_json")


@dataclass(frozen=True)
class Body:
    """A body for `credits/deduct`, made from a good one, and what it must be answered with."""

    change: Any
    status: int
    code: str
    headers: dict[str, str] = field(default_factory=lambda: JSON)


BODIES = {
    "17 empty": Body(lambda _: b"", 400, "malformed_json"),
    "17 blank": Body(lambda _: b"  \n", 400, "malformed_json"),
    "18 truncated": Body(lambda body: body[:-1], 400, "malformed_json"),
    "18 trailing garbage": Body(lambda body: body + b"}", 400, "malformed_json"),
    "19 bad UTF-8": Body(lambda body: body.replace(b"contact", b"\xff"), 400, "malformed_json"),
    "20 UTF-16": Body(lambda body: body.decode().encode("utf-16"), 400, "malformed_json"),
    "21 byte order mark": Body(lambda body: b"\xef\xbb\xbf" + body, 400, "malformed_json"),
    "23 100k nesting": Body(lambda _: b"[" * 60_000, 400, "malformed_json"),
    "25 array": Body(lambda body: b"[" + body + b"]", 422, "validation_failed"),
    "25 text": Body(lambda _: b'"charge"', 422, "validation_failed"),
    "25 number": Body(lambda _: b"5", 422, "validation_failed"),
    "25 null": Body(lambda _: b"null", 422, "validation_failed"),
    "28 over 64 KiB": Body(lambda body: body + b" " * 65_536, 413, "body_too_large"),
    "31 gzip bomb": Body(
        lambda body: gzip.compress(body + b" " * 10_000_000),
        415,
        "unsupported_media_type",
        JSON | {"Content-Encoding": "gzip"},
    ),
    "32 text/plain": Body(lambda body: body, 415, "unsupported_media_type", {"Content-Type": "text/plain"}),
    "32 no type": Body(lambda body: body, 415, "unsupported_media_type", {}),
    "32 another charset": Body(
        lambda body: body, 415, "unsupported_media_type", {"Content-Type": "application/json; charset=utf-16"}
    ),
    "32 problem+json": Body(
        lambda body: body, 415, "unsupported_media_type", {"Content-Type": "application/problem+json"}
    ),
    "79 form": Body(
        lambda _: b"credits=5",
        415,
        "unsupported_media_type",
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
}


@pytest.mark.parametrize("case", BODIES.values(), ids=BODIES.keys())
def test_bodies(server: Running, shared_organization: Organization, case: Body) -> None:
    content = case.change(charge(shared_organization))
    response = server.post(
        "credits/deduct", key=shared_organization.keys["consume"], content=content, headers=case.headers
    )
    assert problem(response) == (case.status, case.code)


def test_a_charset_of_utf_8_is_fine(server: Running, organization: Organization) -> None:
    headers = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    response = server.post(
        "credits/deduct", key=organization.keys["consume"], content=charge(organization), headers=headers
    )
    assert response.status_code == 200


INVALID_FIELDS: dict[str, dict[str, Any]] = {
    "10 null amount": {"credits": None},
    "11 no amount": {"credits": ...},
    "26 no service": {"service_type": ...},
    "26 no user": {"user_id": ...},
    "27 unknown field": {"is_admin": True},
    "27 a method's name": {"model_dump": 1},
    "27 self": {"self": 1},
    "27 a dunder": {"__class__": "x"},
    "34 metadata over 16 KiB": {"request_metadata": {"a": "x" * 17_000}},
    "34 metadata of depth 9": {"request_metadata": json.loads('{"a":' * 9 + "1" + "}" * 9)},
    "34 metadata that is a list": {"request_metadata": [1]},
    "36 U+0000 in an id": {"request_id": "a\x00b"},
    "36 U+0000 in a name": {"service_name": "a\x00b"},
    "37 U+0000 in metadata": {"request_metadata": {"a": "\x00"}},
    "37 U+0000 in a metadata key": {"request_metadata": {"\x00": 1}},
    "38 lone surrogate in an id": {"request_id": "\ud800"},
    "38 lone surrogate in a name": {"service_name": "\udfff"},
    "38 lone surrogate in metadata": {"request_metadata": {"a": "\ud800"}},
    "38 lone surrogate in a metadata key": {"request_metadata": {"\udc00": 1}},
    "38 lone surrogate as a field": {"\ud800": 1},
    "39 empty id": {"request_id": ""},
    "39 empty organisation": {"org_id": ""},
    "40 blank id": {"request_id": "   "},
    "40 blank at the end": {"request_id": "a "},
    "41 id over 255": {"request_id": "x" * 256},
    "41 organisation over 36": {"org_id": "x" * 37},
    "41 service over 100": {"service_type": "x" * 101},
    "42 CR/LF in an id": {"request_id": "a\r\nX-Evil: 1"},
    "42 line feed at the end": {"request_id": "a\n"},
    "42 non-ASCII id": {"request_id": "caf\u00e9"},
    "42 an id that is a number": {"request_id": 7},
    "42 an id that is a list": {"request_id": ["a"]},
    "42 an id that is an object": {"request_id": {}},
    "42 an id that is false": {"request_id": False},
}


@pytest.mark.parametrize("changes", INVALID_FIELDS.values(), ids=INVALID_FIELDS.keys())
@pytest.mark.parametrize("with_header", [False, True], ids=["", "with a key in the header"])
def test_invalid_fields(
    server: Running, shared_organization: Organization, changes: dict[str, Any], with_header: bool
) -> None:
    headers = JSON | ({"Idempotency-Key": "in-the-header"} if with_header else {})
    body = charge(shared_organization, **changes)
    response = server.post(
        "credits/deduct", key=shared_organization.keys["consume"], content=body, headers=headers
    )
    assert problem(response) == (422, "validation_failed")
    errors = response.json()["errors"]
    assert errors
    assert all(set(error) == {"loc", "msg", "type"} for error in errors)


def test_hostile_keys_in_metadata_are_inert(server: Running, organization: Organization) -> None:  # row 35
    metadata = {"__proto__": {"polluted": True}, "constructor": {"prototype": {}}, "$where": "1"}
    body = organization.charge(request_metadata=metadata)
    taken = server.post("credits/deduct", body, key=organization.keys["consume"])
    assert taken.status_code == 200
    page = server.get(f"credits/{organization.org_id}/charges", key=organization.keys["read"]).json()
    assert page["items"][0]["request_metadata"] == metadata


SQL = "'); drop table credit_holds; -- $1 %s {org_id} \\"


@pytest.mark.parametrize("field", ["org_id", "user_id", "service_type", "service_name", "request_id"])
def test_sql_is_stored_inert(server: Running, organization: Organization, field: str) -> None:  # row 91
    body = organization.charge(**{field: SQL[:36] if field == "org_id" else SQL})
    response = server.post("credits/deduct", body, key=organization.keys["everywhere"])
    if field in {"org_id", "user_id"}:
        assert response.status_code in {403, 404}
    else:
        assert (response.status_code, response.json()[field]) == (200, SQL)


def test_sql_in_paths_and_queries(server: Running, organization: Organization) -> None:  # row 91
    key = organization.keys["everywhere"]
    pool = server.get("credits/%27%3B%20select%201%3B%20--", key=key)
    assert pool.status_code in {403, 404}
    page = server.get(
        f"credits/{organization.org_id}/charges", key=organization.keys["read"], params={"user_id": SQL}
    )
    assert (page.status_code, page.json()["items"]) == (200, [])


QUERIES = {
    "92 limit of 10^9": ("charges", {"limit": "1000000000"}),
    "92 limit of 10^30": ("charges", {"limit": "1" + "0" * 30}),
    "92 limit of nothing": ("charges", {"limit": ""}),
    "92 limit with an underscore": ("charges", {"limit": "1_0"}),
    "92 limit with blanks": ("charges", {"limit": " 10 "}),
    "92 limit of zero": ("allocations", {"limit": "0"}),
    "93 negative days": ("usage", {"days": "-1"}),
    "93 no days": ("usage", {"days": "0"}),
    "93 half a day": ("usage", {"days": "0.5"}),
    "93 the days of a millennium": ("usage", {"days": "365000"}),
    "94 forged cursor": ("charges", {"cursor": "bm90IGEgY3Vyc29y"}),
    "94 a cursor of other signs": ("charges", {"cursor": "'; --"}),
    "94 forged cursor of allocations": ("allocations", {"cursor": "AAAA"}),
    "since yesterday": ("charges", {"since": "yesterday"}),
    "since a second of 1970": ("charges", {"since": "1115"}),
    "since a second before 1970": ("charges", {"since": "-1115"}),
    "unknown parameter": ("usage", {"page": "1"}),
    "the path's own name": ("usage", {"org_id": "other"}),
}


@pytest.mark.parametrize(("path", "query"), QUERIES.values(), ids=QUERIES.keys())
def test_queries(
    server: Running, shared_organization: Organization, path: str, query: dict[str, str]
) -> None:
    address = f"credits/{shared_organization.org_id}/{path}"
    response = server.get(address, key=shared_organization.keys["read"], params=query)
    assert problem(response) == (422, "validation_failed")


@pytest.mark.parametrize(
    "query",
    ["days=1&days=2", "days=%FF", "&".join(f"a{n}=1" for n in range(60))],
    ids=["given twice", "not UTF-8", "sixty of them"],
)
def test_queries_that_cannot_be_read(server: Running, shared_organization: Organization, query: str) -> None:
    address = f"credits/{shared_organization.org_id}/usage?{query}"
    response = server.get(address, key=shared_organization.keys["read"])
    assert problem(response) == (422, "validation_failed")


@pytest.mark.parametrize(
    "path",
    ["credits/holds/not-a-uuid", "credits/caf%C3%A9", "credits/%FF%FE", "credits/%00", "credits/a%0Ab"],
)
def test_paths_that_name_nothing(server: Running, shared_organization: Organization, path: str) -> None:
    response = server.get(path, key=shared_organization.keys["everywhere"])
    assert problem(response) in {(422, "validation_failed"), (403, "not_a_member")}


def test_a_chunked_body_without_length(server: Running, organization: Organization) -> None:  # row 29
    def chunks(size: int) -> Any:
        yield charge(organization)
        for _ in range(size):
            yield b" " * 1_000

    small = server.post("credits/deduct", key=organization.keys["consume"], content=chunks(3), headers=JSON)
    assert small.status_code == 200
    large = server.post("credits/deduct", key=organization.keys["consume"], content=chunks(70), headers=JSON)
    assert problem(large) == (413, "body_too_large")


def speak(server: Running, *parts: bytes) -> bytes:
    """Send bytes as they are and return what comes back until the server closes."""
    host, port = server.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def head(server: Running, key: str, *headers: str) -> bytes:
    lines = [
        "POST /api/v1/org-billing/credits/deduct HTTP/1.1",
        f"Host: {server.base_url.removeprefix('http://')}",
        f"X-API-Key: {key}",
        "Content-Type: application/json",
        "Connection: close",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_smuggling_is_refused(server: Running, organization: Organization) -> None:  # row 99
    both = head(server, organization.keys["consume"], "Content-Length: 4", "Transfer-Encoding: chunked")
    assert speak(server, both, b"0\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_two_lengths_are_refused(server: Running, organization: Organization) -> None:  # row 30
    both = head(server, organization.keys["consume"], "Content-Length: 4", "Content-Length: 5")
    assert speak(server, both, b"12345").startswith(b"HTTP/1.1 400 ")


def test_a_body_longer_than_it_says(server: Running, organization: Organization) -> None:  # row 30
    answer = speak(
        server, head(server, organization.keys["consume"], "Content-Length: 20"), charge(organization)
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "malformed_json"' in answer


@pytest.mark.parametrize("declared", ["3", "5", "-4", "+4", "four", "4" * 100])
def test_a_length_that_lies(declared: str) -> None:  # row 30, where a server in front lets it through
    async def receive() -> Any:
        return {"type": "http.request", "body": b"{}{}"}

    scope = {"type": "http", "headers": [(b"content-length", declared.encode())]}
    with pytest.raises(MalformedRequestError):
        asyncio.run(read_body(Request(scope, receive), largest=10**200, seconds=10))


def test_a_body_that_never_comes(server: Running, organization: Organization) -> None:  # row 33
    answer = speak(server, head(server, organization.keys["consume"], "Content-Length: 100"), b'{"org')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "timeout"' in answer
    assert b"connection: close" in answer.lower()


def test_nothing_is_said_about_a_body_before_it_is_known_who_asks(server: Running) -> None:  # row 66
    for content, headers in ((b"{", JSON), (b"x", {}), (b" " * 100_000, JSON)):
        response = server.post("credits/deduct", content=content, headers=headers)
        assert problem(response) == (401, "not_authenticated")


@pytest.mark.parametrize("path", ["credits/nowhere/at/all", "nothing", "credits/deduct/"])
def test_unknown_addresses(server: Running, shared_organization: Organization, path: str) -> None:
    assert problem(server.get(path)) == (401, "not_authenticated")
    assert problem(server.get(path, key=shared_organization.keys["read"])) == (404, "not_found")


def test_reading_an_address_that_writes(server: Running, shared_organization: Organization) -> None:  # row 80
    address = f"credits/{shared_organization.org_id}/add?credits=5000"
    session = shared_organization.sessions["owner"]
    response = server.get(address, cookie=session)
    assert problem(response) == (405, "method_not_allowed")
    assert response.headers["allow"] == "OPTIONS, POST"


def test_no_bad_input_took_a_credit(server: Running, shared_organization: Organization) -> None:
    page = server.get(f"credits/{shared_organization.org_id}/charges", key=shared_organization.keys["read"])
    assert (page.status_code, page.json()["items"]) == (200, [])


def test_a_random_id_is_no_hold(server: Running, shared_organization: Organization) -> None:  # row 62
    response = server.get(f"credits/holds/{uuid.uuid4()}", key=shared_organization.keys["read"])
    assert problem(response) == (404, "not_found")
