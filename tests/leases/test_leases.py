"""What a lease pays, and what the books say of it."""

from typing import Any

import pytest

from credit_sdk import (
    Account,
    ChargePolicy,
    ConfigurationError,
    ConflictError,
    CreditDeductionService,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InvalidAmountError,
    LeasePolicy,
    MemoryLedger,
    OutcomeUnknownError,
    UnavailableError,
)
from credit_sdk._leases import lessee
from credit_sdk._leases.leasing import Leasing
from credit_sdk.operations import (
    ChargeHold,
    Deduct,
    ExtendHold,
    GetUserCredits,
    ListCharges,
    PlaceHold,
    VoidHold,
)
from tests.leases.conftest import ADA, Process, Town


def kinds(process: Process) -> list[str]:
    """The requests since the last look."""
    names = [type(each).__name__ for each in process.line.requests]
    process.line.requests.clear()
    return names


def test_charges_are_paid_without_asking_the_books_and_settled_together(town: Town) -> None:
    process = town.process()
    assert all(process.spend(3) for _ in range(10))
    assert kinds(process) == ["PlaceHold"]
    assert town.books() == (0, 100)
    process.billing.settle_leases()
    assert kinds(process) == ["ChargeHold"]
    assert town.books() == (30, 70)
    process.billing.close()
    assert town.books() == (30, 0)
    assert process.journals() == []


def test_what_is_charged_is_that_of_the_work(town: Town) -> None:
    process = town.process()
    billing = process.billing

    @billing.billable("bulk_export", cost=lambda names: 2 * len(names), estimate=50, service_name="csv")
    def export(account: Account) -> list[str]:
        return ["a", "b", "c"]

    export(ADA)
    with billing.charge(ADA, 5, service_type="lookup", metadata={"password": "x", "town": "Austin"}):
        pass
    billing.settle_leases()
    lookup, exported = town.ledger.execute(ListCharges(org_id="acme")).items
    assert (exported.service_type, exported.service_name, exported.credits_used) == ("bulk_export", "csv", 6)
    assert (lookup.service_type, lookup.service_name, lookup.credits_used) == ("lookup", None, 5)
    assert lookup.request_metadata == {"password": "[redacted]", "town": "Austin"}


def test_work_that_fails_or_costs_nothing_takes_nothing(town: Town) -> None:
    process = town.process()

    def fail() -> None:
        with process.billing.charge(ADA, 60, service_type="lookup"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with process.billing.charge(ADA, 60, service_type="lookup") as charge:
        charge.credits = 0
    assert not charge.is_pending
    assert process.spend(60)
    assert kinds(process) == ["PlaceHold"]
    process.billing.close()
    assert town.books() == (60, 0)


def test_what_waits_to_be_settled_is_bounded(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessee, "MOST_PENDING", 3)
    process = town.process()
    wished = []
    for _ in range(4):
        process.leases._wish.clear()
        process.spend(1)
        wished.append(process.leases._wish.is_set())
    assert wished == [False, False, True, True]
    process.billing.close()
    assert town.books() == (4, 0)


def test_a_charge_that_is_entered_again_promises_nothing_more(town: Town) -> None:
    process = town.process()
    charge = process.billing.charge(ADA, 60, service_type="lookup")
    with charge, pytest.raises(ConfigurationError, match="entered once"), charge:
        pytest.fail("the work began")  # pragma: no cover
    assert process.spend(40)
    assert kinds(process) == ["PlaceHold"]
    process.billing.close()
    assert town.books() == (100, 0)


def test_a_lease_is_filled_up_before_it_runs_out(town: Town) -> None:
    process = town.process()
    process.spend(60)
    process.leases.attend()
    assert kinds(process) == ["PlaceHold", "ChargeHold", "ExtendHold"]
    assert town.books() == (60, 100)


def test_a_lease_that_is_too_small_for_a_charge_grows_for_it(town: Town) -> None:
    process = town.process()
    process.spend(60)
    assert process.spend(300)
    assert kinds(process) == ["PlaceHold", "ExtendHold"]
    process.billing.close()
    assert town.books() == (360, 0)


def test_a_receipt_of_a_leased_charge_is_not_there_yet_and_says_what_to_do(town: Town) -> None:
    process = town.process()
    with process.billing.charge(ADA, 5, service_type="lookup") as charge:
        pass
    with pytest.raises(ConflictError, match=r"not settled yet.*`settle_leases\(\)`"):
        _ = charge.receipt
    process.billing.close()


def test_a_cost_beyond_the_estimate_is_taken_if_the_balance_allows(town: Town) -> None:
    process = town.process()
    with process.billing.charge(ADA, 5, service_type="lookup") as charge:
        charge.credits = 400
    assert charge.is_pending

    def beyond() -> None:
        with process.billing.charge(ADA, 5, service_type="lookup") as charge:
            charge.credits = 700

    with pytest.raises(InsufficientCreditsError):
        beyond()
    process.billing.close()
    assert town.books() == (400, 0)


@pytest.mark.parametrize("left", [1, 2, 3, 7])
def test_the_last_credits_can_be_spent(tmp_path: Any, left: int) -> None:
    town = Town(tmp_path, allocated=left)
    process = town.process()
    for _ in range(left):
        process.spend(1)
    with pytest.raises(InsufficientCreditsError) as refused:
        process.spend(1)
    assert (refused.value.required, refused.value.available) == (1, 0)
    process.billing.close()
    assert town.books() == (left, 0)


def test_processes_on_one_allocation_stay_within_it_together(tmp_path: Any) -> None:
    town = Town(tmp_path, allocated=100)
    first, second = town.process(credits=80), town.process(credits=80)
    spent = 0
    spending = [first, second]
    while spending:
        for process in list(spending):
            try:
                process.spend(1)
                spent += 1
            except InsufficientCreditsError:
                spending.remove(process)
    assert spent == 100
    for process in first, second:
        process.billing.close()
    assert town.books() == (100, 0)


def test_a_request_id_is_charged_once(town: Town) -> None:
    process = town.process()
    assert process.spend(5, request_id="job-1")
    assert process.spend(5, request_id="job-1")
    process.billing.settle_leases()
    assert process.spend(5, request_id="job-1")
    with pytest.raises(IdempotencyConflictError):
        process.spend(6, request_id="job-1")
    with (
        pytest.raises(IdempotencyConflictError),
        process.billing.charge(ADA, 5, service_type="valuation", request_id="job-1"),
    ):
        pytest.fail("the work began")  # pragma: no cover
    process.billing.close()
    assert town.charged() == {"job-1": 5}


def test_a_request_id_that_another_process_charged_is_recognised_when_it_is_settled(town: Town) -> None:
    process, other = town.process(), town.process()
    process.spend(5, request_id="job-1")
    other.spend(5, request_id="job-1")
    town.ledger.execute(
        Deduct(org_id="acme", user_id="ada", credits=7, service_type="lookup", request_id="job-2")
    )
    process.spend(7, request_id="job-2")
    for each in process, other:
        each.billing.close()
    assert town.charged() == {"job-1": 5, "job-2": 7}
    assert town.books() == (12, 0)
    assert town.debts.kept == {}


def test_an_id_that_was_used_for_something_else_is_left_to_the_outbox_and_holds_up_no_other(
    town: Town,
) -> None:
    process = town.process()
    for number in range(5):
        process.spend(1, request_id=f"job-{number}")
    town.ledger.execute(
        Deduct(org_id="acme", user_id="ada", credits=9, service_type="lookup", request_id="job-3")
    )
    process.billing.close()
    assert town.charged() == {"job-0": 1, "job-1": 1, "job-2": 1, "job-4": 1, "job-3": 9}
    [owed] = town.debts.kept.values()
    assert (owed.request_id, owed.credits, owed.outcome) == ("job-3", 1, "succeeded")


def test_nothing_is_spent_once_the_lease_is_about_to_end(town: Town) -> None:
    process = town.process(ttl_seconds=100)
    process.spend(5)
    town.clock.advance(seconds=89)
    assert process.spend(5)
    assert kinds(process) == ["PlaceHold"]
    town.clock.advance(seconds=2)
    assert process.spend(5)
    assert kinds(process) == ["PlaceHold"]
    process.billing.close()
    assert town.books() == (15, 0)


def test_a_lease_in_use_is_prolonged_and_one_that_nobody_uses_is_given_back(town: Town) -> None:
    process = town.process(ttl_seconds=100)
    process.spend(5)
    town.clock.advance(seconds=51)
    process.leases.attend()
    assert kinds(process) == ["PlaceHold", "ChargeHold", "ExtendHold"]
    town.clock.advance(seconds=51)
    process.leases.attend()
    assert kinds(process) == ["VoidHold"]
    assert town.books() == (5, 0)


def test_work_under_way_keeps_its_lease(town: Town) -> None:
    process = town.process(ttl_seconds=100)
    with process.billing.charge(ADA, 50, service_type="lookup") as charge:
        for _ in range(5):
            town.clock.advance(seconds=51)
            process.leases.attend()
    assert charge.is_pending
    process.billing.close()
    assert town.books() == (50, 0)


def test_what_was_spent_before_the_hold_expired_is_deducted_after_it(town: Town) -> None:
    process = town.process(ttl_seconds=100)
    process.spend(30)
    town.clock.advance(seconds=200)
    process.leases.attend()
    assert kinds(process) == ["PlaceHold", "ChargeHold", "DeductBatch", "VoidHold"]
    assert town.books() == (30, 0)
    process.spend(30)
    process.billing.close()
    assert town.books() == (60, 0)


def test_what_is_no_longer_covered_after_the_hold_expired_is_owed(town: Town) -> None:
    process = town.process(ttl_seconds=100)
    process.spend(30)
    town.clock.advance(seconds=200)
    deduct = Deduct(org_id="acme", user_id="ada", credits=990, service_type="lookup")
    town.ledger.execute(deduct)
    process.leases.attend()
    [owed] = town.debts.kept.values()
    assert owed.credits == 30
    process.billing.close()
    assert town.books() == (990, 0)
    assert process.journals() == []


def test_work_that_outlives_the_hold_is_charged_at_the_books(town: Town) -> None:
    process = town.process(ttl_seconds=100)
    with process.billing.charge(ADA, 30, service_type="lookup") as charge:
        town.clock.advance(seconds=200)
    assert charge.receipt.credits_used == 30
    process.billing.close()
    assert town.books() == (30, 0)


def test_a_hold_that_somebody_gave_back_is_replaced(town: Town) -> None:
    process = town.process()
    process.spend(30)
    [hold] = town.ledger.live_holds.values()
    town.ledger.execute(VoidHold(hold_id=hold.id))
    process.leases.attend()
    assert town.books() == (30, 0)
    assert process.spend(30)
    process.billing.close()
    assert town.books() == (60, 0)


@pytest.mark.parametrize("is_carried_out", [True, False], ids=["lost answer", "lost request"])
@pytest.mark.parametrize("kind", [PlaceHold, ExtendHold, ChargeHold, VoidHold])
def test_whatever_answer_is_lost_each_charge_is_taken_once_and_the_rest_given_back(
    town: Town, kind: type, is_carried_out: bool
) -> None:
    process = town.process()
    lost = 0

    def lose(operation: Any, carry_out: Any) -> Any:
        nonlocal lost
        if not isinstance(operation, kind):
            process.line.strike = lose
            return carry_out()
        lost += 1
        if is_carried_out:
            carry_out()
        raise OutcomeUnknownError("The answer is lost.") if is_carried_out else UnavailableError

    process.line.strike = lose
    process.spend(60, request_id="first")
    process.leases.attend()
    process.spend(60, request_id="second")
    process.leases.attend()
    process.billing.close()
    for each in process.journals():
        assert each.name.startswith("0-")
    successor = town.process()
    successor.billing.settle_leases()
    successor.billing.close()
    assert lost == 1
    assert town.charged() == {"first": 60, "second": 60}
    assert town.books() == (120, 0)
    assert successor.journals() == []


def test_who_begins_to_lease_while_a_journal_is_written_anew_stands_in_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.ledger.add_member("acme", "bob", allocated=100)
    process = town.process()
    process.spend(5)
    [ada] = process.leases._active
    at_rest = ada.at_rest

    def at_rest_after_bob() -> Any:
        monkeypatch.setattr(ada, "at_rest", at_rest)
        with process.billing.charge(Account(org_id="acme", user_id="bob"), 7, service_type="lookup"):
            pass
        return at_rest()

    monkeypatch.setattr(ada, "at_rest", at_rest_after_bob)
    monkeypatch.setattr("credit_sdk._leases.leases.REWRITE_BYTES", 0)
    process.leases._write_anew()
    process.kill()
    town.process().leases.settle()
    assert sorted(town.charged().values()) == [5, 7]


def test_work_that_is_under_way_when_leases_are_closed_is_charged(town: Town) -> None:
    process = town.process(ttl_seconds=100)
    process.spend(5)
    town.clock.advance(seconds=101)
    process.line.strike = None

    def be_away(_operation: Any, _carry_out: Any) -> Any:
        process.line.strike = be_away
        raise UnavailableError

    with process.billing.charge(ADA, 50, service_type="lookup"):
        process.line.strike = be_away
        process.leases.close()
        process.line.strike = None
    process.kill()
    town.process().leases.settle()
    assert sorted(town.charged().values()) == [5, 50]


def test_nothing_more_begins_while_a_service_closes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    process = town.process()
    process.spend(5)
    give_back = Leasing.close

    def while_another_thread_charges(leasing: Leasing) -> None:
        with pytest.raises(ConfigurationError, match=r"close\(\) has ended this service"):
            process.spend(7)
        give_back(leasing)

    monkeypatch.setattr(Leasing, "close", while_another_thread_charges)
    process.billing.close()
    assert town.books() == (5, 0)
    assert process.journals() == []


def test_the_books_may_be_away_as_long_as_the_lease_lasts(town: Town) -> None:
    process = town.process()

    def be_away(_operation: Any, _carry_out: Any) -> Any:
        process.line.strike = be_away
        raise UnavailableError

    process.spend(5)
    process.line.strike = be_away
    assert process.spend(90)
    with pytest.raises(UnavailableError):
        process.spend(90)
    process.line.strike = None
    process.billing.close()
    assert town.books() == (95, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"reserve": False},
        {"lease": False},
        {"policy": ChargePolicy(on_crash="charge")},
        {"policy": ChargePolicy(uncertain=(TimeoutError,))},
    ],
    ids=["without reserve", "not leased", "charged on a crash", "uncertain"],
)
def test_what_needs_a_hold_of_its_own_is_not_leased(town: Town, options: Any) -> None:
    process = town.process()
    assert not process.spend(5, **options)
    assert town.books() == (5, 0)


def test_one_function_can_be_leased_and_others_not() -> None:
    ledger = MemoryLedger()
    ledger.add_organization("acme", credits=100)
    ledger.add_member("acme", "ada", allocated=100)
    ledger.add_user(7, credits=10)
    with CreditDeductionService(ledger) as billing:

        @billing.billable("lookup", cost=1, lease=LeasePolicy(credits=10, settle_seconds=60))
        def look_up(account: Account) -> None:
            """Find nothing."""

        look_up(ADA)
        look_up(Account(user_id="7"))
        billing.deduct(ADA, 5, service_type="lookup")
        assert ledger.execute(GetUserCredits(user_id="ada")).organizations[0].held_credits == 10
        assert billing.check(Account(user_id="7"), 1).remaining_credits == 9


@pytest.mark.parametrize(
    "terms",
    [
        {"credits": 0},
        {"credits": 1, "ttl_seconds": 0},
        {"credits": 1, "ttl_seconds": 90_000},
        {"credits": 1, "settle_seconds": 0},
        {"credits": 1, "sync_seconds": -1},
    ],
    ids=str,
)
def test_terms_that_cannot_be_meant_are_refused(terms: Any) -> None:
    with pytest.raises((ConfigurationError, InvalidAmountError), match=next(reversed(terms))):
        LeasePolicy(**terms)


def test_leases_without_a_place_for_their_journal_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="outbox"):
        CreditDeductionService(
            "https://books.example", api_key="k", outbox=False, lease=LeasePolicy(credits=1)
        )
    billing = CreditDeductionService("https://books.example", api_key="k", outbox=False)
    with pytest.raises(ConfigurationError, match="outbox"):
        billing.billable("lookup", cost=1, lease=LeasePolicy(credits=1))(lambda account: account)
    with pytest.raises(ConfigurationError, match="outbox"):
        billing.charge(ADA, 1, service_type="lookup", lease=LeasePolicy(credits=1))
    wrong: Any = 500
    with pytest.raises(ConfigurationError, match="LeasePolicy"):
        billing.charge(ADA, 1, service_type="lookup", lease=wrong)
    with pytest.raises(ConfigurationError, match="LeasePolicy"):
        CreditDeductionService(MemoryLedger(), lease=5)  # type: ignore[arg-type]  # as in untyped code
