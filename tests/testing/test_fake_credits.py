"""`credit_sdk.testing` as an application uses it: its own service, decorated at import, and a fake."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    CreditDeductionService,
    CreditSDK,
    InsufficientCreditsError,
    UnavailableError,
)
from credit_sdk.operations import VoidHold
from credit_sdk.testing import FakeCredits, SimulatedCrash

billing = CreditDeductionService("https://ops.example", api_key="csk_never_used")
awaiting = AsyncCreditDeductionService("https://ops.example", api_key="csk_never_used")
ADA = Account(org_id="acme", user_id="ada")


@billing.billable("company_enrichment", cost=50, metadata=lambda company: {"company": company})
def enrich(company: str, account: Account) -> str:
    if company == "unknown":
        raise LookupError(company)
    return company.upper()


@awaiting.billable("company_enrichment", cost=50)
async def enrich_soon(company: str, account: Account) -> str:
    return company.upper()


@pytest.fixture
def fake() -> Iterator[FakeCredits]:
    with FakeCredits() as books:
        books.serve(billing)
        books.serve(awaiting)
        assert books.member("ada", credits=100) == ADA
        yield books
    books.assert_books_agree()


def test_success_is_charged_and_failure_is_not(fake: FakeCredits) -> None:
    assert enrich("c-1", account=ADA) == "C-1"
    with pytest.raises(LookupError):
        enrich("unknown", account=ADA)
    fake.assert_charged(50, account=ADA, service_type="company_enrichment", metadata={"company": "c-1"})
    fake.assert_charged(times=1)
    fake.assert_not_charged(metadata={"company": "unknown"})
    fake.assert_no_open_holds()
    fake.assert_remaining(ADA, 50)


@pytest.mark.anyio
async def test_coroutines_too(fake: FakeCredits) -> None:
    fake.faults.lose_answer("capture")
    assert await enrich_soon("c-1", account=ADA) == "C-1"
    fake.assert_charged(50, times=1)
    assert not fake.faults.unstruck()


def test_too_few_credits(fake: FakeCredits) -> None:
    enrich("c-1", account=ADA)
    enrich("c-2", account=ADA)
    with pytest.raises(InsufficientCreditsError):
        enrich("c-3", account=ADA)
    fake.assert_charged(50, times=2)


STEPS = ["hold", "capture"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", ["unreachable", "lose_answer", "refuse", "duplicate"])
def test_what_a_charge_survives(fake: FakeCredits, step: Any, fault: str) -> None:
    getattr(fake.faults, fault)(step)
    enrich("c-1", account=ADA)
    assert not fake.faults.unstruck()
    fake.assert_charged(50, times=1)
    fake.assert_no_open_holds()


def test_nobody_waits_for_a_retry(fake: FakeCredits) -> None:
    before = fake.clock.now()
    fake.faults.refuse("hold", retry_after=7)
    enrich("c-1", account=ADA)
    assert (fake.clock.now() - before).total_seconds() >= 7


def test_books_that_stay_away_refuse_the_work(fake: FakeCredits) -> None:
    fake.faults.unreachable("hold", times=100)
    with pytest.raises(UnavailableError):
        enrich("c-1", account=ADA)
    fake.faults.clear()
    fake.assert_not_charged()


def test_a_charge_that_cannot_be_confirmed_is_delivered_later(fake: FakeCredits) -> None:
    fake.faults.unreachable("capture", times=100)
    assert enrich("c-1", account=ADA) == "C-1"
    fake.assert_not_charged()
    fake.faults.clear()
    assert fake.deliver().delivered == 1
    fake.assert_charged(50, times=1)
    fake.assert_no_open_holds()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_process_that_dies_at_the_capture_charges_once(fake: FakeCredits, *, after: bool) -> None:
    fake.faults.crash("capture", after=after)
    with pytest.raises(SimulatedCrash):
        enrich("c-1", account=ADA)
    with pytest.raises(SimulatedCrash):  # it is gone
        billing.check(ADA, 1)
    fake.restart()
    fake.assert_charged(50, times=1)
    fake.assert_no_open_holds()


def test_a_process_that_dies_in_its_work_is_not_charged(fake: FakeCredits) -> None:
    with pytest.raises(SimulatedCrash), billing.charge(ADA, 50, service_type="print"):
        fake.faults.crash_now()
    fake.restart()
    fake.clock.advance(hours=1)
    fake.restart()
    fake.assert_not_charged()
    fake.assert_no_open_holds()


def test_a_hold_expires_when_the_work_is_slow(fake: FakeCredits) -> None:
    with billing.charge(ADA, 50, service_type="print", ttl_seconds=60):
        assert [hold.credits for hold in fake.open_holds] == [50]
        fake.clock.advance(minutes=2)
        fake.assert_no_open_holds()
    fake.assert_charged(50)


def test_a_slow_request_lets_time_pass(fake: FakeCredits) -> None:
    before = fake.clock.now()
    fake.faults.slow("capture", seconds=30)
    enrich("c-1", account=ADA)
    assert (fake.clock.now() - before).total_seconds() == 30


def test_users_own_credits(fake: FakeCredits) -> None:
    customer = fake.user(123, credits=20)
    sdk = fake.sdk()
    assert sdk.consume_credits(123, 5, "Print job", {"job": 7})
    fake.assert_charged(5, account=customer, metadata={"job": 7})
    fake.assert_remaining(customer, 15)
    assert isinstance(sdk, CreditSDK)
    sdk.refund(int(fake.charges[0].charge_id))
    fake.assert_not_charged()


def test_refunds_are_taken_off(fake: FakeCredits) -> None:
    service = fake.service()
    receipt = service.deduct(ADA, 30, service_type="repair")
    service.refund(receipt, 10)
    assert [charge.credits for charge in fake.charges] == [Decimal(20)]


def test_assertions_say_what_there_was_instead(fake: FakeCredits) -> None:
    enrich("c-1", account=ADA)
    with pytest.raises(AssertionError) as caught:
        fake.assert_charged(10, service_type="company_enrichment")
    message = str(caught.value)
    assert "Expected 1 charges (service_type=company_enrichment, credits=10), but there are 0." in message
    assert "50 credits for company_enrichment by ada of acme" in message
    with pytest.raises(AssertionError, match="Expected 1 credits left, but there are 50"):
        fake.assert_remaining(ADA, 1)
    with pytest.raises(AssertionError, match="There are open holds:\n  5 credits of ada of acme"):  # noqa: SIM117
        with billing.charge(ADA, 5, service_type="print"):
            fake.assert_no_open_holds()
    with pytest.raises(TypeError, match="A charge has no 'colour'"):
        fake.assert_charged(colour="red")


def test_a_hold_that_is_never_given_back_is_found(fake: FakeCredits, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: nothing of a void arrives."""
    carry_out = fake.faults.carry_out
    monkeypatch.setattr(
        fake.faults,
        "carry_out",
        lambda operation, deliver: None if isinstance(operation, VoidHold) else carry_out(operation, deliver),
    )
    with pytest.raises(LookupError):
        enrich("unknown", account=ADA)
    with pytest.raises(AssertionError, match="open holds"):
        fake.assert_no_open_holds()


def test_the_application_has_its_own_books_back_afterwards(fake: FakeCredits) -> None:
    backend = billing._till.connections.backend
    fake.__exit__(None, None, None)
    assert billing._till.connections.backend is not backend
    assert "memory" not in type(billing._till.connections.backend).__module__


PLUGIN = """
    from credit_sdk import CreditDeductionService

    billing = CreditDeductionService("https://ops.example", api_key="csk_never_used")

    def test_charge(fake_credits):
        fake_credits.serve(billing)
        with billing.charge(fake_credits.member(), 5, service_type="print"):
            pass
        fake_credits.assert_charged(5)

    def test_a_fault_that_never_strikes(fake_credits):
        fake_credits.faults.unreachable("refund")
"""


def test_the_fixture_comes_with_the_package(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLUGIN)
    outcome = pytester.runpytest_subprocess("-p", "no:xdist")
    outcome.assert_outcomes(passed=2, errors=1)
    outcome.stdout.fnmatch_lines(["*Faults were planned that never happened, at: refund.*"])
