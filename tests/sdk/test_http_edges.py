"""A server that is slow, busy, broken or something else entirely."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import respx

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ConfigurationError,
    CreditDeductionService,
    CreditError,
    InsufficientCreditsError,
    MalformedRequestError,
    NotAuthenticatedError,
    OutcomeUnknownError,
    RateLimitedError,
    Retries,
    UnavailableError,
    UnexpectedResponseError,
    errors,
)
from credit_sdk._flows import HoldSupport
from credit_sdk._flows.charging import ASK_AGAIN_SECONDS
from credit_sdk.backends import _wire_format

BASE = "http://ops.example"
DEDUCT = f"{BASE}/api/v1/org-billing/credits/deduct"
HOLDS = f"{BASE}/api/v1/org-billing/credits/holds"
ONCE = Retries(attempts=1)
QUICK = Retries(attempts=3, first_wait=0.001, longest_wait=0.002)
KEY = "csk_not_to_be_seen"

RECEIPT = {
    "success": True,
    "charge_id": "0193a1b2-0000-7000-8000-000000000001",
    "org_id": "acme",
    "user_id": "ada",
    "credits_used": 0.05,
    "remaining_credits": 999.95,
    "service_type": "x",
    "request_id": "req-1",
    "created_at": "2026-01-01T00:00:00Z",
    "replayed": False,
    "a_field_of_a_newer_server": 1,
}


def problem(code: str, status: int, **figures: Any) -> httpx.Response:
    body = {
        "type": f"urn:credits:error:{code}",
        "title": code,
        "status": status,
        "code": code,
        "detail": "No.",
    }
    return httpx.Response(
        status,
        content=json.dumps(body | figures),
        headers={"Content-Type": "application/problem+json", "X-Request-ID": "trace-1"},
    )


def service(retries: Retries = ONCE) -> CreditDeductionService:
    return CreditDeductionService(BASE, api_key=KEY, retries=retries)


def deduct(billing: CreditDeductionService) -> Any:
    account = Account(org_id="acme", user_id="ada")
    return billing.deduct(account, "0.05", service_type="x", request_id="req-1")


def error_for(answer: httpx.Response | Exception) -> CreditError:
    with respx.mock, service() as billing:
        respx.post(DEDUCT).mock(side_effect=[answer])
        with pytest.raises(CreditError) as caught:
            deduct(billing)
    assert KEY not in str(caught.value)
    return caught.value


@respx.mock
def test_amounts_never_pass_through_a_binary_float() -> None:
    route = respx.post(DEDUCT).mock(return_value=httpx.Response(200, content=json.dumps(RECEIPT)))
    with service() as billing:
        receipt = deduct(billing)
    assert str(receipt.credits_used) == "0.05"
    assert str(receipt.remaining) == "999.95"
    sent = route.calls.last.request
    assert b'"credits":0.05' in sent.content
    assert sent.headers["X-API-Key"] == KEY


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ConnectError("refused"), UnavailableError),
        (httpx.ConnectTimeout("slow"), UnavailableError),
        (httpx.PoolTimeout("full"), UnavailableError),
        (httpx.ReadTimeout("slow"), OutcomeUnknownError),
        (httpx.ReadError("reset"), OutcomeUnknownError),
        (httpx.RemoteProtocolError("half an answer"), OutcomeUnknownError),
        (httpx.WriteError("reset"), OutcomeUnknownError),
    ],
)
def test_a_lost_connection_is_unknown_only_once_something_was_sent(
    failure: Exception, kind: type[CreditError]
) -> None:
    error = error_for(failure)
    assert type(error) is kind
    assert error.retryable
    assert "ops.example" in error.detail


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(401), NotAuthenticatedError),
        (httpx.Response(404, text="<h1>nothing here</h1>"), UnexpectedResponseError),
        (httpx.Response(302, headers={"Location": "https://elsewhere.example"}), UnexpectedResponseError),
        (httpx.Response(429, headers={"Retry-After": "3"}), RateLimitedError),
        (httpx.Response(500, text="oops"), OutcomeUnknownError),
        (httpx.Response(502), OutcomeUnknownError),
        (httpx.Response(503), UnavailableError),
        (httpx.Response(504), OutcomeUnknownError),
        (httpx.Response(200, text="<html>welcome</html>"), UnexpectedResponseError),
        (httpx.Response(200, text="[]"), UnexpectedResponseError),
        (httpx.Response(200, text='{"success": true}'), UnexpectedResponseError),
        (httpx.Response(200, text="[" * 100_000), UnexpectedResponseError),
        (httpx.Response(200, content=b"\xff\xfe"), UnexpectedResponseError),
        (httpx.Response(204), UnexpectedResponseError),
    ],
)
def test_a_server_that_speaks_something_else_is_one_clear_error(
    answer: httpx.Response, kind: type[CreditError]
) -> None:
    error = error_for(answer)
    assert type(error) is kind
    assert "ops.example" in error.detail


UNREADABLE = ['{"charge_id": "01a', '{"success": true}', json.dumps(RECEIPT | {"remaining_credits": "abc"})]


@pytest.mark.parametrize("text", UNREADABLE)
def test_an_answer_of_ours_that_cannot_be_read_leaves_the_outcome_unknown(text: str) -> None:
    error = error_for(httpx.Response(200, text=text, headers={"Content-Type": "application/json"}))
    assert type(error) is OutcomeUnknownError


def test_figures_that_make_no_sense_do_not_hide_a_refusal() -> None:
    error = error_for(problem("insufficient_credits", 402, required="lots", resets_at="soon"))
    assert isinstance(error, InsufficientCreditsError)
    assert (error.required, error.resets_at) == (None, None)


def test_a_code_of_a_newer_server_keeps_its_words() -> None:
    error = error_for(problem("body_too_large", 413))
    assert isinstance(error, MalformedRequestError)
    assert error.detail == "No."


def test_a_credential_that_cannot_be_sent_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="session_token") as caught:
        CreditDeductionService(BASE, session_token="s\u00e9cret")
    assert "cret" not in repr(caught.value)


def test_a_server_that_knew_no_holds_is_asked_again_later() -> None:
    support = HoldSupport()
    support.found_missing(errors.HoldsUnsupportedError())
    assert support.known_missing
    support.missing_until -= ASK_AGAIN_SECONDS
    assert not support.known_missing


def test_a_huge_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credit_sdk.backends.http.LARGEST_RESPONSE_BYTES", 100)
    assert isinstance(error_for(httpx.Response(200, content=b"x" * 200)), UnexpectedResponseError)


@pytest.mark.parametrize("kind", errors.ERRORS_BY_CODE.values(), ids=lambda kind: kind.code)
def test_every_problem_of_the_server_is_the_error_of_its_code(kind: type[CreditError]) -> None:
    error = error_for(problem(kind.code, kind.status))
    assert type(error) is kind
    assert error.detail.startswith("No.")
    assert error.request_id == "trace-1"


def test_a_refusal_explains_itself() -> None:
    figures = {
        "limit": "allocation",
        "required": 50,
        "available": 0.05,
        "resets_at": "2026-02-01T00:00:00+00:00",
        "top_up_url": "https://ops.example/top-up",
    }
    error = error_for(problem("insufficient_credits", 402, **figures))
    assert isinstance(error, InsufficientCreditsError)
    assert str(error.available) == "0.05"
    assert error.limit == "allocation"
    assert error.resets_at == datetime(2026, 2, 1, tzinfo=UTC)
    assert error.top_up_url == "https://ops.example/top-up"


@pytest.mark.parametrize(("seconds", "low", "high"), [("3", 3, 3), ("0", 0, 0), ("1000000000", 120, 120)])
def test_retry_after_is_in_seconds_within_bounds(seconds: str, low: float, high: float) -> None:
    assert low <= retry_after_of(seconds) <= high


@pytest.mark.parametrize(("seconds", "low", "high"), [(90, 30, 90), (-86_400, 0, 0), (86_400, 120, 120)])
def test_retry_after_may_be_a_date(seconds: int, low: float, high: float) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    assert low <= retry_after_of(format_datetime(moment, usegmt=True)) <= high


def retry_after_of(header: str) -> float:
    error = error_for(httpx.Response(429, headers={"Retry-After": header}))
    assert isinstance(error, RateLimitedError)
    assert error.retry_after is not None
    return error.retry_after


@pytest.mark.parametrize("header", ["soon", "-1", "nan", "", "9" * 400])
def test_a_retry_after_that_makes_no_sense_is_ignored_or_bounded(header: str) -> None:
    error = error_for(httpx.Response(429, headers={"Retry-After": header}))
    assert isinstance(error, RateLimitedError)
    assert error.retry_after in {None, _wire_format.LONGEST_RETRY_AFTER_SECONDS}


@respx.mock
def test_the_same_request_is_sent_until_it_is_answered() -> None:
    answers = [httpx.ReadTimeout("slow"), httpx.Response(503), httpx.Response(200, json=RECEIPT)]
    route = respx.post(DEDUCT).mock(side_effect=answers)
    with service(QUICK) as billing:
        assert deduct(billing).request_id == "req-1"
    bodies = {call.request.content for call in route.calls}
    assert len(route.calls) == 3
    assert len(bodies) == 1


@respx.mock
@pytest.mark.anyio
async def test_the_async_client_behaves_the_same() -> None:
    answers = [httpx.ReadTimeout("slow"), httpx.Response(429), httpx.Response(200, json=RECEIPT)]
    route = respx.post(DEDUCT).mock(side_effect=answers)
    async with AsyncCreditDeductionService(BASE, api_key=KEY, retries=QUICK) as billing:
        account = Account(org_id="acme", user_id="ada")
        receipt = await billing.deduct(account, "0.05", service_type="x", request_id="req-1")
    assert str(receipt.remaining) == "999.95"
    assert len(route.calls) == 3


@respx.mock
def test_a_server_without_holds_is_used_by_check_perform_deduct(caplog: pytest.LogCaptureFixture) -> None:
    respx.post(HOLDS).mock(return_value=httpx.Response(404, text="Not Found"))
    check = {
        "has_sufficient_credits": True,
        "remaining_credits": 10,
        "available_credits": 10,
        "required_credits": 1,
    }
    respx.post(f"{BASE}/api/v1/org-billing/credits/check").mock(return_value=httpx.Response(200, json=check))
    respx.post(DEDUCT).mock(return_value=httpx.Response(200, json=RECEIPT))
    with service() as billing:
        for _ in range(2):
            with billing.charge(Account(org_id="acme", user_id="ada"), 1, service_type="x") as charge:
                """Do the work."""
            assert charge.is_charged
    assert caplog.text.count("knows no holds") == 1


@pytest.mark.parametrize(
    "address",
    [
        "ops.example",
        "ftp://ops.example",
        "http://",
        "https://user:secret@ops.example",
        "https://ops.example?x=1",
        "",
    ],
)
def test_an_address_that_cannot_be_one_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CreditDeductionService(address)
    assert "secret" not in str(caught.value)


def test_a_session_is_sent_as_a_cookie_and_a_bearer_token_as_a_header() -> None:
    for arguments, name, value in (
        ({"session_token": "abc"}, "Cookie", "session_token=abc"),
        ({"bearer_token": "abc"}, "Authorization", "Bearer abc"),
        ({"api_key": "abc"}, "X-API-Key", "abc"),
    ):
        with respx.mock, CreditDeductionService(BASE, **arguments) as billing:  # type: ignore[arg-type]  # one of three
            route = respx.post(DEDUCT).mock(return_value=httpx.Response(200, json=RECEIPT))
            deduct(billing)
            assert route.calls.last.request.headers[name] == value


def test_a_wrong_argument_sends_nothing() -> None:
    with respx.mock(assert_all_called=False) as router, service() as billing:
        route = router.route()
        with pytest.raises(errors.ValidationFailedError):
            billing.deduct(Account(org_id="acme", user_id="ada"), 5, service_type="")
        assert not route.called
