"""After `close()` nothing is charged any more, on each backend in each colour alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from credit_sdk import Account
from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import Deduct, GetPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from credit_sdk.contract import Harness
    from tests.contract.conftest import Colour

    Make = Callable[[str], Any]

ADA = Account(org_id="acme", user_id="ada")
CALLS: dict[str, Callable[[Any], Any]] = {
    "account": lambda billing: billing.account("ada"),
    "check": lambda billing: billing.check(ADA, 1),
    "deduct": lambda billing: billing.deduct(ADA, 1, service_type="valuation"),
    "deduct_many": lambda billing: billing.deduct_many(
        [Deduct(org_id="acme", user_id="ada", credits=1, service_type="valuation")]
    ),
    "hold": lambda billing: billing.hold(ADA, 1, service_type="valuation"),
    "capture": lambda billing: billing.capture("7b1f6c1e-52a4-4d0f-9c3e-0c5a4e1d0001"),
    "refund": lambda billing: billing.refund(7),
    "pool": lambda billing: billing.pool("acme"),
    "execute": lambda billing: billing.execute(GetPool(org_id="acme")),
}


@pytest.fixture
def make(request: pytest.FixtureRequest, ledger: Harness, colours: dict[str, Colour]) -> Make:
    """Makes a service, a client or an SDK of its own, on the books of `ledger`."""
    backend, _, colour = request.node.callspec.params["ledger"].partition("-")
    if backend == "http":
        server = request.getfixturevalue("server")
        return lambda kind: getattr(colours[colour], kind)(server.url, api_key=server.api_key)
    books = ledger.administrator if backend == "memory" else request.getfixturevalue("app_url")
    return lambda kind: getattr(colours[colour], kind)(books)


def assert_closed(call: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"close\(\) has ended this service"):
        call()


@pytest.mark.parametrize("name", CALLS)
def test_a_closed_service_refuses_every_call(make: Make, name: str) -> None:
    billing = make("service")
    billing.close()
    assert_closed(lambda: CALLS[name](billing))


def test_a_closed_service_opens_no_charge(make: Make) -> None:
    billing = make("service")
    billing.close()
    worked = []

    def enter() -> None:
        with billing.charge(ADA, 1, service_type="valuation"):
            worked.append(1)

    assert_closed(enter)
    assert worked == []


def test_what_was_begun_before_is_charged_all_the_same(make: Make, ledger: Harness) -> None:
    payer = ledger.prepare(allocated=100)
    billing = make("service")
    with billing.charge(
        Account(org_id=payer.org_id, user_id=payer.user_id), 30, service_type="valuation"
    ) as charge:
        billing.close()
    assert charge.receipt.remaining == 70


def test_closing_twice_is_closing_once(make: Make) -> None:
    for kind in ("service", "client", "sdk"):
        made = make(kind)
        made.close()
        made.close()


def test_closed_clients_and_sdks_refuse_too(make: Make) -> None:
    client, sdk = make("client"), make("sdk")
    client.close()
    sdk.close()
    assert_closed(lambda: client.credits.pool("acme"))
    assert_closed(lambda: sdk.get_balance("ada"))
    assert_closed(lambda: sdk.consume_credits(user_id="ada", credits=1, description="Print job"))
