"""The comparison itself: what is planted is found, nothing else, and its corrections set it right."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_sdk import Account, CreditDeductionService, InvalidAmountError, MemoryLedger
from credit_sdk.operations import Deduct, Refund
from credit_sdk.reconciliation import Booked, Finding, Period, Recorded, booked, reconcile

NOON = datetime(2027, 1, 20, 12, tzinfo=UTC)
USERS, SERVICES = ("ada", "bob"), ("valuation", "contact_lookup")
EDITS = (
    "none", "not charged", "not recorded", "not done", "free", "dearer", "cheaper", "another user",
    "another service", "twice", "in the outbox", "refunded", "partly refunded",
)  # fmt: skip
FOUND = {
    "not charged": "missing",
    "not recorded": "extra",
    "not done": "extra",
    "free": "extra",
    "dearer": "different",
    "cheaper": "different",
    "another user": "different",
    "another service": "different",
    "twice": "duplicate",
    "in the outbox": "waiting",
    "refunded": "different",
    "partly refunded": "different",
}


def record(request_id: str = "job-1", **changes: Any) -> Recorded:
    fields = {"org_id": "acme", "user_id": "ada", "service_type": "valuation", "credits": 10}
    return Recorded.model_validate(fields | {"request_id": request_id} | changes)


def book(request_id: str = "job-1", **changes: Any) -> Booked:
    fields = {"org_id": "acme", "user_id": "ada", "service_type": "valuation", "credits": 10, "refunded": 0}
    more = {"request_id": request_id, "charge_id": UUID(int=1), "created_at": NOON}
    return Booked.model_validate(fields | more | changes)


class Books:
    """Books in memory whose clock never stands still."""

    def __init__(self) -> None:
        ledger = MemoryLedger(now=self._tick)
        self._moment = NOON
        ledger.add_organization("acme", credits=1_000_000)
        for user_id in USERS:
            ledger.add_member("acme", user_id, allocated=100_000)
        self.billing = CreditDeductionService(ledger)

    def _tick(self) -> datetime:
        self._moment += timedelta(milliseconds=1)
        return self._moment

    def charge(self, wanted: Recorded) -> None:
        self.billing.deduct(
            Account(org_id=wanted.org_id, user_id=wanted.user_id),
            wanted.credits,
            service_type=wanted.service_type,
            request_id=wanted.request_id,
        )

    def booked(self) -> list[Booked]:
        return sorted(booked(self.billing.charges("acme")), key=lambda each: each.key)

    def correct(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            for correction in finding.corrections:
                self.billing.execute(correction)


def edited(true: Recorded, edit: str, books: Books) -> Iterator[Recorded]:
    """Carry an edit out: charge what it leaves of a charge, return what it leaves of the record."""
    if edit not in {"not charged", "in the outbox"}:
        books.charge(true)
    change: dict[str, dict[str, Any]] = {
        "not done": {"is_done": False},
        "free": {"credits": Decimal(0)},
        "dearer": {"credits": true.credits + 1},
        "cheaper": {"credits": true.credits - Decimal("0.001")},
        "another user": {"user_id": USERS[true.user_id == USERS[0]]},
        "another service": {"service_type": SERVICES[true.service_type == SERVICES[0]]},
    }
    if edit in {"refunded", "partly refunded"}:
        credits = true.credits if edit == "refunded" else Decimal("0.001")
        books.billing.execute(Refund(org_id="acme", request_id=true.request_id, credits=credits))
    if edit != "not recorded":
        yield true.model_copy(update=change.get(edit, {}))
    if edit == "twice":
        yield true


operations = st.builds(
    record,
    request_id=st.uuids().map(str),
    user_id=st.sampled_from(USERS),
    service_type=st.sampled_from(SERVICES),
    credits=st.integers(1_001, 1_000_000).map(lambda milli: Decimal(milli) / 1_000),
)


@given(
    st.lists(st.tuples(operations, st.sampled_from(EDITS)), max_size=8, unique_by=lambda each: each[0].key)
)
def test_exactly_the_edits_are_found_and_corrected(edits: list[tuple[Recorded, str]]) -> None:
    books = Books()
    rows = [row for true, edit in edits for row in edited(true, edit, books)]
    rows.sort(key=lambda row: row.key)
    waiting = {true.key for true, edit in edits if edit == "in the outbox"}
    planted = Counter((FOUND[edit], true.request_id) for true, edit in edits if edit in FOUND)

    findings = list(reconcile(rows, books.booked(), waiting=waiting))
    assert Counter((finding.kind, finding.request_id) for finding in findings) == planted
    by_hand = {"duplicate", "waiting"}
    assert all(bool(finding.corrections) != (finding.kind in by_hand) for finding in findings)

    for _ in range(2):
        # A second time, as after a crash: everything has its own id, so nothing happens twice.
        books.correct(findings)
        left = {finding.kind for finding in reconcile(rows, books.booked(), waiting=waiting)}
        assert left <= by_hand


def only(rows: list[Recorded], books: list[Booked], **more: Any) -> Finding:
    [finding] = reconcile(rows, books, **more)
    return finding


def test_what_is_missing_is_charged_under_its_own_request_id() -> None:
    finding = only([record()], [])
    [charge] = finding.corrections
    assert isinstance(charge, Deduct)
    assert (finding.kind, charge.request_id, charge.credits) == ("missing", "job-1", 10)


def test_a_surplus_is_refunded_and_the_rest_of_the_charge_stays() -> None:
    finding = only([record(credits="7.5")], [book(credits=10, refunded=1)])
    [refund] = finding.corrections
    assert isinstance(refund, Refund)
    assert (finding.fields, refund.credits) == (("credits",), Decimal("1.5"))
    assert refund.idempotency_key == f"reconciled_{UUID(int=1)}_1000"


def test_what_is_too_little_is_refunded_and_charged_anew() -> None:
    finding = only([record(credits=12)], [book()])
    refund, charge = finding.corrections
    assert isinstance(refund, Refund)
    assert isinstance(charge, Deduct)
    assert (refund.credits, charge.credits, charge.request_id) == (10, 12, "job-1~corrected1")


def test_every_field_that_differs_is_named() -> None:
    finding = only([record(credits=1, user_id="bob", service_type="contact_lookup")], [book()])
    assert finding.fields == ("credits", "user_id", "service_type")


def test_a_correction_is_not_looked_at_as_a_charge_of_its_own() -> None:
    books = Books()
    wanted = record(credits=20)
    books.charge(record())
    books.correct(reconcile([wanted], books.booked()))
    assert list(reconcile([wanted], books.booked())) == []
    again = record(credits=30)
    books.correct(reconcile([again], books.booked()))
    assert list(reconcile([again], books.booked())) == []
    assert [each.request_id for each in books.booked()] == ["job-1"] * 3


def test_a_request_id_without_room_for_a_correction_is_left_to_a_person() -> None:
    long = "j" * 250
    finding = only([record(long, credits=12)], [book(long)])
    assert (finding.kind, finding.corrections) == ("different", ())


@pytest.mark.parametrize(
    ("created_at", "is_extra"),
    [(NOON, True), (NOON + timedelta(hours=1), False), (NOON - timedelta(microseconds=1), False)],
)
def test_charges_outside_the_period_are_not_extra(created_at: datetime, is_extra: bool) -> None:
    period = Period(NOON, NOON + timedelta(hours=1))
    assert bool(list(reconcile([], [book(created_at=created_at)], period=period))) == is_extra


def test_a_record_of_the_period_may_be_charged_outside_of_it() -> None:
    period = Period(NOON, NOON + timedelta(hours=1))
    late = book(created_at=NOON + timedelta(days=3))
    assert list(reconcile([record(time=NOON)], [late], period=period)) == []
    assert list(reconcile([record(time=NOON - timedelta(days=1))], [], period=period)) == []


def test_an_attempt_that_failed_before_the_one_that_was_done_is_no_duplicate() -> None:
    assert list(reconcile([record(is_done=False), record()], [book()])) == []


def test_the_same_request_id_in_two_organisations_is_two_requests() -> None:
    findings = reconcile([record(), record(org_id="other")], [book()])
    assert [(each.kind, each.org_id) for each in findings] == [("missing", "other")]


@pytest.mark.parametrize("side", ["recorded", "booked"])
def test_a_side_that_is_not_sorted_is_refused(side: str) -> None:
    rows = [record("job-2"), record("job-1")] if side == "recorded" else []
    books = [book("job-2"), book("job-1")] if side == "booked" else []
    with pytest.raises(ValueError, match="not sorted"):
        list(reconcile(rows, books))


@pytest.mark.parametrize("credits", [-1, "1.0001", True, "1,000", float("nan")])
def test_amounts_are_read_by_the_usual_rules(credits: object) -> None:
    with pytest.raises(InvalidAmountError):
        record(credits=credits)
