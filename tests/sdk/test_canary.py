"""A secret that the SDK was given is in no log, no error, no repr and no row (row 107)."""

from __future__ import annotations

import logging
import socket
import traceback
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import respx

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    CreditDeductionService,
    CreditError,
    MemoryLedger,
    Retries,
)
from credit_sdk.operations import ListCharges

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio
SECRET = "csk_hunter2_that_must_not_be_seen_anywhere_0123"
ADA = Account(org_id="acme", user_id="ada")
ONCE = Retries(attempts=2, first_wait=0.001)
BASE = "http://ops.example"


@pytest.fixture(autouse=True)
def talkative(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever can be logged is."""
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def nobody_listens() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def failures(url: str, **credential: str) -> list[CreditError]:
    """Charge with both services, which fails, and return the errors; neither service shows its secret."""
    errors: list[CreditError] = []
    with CreditDeductionService(url, retries=ONCE, **credential) as billing:  # type: ignore[arg-type]  # one credential
        with pytest.raises(CreditError) as caught:
            billing.deduct(ADA, 5, service_type="x")
        errors.append(caught.value)
        assert "hunter2" not in repr(billing)
    async with AsyncCreditDeductionService(url, retries=ONCE, **credential) as service:  # type: ignore[arg-type]
        with pytest.raises(CreditError) as caught:
            await service.deduct(ADA, 5, service_type="x")
        errors.append(caught.value)
        assert "hunter2" not in repr(service)
    return errors


def assert_untold(errors: list[CreditError], caplog: pytest.LogCaptureFixture) -> None:
    for error in errors:
        shown = [repr(error), str(error), str(vars(error)), *traceback.format_exception(error)]
        assert "hunter2" not in "".join(shown)
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("name", ["api_key", "bearer_token", "session_token"])
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401),
        httpx.Response(200, text="<html>"),
        httpx.Response(503),
        httpx.Response(302, headers={"Location": "http://elsewhere.example"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
    ],
    ids=["401", "HTML", "503", "redirect", "refused", "slow"],
)
async def test_a_credential_of_a_server(
    caplog: pytest.LogCaptureFixture, name: str, answer: httpx.Response | Exception
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        assert "hunter2" in str(request.headers.raw)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with respx.mock:
        respx.route().mock(side_effect=respond)
        errors = await failures(BASE, **{name: SECRET})
    assert_untold(errors, caplog)


async def test_a_credential_on_a_real_socket(caplog: pytest.LogCaptureFixture, nobody_listens: int) -> None:
    assert_untold(await failures(f"http://127.0.0.1:{nobody_listens}", api_key=SECRET), caplog)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://owner:hunter2@127.0.0.1:{}/books",
        "postgresql://127.0.0.1:{}/books?user=o&password=hunter2",
    ],
)
async def test_a_password_of_a_database(
    caplog: pytest.LogCaptureFixture, nobody_listens: int, url: str
) -> None:
    assert_untold(await failures(url.format(nobody_listens)), caplog)


@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@ops.example",
        f"https://ops.example?api_key={SECRET}",
        "mysql://user:hunter2@db/books",
        "postgresql://user:hunter2@host:port/books",
        "postgresql//user:hunter2@host",
    ],
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(CreditError) as caught:
        CreditDeductionService(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.fixture
def ledger() -> MemoryLedger:
    books = MemoryLedger()
    books.add_organization("acme", credits=100)
    books.add_member("acme", "ada", allocated=100)
    return books


def test_what_a_billable_function_is_given_and_raises(
    ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    billing = CreditDeductionService(ledger)

    @billing.billable("lookup", cost=5)
    def look_up(password: str, *, account: Account) -> None:
        if account and password == SECRET:
            raise RuntimeError(password)

    with pytest.raises(RuntimeError):
        look_up(SECRET, account=ADA)
    look_up("hunter2", account=ADA)
    assert len(ledger.execute(ListCharges(org_id="acme")).items) == 1
    assert "hunter2" not in caplog.text + repr(ledger.execute(ListCharges(org_id="acme")))


def test_metadata(ledger: MemoryLedger, caplog: pytest.LogCaptureFixture) -> None:
    secrets: dict[str, Any] = {"password": "hunter2", "note": [f"with {SECRET}"], "count": 3}
    billing = CreditDeductionService(ledger)
    billing.deduct(ADA, 5, service_type="x", metadata=secrets)
    with billing.charge(ADA, 5, service_type="x") as charge:
        charge.metadata.update(secrets)
    charges = ledger.execute(ListCharges(org_id="acme")).items
    assert [row.request_metadata["count"] for row in charges] == [3, 3]
    assert "hunter2" not in repr(charges) + repr(charge) + caplog.text
