"""Users who log in from other applications: sessions, permissions, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jwt
import pytest

from credit_sdk.operations import GrantCredits
from reference_server import passwords
from reference_server.credentials import register_app, rotate_signing_key
from reference_server.crossapp.tokens import ALGORITHM, SigningKey
from reference_server.passwords import hash_password

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from credit_sdk.backends.sql import SqlBackend
    from tests.server.conftest import Connection, Running, StartServer

ALL = ("read_user_info", "read_credits", "consume_credits", "purchase_credits", "manage_subscriptions")
PASSWORD = "correct horse"
HASHED = hash_password(PASSWORD)


@dataclass(frozen=True)
class Customer:
    """A user with 100 credits, in an application."""

    server: Running
    app_id: str
    api_key: str
    id: int
    email: str

    def post(self, path: str, body: dict[str, Any], **more: Any) -> httpx.Response:
        return self.server.post(f"/api/cross-app/{path}", {"app_id": self.app_id} | body, **more)

    def get(self, path: str, token: str, **more: Any) -> httpx.Response:
        address = f"/api/cross-app/{path}"
        return self.server.get(address, params={"app_id": self.app_id}, bearer=token, **more)

    def log_in(self, **changes: Any) -> httpx.Response:
        return self.post("auth", {"email": self.email, "password": PASSWORD} | changes)

    def token(self) -> str:
        answer = self.log_in()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["session_token"])


@pytest.fixture
def make_customer(server: Running, database: Connection, owner_ledger: SqlBackend) -> Callable[..., Customer]:
    def make(*permissions: str, key_required: bool = False, password_hash: str = HASHED) -> Customer:
        app_id, email = f"app-{secrets.token_hex(6)}", f"{secrets.token_hex(6)}@example.com"
        key = register_app(database, app_id, "An application", permissions or ALL, key_required=key_required)
        statement = "INSERT INTO users (email, name, password_hash) VALUES (%s, 'Some One', %s) RETURNING id"
        row = database.execute(statement, [email, password_hash]).fetchone()
        assert row
        grant = {"user_id": row[0], "credits": 100, "description": "Opening balance"}
        owner_ledger.execute(GrantCredits(**grant))
        return Customer(server, app_id, key, row[0], email)

    return make


@pytest.fixture
def customer(make_customer: Callable[..., Customer]) -> Customer:
    return make_customer()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


INVALID = (401, "invalid_token")


def test_logging_in_answers_who_it_is_and_what_the_application_may(customer: Customer) -> None:
    answer = customer.log_in(app_user_id="7", app_metadata={"version": "1.0.0", "ratio": 0.5})
    body = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert body["user"] == {
        "user_id": customer.id,
        "email": customer.email,
        "name": "Some One",
        "user_type": "customer",
        "is_admin": False,
        "is_customer": True,
        "credits": 100,
        "permissions": sorted(ALL),
    }
    assert body["app_info"]["app_id"] == customer.app_id
    assert body["permissions"] == sorted(ALL)
    claims = jwt.decode(body["session_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 24 * 60 * 60


def test_the_names_of_every_answer(customer: Customer) -> None:
    token = customer.token()
    body = {"session_token": token}
    check = customer.post("credits/check", body | {"required_credits": 101}).json()
    assert check["user_id"] == customer.id
    assert check["current_balance"] == check["current_credits"] == check["required_credits"] - 1 == 100
    assert check["has_sufficient_credits"] is check["can_consume"] is False
    assert isinstance(check["available_packages"], list)
    taken = customer.post("credits/consume", body | {"credits": 2.5, "service": "print"}).json()
    assert taken["success"] is True
    assert (taken["credits_consumed"], taken["new_balance"], taken["remaining_credits"]) == (2.5, 97.5, 97.5)
    assert isinstance(taken["transaction_id"], int)
    assert customer.get("user-info", token).json()["credits"] == 97.5
    assert "packages" in customer.get("credits/packages", token).json()
    assert customer.get("credits/subscriptions", token).json() == {"subscriptions": []}
    refreshed = customer.post("refresh-token", body).json()
    assert refreshed["new_session_token"] == refreshed["newSessionToken"] != token
    assert refreshed["expires_at"] == refreshed["expiresAt"]
    assert refreshed["permissions"] == sorted(ALL)
    assert customer.server.get("/api/cross-app/health").json() == {"status": "healthy"}


def test_who_is_unknown_and_who_is_mistaken_get_equal_answers(customer: Customer) -> None:
    answers = [customer.log_in(password="wrong"), customer.log_in(email=f"x{customer.email}")]
    bodies = [answer.json() | {"request_id": ""} for answer in answers]
    assert bodies[0] == bodies[1]
    assert [refusal(answer) for answer in answers] == [INVALID, INVALID]


def test_who_is_unknown_costs_as_much_work(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    class Counting(type(passwords._HASHER)):  # type: ignore[misc]  # its kind is the library's
        def verify(self, hash: str, password: str) -> bool:
            compared.append(hash.rpartition("$")[0].rpartition("$")[0])
            return bool(super().verify(hash, password))

    monkeypatch.setattr(passwords, "_HASHER", Counting())
    customer.log_in(password="wrong")
    customer.log_in(email=f"x{customer.email}")
    known, unknown = compared
    assert known == unknown


def test_who_was_switched_off_has_no_session(customer: Customer, database: Connection) -> None:
    token = customer.token()
    database.execute("UPDATE users SET is_active = FALSE WHERE id = %s", [customer.id])
    assert refusal(customer.log_in()) == INVALID
    assert refusal(customer.get("user-info", token)) == INVALID


def test_an_old_hash_is_replaced_when_its_user_logs_in(
    make_customer: Callable[..., Customer], database: Connection
) -> None:
    digest = hashlib.scrypt(PASSWORD.encode(), salt=bytes(16), n=16, r=8, p=1, dklen=32).hex()
    old = f"$scrypt$ln=4,r=8,p=1${'00' * 16}${digest}"
    someone = make_customer(password_hash=old)
    assert refusal(someone.log_in(password="wrong")) == INVALID
    someone.token()
    row = database.execute("SELECT password_hash FROM users WHERE id = %s", [someone.id]).fetchone()
    assert row
    assert row[0].startswith("$argon2id$")
    someone.token()


def test_a_token_of_one_application_is_not_valid_for_another(make_customer: Callable[..., Customer]) -> None:
    one, other = make_customer(), make_customer()
    token = one.token()
    for path in ("credits/check", "credits/consume", "refresh-token", "logout"):
        body = {"session_token": token, "credits": 1, "service": "print"}
        assert refusal(other.post(path, body)) == INVALID
    assert other.post("validate-token", {"session_token": token}).json()["valid"] is False
    assert one.post("validate-token", {"session_token": token}).json()["valid"] is True


def test_a_session_that_was_ended_stays_ended(customer: Customer) -> None:
    token = customer.token()
    assert customer.post("logout", {"session_token": token}).json() == {"success": True}
    assert refusal(customer.post("credits/check", {"session_token": token})) == INVALID
    assert refusal(customer.post("refresh-token", {"session_token": token})) == INVALID
    assert customer.post("validate-token", {"session_token": token}).json()["valid"] is False


def jti_of(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])


def test_an_exchanged_token_works_until_its_grace_is_over(customer: Customer, database: Connection) -> None:
    token = customer.token()
    first, second = (customer.post("refresh-token", {"session_token": token}) for _ in range(2))
    assert first.json()["new_session_token"] != second.json()["new_session_token"]
    assert customer.get("user-info", token).status_code == 200
    database.execute(
        "UPDATE cross_app_sessions SET revoked_at = revoked_at - interval '61 s' WHERE jti = %s",
        [jti_of(token)],
    )
    assert refusal(customer.get("user-info", token)) == INVALID
    assert refusal(customer.post("refresh-token", {"session_token": token})) == INVALID
    assert customer.get("user-info", second.json()["new_session_token"]).status_code == 200


@pytest.mark.parametrize(
    ("permission", "method", "path", "body"),
    [
        ("read_user_info", "GET", "user-info", None),
        ("read_credits", "POST", "credits/check", {}),
        ("read_credits", "GET", "credits/packages", None),
        ("consume_credits", "POST", "credits/consume", {"credits": 1, "service": "print"}),
        (
            "purchase_credits",
            "POST",
            "credits/purchase",
            {"package_id": "a", "return_url": "https://a.example"},
        ),
        ("manage_subscriptions", "GET", "credits/subscriptions", None),
    ],
)
def test_what_an_application_is_not_permitted(
    make_customer: Callable[..., Customer],
    permission: str,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    someone = make_customer(*(each for each in ALL if each != permission))
    token = someone.token()
    if method == "GET":
        answer = someone.get(path, token)
    else:
        answer = someone.post(path, {"session_token": token} | (body or {}))
    assert refusal(answer) == (403, "permission_denied")
    assert permission in answer.json()["detail"]


def test_permissions_that_are_taken_away_count_at_once(customer: Customer, database: Connection) -> None:
    token = customer.token()
    database.execute("UPDATE app_integrations SET permissions = '{}' WHERE app_id = %s", [customer.app_id])
    assert refusal(customer.get("user-info", token)) == (403, "permission_denied")
    answer = customer.log_in().json()
    assert (answer["permissions"], answer["user"]["email"], answer["user"]["credits"]) == ([], None, None)


def test_a_wrong_key_is_refused_and_a_missing_one_where_it_is_required(
    make_customer: Callable[..., Customer],
) -> None:
    lax, strict = make_customer(), make_customer(key_required=True)
    wrong = {"X-API-Key": strict.api_key}
    login = {"email": lax.email, "password": PASSWORD}
    assert refusal(lax.post("auth", login, headers=wrong)) == INVALID
    assert lax.post("auth", login, key=lax.api_key).status_code == 200
    assert refusal(strict.log_in()) == INVALID
    login = {"email": strict.email, "password": PASSWORD}
    token = strict.post("auth", login, key=strict.api_key).json()["session_token"]
    assert refusal(strict.get("user-info", token)) == INVALID
    assert strict.get("user-info", token, key=strict.api_key).status_code == 200
    assert refusal(strict.post("validate-token", {"session_token": "x.y.z"})) == INVALID


def test_a_suspended_application_is_not_known(customer: Customer, database: Connection) -> None:
    token = customer.token()
    database.execute("UPDATE app_integrations SET status = 'suspended' WHERE app_id = %s", [customer.app_id])
    assert refusal(customer.log_in()) == refusal(customer.get("user-info", token)) == INVALID


def test_a_consumption_is_taken_once_for_each_id(customer: Customer, database: Connection) -> None:
    token = customer.token()
    body = {"session_token": token, "credits": 5, "service": "print", "request_id": "job-1"}
    first, again = customer.post("credits/consume", body), customer.post("credits/consume", body)
    assert (first.json()["replayed"], again.json()["replayed"]) == (False, True)
    assert first.json()["transaction_id"] == again.json()["transaction_id"]
    assert refusal(customer.post("credits/consume", body | {"credits": 6})) == (409, "idempotency_conflict")
    job = {"session_token": token, "credits": 5, "service": "print", "metadata": {"job_id": "7", "x": 0.5}}
    jobs = [customer.post("credits/consume", job).json() for _ in range(2)]
    assert [each["new_balance"] for each in jobs] == [90, 90]
    used = database.execute(
        "SELECT app_id, credits, service FROM app_credit_usage WHERE user_id = %s", [customer.id]
    ).fetchall()
    assert used == [(customer.app_id, 5, "print")] * 2


def test_ids_of_one_application_are_not_anothers(customer: Customer, database: Connection) -> None:
    app_id = f"{customer.app_id}-2"
    neighbour = replace(customer, app_id=app_id, api_key=register_app(database, app_id, "Another", ALL))
    body = {"credits": 5, "service": "print", "request_id": "job-1"}
    for each in (customer, neighbour):
        answer = each.post("credits/consume", body | {"session_token": each.token()})
        assert answer.json()["replayed"] is False


def test_too_little_is_told_with_figures(customer: Customer) -> None:
    body = {"session_token": customer.token(), "credits": 101, "service": "print"}
    answer = customer.post("credits/consume", body)
    assert refusal(answer) == (402, "insufficient_credits")
    assert (answer.json()["required"], answer.json()["available"]) == (101, 100)


def test_without_payments_nothing_can_be_bought(customer: Customer) -> None:
    body = {"session_token": customer.token(), "credits": 10, "return_url": "https://app.example/back"}
    answer = customer.post("credits/purchase", body)
    assert refusal(answer) == (503, "payments_unavailable")
    assert answer.headers["retry-after"]


def test_strangers_learn_nothing_about_bodies_and_addresses(customer: Customer) -> None:
    nothing = (401, "not_authenticated")
    assert refusal(customer.post("credits/consume", {"credits": -1, "x": 1})) == nothing
    address = f"{customer.server.base_url}/api/cross-app"
    http = customer.server.http
    assert refusal(http.post(f"{address}/credits/consume", content=b"{")) == nothing
    assert refusal(http.get(f"{address}/nowhere")) == refusal(http.delete(f"{address}/logout")) == nothing
    token = customer.token()
    known = {"Authorization": f"Bearer {token}"}
    assert refusal(http.get(f"{address}/nowhere", headers=known)) == (404, "not_found")
    assert refusal(http.delete(f"{address}/logout", headers=known)) == (405, "method_not_allowed")
    assert refusal(http.post(f"{address}/logout", content=b"{", headers=known))[0] == 415
    body = {"session_token": token, "credits": -1, "service": "print"}
    assert refusal(customer.post("credits/consume", body)) == (400, "invalid_amount")
    assert refusal(customer.post("credits/check", {"session_token": token, "x": 1})) == (
        422,
        "validation_failed",
    )


def segments(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, payload, signature = token.split(".")
    read = [json.loads(base64.urlsafe_b64decode(each + "==")) for each in (header, payload)]
    return read[0], read[1], signature


def assembled(header: dict[str, Any], payload: dict[str, Any], signature: str) -> str:
    parts = (json.dumps(each, separators=(",", ":")).encode() for each in (header, payload))
    return ".".join([*(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts), signature])


FORGED: dict[str, Callable[[str], str]] = {
    "alg none": lambda token: assembled({**segments(token)[0], "alg": "none"}, segments(token)[1], ""),
    "another user": lambda token: assembled(
        segments(token)[0], {**segments(token)[1], "sub": "1"}, segments(token)[2]
    ),
    "a later end": lambda token: assembled(
        segments(token)[0], {**segments(token)[1], "exp": 2**33}, segments(token)[2]
    ),
    "kid as a path": lambda token: assembled(
        {**segments(token)[0], "kid": "../../../dev/null"}, *segments(token)[1:]
    ),
    "kid as SQL": lambda token: assembled({**segments(token)[0], "kid": "' OR 1=1 --"}, *segments(token)[1:]),
    "kid of nobody": lambda token: assembled({**segments(token)[0], "kid": "a"}, *segments(token)[1:]),
    "kid as a number": lambda token: assembled({**segments(token)[0], "kid": 1}, *segments(token)[1:]),
    "a key of one's own": lambda token: jwt.encode(
        segments(token)[1],
        SigningKey.new().private_key,
        algorithm=ALGORITHM,
        headers={"kid": segments(token)[0]["kid"]},
    ),
    "a secret for a key": lambda token: jwt.encode(
        segments(token)[1], "s" * 32, algorithm="HS256", headers={"kid": segments(token)[0]["kid"]}
    ),
    "jku": lambda token: assembled(
        {**segments(token)[0], "jku": "https://evil.example"}, *segments(token)[1:]
    ),
    "jti of nobody": lambda token: assembled(
        segments(token)[0], {**segments(token)[1], "jti": str(uuid4())}, segments(token)[2]
    ),
    "no token": lambda _: "nonsense",
    "empty segments": lambda _: "..",
    "several audiences": lambda token: assembled(
        segments(token)[0], {**segments(token)[1], "aud": [segments(token)[1]["aud"]]}, segments(token)[2]
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens(customer: Customer, name: str) -> None:
    forged = FORGED[name](customer.token())
    assert refusal(customer.post("credits/check", {"session_token": forged})) == INVALID
    assert customer.post("validate-token", {"session_token": forged}).json()["valid"] is False
    assert refusal(customer.get("user-info", forged)) == INVALID


def resigned(token: str, database: Connection, **changes: Any) -> str:
    """Sign a token's claims again, with the server's own key."""
    header, payload, _ = segments(token)
    row = database.execute(
        "SELECT private_key FROM cross_app_signing_keys WHERE kid = %s", [header["kid"]]
    ).fetchone()
    assert row
    claims = {name: value for name, value in (payload | changes).items() if value is not None}
    return jwt.encode(claims, row[0], algorithm=ALGORITHM, headers={"kid": header["kid"]})


def test_an_expired_token_can_be_exchanged_for_an_hour(customer: Customer, database: Connection) -> None:
    token, now = customer.token(), int(time.time())
    expired = resigned(token, database, exp=now - 60)
    assert refusal(customer.get("user-info", expired)) == (401, "token_expired")
    assert customer.post("validate-token", {"session_token": expired}).json()["valid"] is False
    late = resigned(token, database, exp=now - 3_700)
    assert refusal(customer.post("refresh-token", {"session_token": late})) == (401, "token_expired")
    new = customer.post("refresh-token", {"session_token": expired}).json()["new_session_token"]
    assert customer.get("user-info", new).status_code == 200


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "jti", "aud", "iss"])
def test_a_token_without_one_of_its_claims(customer: Customer, database: Connection, claim: str) -> None:
    cut = resigned(customer.token(), database, **{claim: None})
    assert refusal(customer.post("credits/check", {"session_token": cut})) == INVALID


def test_a_new_key_signs_and_old_tokens_stay_valid(customer: Customer, database: Connection) -> None:
    old, key = customer.token(), SigningKey.new()
    rotate_signing_key(database, key.kid, key.private_key, key.public_key)
    new = customer.token()
    assert segments(new)[0]["kid"] == key.kid != segments(old)[0]["kid"]
    assert [customer.get("user-info", token).status_code for token in (old, new)] == [200, 200]


def test_a_flood_of_log_ins_is_stopped_by_account_and_by_address(
    customer: Customer, start_server: StartServer
) -> None:
    def flood(emails: list[str], **settings: int) -> list[int]:
        server = start_server(**settings)
        body = {"app_id": customer.app_id, "password": "wrong"}
        answers = [server.post("/api/cross-app/auth", body | {"email": email}) for email in emails]
        assert all("retry-after" in each.headers for each in answers if each.status_code == 429)
        return [answer.status_code for answer in answers]

    same = [customer.email, customer.email.upper(), customer.email, "other@example.com"]
    assert flood(same, logins_per_account=2) == [401, 401, 429, 401]
    different = [f"{n}-{customer.email}" for n in range(3)]
    assert flood(different, logins_per_address=2) == [401, 401, 429]


def test_sessions_have_the_limits_of_sessions_and_keys_none(
    customer: Customer, start_server: StartServer
) -> None:
    server, token = start_server(unsafe_per_minute=1), customer.token()
    body = {"app_id": customer.app_id, "session_token": token}
    bare = [server.post("/api/cross-app/credits/check", body) for _ in range(2)]
    assert [each.status_code for each in bare] == [200, 429]
    keyed = [server.post("/api/cross-app/credits/check", body, key=customer.api_key) for _ in range(3)]
    assert {each.status_code for each in keyed} == {200}
