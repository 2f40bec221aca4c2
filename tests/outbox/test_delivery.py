"""Charges that could not be confirmed are settled: in the background, at the next start, on request."""

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from credit_sdk import (
    AsyncCreditDeductionService,
    ChargePolicy,
    InsufficientCreditsError,
    Outbox,
    OutboxError,
    OutcomeUnknownError,
    Retries,
    UnavailableError,
)
from credit_sdk._courier import MOST_UNANSWERED, Courier
from credit_sdk._flows import HandOver
from credit_sdk.errors import ConflictError, CreditError, UnexpectedResponseError
from credit_sdk.models import PendingCharge
from credit_sdk.operations import CaptureHold, Deduct, PlaceHold, VoidHold
from tests.outbox.conftest import ADA, Fault, MakeService

Left = Callable[[], tuple[int, int]]


def print_label() -> str:
    return "label"


class PrinterError(Exception):
    """The printer is on fire."""


def print_or_burn(*, fails: bool) -> None:
    if fails:
        raise PrinterError
    print_label()


@pytest.mark.parametrize("carried_out", [True, False], ids=["lost reply", "lost request"])
@pytest.mark.parametrize(
    "error", [OutcomeUnknownError(), UnavailableError(), UnexpectedResponseError()], ids=repr
)
def test_a_capture_that_is_not_answered_is_delivered_later_and_charges_once(
    make_service: MakeService, left: Left, carried_out: bool, error: CreditError
) -> None:
    billing = make_service()
    fault = Fault(billing, CaptureHold, error=error, after=carried_out)
    with billing.charge(ADA, 50, service_type="print_job") as charge:
        print_label()
    assert fault.hits
    assert charge.is_pending
    assert not charge.is_charged
    [entry] = billing.pending_charges()
    assert entry.charge is not None
    assert entry.charge.request_id == charge.request_id
    fault.lasts = False
    billing.close()
    with make_service() as another:
        wait_until_empty(another)
    assert left() == (950, 0)


def wait_until_empty(billing: Any) -> None:
    """Deliver beside the background until nobody works on anything any more."""
    courier = billing._till.courier
    thread = courier._background.get().thread
    if thread is not None:
        thread.join(60)
    billing.flush_outbox()
    assert billing.pending_charges() == []


def test_flushing_waits_for_what_the_background_is_delivering(
    make_service: MakeService, left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing = make_service()
    Fault(billing, CaptureHold, error=UnavailableError(), after=False)
    with billing.charge(ADA, 50, service_type="print_job"):
        print_label()
    billing.close()
    settle, is_begun, is_flushed = Courier._settle, threading.Event(), threading.Event()

    def settle_slowly(courier: Courier, pending: PendingCharge) -> Decimal | None:
        is_begun.set()
        is_flushed.wait(0.3)
        return settle(courier, pending)

    monkeypatch.setattr(Courier, "_settle", settle_slowly)
    another = make_service()
    is_begun.wait()
    another.flush_outbox()
    found = left(), another.pending_charges()
    is_flushed.set()
    assert found == ((950, 0), [])


def test_the_background_delivers_as_soon_as_the_books_are_back(make_service: MakeService, left: Left) -> None:
    billing = make_service()
    fault = Fault(billing, CaptureHold, error=UnavailableError(), after=False)
    for _ in range(3):
        with billing.charge(ADA, 50, service_type="print_job"):
            print_label()
    fault.lasts = False
    wait_until_empty(billing)
    assert left() == (850, 0)


def test_what_is_handed_over_as_the_background_ends_is_not_forgotten(
    make_service: MakeService, left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing = make_service()
    fault = Fault(billing, CaptureHold, error=UnavailableError(), after=False)
    courier = billing._till.courier
    assert courier is not None
    waits = Outbox.waits
    late = iter(["late"])

    def owe() -> None:
        fault.lasts = True
        with billing.charge(ADA, 50, service_type="print_job"):
            print_label()
        fault.lasts = False

    def waits_and_then_there_is_more(outbox: Outbox, destination: str) -> bool:
        answer = waits(outbox, destination)
        if not answer and next(late, None):
            owe()
        return answer

    monkeypatch.setattr(Outbox, "waits", waits_and_then_there_is_more)
    owe()
    thread = courier._background.get().thread
    if thread is not None:
        thread.join(60)
    assert next(late, None) is None
    assert billing.pending_charges() == []
    assert left() == (900, 0)


class FullDisk:
    """Writes of one kind find the disk full, as long as it lasts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.lasts = True
        self.hits = 0
        write = getattr(Outbox, name)

        def failing(outbox: Outbox, *arguments: Any, **more: Any) -> Any:
            if self.lasts:
                self.hits += 1
                raise OutboxError("the disk is full.")
            return write(outbox, *arguments, **more)

        monkeypatch.setattr(Outbox, name, failing)


@pytest.mark.parametrize("fails", [False, True], ids=["work succeeds", "work fails"])
@pytest.mark.parametrize("write", ["hand_over", "forget"])
def test_a_disk_that_is_full_when_a_charge_is_let_go_is_no_error_of_the_callers(
    make_service: MakeService, left: Left, monkeypatch: pytest.MonkeyPatch, *, write: str, fails: bool
) -> None:
    billing = make_service()
    fault = Fault(billing, CaptureHold, VoidHold, error=UnavailableError(), after=False)
    fault.lasts = write == "hand_over"
    disk = FullDisk(monkeypatch, write)
    outcome = pytest.raises(PrinterError) if fails else nullcontext()
    with outcome, billing.charge(ADA, 50, service_type="print_job") as charge:
        print_or_burn(fails=fails)
    assert disk.hits
    assert charge.is_pending == (fault.lasts and not fails)
    assert len(billing.pending_charges()) == 1
    fault.lasts = disk.lasts = False
    wait_until_empty(billing)
    assert left() == (1_000 if fails else 950, 0)


def test_a_disk_that_is_full_when_the_work_is_done_leaves_no_stale_record(
    make_service: MakeService, left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing = make_service()
    with billing.charge(ADA, 50, service_type="print_job"):
        disk = FullDisk(monkeypatch, "keep")
    assert disk.hits
    assert billing.pending_charges() == []
    assert left() == (950, 0)


def test_a_receipt_that_is_not_there_yet_says_what_to_do(make_service: MakeService) -> None:
    billing = make_service()
    fault = Fault(billing, CaptureHold, error=UnavailableError(), after=False)
    with billing.charge(ADA, 50, service_type="print_job") as charge:
        print_label()
    with pytest.raises(ConflictError, match=r"not settled yet.*`flush_outbox\(\)`"):
        _ = charge.receipt
    fault.lasts = False


def test_flush_says_what_came_of_it(make_service: MakeService, outbox_path: Path) -> None:
    billing = make_service()
    fault = Fault(billing, CaptureHold, error=UnavailableError(), after=False)
    with billing.charge(ADA, 50, service_type="print_job"):
        print_label()
    billing.close()
    assert billing.flush_outbox().kept == 1
    [entry] = billing.pending_charges()
    assert (entry.state, entry.reason) == ("waiting", UnavailableError().detail)
    assert entry.attempts >= 1
    fault.lasts = False
    flushed = billing.flush_outbox()
    assert (flushed.delivered, flushed.kept, flushed.credits_charged) == (1, 0, Decimal(50))


def test_a_failure_whose_hold_could_not_be_given_back_is_released_later(
    make_service: MakeService, left: Left
) -> None:
    billing = make_service()
    fault = Fault(billing, VoidHold, error=UnavailableError(), after=False)
    with pytest.raises(PrinterError), billing.charge(ADA, 50, service_type="print_job"):
        raise PrinterError
    assert left() == (1_000, 50)
    fault.lasts = False
    wait_until_empty(billing)
    assert left() == (1_000, 0)


def test_a_confirmed_charge_leaves_nothing_behind(make_service: MakeService, left: Left) -> None:
    billing = make_service()
    with billing.charge(ADA, 50, service_type="print_job") as charge:
        assert [entry.state for entry in billing.pending_charges()] == ["under way"]
    assert charge.receipt.remaining == 950
    assert billing.pending_charges() == []


def test_a_cost_beyond_the_balance_is_refused_not_kept(make_service: MakeService, left: Left) -> None:
    billing = make_service()
    with (
        pytest.raises(InsufficientCreditsError),
        billing.charge(ADA, 50, service_type="x") as charge,
    ):
        charge.credits = 5_000
    assert billing.pending_charges() == []
    assert left() == (1_000, 0)


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """A path in which nothing can be made."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "outbox"


def test_a_named_outbox_that_cannot_be_written_refuses_the_work(
    make_service: MakeService, unusable: Path, left: Left
) -> None:
    billing = make_service(outbox=unusable)
    with pytest.raises(OutboxError, match="cannot be used"), billing.charge(ADA, 50, service_type="x"):
        pytest.fail("the work has begun")
    assert left() == (1_000, 0)


def test_a_default_outbox_that_cannot_be_written_warns_once(
    make_service: MakeService,
    unusable: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("CREDIT_SDK_OUTBOX")
    monkeypatch.setenv("XDG_STATE_HOME", str(unusable))
    billing = make_service(outbox=None)
    for left in (950, 900):
        with billing.charge(ADA, 50, service_type="x") as charge:
            print_label()
        assert charge.receipt.remaining == left
    assert caplog.text.count("cannot be used") == 1


def test_without_an_outbox_an_unknown_outcome_is_raised(make_service: MakeService) -> None:
    billing = make_service(outbox=False)
    Fault(billing, CaptureHold, error=OutcomeUnknownError(), after=True)
    with pytest.raises(OutcomeUnknownError), billing.charge(ADA, 50, service_type="x"):
        print_label()


def test_work_is_performed_while_the_books_are_away_within_the_allowance(
    make_service: MakeService, left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    policy = ChargePolicy(when_unavailable="perform", allowance=100)
    billing = make_service(policy=policy, retries=Retries(attempts=1))
    fault = Fault(billing, PlaceHold, Deduct, error=UnavailableError(), after=False)
    for _ in range(2):
        with billing.charge(ADA, 50, service_type="x") as charge:
            print_label()
        assert charge.is_pending
    with pytest.raises(UnavailableError, match="allowance of 100 credits"):
        billing.charge(ADA, 50, service_type="x").__enter__()
    assert "before it is paid" in caplog.text
    fault.lasts = False
    wait_until_empty(billing)
    assert left() == (900, 0)


def test_a_debt_that_the_balance_does_not_cover_stays_with_the_reason(
    make_service: MakeService, left: Left
) -> None:
    billing = make_service(policy=ChargePolicy(when_unavailable="perform"), retries=Retries(attempts=1))
    fault = Fault(billing, PlaceHold, error=UnavailableError(), after=False)
    with billing.charge(ADA, 5_000, service_type="x") as charge:
        print_label()
    assert charge.is_pending
    billing.close()
    fault.lasts = False
    assert billing.flush_outbox().kept == 1
    [entry] = billing.pending_charges()
    assert entry.state == "refused"
    assert "Insufficient credits" in str(entry.reason)
    assert left() == (1_000, 0)


@pytest.mark.parametrize(("answer", "cost"), [(True, 50), (False, 0)])
def test_the_probe_settles_work_that_timed_out(
    make_service: MakeService, left: Left, answer: bool, cost: int
) -> None:
    asked: list[PendingCharge] = []

    def was_printed(pending: PendingCharge) -> bool:
        asked.append(pending)
        return answer

    billing = make_service(probes={"print_job": was_printed}, policy=ChargePolicy(uncertain=(TimeoutError,)))
    with pytest.raises(TimeoutError), billing.charge(ADA, 50, service_type="print_job", metadata={"job": 7}):
        raise TimeoutError
    wait_until_empty(billing)
    assert left() == (1_000 - cost, 0)
    assert asked[0].metadata == {"job": 7}


@pytest.mark.parametrize(("answer", "cost"), [(True, 50), (False, 0)])
def test_a_dead_program_s_charge_waits_for_a_service_that_has_its_probe(
    make_service: MakeService, outbox_path: Path, left: Left, answer: bool, cost: int
) -> None:
    dying = make_service(probes={"print_job": lambda _: answer})
    dying.charge(ADA, 50, service_type="print_job").__enter__()
    [entry] = dying.pending_charges()
    Outbox(outbox_path).hand_over(HandOver(entry.entry_id, "its process died"))
    other = make_service(outbox=False)
    delivery = other.flush_outbox(Outbox(outbox_path))
    [entry] = dying.pending_charges()
    assert (delivery.kept, left()) == (1, (1_000, 50))
    assert "a probe for print_job" in str(entry.reason)
    assert dying.flush_outbox().kept == 0
    assert left() == (1_000 - cost, 0)


def test_a_probe_that_fails_leaves_the_charge_where_it_is(
    make_service: MakeService, left: Left, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: PendingCharge) -> bool:
        raise PrinterError

    billing = make_service(probes={"print_job": broken}, policy=ChargePolicy(uncertain=(TimeoutError,)))
    with pytest.raises(TimeoutError), billing.charge(ADA, 50, service_type="print_job"):
        raise TimeoutError
    billing.close()
    assert billing.flush_outbox().kept == 1
    [entry] = billing.pending_charges()
    assert entry.reason == "PrinterError"
    assert left() == (1_000, 50)


def test_secrets_are_not_written_into_the_outbox(make_service: MakeService, outbox_path: Path) -> None:
    billing = make_service()
    fault = Fault(billing, CaptureHold, error=UnavailableError(), after=False)
    with billing.charge(ADA, 50, service_type="x", metadata={"password": "canary-7d1"}) as charge:
        charge.metadata["api_key"] = "canary-7d1"
    assert fault.hits
    billing.close()
    written = b"".join(path.read_bytes() for path in outbox_path.parent.iterdir() if path.is_file())
    assert b"canary-7d1" not in written
    assert charge.request_id.encode() in written


def test_closing_says_nothing_and_loses_nothing(
    make_service: MakeService, outbox_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    billing = make_service()
    Fault(billing, CaptureHold, error=UnavailableError(), after=False)
    with billing.charge(ADA, 50, service_type="x"):
        print_label()
    billing.close()
    assert all(record.levelno < logging.ERROR for record in caplog.records)
    assert len(Outbox(outbox_path).entries()) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("carried_out", [True, False], ids=["lost reply", "lost request"])
async def test_an_awaited_charge_is_kept_and_delivered_too(
    books: str, make_service: MakeService, outbox_path: Path, left: Left, carried_out: bool
) -> None:
    async with AsyncCreditDeductionService(books, outbox=outbox_path, retries=Retries(attempts=1)) as billing:
        fault = Fault(billing, CaptureHold, error=OutcomeUnknownError(), after=carried_out)
        async with billing.charge(ADA, 50, service_type="x") as charge:
            print_label()
    assert fault.hits
    assert charge.is_pending
    wait_until_empty(make_service())
    assert left() == (950, 0)


def test_a_job_that_runs_again_keeps_its_hold_when_its_dead_run_is_settled(
    make_service: MakeService, left: Left
) -> None:
    """The first run's process died; the second has the same hold under the same id, and works on it."""
    first, second = make_service(), make_service()
    dead = first.charge(ADA, 1_000, service_type="print_job", request_id="job-9")
    dead.__enter__()
    [entry] = first.pending_charges()
    with second.charge(ADA, 1_000, service_type="print_job", request_id="job-9") as charge:
        outbox = Outbox(first._till.courier.outbox.path)  # type: ignore[union-attr]  # it has one
        outbox.hand_over(HandOver(entry.entry_id, "its process died"))
        assert second.flush_outbox().released == 1
        assert left() == (1_000, 1_000)
    assert charge.is_charged
    assert left() == (0, 0)
    assert second.pending_charges() == []


def test_a_round_of_deliveries_ends_when_nobody_answers(make_service: MakeService, left: Left) -> None:
    billing = make_service(retries=Retries(attempts=1))
    fault = Fault(billing, CaptureHold, error=UnavailableError("The server is away."), after=False)
    for _ in range(MOST_UNANSWERED + 20):
        with billing.charge(ADA, 1, service_type="print_job"):
            print_label()
    billing._till.courier.close()  # type: ignore[union-attr]  # it has one
    before = fault.hits
    assert billing.flush_outbox().kept == MOST_UNANSWERED + 20
    assert fault.hits - before == MOST_UNANSWERED
    fault.lasts = False
    assert billing.flush_outbox().delivered == MOST_UNANSWERED + 20
    assert left() == (1_000 - MOST_UNANSWERED - 20, 0)
