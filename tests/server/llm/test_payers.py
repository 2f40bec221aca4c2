"""Who pays, by which plan, and with whose key."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest

from credit_sdk import MemoryLedger
from credit_sdk.errors import NotAMemberError
from credit_sdk.operations import GetBalance, GrantCredits
from reference_server.callers import ApiKey
from reference_server.credentials import open_session
from reference_server.llm.payers import Payers
from tests.server.llm.conftest import LLM, MESSAGES, MODELS, SEALING_KEY, completion, usage

if TYPE_CHECKING:
    from tests.server.conftest import Connection, MakeOrganization, Organization, Running, StartServer
    from tests.server.llm.conftest import Person, Provider

OWN_KEY = "sk-own-0123456789abcdef"
BODY = {"model": "told", "messages": MESSAGES, "max_tokens": 5}
ONE_TOKEN = Decimal(1)
"""What one token of prompt costs the provider, in credits."""


@pytest.fixture(autouse=True)
def _ten_tokens(provider: Provider) -> None:
    provider.answers(completion("Hello", usage=usage(10, 0)))


def subscribe(database: Connection, person: Person, plan: str) -> None:
    database.execute(
        "INSERT INTO organization_subscriptions (org_id, subscription_plan, monthly_price)"
        " VALUES (%s, %s, 30)",
        [person.organization.org_id, plan],
    )


def keys_of(person: Person, provider: str = "scripted") -> str:
    return f"{LLM}/organizations/{person.organization.org_id}/keys/{provider}"


def set_key(person: Person, key: str = OWN_KEY, role: str = "owner") -> Any:
    return person.gateway.request(
        "PUT", keys_of(person), bearer=person.organization.sessions[role], json={"api_key": key}
    )


@pytest.mark.parametrize("plan", [None, "platform", "hybrid"])
def test_the_platforms_key_costs_half_as_much_again(
    person: Person, provider: Provider, database: Connection, plan: str | None
) -> None:
    if plan:
        subscribe(database, person, plan)
    assert person.post("/chat/completions", BODY).status_code == 200
    assert person.charged() == 10 * ONE_TOKEN * Decimal("1.5")
    assert provider.keys == ["platform-key"]


@pytest.mark.parametrize("plan", ["byok", "hybrid"])
def test_an_own_key_is_at_cost(person: Person, provider: Provider, database: Connection, plan: str) -> None:
    subscribe(database, person, plan)
    assert set_key(person).status_code == 200
    assert person.post("/chat/completions", BODY).status_code == 200
    assert person.charged() == 10 * ONE_TOKEN
    assert provider.keys == [OWN_KEY]
    assert person.charges()[0].request_metadata["plan"] == plan


def test_own_keys_only_and_there_is_none(person: Person, provider: Provider, database: Connection) -> None:
    subscribe(database, person, "byok")
    answer = person.post("/chat/completions", BODY)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "provider_key_missing")
    assert provider.requests == []


def test_a_platform_plan_uses_no_own_key(person: Person, provider: Provider, database: Connection) -> None:
    subscribe(database, person, "platform")
    set_key(person)
    person.post("/chat/completions", BODY)
    assert provider.keys == ["platform-key"]


def test_a_key_is_shown_to_nobody(person: Person, database: Connection) -> None:
    kept = set_key(person)
    assert kept.json()["hint"] == OWN_KEY[-4:]
    owner = person.organization.sessions["owner"]
    listed = person.gateway.get(f"{LLM}/organizations/{person.organization.org_id}/keys", bearer=owner)
    [item] = listed.json()["items"]
    assert (item["provider"], item["updated_by"]) == ("scripted", person.organization.users["owner"])
    assert OWN_KEY not in kept.text + listed.text
    row = database.execute(
        "SELECT sealed FROM llm_provider_keys WHERE org_id = %s", [person.organization.org_id]
    ).fetchone()
    assert row
    assert OWN_KEY.encode() not in row[0]
    [(action, details)] = database.execute(
        "SELECT action, details::text FROM audit_log WHERE org_id = %s AND action LIKE 'provider_key%%'",
        [person.organization.org_id],
    ).fetchall()
    assert action == "provider_key.created"
    assert "sealed" not in details


def test_a_dropped_key_is_gone(person: Person, database: Connection) -> None:
    subscribe(database, person, "byok")
    owner = person.organization.sessions["owner"]
    set_key(person)
    assert person.gateway.request("DELETE", keys_of(person), bearer=owner).status_code == 200
    assert person.gateway.request("DELETE", keys_of(person), bearer=owner).status_code == 404
    assert person.post("/chat/completions", BODY).status_code == 400


@pytest.mark.parametrize(("role", "status"), [("member", 403), ("outsider", 403), ("billing_admin", 200)])
def test_who_sets_keys(person: Person, role: str, status: int) -> None:
    assert set_key(person, role=role).status_code == status


@pytest.mark.parametrize("key", ["", "short", "with space 0123456789", "é" * 20, 5, None])
def test_keys_that_are_none(person: Person, key: Any) -> None:
    answer = set_key(person, key)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "api_key")


def test_a_key_that_was_moved_to_another_organisation_does_not_open(
    person: Person, provider: Provider, database: Connection
) -> None:
    set_key(person)
    other = f"other-{secrets.token_hex(6)}"
    database.execute("INSERT INTO organizations (id, name) VALUES (%s, %s)", [other, other])
    database.execute(
        "UPDATE llm_provider_keys SET org_id = %s WHERE org_id = %s", [other, person.organization.org_id]
    )
    database.execute(
        "INSERT INTO organization_members (org_id, user_id, role) VALUES (%s, %s, 'member')",
        [other, person.organization.member],
    )
    database.execute(
        "INSERT INTO organization_subscriptions (org_id, subscription_plan, monthly_price)"
        " VALUES (%s, 'byok', 30)",
        [other],
    )
    answer = person.post("/chat/completions", BODY, headers={"OpenAI-Organization": other})
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "sealing_unavailable")
    assert provider.requests == []


def test_sealing_keys_are_replaced_one_after_the_other(
    person: Person, provider: Provider, database: Connection, start_server: StartServer
) -> None:
    subscribe(database, person, "byok")
    set_key(person)
    fresh = base64.b64encode(secrets.token_bytes(32)).decode()
    upstream = f"scripted={provider.base_url}"
    person.gateway = start_server(llm_upstreams=upstream, llm_sealing_keys=f"{fresh}, {SEALING_KEY}")
    assert person.post("/chat/completions", BODY).status_code == 200
    person.gateway = start_server(llm_upstreams=upstream, llm_sealing_keys=fresh)
    assert person.post("/chat/completions", BODY).status_code == 501
    person.gateway = start_server(llm_upstreams=upstream)
    assert set_key(person).status_code == 501


def test_the_server_reads_no_sealed_key_from_the_table(server_database: str, gateway: Running) -> None:
    assert gateway
    with psycopg.connect(server_database) as connection:
        connection.execute("SET ROLE credits_app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT sealed FROM llm_provider_keys")


@pytest.fixture
def loner(database: Connection, person: Person) -> str:
    """A user in no organisation, with 50 credits of their own."""
    name = f"loner-{secrets.token_hex(6)}"
    database.execute("INSERT INTO users (subject, email) VALUES (%s, %s)", [name, f"{name}@example.com"])
    person.ledger.execute(GrantCredits(user_id=name, credits=Decimal(50)))
    return name


def test_without_an_organisation_the_own_balance_pays(
    person: Person, database: Connection, loner: str
) -> None:
    token = open_session(database, loner)
    answer = person.gateway.post(f"{LLM}/chat/completions", BODY, bearer=token)
    assert (answer.headers["x-cost-incurred"], answer.headers["x-credits-remaining"]) == ("15", "35")
    assert person.ledger.execute(GetBalance(user_id=loner)).credits == 35
    refused = person.gateway.post(f"{LLM}/chat/completions", BODY | {"max_tokens": 50}, bearer=token)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "insufficient_credits")


def test_an_organisation_that_runs_out_does_not_touch_the_own_balance(
    person: Person, database: Connection
) -> None:
    member = person.organization.member
    database.execute("INSERT INTO users (subject, email) VALUES (%s, %s)", [member, f"{member}@example.com"])
    person.ledger.execute(GrantCredits(user_id=member, credits=Decimal(5_000)))
    assert person.post("/chat/completions", BODY | {"max_tokens": 500}).status_code == 402
    assert person.ledger.execute(GetBalance(user_id=member)).credits == 5_000


def test_an_api_key_names_the_user_who_pays(person: Person, database: Connection) -> None:
    for name in ("consume", "everywhere"):
        key = person.organization.keys[name]
        answer = person.gateway.post(
            f"{LLM}/chat/completions", BODY | {"user": person.organization.member}, bearer=key
        )
        assert answer.status_code == 200, answer.text
    assert person.charged() == 30
    # By which the caps of keys count.
    keys = database.execute(
        "SELECT DISTINCT api_key_id FROM credit_usage_attribution WHERE org_id = %s",
        [person.organization.org_id],
    ).fetchall()
    assert len({key for (key,) in keys} - {None}) == 2


@pytest.mark.parametrize(
    ("key", "user", "status", "param"),
    [
        ("consume", None, 400, "user"),
        ("consume", 5, 400, "user"),
        ("consume", "nobody-at-all", 404, None),
        ("read", "member", 403, None),
    ],
)
def test_what_api_keys_may_not(person: Person, key: str, user: Any, status: int, param: str | None) -> None:
    answer = person.gateway.post(
        f"{LLM}/chat/completions", BODY | {"user": user}, key=person.organization.keys[key]
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_a_foreign_organisation_does_not_pay(person: Person, provider: Provider) -> None:
    for credential in (
        {"bearer": person.token},
        {"key": person.organization.keys["consume"]},
        {"key": person.organization.keys["everywhere"]},
    ):
        answer = person.gateway.post(
            f"{LLM}/chat/completions",
            BODY | {"user": person.organization.member},
            headers={"OpenAI-Organization": "test-loopnet"},
            **credential,
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_a_member")
    assert provider.requests == []


def test_a_key_of_one_organisation_spends_nothing_of_another_of_its_users(
    person: Person, make_organization: MakeOrganization, database: Connection, provider: Provider
) -> None:
    other = make_organization()
    member = person.organization.member
    for statement in (
        "INSERT INTO organization_members (org_id, user_id) VALUES (%s, %s)",
        "INSERT INTO user_credit_allocations (org_id, user_id, allocated_credits) VALUES (%s, %s, 50000)",
    ):
        database.execute(statement, [other.org_id, member])
    answers = [
        person.gateway.post(
            f"{LLM}/chat/completions",
            BODY | {"user": member},
            key=person.organization.keys[name],
            headers={"OpenAI-Organization": other.org_id},
        ).status_code
        for name in ("consume", "everywhere")
    ]
    assert answers == [403, 200]
    assert len(provider.requests) == 1


def test_who_pays_is_asked_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    books = Counting(MemoryLedger())
    books.books.add_organization("acme", credits=100)
    books.books.add_member("acme", "ada", allocated=10)
    key = ApiKey("key-1", frozenset(), None, None)
    payers = Payers(cast("Any", books), seconds=5)

    async def ask(*questions: tuple[str, str | None]) -> list[str | None]:
        return [(await payers.account_of(*question, key)).org_id for question in questions]

    assert asyncio.run(ask(("ada", None), ("ada", None), ("ada", "acme"))) == ["acme"] * 3
    assert books.asked == 2
    with pytest.raises(NotAMemberError):
        asyncio.run(ask(("ada", "another")))
    now = 5.0
    asyncio.run(ask(("ada", None)))
    assert books.asked == 4


@dataclass
class Counting:
    """Awaited books that count what they are asked."""

    books: MemoryLedger
    asked: int = 0

    async def execute(self, operation: Any) -> Any:
        self.asked += 1
        return self.books.execute(operation)


def test_who_has_left_meanwhile_does_not_spend_any_more(
    gateway_that_believes: Running, organization: Organization, provider: Provider, database: Connection
) -> None:
    def call(**credential: str) -> int:
        body = BODY | {"user": organization.member}
        return gateway_that_believes.post(f"{LLM}/chat/completions", body, **credential).status_code

    assert call(bearer=organization.sessions["member"]) == 200
    for name in ("consume", "everywhere"):
        assert call(key=organization.keys[name]) == 200
    database.execute(
        "DELETE FROM organization_members WHERE org_id = %s AND user_id = %s",
        [organization.org_id, organization.member],
    )
    assert call(bearer=organization.sessions["member"]) == 404
    for name in ("consume", "everywhere"):
        assert call(key=organization.keys[name]) == 403
    assert len(provider.requests) == 3


@pytest.fixture
def gateway_that_believes(start_server: StartServer, database: Connection, provider: Provider) -> Running:
    """A server that believes for an hour who pays."""
    database.execute(MODELS)
    return start_server(
        llm_upstreams=f"scripted={provider.base_url}",
        llm_catalogue_seconds=3_600,
        unsafe_per_minute=1_000_000,
    )
