"""A question changes nothing: when its answer is lost, nothing is unknown about its outcome."""

import asyncio
import json

import httpx
import psycopg
import pytest
import respx

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    CreditDeductionService,
    OutcomeUnknownError,
    Retries,
    UnavailableError,
    operations,
    wire,
)
from credit_sdk.backends import sql

pytestmark = pytest.mark.anyio
BASE = "http://ops.example"
ONCE = Retries(attempts=1)
ADA = Account(org_id="acme", user_id="ada")
LOST = [
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("half an answer"),
    httpx.Response(502),
    httpx.Response(200, text='{"org_id": "ac', headers={"Content-Type": "application/json"}),
    httpx.Response(503, json={"code": "outcome_unknown", "detail": "No."}, headers={"Retry-After": "7"}),
]


def test_questions_are_what_is_got_and_the_checks() -> None:
    asked = {address.operation for address in wire.ADDRESSES if address.operation.is_question}
    got = {address.operation for address in wire.ADDRESSES if address.method == "GET"}
    assert got <= asked
    assert {kind.__name__ for kind in asked - got} == {"CheckCredits", "CheckBalance", "CheckCharges"}
    assert operations.VerifyLedger.is_question
    assert not operations.ExpireHolds.is_question


@pytest.mark.parametrize("answer", LOST, ids=["time-out", "half", "502", "cut", "problem"])
@respx.mock
async def test_a_question_that_is_not_answered_over_http_is_unavailable(
    answer: httpx.Response | Exception,
) -> None:
    respx.route().mock(side_effect=[answer] * 4)
    with CreditDeductionService(BASE, api_key="csk_x", retries=ONCE) as billing:
        with pytest.raises(UnavailableError) as caught:
            billing.pool("acme")
        assert type(caught.value) is UnavailableError
        with pytest.raises(OutcomeUnknownError):
            billing.deduct(ADA, 5, service_type="x")
    async with AsyncCreditDeductionService(BASE, api_key="csk_x", retries=ONCE) as later:
        with pytest.raises(UnavailableError) as caught:
            await later.check(ADA, 5)
        assert type(caught.value) is UnavailableError
        with pytest.raises(OutcomeUnknownError):
            await later.deduct(ADA, 5, service_type="x")


@respx.mock
def test_what_the_server_said_about_waiting_and_the_request_is_kept() -> None:
    problem = {"code": "outcome_unknown", "detail": "No."}
    headers = {"Retry-After": "7", "X-Request-ID": "trace-1"}
    respx.route().mock(return_value=httpx.Response(503, content=json.dumps(problem), headers=headers))
    with (
        CreditDeductionService(BASE, retries=ONCE) as billing,
        pytest.raises(UnavailableError) as caught,
    ):
        billing.pool("acme")
    assert (caught.value.detail, caught.value.retry_after, caught.value.request_id) == ("No.", 7, "trace-1")


async def test_a_question_that_a_database_does_not_answer_is_unavailable(
    funded_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement waits for a lock that nobody gives, and its session is ended."""
    monkeypatch.setattr(sql, "GRACE_SECONDS", -9.9)
    with psycopg.connect(funded_url) as blocker:
        blocker.execute("LOCK organization_members")
        service = AsyncCreditDeductionService(funded_url, retries=ONCE)
        with pytest.raises(UnavailableError, match="did not answer in time") as late:
            await service.user_credits("ada")
        assert type(late.value) is UnavailableError
        await service.close()

        service = AsyncCreditDeductionService(funded_url, retries=ONCE, timeout=60)
        asking = asyncio.ensure_future(service.user_credits("ada"))
        with psycopg.connect(funded_url, autocommit=True) as owner:
            await ended(owner, asking)
        with pytest.raises(UnavailableError) as lost:
            await asking
        assert type(lost.value) is UnavailableError
        await service.close()


async def ended(owner: psycopg.Connection[tuple[object, ...]], asking: asyncio.Future[object]) -> None:
    """End the sessions that wait, until nobody asks any more; one that was given up may be among them."""
    waiting = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not asking.done():
        owner.execute(waiting)
        await asyncio.sleep(0)
