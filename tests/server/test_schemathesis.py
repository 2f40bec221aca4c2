"""Attacked by a program that has read its OpenAPI document, the API keeps to it, whoever asks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from reference_server.credentials import create_api_key
from reference_server.openapi import openapi
from tests.server.attacking import EXAMPLES, SOAK, bounded, described, is_not_http, operations_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server.conftest import Connection, MakeOrganization, Organization, Running

    Case: TypeAlias = schemathesis.Case
    Fields: TypeAlias = dict[str, Any]

SCHEMA = described("^/api/(v1/org-billing|financial)/")
OPERATIONS = operations_of(SCHEMA)

MANAGERS = ("billing_admin", "admin", "owner", "system_admin")
ROLES = ("member", "billing_admin", "admin", "owner")
PEOPLE = ("member", *MANAGERS)
KEYS = {
    "key to consume": ["consume_credits"],
    "key to read": ["read_credits"],
    "key to manage": ["manage_credits"],
    "key to nothing": ["read_user_info", "purchase_credits", "manage_subscriptions"],
}
EVERYWHERE = "key to everything everywhere"
CALLERS = ("nobody", *PEOPLE, *KEYS, EVERYWHERE)

SPENDING = {*PEOPLE, "key to consume", EVERYWHERE}
READING = {*SPENDING, "key to read"}
MANAGING = {*MANAGERS, "key to manage", EVERYWHERE}
THEMSELVES = {*PEOPLE, EVERYWHERE}
MAY: dict[str, set[str]] = {
    **dict.fromkeys(("CheckCredits", "CheckCharges", "Deduct", "DeductBatch", "PlaceHold"), SPENDING),
    **dict.fromkeys(("ExtendHold", "ChargeHold", "CaptureHold", "VoidHold"), SPENDING),
    "Refund": {"system_admin", "key to consume", EVERYWHERE},
    **dict.fromkeys(
        ("GetHold", "GetPool", "ListAllocations", "GetUsage", "ListCharges", "ListCaps"), READING
    ),
    **dict.fromkeys(("GetForecast", "GetBurnDown"), READING),
    **dict.fromkeys(("ListSubscriptions", "GetSubscription", "ListMembers"), READING),
    **dict.fromkeys(("GetUserCredits", "GetUserBilling", "ListOrganizations"), THEMSELVES),
    **dict.fromkeys(("AddCredits", "Allocate", "GetOrganizationBilling", "ListBillingHistory"), MANAGING),
    **dict.fromkeys(("CreateSubscription", "UpdateSubscription", "UpgradeSubscription"), MANAGING),
    **dict.fromkeys(("CancelSubscription", "AddMember", "SetCap"), MANAGING),
    **dict.fromkeys(("GetTopUp", "SetTopUp", "RemoveTopUp"), MANAGING),
    "ListAlerts": READING,
    **dict.fromkeys(("SetAlert", "CreateWebhook", "ListWebhooks", "DeleteWebhook", "TestWebhook"), MANAGING),
    **dict.fromkeys(("ListWebhookDeliveries", "RedeliverWebhook"), MANAGING),
    "ListAudit": {"owner", "admin", "system_admin"},
    "GetProof": READING,
    **dict.fromkeys(("CheckBalance", "Spend", "PlaceBalanceHold"), THEMSELVES),
    **dict.fromkeys(("GetBalanceHold", "ExtendBalanceHold"), THEMSELVES),
    **dict.fromkeys(("CaptureBalanceHold", "VoidBalanceHold"), THEMSELVES),
    **dict.fromkeys(("GetBalance", "GetStatement", "ListTransactions"), THEMSELVES),
    "GrantCredits": {"system_admin", EVERYWHERE},
    "RefundSpending": {"system_admin", EVERYWHERE},
    "GetSystemBilling": {"system_admin"},
}
"""Who gets something done by each operation. Nobody else ever does."""


@dataclass(frozen=True)
class Excuse:
    """Why what fits the schema may still be refused, and by which words it is known."""

    status: int
    words: str
    operations: frozenset[str]


def excuses(status: int, words: str, *operations: str) -> Excuse:
    return Excuse(status, words, frozenset(operations))


AMOUNTS = (
    "CheckCredits",
    "Deduct",
    "DeductBatch",
    "PlaceHold",
    "ExtendHold",
    "ChargeHold",
    "CaptureHold",
    "Refund",
    "AddCredits",
    "Allocate",
    "SetCap",
    "SetAlert",
    "SetTopUp",
    "CheckBalance",
    "Spend",
    "PlaceBalanceHold",
    "ExtendBalanceHold",
    "CaptureBalanceHold",
    "RefundSpending",
    "GrantCredits",
)
OF_USERS = ("Spend", "PlaceBalanceHold", "CaptureBalanceHold", "RefundSpending", "GrantCredits")
EXTENDS = ("ExtendHold", "ExtendBalanceHold")
SPENDS = ("Deduct", "PlaceHold", "ChargeHold", "CaptureHold", "Allocate", *EXTENDS, *OF_USERS[:3])
GRANTS = ("AddCredits", "Allocate")
NAMED_TWICE = ("Deduct", "PlaceHold", "Refund", "CreateWebhook", *GRANTS, *EXTENDS, *OF_USERS)
TEXTS = ("Deduct", "DeductBatch", "PlaceHold", "ChargeHold", "CaptureHold", "Refund", "Allocate", *OF_USERS)
PAGES = (
    "ListAllocations",
    "ListCharges",
    "ListMembers",
    "ListOrganizations",
    "ListBillingHistory",
    "ListAudit",
    "ListTransactions",
    "ListWebhookDeliveries",
)
EXCUSES = (
    # The credits that there are; no schema knows them.
    excuses(402, "", *SPENDS),
    # A hold that was captured, given back or has expired is closed.
    excuses(
        410, "", "ChargeHold", "CaptureHold", "VoidHold", "CaptureBalanceHold", "VoidBalanceHold", *EXTENDS
    ),
    # `multipleOf` and binary floats do not agree on what has three decimals, or two.
    excuses(400, "must have at most 3 decimals", *AMOUNTS),
    excuses(422, "must have at most 3 decimals", "AddCredits", "CreateSubscription", "UpdateSubscription"),
    excuses(422, "must have at most 2 decimals", "AddCredits", "CreateSubscription", "UpdateSubscription"),
    # A schema does not compare two places with each other.
    excuses(422, "request_id of its own", "ChargeHold"),
    excuses(422, "name different keys", *NAMED_TWICE),
    excuses(422, "Field given more than once", "AddCredits", "UpgradeSubscription"),
    # What may stand in the query or in the body is required of neither.
    excuses(422, "Field required", "AddCredits", "UpgradeSubscription"),
    # Cursors are made here; the schema knows only of what signs.
    excuses(422, "not a cursor of this list", *PAGES),
    # Text that PostgreSQL does not keep, and metadata beyond 16 KiB or eight levels.
    excuses(422, "must not contain U+0000 or lone surrogates", *TEXTS),
    excuses(400, "out of all proportion", *TEXTS),
    # A schema knows no clock, and what may stand in the query or in the body it compares in neither.
    excuses(422, "must be in the future", "AddCredits", "GrantCredits"),
    excuses(422, "not both", "AddCredits", "GrantCredits"),
    # Where a name leads, no schema knows.
    excuses(422, "an address that is not public", "CreateWebhook"),
    excuses(422, "over https only", "CreateWebhook"),
    # What a package costs, too.
    excuses(422, "must be at least the price", "SetTopUp"),
    # What there is already counts.
    excuses(400, "A balance is at most", "GrantCredits"),
    # It depends on who asks whether this field is required.
    excuses(422, "an API key has no billing screen", "GetUserBilling"),
    excuses(422, "an API key has no balance of its own", "GetBalance"),
)


def is_excused(name: str, answer: schemathesis.Response) -> bool:
    return any(
        name in each.operations and answer.status_code == each.status and each.words in answer.text
        for each in EXCUSES
    )


@dataclass(frozen=True)
class Attacker:
    """A caller who knows what there is in an organisation."""

    server: Running
    organization: Organization
    user_id: str
    headers: dict[str, str]
    session: requests.Session
    seal: Callable[[], None]
    unlocked: set[str] = field(default_factory=set)
    """The operations of which it is known already that they ask for a credential."""

    def attack(self, name: str, case: Case) -> int:
        """Send a request, check the answer in every way there is, and return its status."""
        answer = self.send(case)
        self.validate(name, case, answer)
        return answer.status_code

    def send(self, case: Case) -> schemathesis.Response:
        return case.call(base_url=self.server.base_url, headers=self.headers, session=self.session)

    def validate(self, name: str, case: Case, answer: schemathesis.Response) -> None:
        if is_not_http(answer):
            return
        excluded = [positive_data_acceptance] if is_excused(name, answer) else []
        if name in self.unlocked:
            excluded.append(ignored_auth)  # sends the request twice more
        case.validate_response(answer, headers=self.headers, excluded_checks=excluded)
        if answer.status_code == 200:
            self.unlocked.add(name)

    def things(self) -> Fields:
        org_id = self.organization.org_id
        package_id = f"pack-{org_id}"
        return {"org_id": org_id, "user_id": self.user_id, "monthly_price": "45.50", "package_id": package_id}

    def things_for(self, name: str) -> Fields:
        """Make what an operation is about, through the API, and return it by the names of fields."""
        organization, things = self.organization, self.things()
        self.lift_caps()
        if "BalanceHold" in name:
            things["hold_id"] = self.set_aside("/api/financial/holds", self.spending())
        elif name == "RefundSpending":
            address = f"/api/financial/credits/{self.user_id}/spend"
            things["transaction_id"] = self.make(address, {"amount": 0.5}, "charge_id")
        elif name == "GetProof":
            things["request_id"] = f"proved-to-{self.user_id}"
            self.make("credits/deduct", self.charge() | {"request_id": things["request_id"]}, "charge_id")
            self.seal()
        elif "Hold" in name:
            things["hold_id"] = self.set_aside("credits/holds", self.charge())
        elif "Webhook" in name:
            things |= self.make_webhook()
        elif name == "AddMember":
            things["user_id"] = "newcomer"  # the roles of the others are what is looked at
        elif name == "Refund":
            things["charge_id"] = self.make("credits/deduct", self.charge(), "charge_id")
        elif name.endswith("Subscription"):
            self.server.request("DELETE", f"subscriptions/{organization.org_id}", bearer=self.root)
            if name != "CreateSubscription":
                body = {"org_id": organization.org_id, "subscription_plan": "byok"}
                things["subscription_id"] = self.make("subscriptions", body, "subscription_id")
        return things

    @property
    def root(self) -> str:
        return self.organization.sessions["system_admin"]

    def spending(self) -> Fields:
        return {"user_id": self.user_id, "credits": 0.5}

    def charge(self) -> Fields:
        return self.organization.charge(user_id=self.user_id, credits=0.5)

    def lift_caps(self) -> None:
        """Take the caps away that an attack has set, so that the next one is not stopped by them."""
        address = f"credits/{self.organization.org_id}/caps"
        for cap in self.server.get(address, bearer=self.root).json()["caps"]:
            body = {name: cap[name] for name in ("scope", "subject", "period")}
            assert self.server.request("PUT", address, json=body, bearer=self.root).status_code == 200

    def set_aside(self, path: str, body: Fields) -> str:
        """Place a hold of the member's, in person where it is a person who attacks it."""
        by = {name: value for name, value in self.headers.items() if name == "Authorization"}
        answer = self.server.post(path, body, headers=by) if by else None
        if answer is None or answer.status_code != 200:
            return self.make(path, body, "hold_id")
        placed: str = answer.json()["hold_id"]
        return placed

    def make_webhook(self) -> Fields:
        """Make an endpoint and a delivery, in place of those that an attack has made."""
        address = f"organizations/{self.organization.org_id}/webhooks"
        for webhook in self.server.get(address, bearer=self.root).json()["webhooks"]:
            self.server.request("DELETE", f"{address}/{webhook['webhook_id']}", bearer=self.root)
        body = {"url": "https://acme.example/credits", "events": ["pool.low"]}
        webhook_id = self.make(address, body, "webhook_id")
        delivery_id = self.make(f"{address}/{webhook_id}/test", {}, "delivery_id")
        return {"webhook_id": webhook_id, "delivery_id": delivery_id}

    def make(self, path: str, body: Fields, id: str) -> str:
        answer = self.server.post(path, body, bearer=self.root)
        assert answer.status_code == 200, answer.text
        made: str = answer.json()[id]
        return made


@pytest.fixture(scope="module")
def home(server: Running, database: Connection, make_organization: MakeOrganization) -> Organization:
    """The organisation that is attacked, with credits for all that will be made in it."""
    made = make_organization()
    for user_id in made.users.values():
        database.execute(
            "INSERT INTO users (subject, email, credits) VALUES (%s, %s, 100000)",
            [user_id, f"{user_id}@example.com"],
        )
    database.execute(
        "INSERT INTO stripe_customers (customer_id, org_id) VALUES (%s, %s)",
        [f"cus_{made.org_id}", made.org_id],
    )
    database.execute(
        "INSERT INTO credit_packages (id, name, credits, price_cents) VALUES (%s, 'Pack', 100, 2000)",
        [f"pack-{made.org_id}"],
    )
    requests = [("add", {"credits": 10**6})]
    requests += [("allocate", {"user_id": made.users[role], "allocated_credits": 10**5}) for role in ROLES]
    for path, body in requests:
        answer = server.post(f"credits/{made.org_id}/{path}", body, bearer=made.sessions["system_admin"])
        assert answer.status_code == 200, answer.text
    return made


@pytest.fixture(scope="module")
def attackers(server: Running, database: Connection, home: Organization) -> Iterator[dict[str, Attacker]]:
    """Everyone who may ask, by name."""
    keys = {name: create_api_key(database, name, scopes, org_id=home.org_id) for name, scopes in KEYS.items()}
    keys[EVERYWHERE] = create_api_key(
        database, EVERYWHERE, ["consume_credits", "read_credits", "manage_credits"]
    )
    headers = {
        "nobody": {},
        **{name: {"X-API-Key": key} for name, key in keys.items()},
        **{role: {"Authorization": f"Bearer {home.sessions[role]}"} for role in PEOPLE},
    }

    def seal() -> None:
        database.execute("SELECT ledger.seal(%s)", [home.org_id])

    with requests.Session() as session:
        yield {
            name: Attacker(server, home, home.users.get(name, home.member), headers[name], session, seal)
            for name in CALLERS
        }


def with_real(things: Fields, fields: Any) -> Any:
    """Return fields of which those that exist name what there is, in amounts that there are."""
    if not isinstance(fields, Mapping):
        return fields
    real = {name: things.get(name, value) for name, value in fields.items()}
    real |= {name: "0.001" for name in ("credits", "allocated_credits", "amount") if name in fields}
    if isinstance(fields.get("charges"), list):
        real["charges"] = [with_real(things, each) for each in fields["charges"]]
    return {name: value for name, value in real.items() if name in things or name not in LEFT_OUT}


LEFT_OUT = frozenset(
    {
        "cursor",
        "request_id",
        "job_id",
        "idempotency_key",
        "allocated_by",
        "updated_by",
        "admin_id",
        "Idempotency-Key",
    }
)
"""What was made up cannot be right here, or only once."""


def make_real(case: Case, things: Fields, of: Callable[[Fields, Any], Any] = with_real) -> None:
    # What is set is validated anew, and an absent body is none that fits.
    for place in ("path_parameters", "query", "headers", "body"):
        fields = getattr(case, place)
        if isinstance(fields, Mapping) and fields:
            setattr(case, place, of(things, fields))


def plain_case(name: str, things: Fields) -> Case:
    """Return the request that the document shows, about what there is."""
    operation = OPERATIONS[name]
    content = operation.definition.raw.get("requestBody", {}).get("content", {})
    given: Fields = {"path_parameters": {each.name: things[each.name] for each in operation.path_parameters}}
    if content:
        body = content["application/json"]["example"]
        of_charge = {each: things[each] for each in ("charge_id", "transaction_id") if each in things}
        given |= {"body": with_real(things, body) | of_charge, "media_type": "application/json"}
    elif name in {"GetUserBilling", "GetBalance"}:
        given["query"] = {"user_id": things["user_id"]}
    case: Case = operation.Case(**given)
    return case


def cases(name: str, *modes: GenerationMode) -> st.SearchStrategy[Case]:
    return st.sampled_from(modes).flatmap(lambda mode: OPERATIONS[name].as_strategy(generation_mode=mode))


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_invented_requests(attackers: dict[str, Attacker], name: str, caller: str) -> None:
    attacker, statuses = attackers[caller], set[int]()
    things = attacker.things_for(name)

    @bounded
    @given(case=cases(name, GenerationMode.POSITIVE))
    def attack_what_there_is(case: Case) -> None:
        make_real(case, things)
        statuses.add(attacker.attack(name, case))

    @bounded
    @given(case=cases(name, *GenerationMode), real=st.booleans())
    def attack_anything(case: Case, real: bool) -> None:
        if real:
            make_real(case, things)
        statuses.add(attacker.attack(name, case))

    statuses.add(attacker.attack(name, plain_case(name, things)))
    attack_what_there_is()
    attack_anything()
    assert (200 in statuses) == (caller in MAY[name]), statuses


ORDINARY = re.compile("0|test-loopnet|user-7|.*-c-1042|order-88|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What stands in the fields of which a case is not about."""


def with_ordinary(things: Fields, fields: Mapping[str, Any]) -> Fields:
    """Return fields of which those that a case is not about name what there is."""
    ordinary = {
        name for name, value in fields.items() if isinstance(value, str) and ORDINARY.fullmatch(value)
    }
    return {
        name: things[name] if name in ordinary and name in things else value
        for name, value in fields.items()
        if not (name in ordinary and name in LEFT_OUT and name not in things)
    }


@pytest.mark.parametrize("caller", CALLERS if SOAK else ["system_admin"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_values_at_every_boundary(attackers: dict[str, Attacker], name: str, caller: str) -> None:
    attacker, statuses, operation = attackers[caller], set[int](), OPERATIONS[name]
    things = attacker.things_for(name)
    statuses.add(attacker.attack(name, plain_case(name, things)))
    generation = SCHEMA.config.generation_for(operation=operation)
    modes = list(GenerationMode)
    for case in SCHEMA.iter_coverage_cases(operation, generation_modes=modes, generation_config=generation):
        make_real(case, things, with_ordinary)
        statuses.add(attacker.attack(name, case))
    assert (200 in statuses) == (caller in MAY[name]), statuses


def test_the_served_document_is_the_one_that_is_attacked(server: Running) -> None:
    assert server.get("/openapi.json").json() == json.loads(json.dumps(openapi()))
    assert MAY.keys() == OPERATIONS.keys()


HOLDS = SCHEMA.include(operation_id=["PlaceHold", "GetHold", "ExtendHold", "CaptureHold", "VoidHold"])
SUBSCRIPTIONS = SCHEMA.include(operation_id_regex="^(Create|Get|Update|Upgrade|Cancel)Subscription$")


def follow_links(schema: Any, attacker: Attacker, made_by: str) -> set[tuple[str, int]]:
    """Do to what requests made whatever the document says can be done to it; return what happened."""
    happened = set[tuple[str, int]]()
    things = attacker.things()

    class Following(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            attacker.things_for(made_by)

        def before_call(self, case: Case) -> None:
            make_real(case, things)

        def call(self, case: Case, **_: Any) -> schemathesis.Response:
            return attacker.send(case)

        def validate_response(self, response: schemathesis.Response, case: Case, *_: Any, **__: Any) -> None:
            name = case.operation.definition.raw["operationId"]
            happened.add((name, response.status_code))
            attacker.validate(name, case, response)

    Following.run(settings=settings(bounded, max_examples=8 * EXAMPLES, stateful_step_count=6))
    return happened


def test_what_can_be_done_to_a_hold(attackers: dict[str, Attacker]) -> None:
    happened = follow_links(HOLDS, attackers["key to consume"], "PlaceHold")
    assert ("PlaceHold", 200) in happened
    assert {("GetHold", 200), ("CaptureHold", 200), ("VoidHold", 200)} & happened


def test_what_can_be_done_to_a_subscription(attackers: dict[str, Attacker]) -> None:
    happened = follow_links(SUBSCRIPTIONS, attackers["owner"], "CreateSubscription")
    assert ("CreateSubscription", 200) in happened
    assert {(f"{verb}Subscription", 200) for verb in ("Get", "Update", "Upgrade", "Cancel")} & happened
