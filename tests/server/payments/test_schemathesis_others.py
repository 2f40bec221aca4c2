"""The addresses of the gateway, of applications and of payments keep to the OpenAPI document too."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from reference_server.credentials import register_app
from reference_server.passwords import hash_password
from reference_server.settings import Settings
from tests.peers.fake_stripe import KEY
from tests.server.attacking import bounded, described, is_not_http, operations_of
from tests.server.conftest import _running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.conftest import Connection, MakeOrganization, Organization, Running

SCHEMA = described("^(/api/(v1/llm|cross-app|stripe)/|/healthz|/readyz|/metrics)")
OPERATIONS = operations_of(SCHEMA)
APP, EMAIL, PASSWORD = "attacked-app", "ada@example.com", "correct horse"
PERMISSIONS = (
    "read_user_info",
    "read_credits",
    "consume_credits",
    "purchase_credits",
    "manage_subscriptions",
)
PACKAGE = "attacked-package"

Excuses = tuple[tuple[int, str], ...]
REFUSED: Mapping[str, Excuses] = {
    **dict.fromkeys(
        ("CreateChatCompletion", "CreateEmbedding", "CreateImage"),
        (
            (400, "must be a whole number from 1 to"),  # as many as the model gives
            (400, "model must"),  # name one, unless there is a power_level
            (400, "task_type must be a short text"),
            (402, ""),
        ),
    ),
    "DropProviderKey": ((404, "has no key"),),
    # A session ends, and is exchanged, once; and credits are what there is.
    "LogOut": ((401, ""),),
    "RefreshToken": ((401, ""),),
    "ConsumeAppCredits": (
        (400, "must have at most 3 decimals"),
        (402, ""),
        (422, "U+0000"),
        (422, "name different keys"),
    ),
    "CheckAppCredits": ((400, "must have at most 3 decimals"),),
    "PurchaseCredits": ((400, "must have at most 3 decimals"), (422, "http(s) address"), (422, "package_id")),
    "CreateCheckoutSession": ((422, "is sold with mode"), (422, "http(s) address")),
    "ReceiveStripeEvent": ((400, "signature"),),
}
"""What fits the schema and is refused all the same: status and words."""


@dataclass(frozen=True)
class Attacker:
    """A member and an application's session, who know what there is."""

    server: Running
    organization: Organization

    def headers(self, name: str) -> dict[str, str]:
        operation = OPERATIONS[name]
        if "security" not in operation.definition.raw:
            role = "owner" if "ProviderKey" in name or name == "ListOwnSubscriptions" else "member"
            return {"Authorization": f"Bearer {self.organization.sessions[role]}"}
        if not operation.definition.raw["security"]:
            return {}
        login = {"app_id": APP, "email": EMAIL, "password": PASSWORD}
        answer = self.server.post("/api/cross-app/auth", login)
        return {"Authorization": f"Bearer {answer.json()['session_token']}"}

    def real(self, name: str) -> dict[str, Any]:
        model = {"CreateEmbedding": "text-embedding-3-small", "CreateImage": "dall-e-3"}
        return {
            "model": model.get(name, "gpt-4o-mini"),
            "user": "ada",
            "app_id": APP,
            "email": EMAIL,
            "password": PASSWORD,
            "package_id": PACKAGE,
            "price_id": "price_attacked",
            "org_id": self.organization.org_id,
            "provider": "openai",
            "OpenAI-Organization": self.organization.org_id,
        }


LEFT_OUT = frozenset({"session_token", "Idempotency-Key", "request_id"})
"""What was made up cannot be right here, or only once."""


def make_real(name: str, case: schemathesis.Case, things: dict[str, Any]) -> None:
    for place in ("path_parameters", "query", "headers", "body"):
        fields = getattr(case, place)
        if not isinstance(fields, Mapping) or not fields:
            continue
        kept = {key: things.get(key, value) for key, value in fields.items() if key not in LEFT_OUT}
        if "credits" in kept:
            kept["credits"] = "0.001"
        if name == "CreateCheckoutSession":
            kept.pop("org_id", None)  # members buy for themselves
        setattr(case, place, kept)


@pytest.fixture(scope="module")
def attacker(
    server_database: str, fake_stripe: str, database: Connection, make_organization: MakeOrganization
) -> Iterator[Attacker]:
    settings = Settings(
        database_url=server_database,
        stripe_secret_key=KEY,
        stripe_webhook_secret="whsec_of_the_attack",
        stripe_api_base=fake_stripe,
        llm_offline=True,
        llm_sealing_keys=base64.b64encode(bytes(32)).decode(),
        unsafe_per_minute=1_000_000,
        safe_per_minute=1_000_000,
        refused_per_minute=1_000_000,
        logins_per_address=1_000_000,
        logins_per_account=1_000_000,
    )
    organization = make_organization()
    register_app(database, APP, "An application", PERMISSIONS)
    database.execute(
        "INSERT INTO users (email, name, credits, password_hash) VALUES (%s, 'Ada', 100000, %s)",
        [EMAIL, hash_password(PASSWORD)],
    )
    database.execute(
        "INSERT INTO users (subject, email) VALUES (%s, 'member@example.com')", [organization.member]
    )
    database.execute(
        "INSERT INTO credit_packages (id, name, credits, price_cents, stripe_price_id)"
        " VALUES (%s, 'Some', 100, 1000, 'price_attacked')",
        [PACKAGE],
    )
    with _running(settings) as running:
        yield Attacker(running, organization)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.mark.parametrize("name", OPERATIONS)
def test_invented_requests(attacker: Attacker, session: requests.Session, name: str) -> None:
    operation, things, statuses = OPERATIONS[name], attacker.real(name), set[int]()
    headers = attacker.headers(name)

    def attack(case: schemathesis.Case) -> None:
        answer = case.call(base_url=attacker.server.base_url, headers=headers, session=session)
        statuses.add(answer.status_code)
        if is_not_http(answer):
            return
        excused = any(
            answer.status_code == status and words in answer.text for status, words in REFUSED.get(name, ())
        )
        excluded = [ignored_auth] if 200 in statuses else []
        excluded += [positive_data_acceptance] if excused else []
        case.validate_response(answer, headers=headers, excluded_checks=excluded)

    def plain() -> schemathesis.Case:
        content = operation.definition.raw.get("requestBody", {}).get("content", {})
        given: dict[str, Any] = {
            "path_parameters": {each.name: things[each.name] for each in operation.path_parameters}
        }
        if content:
            given |= {"body": content["application/json"]["example"], "media_type": "application/json"}
        if "app_id" in {each.name for each in operation.query}:
            given["query"] = {"app_id": APP}
        case: schemathesis.Case = operation.Case(**given)
        make_real(name, case, things)
        return case

    @bounded
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def attack_what_there_is(case: schemathesis.Case) -> None:
        make_real(name, case, things)
        attack(case)

    modes = st.sampled_from(list(GenerationMode))

    @bounded
    @given(case=modes.flatmap(lambda mode: operation.as_strategy(generation_mode=mode)))
    def attack_anything(case: schemathesis.Case) -> None:
        attack(case)

    attack(plain())
    attack_what_there_is()
    attack_anything()
    done = {"ReceiveStripeEvent": 400}.get(name, 200)
    assert done in statuses
