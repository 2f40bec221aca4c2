"""Who may do what: every kind of caller at every endpoint, in their own organisation and in others."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from httpx import Response

    from tests.server.conftest import MakeOrganization, Organization, Running

Request: TypeAlias = tuple[str, str, Any]
Outcome: TypeAlias = tuple[int, str | None]
Row: TypeAlias = dict[str, Outcome]

PEOPLE = ("owner", "admin", "billing_admin", "member", "colleague", "outsider", "system_admin")
KEYS = ("consume", "read", "manage", "none", "everywhere")

OK: Outcome = (200, None)
DENIED: Outcome = (403, "permission_denied")
STRANGER: Outcome = (403, "not_a_member")
UNKNOWN: Outcome = (404, "not_found")


def requests(organization: Organization, hold_id: str) -> dict[str, Request]:
    """Return a request for every endpoint, about the organisation's member."""
    org_id, member = organization.org_id, organization.member
    charge = organization.charge(credits=0.001)
    asked = {"org_id": org_id, "user_id": member, "credits": 1}
    return {
        "check": ("POST", "credits/check", asked),
        "deduct": ("POST", "credits/deduct", charge),
        "batch": ("POST", "credits/deduct/batch", {"charges": [charge]}),
        "place hold": ("POST", "credits/holds", charge),
        "get hold": ("GET", f"credits/holds/{hold_id}", None),
        "capture": ("POST", f"credits/holds/{hold_id}/capture", {}),
        "void": ("POST", f"credits/holds/{hold_id}/void", {}),
        "refund": ("POST", "credits/refunds", {"charge_id": str(uuid.uuid4())}),
        "user": ("GET", f"credits/user/{member}", None),
        "billing": ("GET", f"billing/user?user_id={member}", None),
        "pool": ("GET", f"credits/{org_id}", None),
        "add": ("POST", f"credits/{org_id}/add?credits=0.001", None),
        "allocate": (
            "POST",
            f"credits/{org_id}/allocate",
            {"user_id": member, "allocated_credits": 0.001},
        ),
        "allocations": ("GET", f"credits/{org_id}/allocations", None),
        "caps": ("GET", f"credits/{org_id}/caps", None),
        "set cap": ("PUT", f"credits/{org_id}/caps", {"scope": "organization", "period": "month"}),
        "usage": ("GET", f"credits/{org_id}/usage", None),
        "charges": ("GET", f"credits/{org_id}/charges", None),
        "proof": ("GET", f"credits/{org_id}/charges/nobody's/proof", None),
    }


SPENDING: Row = {
    **dict.fromkeys(("owner", "admin", "billing_admin", "colleague", "read", "manage", "none"), DENIED),
    **dict.fromkeys(("member", "system_admin", "consume", "everywhere"), OK),
    "outsider": STRANGER,
}
READING: Row = {
    **dict.fromkeys(("owner", "admin", "billing_admin", "member", "colleague", "system_admin"), OK),
    **dict.fromkeys(("consume", "read", "everywhere"), OK),
    **dict.fromkeys(("manage", "none"), DENIED),
    "outsider": STRANGER,
}
MANAGING: Row = {
    **dict.fromkeys(("owner", "admin", "billing_admin", "system_admin", "manage"), OK),
    **dict.fromkeys(("member", "colleague", "consume", "read", "none", "everywhere"), DENIED),
    "outsider": STRANGER,
}
PERSONAL: Row = {
    **dict.fromkeys((*PEOPLE, *KEYS), DENIED),
    **dict.fromkeys(("member", "system_admin", "everywhere"), OK),
}
PROVING: Row = {caller: UNKNOWN if outcome == OK else outcome for caller, outcome in READING.items()}
HOLDING: Row = SPENDING | {"outsider": UNKNOWN}
REFUNDING: Row = {
    **dict.fromkeys((*PEOPLE, *KEYS), DENIED),
    **dict.fromkeys(("system_admin", "consume", "everywhere"), UNKNOWN),
}
MATRIX: dict[str, Row] = {
    "check": SPENDING,
    "deduct": SPENDING,
    "batch": SPENDING,
    "place hold": SPENDING,
    "get hold": READING | {"outsider": UNKNOWN},
    "capture": HOLDING,
    "void": HOLDING,
    "refund": REFUNDING,
    "user": PERSONAL,
    "billing": PERSONAL,
    "pool": READING,
    "add": MANAGING,
    "allocate": MANAGING,
    "allocations": READING,
    "caps": READING,
    "set cap": MANAGING,
    "usage": READING,
    "charges": READING,
    "proof": PROVING,
}


def send(server: Running, caller: str, organization: Organization, request: Request) -> Response:
    """Send a request as someone of the organisation."""
    method, path, body = request
    more: dict[str, Any] = {} if body is None else {"json": body}
    if caller in KEYS:
        more["key"] = organization.keys[caller]
    else:
        more["bearer"] = organization.sessions[caller]
    return server.request(method, path, headers={"X-Request-ID": "the-same"}, **more)


def outcome(response: Response) -> Outcome:
    return response.status_code, response.json().get("code")


def place_hold(server: Running, organization: Organization, caller: str = "member") -> str:
    hold = ("POST", "credits/holds", organization.charge(credits=0.01))
    hold_id: str = send(server, caller, organization, hold).json()["hold_id"]
    return hold_id


def test_the_matrix_names_every_endpoint_and_every_caller(shared_organization: Organization) -> None:
    assert MATRIX.keys() == requests(shared_organization, "").keys()
    for row in MATRIX.values():
        assert row.keys() == {*PEOPLE, *KEYS}


@pytest.mark.parametrize("caller", [*PEOPLE, *KEYS])
@pytest.mark.parametrize("endpoint", MATRIX)
def test_in_the_own_organisation(
    server: Running, shared_organization: Organization, endpoint: str, caller: str
) -> None:
    hold_id = place_hold(server, shared_organization)
    request = requests(shared_organization, hold_id)[endpoint]
    response = send(server, caller, shared_organization, request)
    assert outcome(response) == MATRIX[endpoint][caller]


NAMED = (
    "check",
    "deduct",
    "batch",
    "place hold",
    "pool",
    "add",
    "allocate",
    "allocations",
    "usage",
    "charges",
)
CHARGING, READING_SCOPES = frozenset({"consume"}), frozenset({"consume", "read"})
SCOPES = {
    **dict.fromkeys(("check", "deduct", "batch", "place hold"), CHARGING),
    **dict.fromkeys(("pool", "allocations", "usage", "charges"), READING_SCOPES),
    **dict.fromkeys(("add", "allocate"), frozenset({"manage"})),
}


@pytest.fixture(scope="module")
def other_organization(make_organization: MakeOrganization) -> Organization:
    return make_organization()


@pytest.mark.parametrize(
    "caller", ["owner", "admin", "billing_admin", "member", "outsider", "consume", "read", "manage", "none"]
)
@pytest.mark.parametrize("endpoint", NAMED)
def test_a_foreign_organisation_looks_like_an_unknown_one(
    server: Running,
    shared_organization: Organization,
    other_organization: Organization,
    endpoint: str,
    caller: str,
) -> None:
    unknown = type(other_organization)("no-such-org", other_organization.users)
    foreign = send(server, caller, shared_organization, requests(other_organization, "")[endpoint])
    nowhere = send(server, caller, shared_organization, requests(unknown, "")[endpoint])
    has_scope = caller not in KEYS or caller in SCOPES[endpoint]
    assert outcome(foreign) == (STRANGER if has_scope else DENIED)
    assert foreign.content == nowhere.content


@pytest.mark.parametrize("caller", [*PEOPLE, *KEYS])
@pytest.mark.parametrize("ending", ["capture", "void", "extend", "charges"])
@pytest.mark.parametrize("placed_by", ["consume", "system_admin"])
def test_what_others_set_aside_for_a_member_is_not_the_members_to_end(
    server: Running, shared_organization: Organization, placed_by: str, ending: str, caller: str
) -> None:
    path = f"credits/holds/{place_hold(server, shared_organization, placed_by)}/{ending}"
    body = {"extend": {"ttl_seconds": 60}, "charges": {"charges": [{"credits": 0.001}]}}.get(ending, {})
    may = HOLDING | {"member": DENIED}
    assert outcome(send(server, caller, shared_organization, ("POST", path, body))) == may[caller]


@pytest.mark.parametrize(("first", "second"), [("member", "consume"), ("consume", "member")])
def test_a_member_and_a_program_are_not_answered_each_others_hold(
    server: Running, shared_organization: Organization, first: str, second: str
) -> None:
    hold = ("POST", "credits/holds", shared_organization.charge(credits=0.01, request_id=str(uuid.uuid4())))
    assert send(server, first, shared_organization, hold).json()["by_payer"] == (first == "member")
    refused = send(server, second, shared_organization, hold)
    assert outcome(refused) == (409, "idempotency_conflict")
    assert "hold_id" not in refused.json()
    assert send(server, first, shared_organization, hold).json()["replayed"]


def test_nobody_says_that_they_are_the_payer(server: Running, shared_organization: Organization) -> None:
    hold = ("POST", "credits/holds", shared_organization.charge(by_payer=True))
    for caller in "member", "consume":
        assert outcome(send(server, caller, shared_organization, hold)) == (422, "validation_failed")


@pytest.mark.parametrize("caller", ["owner", "member", "outsider", "consume", "read"])
@pytest.mark.parametrize("endpoint", ["get hold", "capture", "void"])
def test_a_foreign_hold_looks_like_a_random_id(
    server: Running,
    shared_organization: Organization,
    other_organization: Organization,
    endpoint: str,
    caller: str,
) -> None:
    hold_id, nothing = place_hold(server, other_organization), str(uuid.uuid4())
    foreign = send(server, caller, shared_organization, requests(other_organization, hold_id)[endpoint])
    nowhere = send(server, caller, shared_organization, requests(other_organization, nothing)[endpoint])
    if caller == "read" and endpoint != "get hold":
        assert outcome(foreign) == outcome(nowhere) == DENIED
    else:
        assert outcome(foreign) == outcome(nowhere) == UNKNOWN
    assert foreign.text.replace(hold_id, "") == nowhere.text.replace(nothing, "")


def test_a_foreign_charge_looks_like_a_random_id(
    server: Running, shared_organization: Organization, other_organization: Organization
) -> None:
    charge = server.post(
        "credits/deduct", other_organization.charge(), key=other_organization.keys["consume"]
    ).json()["charge_id"]
    nothing = str(uuid.uuid4())
    answers = [
        send(server, "consume", shared_organization, ("POST", "credits/refunds", {"charge_id": charge_id}))
        for charge_id in (charge, nothing)
    ]
    assert [outcome(answer) for answer in answers] == [UNKNOWN, UNKNOWN]
    assert answers[0].text.replace(charge, "") == answers[1].text.replace(nothing, "")


@pytest.mark.parametrize("endpoint", ["capture", "void", "get hold"])
def test_a_named_organisation_must_be_ones_own(
    server: Running, shared_organization: Organization, other_organization: Organization, endpoint: str
) -> None:
    hold_id = place_hold(server, shared_organization)
    method, path, body = requests(shared_organization, hold_id)[endpoint]
    if method == "GET":
        path += f"?org_id={other_organization.org_id}"
    else:
        body = {"org_id": other_organization.org_id}
    for caller in ("member", "consume"):
        assert outcome(send(server, caller, shared_organization, (method, path, body))) == STRANGER


def test_one_foreign_charge_stops_the_whole_batch(
    server: Running, organization: Organization, other_organization: Organization
) -> None:
    body = {"charges": [organization.charge(), other_organization.charge()]}
    answer = send(server, "consume", organization, ("POST", "credits/deduct/batch", body))
    assert outcome(answer) == STRANGER
    page = server.get(f"credits/{organization.org_id}/charges", key=organization.keys["read"])
    assert page.json()["items"] == []


def test_a_member_spends_nobody_elses_allocation(server: Running, organization: Organization) -> None:
    body = organization.charge(user_id=organization.users["colleague"])
    assert outcome(send(server, "member", organization, ("POST", "credits/deduct", body))) == DENIED


def test_an_unknown_organisation_for_those_who_may_everything(
    server: Running, shared_organization: Organization
) -> None:
    for caller in ("system_admin", "everywhere"):
        answer = send(server, caller, shared_organization, ("GET", "credits/no-such-org", None))
        assert outcome(answer) in {UNKNOWN, STRANGER}
        assert answer.json()["detail"] == "There is no organisation 'no-such-org'."
