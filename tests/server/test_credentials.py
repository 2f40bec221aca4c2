"""Who is calling, and how that is proved."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from reference_server import auth
from reference_server.callers import SCOPES
from reference_server.credentials import create_api_key, digest, open_session
from reference_server.identities import find_caller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx import Response

    from tests.server.conftest import Organization, Running, StartServer

NOBODY = (401, "not_authenticated")
INVALID = (401, "invalid_token")
EXPIRED = (401, "token_expired")


def outcome(response: Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.mark.parametrize("place", ["bearer", "cookie"])
def test_a_session_is_a_bearer_or_a_cookie(server: Running, organization: Organization, place: str) -> None:
    credential: dict[str, Any] = {place: organization.sessions["member"]}
    answer = server.get("billing/user", **credential)
    assert answer.json()["user_id"] == organization.member


@pytest.mark.parametrize("place", ["bearer", "key"])
def test_a_key_is_a_bearer_or_a_key(server: Running, organization: Organization, place: str) -> None:
    credential: dict[str, Any] = {place: organization.keys["read"]}
    answer = server.get(f"credits/{organization.org_id}", **credential)
    assert answer.status_code == 200


def test_what_is_said_explicitly_goes_before_the_cookie(server: Running, organization: Organization) -> None:
    member, owner = organization.sessions["member"], organization.sessions["owner"]
    answer = server.get("billing/user", bearer=member, cookie=owner)
    assert answer.json()["user_id"] == organization.member
    assert outcome(server.get("billing/user", bearer="nobody", cookie=owner)) == INVALID


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer cst_unknown"},
        {"Authorization": "Bearer csk_unknown"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="},
        {"Authorization": "cst_without_a_scheme"},
        {"Authorization": "Bearer " + "x" * 10_000},
        {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9."},
        {"Authorization": "Bearer ' OR true --"},
        {"X-API-Key": "unknown"},
        {"X-API-Key": ""},
        {"Cookie": "session_token=unknown"},
        {"Cookie": 'session_token="\\377"'},
    ],
    ids=lambda headers: next(iter(headers.items()))[1][:40],
)
def test_unknown_credentials(server: Running, headers: dict[str, str]) -> None:  # rows 67, 69, 76, 77
    answer = server.post("credits/deduct", content=b"{", headers=headers)
    assert outcome(answer) == INVALID
    assert answer.headers["www-authenticate"] == 'Bearer realm="credits", error="invalid_token"'


@pytest.mark.parametrize("headers", [{}, {"Cookie": "other=1"}, {"Cookie": "session_token="}], ids=str)
def test_no_credential(server: Running, headers: dict[str, str]) -> None:  # row 66
    answer = server.get("billing/user", headers=headers)
    assert outcome(answer) == NOBODY
    assert answer.headers["www-authenticate"] == 'Bearer realm="credits"'


def test_tampering_with_any_sign_is_noticed(server: Running, organization: Organization) -> None:  # row 77
    token = organization.sessions["member"]
    for place in (0, 4, len(token) // 2, len(token) - 1):
        sign = "A" if token[place] != "A" else "B"
        answer = server.get("billing/user", bearer=token[:place] + sign + token[place + 1 :])
        assert outcome(answer) == INVALID
    assert outcome(server.get("billing/user", bearer=token.upper())) == INVALID


def test_credentials_in_the_wrong_place(server: Running, organization: Organization) -> None:
    assert outcome(server.get("billing/user", key=organization.sessions["member"])) == INVALID
    address = f"credits/{organization.org_id}"
    assert outcome(server.get(address, cookie=organization.keys["read"])) == INVALID
    both = server.get(address, key=organization.keys["read"], bearer=organization.keys["read"])
    assert outcome(both) == INVALID


def test_an_expired_session(server: Running, organization: Organization, database: Any) -> None:  # row 75
    token = open_session(database, organization.member, ttl=timedelta(seconds=-1))
    assert outcome(server.get("billing/user", bearer=token)) == EXPIRED


def test_a_revoked_session(server: Running, organization: Organization, database: Any) -> None:  # row 68
    token = organization.sessions["member"]
    assert server.get("billing/user", bearer=token).status_code == 200
    database.execute("update auth_sessions set revoked_at = now() where token_digest = %s", [digest(token)])
    assert outcome(server.get("billing/user", bearer=token)) == INVALID


def test_revoked_and_expired_keys(server: Running, organization: Organization, database: Any) -> None:
    key = create_api_key(database, "short", ["read_credits"], org_id=organization.org_id)
    address = f"credits/{organization.org_id}"
    assert server.get(address, key=key).status_code == 200
    database.execute("update api_keys set expires_at = now() where key_digest = %s", [digest(key)])
    assert outcome(server.get(address, key=key)) == EXPIRED
    database.execute("update api_keys set revoked_at = now() where key_digest = %s", [digest(key)])
    assert outcome(server.get(address, key=key)) == INVALID


def test_a_user_who_was_switched_off(server: Running, organization: Organization, database: Any) -> None:
    database.execute(
        "insert into users (subject, email) values (%s, %s)",
        [organization.member, f"{organization.member}@example.com"],
    )
    token = organization.sessions["member"]
    assert server.get("billing/user", bearer=token).status_code == 200
    database.execute("update users set is_active = false where subject = %s", [organization.member])
    assert outcome(server.get("billing/user", bearer=token)) == INVALID


def test_a_user_who_left_the_organisation(server: Running, organization: Organization, database: Any) -> None:
    address, token = f"credits/{organization.org_id}", organization.sessions["admin"]
    assert server.get(address, bearer=token).status_code == 200
    database.execute("delete from organization_members where user_id = %s", [organization.users["admin"]])
    assert outcome(server.get(address, bearer=token)) == (403, "not_a_member")


def test_a_key_is_believed_for_a_while(
    start_server: StartServer, organization: Organization, database: Any
) -> None:
    server = start_server(key_cache_seconds=60)
    address, key = f"credits/{organization.org_id}", organization.keys["read"]
    assert server.get(address, key=key).status_code == 200
    database.execute("update api_keys set revoked_at = now() where key_digest = %s", [digest(key)])
    assert server.get(address, key=key).status_code == 200
    assert outcome(start_server().get(address, key=key)) == INVALID


@contextmanager
def without(database: Any, *functions: str) -> Iterator[None]:
    """Take functions away from the server for a while."""
    for function in functions:
        database.execute(f"revoke execute on function {function} from credits_app")
    try:
        yield
    finally:
        for function in functions:
            database.execute(f"grant execute on function {function} to credits_app")


def test_a_charge_with_a_known_key_asks_the_database_once(
    start_server: StartServer, organization: Organization, database: Any
) -> None:
    server, key = start_server(key_cache_seconds=60), organization.keys["consume"]
    hold = server.post("credits/holds", organization.charge(), key=key).json()
    with without(database, "identity.find_caller", "ledger.get_hold", "ledger.check_credits"):
        assert server.post("credits/deduct", organization.charge(), key=key).status_code == 200
        assert server.post(f"credits/holds/{hold['hold_id']}/capture", key=key).status_code == 200
        stranger = server.post(
            "credits/deduct", organization.charge(), bearer=organization.sessions["member"]
        )
        assert (stranger.status_code, stranger.json()["code"]) == (503, "unavailable")


def test_only_digests_are_kept(database: Any, organization: Organization) -> None:
    for table, column in (("auth_sessions", "token_digest"), ("api_keys", "key_digest")):
        rows = database.execute(f"select row_to_json(t)::text from {table} t").fetchall()  # noqa: S608
        text = "".join(row[0] for row in rows)
        for secret in (*organization.sessions.values(), *organization.keys.values()):
            assert secret not in text
        assert column in text


def test_secrets_have_256_bits(organization: Organization) -> None:
    secrets = [*organization.sessions.values(), *organization.keys.values()]
    assert len(set(secrets)) == len(secrets)
    assert all(secret[:4] in {"cst_", "csk_"} and len(secret) == 47 for secret in secrets)


def test_every_scope_is_known_to_the_database(database: Any) -> None:
    assert create_api_key(database, "everything", SCOPES)
    with pytest.raises(psycopg.errors.CheckViolation):
        create_api_key(database, "too much", ["everything"])


def test_a_credential_is_looked_up_by_its_digest(
    server: Running, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:  # row 109
    asked: list[bytes] = []

    async def spy(backend: Any, token_digest: bytes) -> Any:
        asked.append(token_digest)
        return await find_caller(backend, token_digest)

    monkeypatch.setattr(auth, "find_caller", spy)
    key = organization.keys["read"]
    for token in (key, key[:-1] + ("A" if key[-1] != "A" else "B")):
        server.get(f"credits/{organization.org_id}", key=token)
    # Whoever guesses learns nothing from the time of an answer: one sign more changes the whole digest.
    assert [len(known) for known in asked] == [32, 32]
    assert asked[0] == sha256(key.encode()).digest() != asked[1]


@pytest.mark.parametrize(("table", "column"), [("api_keys", "key_digest"), ("auth_sessions", "token_digest")])
def test_digests_are_found_by_index(database: Any, table: str, column: str) -> None:  # row 109
    with database.transaction(force_rollback=True):
        database.execute("set local enable_seqscan = off")
        plan = database.execute(f"explain select from {table} where {column} = %s", [b"\0" * 32]).fetchall()
    assert "Index" in plan[0][0]
    assert f"({column} = " in str(plan)
