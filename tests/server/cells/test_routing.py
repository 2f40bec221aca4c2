"""A server of several databases: each operation goes to where its organisation lives."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from credit_sdk import Account, BillingClient, CreditDeductionService
from credit_sdk.cli._app import application
from credit_sdk.errors import ConfigurationError, ConflictError, NotFoundError, UnavailableError
from credit_sdk.operations import CreateSubscription, Deduct
from reference_server.cells.moving import move_organization
from reference_server.cells.naming import Cell, parse_cells
from reference_server.cells.placing import add_organization, choose
from reference_server.credentials import open_session
from reference_server.settings import Settings
from tests.server.cells.conftest import ANN, HOME, ORG, ask, furnish, sound

if TYPE_CHECKING:
    from tests.server.conftest import Running, StartServer

GLOBEX = Account(org_id="globex", user_id="ann")


@pytest.fixture
def globex(urls: dict[str, str]) -> None:
    """A second organisation, which lives in the second database from the beginning."""
    cells = {name: Cell(name, url) for name, url in urls.items()}
    assert add_organization(cells, "globex", "Globex", "b") == "b"
    furnish(urls["b"], "globex")


@pytest.mark.usefixtures("globex")
def test_each_organisation_is_charged_where_it_lives(
    billing: CreditDeductionService, urls: dict[str, str]
) -> None:
    assert billing.deduct(ANN, 1, service_type="x").remaining == 999
    assert billing.deduct(GLOBEX, 2, service_type="x").remaining == 998
    counting = "SELECT org_id, count(*) FROM credit_usage_attribution GROUP BY 1"
    assert [ask(urls[name], counting) for name in (HOME, "b")] == [[("acme", 1)], [("globex", 1)]]
    assert [sound(url) for url in urls.values()] == [True, True]


@pytest.mark.usefixtures("globex")
def test_a_batch_of_organisations_in_several_cells_keeps_its_order(billing: CreditDeductionService) -> None:
    accounts = [ANN, GLOBEX, ANN, Account(org_id="globex", user_id="nobody")]
    done = billing.deduct_many(
        Deduct(
            org_id=str(account.org_id), user_id=str(account.user_id), credits=Decimal(1), service_type="x",
            request_id=f"r{number}",
        )
        for number, account in enumerate(accounts)
    )  # fmt: skip
    assert [outcome.receipt and outcome.receipt.org_id for outcome in done.outcomes] == [
        "acme", "globex", "acme", None,
    ]  # fmt: skip


@pytest.mark.usefixtures("globex")
def test_a_users_standing_is_of_all_cells(billing: CreditDeductionService, urls: dict[str, str]) -> None:
    assert [each.org_id for each in billing.user_credits("ann").organizations] == ["acme", "globex"]
    move_organization(urls, ORG, "b")
    assert [each.org_id for each in billing.user_credits("ann").organizations] == ["acme", "globex"]
    assert billing.account("ann").org_id == "acme"


@pytest.mark.usefixtures("globex")
def test_what_is_named_by_its_id_alone_is_found(billing: CreditDeductionService) -> None:
    hold = billing.hold(GLOBEX, 10, service_type="x")
    assert billing.get_hold(str(hold.hold_id)).org_id == "globex"
    receipt = billing.capture(str(hold.hold_id))
    assert billing.refund(str(receipt.charge_id)).remaining_credits == 1_000
    with pytest.raises(NotFoundError):
        billing.get_hold("00000000-0000-4000-8000-000000000000")


@pytest.mark.usefixtures("globex")
def test_members_of_organisations_elsewhere_log_in_at_home(
    running: Running, urls: dict[str, str], key: str
) -> None:
    with psycopg.connect(urls[HOME], autocommit=True) as owner:
        admin = open_session(owner, "root", is_system_admin=True)
        eve = open_session(owner, "eve")
    with BillingClient(running.base_url, session_token=admin) as client:
        client.organizations.add_member("globex", "eve", role="admin")
    with BillingClient(running.base_url, session_token=eve) as client:
        assert client.credits.pool("globex").total_credits == 10_000
    assert ask(urls["b"], "SELECT role FROM organization_members WHERE user_id = 'eve'") == [("admin",)]
    assert key


@pytest.mark.usefixtures("globex")
def test_a_subscription_is_found_by_its_id(running: Running, urls: dict[str, str], key: str) -> None:
    with CreditDeductionService(urls["b"], outbox=False) as books:
        made = books.execute(CreateSubscription(org_id="globex", subscription_plan="platform"))
    answer = running.get(f"subscriptions/{made.subscription_id}", key=key)
    assert answer.json().get("org_id") == "globex", answer.text


def test_a_cell_that_the_server_does_not_know_is_unavailable(
    start_server: StartServer, urls: dict[str, str], key: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_server(
        database_url=urls[HOME], cells="c=postgresql://127.0.0.1:9/c", cells_cache_seconds=0
    )
    move_organization(urls, ORG, "b")
    charge = {"org_id": ORG, "user_id": "ann", "credits": 1, "service_type": "x"}
    answer = server.post("credits/deduct", charge, key=key)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "which CREDITS_CELLS does not name" in caplog.text


def test_new_organisations_go_where_most_room_is_for_the_weight() -> None:
    cells = {name: Cell(name, "", weight) for name, weight in (("home", 1), ("b", 2))}
    there: dict[str, tuple[int, int]] = {}
    chosen = []
    for _ in range(6):
        chosen.append(choose(cells, there))
        there[chosen[-1]] = there.get(chosen[-1], (0, 0))[0] + 1, 0
    assert sorted(chosen) == ["b", "b", "b", "b", "home", "home"]


def test_the_commands(urls: dict[str, str]) -> None:
    def run(*words: str) -> Any:
        options = ["--url", urls[HOME], "--cells", f"b*3={urls['b']}"]
        return CliRunner().invoke(application(), ["cells", *words, *options])

    assert run("add", "initech", "Initech").stdout == "initech lives in b.\n"
    assert isinstance(run("add", "initech", "Initech").exception, ConflictError)
    assert run("move", ORG, "b").stdout == "acme moved from home to b.\n"
    assert json.loads(run("list", "--json").stdout) == [
        {"cell": "home", "weight": 1, "organizations": 0, "moving": 0},
        {"cell": "b", "weight": 3, "organizations": 2, "moving": 0},
    ]
    assert "b: 2 organisations, 0 moving, weight 3" in run("list").stdout
    assert ask(urls["b"], "SELECT name FROM organizations WHERE id = 'initech'") == [("Initech",)]


def test_an_organisation_whose_making_was_interrupted_is_made_where_it_was_going_to_be(
    urls: dict[str, str],
) -> None:
    ask(urls[HOME], "INSERT INTO organizations (id, name) VALUES ('new', 'New')")
    ask(urls[HOME], "INSERT INTO organization_cells (org_id, is_here, cell) VALUES ('new', FALSE, 'b')")
    cells = {name: Cell(name, url) for name, url in urls.items()}
    assert add_organization(cells, "new", "New") == "b"
    with pytest.raises(NotFoundError):
        add_organization(cells, "newer", "Newer", "z")


@pytest.mark.parametrize(
    "wrong",
    [
        "b",
        "b=mysql://x:hunter2@h/d",
        "home=postgresql://x:hunter2@h/d",
        "b*0=postgresql://h/d",
        "b=postgresql:// b=x",
    ],
)
def test_cells_that_cannot_be_read_are_refused_without_their_secrets(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^CREDITS_CELLS") as caught:
        Settings.of({"DATABASE_URL": "postgresql://h/d", "CREDITS_CELLS": wrong})
    assert "hunter2" not in str(caught.value)


def test_cells_with_weights() -> None:
    found = parse_cells("b=postgresql://h/d  c*3=postgresql+psycopg://u:p@h/e")
    assert {name: cell.weight for name, cell in found.items()} == {"b": 1, "c": 3}
    assert "u:p" not in repr(found)


def test_a_cell_that_is_away_is_no_reason_to_forget_organisations(
    start_server: StartServer, urls: dict[str, str], key: str
) -> None:
    server = start_server(database_url=urls[HOME], cells="c=postgresql://127.0.0.1:9/c")
    with CreditDeductionService(server.base_url, api_key=key, outbox=False) as billing:
        assert billing.deduct(ANN, 1, service_type="x").remaining == 999
    answer = server.get("credits/user/ann", key=key)
    assert answer.status_code == UnavailableError.status
