"""Users' own credits over HTTP: the fields by their names, and who may do what."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk.operations import GrantCredits
from reference_server.credentials import create_api_key, open_session

if TYPE_CHECKING:
    import psycopg
    from httpx import Response

    from credit_sdk.backends.sql import SqlBackend
    from tests.server.conftest import Organization, Running

FINANCIAL = "/api/financial"
CALLERS = ("oneself", "other", "member", "system_admin", "consume", "read", "manage", "none", "of_org")
OK, DENIED, UNKNOWN = (200, None), (403, "permission_denied"), (404, "not_found")


@dataclass(frozen=True)
class Person:
    """A user with 100 credits, known by a subject and by a number."""

    user_id: str
    number: int
    credentials: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"{FINANCIAL}/credits/{self.user_id}"

    @property
    def own(self) -> dict[str, str]:
        return self.credentials["oneself"]


def _new_user(database: psycopg.Connection[Any], ledger: SqlBackend, prefix: str) -> tuple[str, int]:
    user_id = f"{prefix}-{secrets.token_hex(6)}"
    row = database.execute(
        "INSERT INTO users (subject, email) VALUES (%s, %s) RETURNING id", [user_id, f"{user_id}@x.invalid"]
    ).fetchone()
    assert row is not None
    ledger.execute(GrantCredits.model_validate({"user_id": user_id, "credits": 100}))
    return user_id, row[0]


@pytest.fixture
def person(database: psycopg.Connection[Any], owner_ledger: SqlBackend, organization: Organization) -> Person:
    user_id, number = _new_user(database, owner_ledger, "person")
    other, _ = _new_user(database, owner_ledger, "other")
    keys = {
        "consume": ["consume_credits"],
        "read": ["read_credits"],
        "manage": ["manage_credits"],
        "none": list[str](),
    }
    credentials = {name: {"key": create_api_key(database, name, scopes)} for name, scopes in keys.items()}
    every_scope = ["consume_credits", "read_credits", "manage_credits"]
    of_org = create_api_key(database, "of one organisation", every_scope, org_id=organization.org_id)
    return Person(
        user_id,
        number,
        {
            **credentials,
            "oneself": {"bearer": open_session(database, user_id)},
            "other": {"bearer": open_session(database, other)},
            "member": {"bearer": organization.sessions["owner"]},
            "system_admin": {"bearer": organization.sessions["system_admin"]},
            "of_org": {"key": of_org},
        },
    )


def outcome(response: Response) -> tuple[int, str | None]:
    return response.status_code, response.json().get("code")


def held(server: Running, person: Person) -> str:
    body = {"user_id": person.user_id, "credits": 1}
    hold_id: str = server.post(f"{FINANCIAL}/holds", body, **person.own).json()["hold_id"]
    return hold_id


class TestNames:
    """The fields are called as the specification calls them."""

    def test_spend(self, server: Running, person: Person) -> None:
        body = {"amount": 2.5, "description": "Print job", "job_id": "j-1", "request_id": "r-1"}
        answer = server.post(f"{person.path}/spend", body, **person.own).json()
        assert (answer["success"], answer["message"], answer["new_balance"]) == (
            True,
            "2.5 credits spent.",
            97.5,
        )
        assert (answer["credits_used"], answer["request_id"], answer["replayed"]) == (2.5, "r-1", False)
        [row] = server.get(f"{person.path}/transactions?limit=1", **person.own).json()["items"]
        assert row["transaction_id"] == answer["charge_id"]
        assert (row["amount"], row["description"], row["request_metadata"]) == (
            -2.5,
            "Print job",
            {"job_id": "j-1"},
        )
        assert server.post(f"{person.path}/spend", body, **person.own).json()["replayed"] is True

    def test_add(self, server: Running, person: Person) -> None:
        body = {"amount": 10, "description": "A gift"}
        answer = server.post(f"{person.path}/add", body, **person.credentials["system_admin"]).json()
        assert (answer["success"], answer["message"], answer["new_balance"]) == (
            True,
            "10 credits added.",
            110,
        )

    def test_an_administrator_adds_in_their_own_name(
        self, server: Running, person: Person, organization: Organization
    ) -> None:
        admin = person.credentials["system_admin"]
        server.post(f"{person.path}/add", {"amount": 10}, **admin)
        [row] = server.get(f"{person.path}/transactions?limit=1", **admin).json()["items"]
        assert row["request_metadata"] == {"admin_id": f"root-of-{organization.org_id}"}

    def test_balance_and_statement(self, server: Running, person: Person) -> None:
        held(server, person)
        balance = server.get(f"{FINANCIAL}/credits/balance", **person.own).json()
        assert balance == {
            "user_id": person.user_id,
            "credits": 100,
            "held_credits": 1,
            "available_credits": 99,
            "is_active": True,
            "expiring_credits": 0,
            "expires_at": None,
        }
        statement = server.get(person.path, **person.own).json()
        assert (statement["credits"], statement["credit_status"]) == (100, "active")
        assert [each["amount"] for each in statement["transactions"]] == [100]

    def test_the_idempotency_key_may_be_a_header(self, server: Running, person: Person) -> None:
        headers = {"Idempotency-Key": "job-7"}
        for replayed in False, True:
            answer = server.post(f"{person.path}/spend", {"amount": 1}, headers=headers, **person.own).json()
            assert (answer["request_id"], answer["replayed"]) == ("job-7", replayed)

    def test_holds_by_their_addresses(self, server: Running, person: Person) -> None:
        first, second = held(server, person), held(server, person)
        assert server.get(f"{FINANCIAL}/holds/{first}", **person.own).json()["status"] == "held"
        captured = server.post(f"{FINANCIAL}/holds/{first}/capture", **person.own).json()
        assert (captured["new_balance"], captured["org_id"]) == (99, None)
        assert server.post(f"{FINANCIAL}/holds/{second}/void", **person.own).json()["status"] == "voided"


class TestRefusals:
    """What is wrong is told by the names that the caller used."""

    @pytest.mark.parametrize("amount", [0, -1, 0.0001, True, 10**13, "x"])
    def test_an_impossible_amount(self, server: Running, person: Person, amount: Any) -> None:
        response = server.post(f"{person.path}/spend", {"amount": amount}, **person.own)
        assert outcome(response) == (400, "invalid_amount")
        assert response.json()["detail"].startswith("amount must")

    @pytest.mark.parametrize(
        ("body", "loc"),
        [
            ({}, ["amount"]),
            ({"credits": 1}, ["credits"]),
            ({"amount": 1, "credits": 1}, ["credits"]),
            ({"amount": 1, "job_id": True}, ["job_id"]),
            ({"amount": 1, "job_id": "x" * 256}, ["job_id"]),
            ({"amount": 1, "job_id": "j", "request_metadata": {"job_id": "k"}}, ["job_id"]),
            ({"amount": 1, "org_id": "acme"}, ["org_id"]),
            ({"amount": 1, "transaction_type": "refund"}, ["transaction_type"]),
        ],
    )
    def test_a_body_that_does_not_fit(
        self, server: Running, person: Person, body: dict[str, Any], loc: list[str]
    ) -> None:
        response = server.post(f"{person.path}/spend", body, **person.own)
        assert outcome(response) == (422, "validation_failed")
        assert response.json()["errors"][0]["loc"] == loc
        assert server.get(person.path, **person.own).json()["credits"] == 100

    def test_too_few_credits(self, server: Running, person: Person) -> None:
        response = server.post(f"{person.path}/spend", {"amount": 101}, **person.own)
        assert outcome(response) == (402, "insufficient_credits")
        figures = {name: response.json()[name] for name in ("limit", "required", "available")}
        assert figures == {"limit": "balance", "required": 101, "available": 100}

    def test_an_unknown_user(self, server: Running, person: Person) -> None:
        nobody = f"{FINANCIAL}/credits/nobody-{secrets.token_hex(4)}"
        admin = person.credentials["system_admin"]
        for path in nobody, f"{nobody}/transactions":
            assert outcome(server.get(path, **admin)) == UNKNOWN
        assert outcome(server.post(f"{nobody}/spend", {"amount": 1}, **admin)) == UNKNOWN
        # Whoever may not look is not told whether there is anybody.
        assert outcome(server.get(nobody, **person.own)) == DENIED

    def test_a_key_has_no_balance_of_its_own(self, server: Running, person: Person) -> None:
        key = person.credentials["consume"]
        assert outcome(server.get(f"{FINANCIAL}/credits/balance", **key)) == (422, "validation_failed")
        answer = server.get(f"{FINANCIAL}/credits/balance?user_id={person.user_id}", **key)
        assert answer.json()["credits"] == 100


class TestWhoMay:
    """Users their own; keys by their scopes; nobody with a key of one organisation."""

    @pytest.mark.parametrize("caller", CALLERS)
    def test_look(self, server: Running, person: Person, caller: str) -> None:
        may = OK if caller in {"oneself", "system_admin", "consume", "read"} else DENIED
        who = person.credentials[caller]
        assert outcome(server.get(person.path, **who)) == may
        assert outcome(server.get(f"{person.path}/transactions", **who)) == may
        assert outcome(server.get(f"{FINANCIAL}/credits/balance?user_id={person.user_id}", **who)) == may

    @pytest.mark.parametrize("caller", CALLERS)
    def test_spend(self, server: Running, person: Person, caller: str) -> None:
        may = OK if caller in {"oneself", "system_admin", "consume"} else DENIED
        who = person.credentials[caller]
        assert outcome(server.post(f"{person.path}/spend", {"amount": 1}, **who)) == may
        assert outcome(server.post(f"{person.path}/check", {"credits": 1}, **who)) == may
        body = {"user_id": person.user_id, "credits": 1}
        assert outcome(server.post(f"{FINANCIAL}/holds", body, **who)) == may

    @pytest.mark.parametrize("caller", CALLERS)
    def test_settle(self, server: Running, person: Person, caller: str) -> None:
        people = {"oneself": OK, "system_admin": OK, "consume": OK, "other": UNKNOWN, "member": UNKNOWN}
        may, who = people.get(caller, DENIED), person.credentials[caller]
        for settle in "capture", "void":
            address = f"{FINANCIAL}/holds/{held(server, person)}"
            assert outcome(server.get(address, **who)) == (OK if caller == "read" else may)
            assert outcome(server.post(f"{address}/{settle}", **who)) == may

    @pytest.mark.parametrize("caller", CALLERS)
    @pytest.mark.parametrize("ending", ["capture", "void", "extend"])
    def test_end_what_a_program_has_set_aside(
        self, server: Running, person: Person, ending: str, caller: str
    ) -> None:
        people = {"system_admin": OK, "consume": OK, "other": UNKNOWN, "member": UNKNOWN}
        body = {"user_id": person.user_id, "credits": 1}
        hold_id = server.post(f"{FINANCIAL}/holds", body, **person.credentials["consume"]).json()["hold_id"]
        more = {"ttl_seconds": 60} if ending == "extend" else {}
        address = f"{FINANCIAL}/holds/{hold_id}/{ending}"
        answer = server.post(address, more, **person.credentials[caller])
        assert outcome(answer) == people.get(caller, DENIED)

    @pytest.mark.parametrize(("first", "second"), [("oneself", "consume"), ("consume", "oneself")])
    def test_be_answered_each_others_hold(
        self, server: Running, person: Person, first: str, second: str
    ) -> None:
        body = {"user_id": person.user_id, "credits": 1, "request_id": "print-7"}
        placed = server.post(f"{FINANCIAL}/holds", body, **person.credentials[first])
        assert placed.json()["by_payer"] == (first == "oneself")
        again = server.post(f"{FINANCIAL}/holds", body, **person.credentials[second])
        assert outcome(again) == (409, "idempotency_conflict")

    @pytest.mark.parametrize("caller", CALLERS)
    def test_add_and_give_back(self, server: Running, person: Person, caller: str) -> None:
        may = OK if caller in {"system_admin", "manage"} else DENIED
        who = person.credentials[caller]
        charge = server.post(f"{person.path}/spend", {"amount": 1}, **person.own).json()["charge_id"]
        assert outcome(server.post(f"{person.path}/add", {"amount": 1}, **who)) == may
        assert outcome(server.post(f"{FINANCIAL}/refunds", {"transaction_id": charge}, **who)) == may

    def test_ones_own_number_is_oneself(self, server: Running, person: Person) -> None:
        own, others = (f"{FINANCIAL}/credits/{number}" for number in (person.number, person.number + 1))
        assert server.get(own, **person.own).json()["user_id"] == person.user_id
        assert outcome(server.get(others, **person.own)) == DENIED
        assert outcome(server.get(f"{FINANCIAL}/credits/{10**17}", **person.own)) == DENIED

    def test_nobody_without_a_credential(self, server: Running, person: Person) -> None:
        assert outcome(server.get(person.path)) == (401, "not_authenticated")
        assert outcome(server.post(f"{person.path}/spend", {"amount": -1})) == (401, "not_authenticated")


def test_the_demonstrations_customer_has_100_credits(server: Running, demo: dict[str, Any]) -> None:
    token = demo["sessions"]["user@example.com"]
    statement = server.get(f"{FINANCIAL}/credits/123", bearer=token).json()
    assert (statement["credits"], statement["user_id"]) == (100, "123")
    assert [each["description"] for each in statement["transactions"]] == ["Demonstration credits"]
