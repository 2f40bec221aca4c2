"""The contract of jobs: many records, each charged once as it succeeds."""

from typing import Any

import pytest

from credit_sdk.contract.harness import Harness, Payer, refused
from credit_sdk.errors import ConfigurationError, InsufficientCreditsError
from credit_sdk.operations import ExpireHolds, ListCharges

BULK = "bulk_export"


class RecordError(Exception):
    """A record that cannot be done."""


def export(ledger: Harness, payer: Payer, records: range, *, failing: int = -1, **more: Any) -> Any:
    """Run a job over numbers, for 5 credits each, and return its receipt."""
    terms: dict[str, Any] = {"request_id": "export-7", "service_type": BULK, "cost_each": 5, "estimate": 20}
    with ledger.billing.batch(payer.account, **terms | more) as batch:
        for number in batch.remaining(records, key=str):
            with batch.record(number):
                if number == failing:
                    raise RecordError
    return batch.receipt


def charged(ledger: Harness, payer: Payer) -> set[str]:
    """Return the request ids that have charged, each with 5 credits."""
    charges = ledger.execute(ListCharges(org_id=payer.org_id, limit=500)).items
    assert {each.credits_used for each in charges} <= {5}
    return {each.request_id for each in charges}


class TestJobs:
    """`billing.batch`: a job that charges record by record."""

    def test_charges_each_record_and_gives_the_rest_back(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        receipt = export(ledger, payer, range(3))
        assert (receipt.records_charged, receipt.credits_charged, receipt.records_pending) == (3, 15, 0)
        assert charged(ledger, payer) == {"export-7/0", "export-7/1", "export-7/2"}
        ledger.assert_balance(payer, allocated=100, used=15, held=0)

    def test_outgrows_its_estimate(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_000)
        assert export(ledger, payer, range(130)).credits_charged == 650
        ledger.assert_balance(payer, allocated=1_000, used=650, held=0)

    def test_a_record_that_fails_costs_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        with pytest.raises(RecordError):
            export(ledger, payer, range(5), failing=2)
        assert charged(ledger, payer) == {"export-7/0", "export-7/1"}
        ledger.assert_balance(payer, allocated=100, used=10, held=0)

    def test_goes_on_where_it_stopped(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        with pytest.raises(RecordError):
            export(ledger, payer, range(5), failing=2)
        receipt = export(ledger, payer, range(5))
        assert (receipt.records_charged, receipt.records_skipped) == (3, 2)
        ledger.assert_balance(payer, allocated=100, used=25, held=0)

    def test_does_no_work_that_is_not_covered(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=23)
        with refused(InsufficientCreditsError, limit="allocation", required=5, available=3):
            export(ledger, payer, range(5))
        assert len(charged(ledger, payer)) == 4
        ledger.assert_balance(payer, allocated=23, used=20, held=0)

    def test_charges_what_was_done_although_the_hold_has_ended(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        terms: Any = {"request_id": "export-7", "service_type": BULK, "cost_each": 5, "estimate": 20}
        with ledger.billing.batch(payer.account, **terms, ttl_seconds=60) as batch:
            with batch.record("a"):
                ledger.advance(61)
            ledger.execute(ExpireHolds(limit=100_000))
            for key in "bcdef":
                with batch.record(key):
                    pass
        assert len(charged(ledger, payer)) == 6
        ledger.assert_balance(payer, allocated=100, used=30, held=0)

    def test_needs_an_organisation_that_pays(self, ledger: Harness) -> None:
        account = ledger.prepare().account.model_copy(update={"org_id": None})
        with pytest.raises(ConfigurationError, match="No organisation pays"):
            ledger.billing.batch(account, request_id="x", service_type=BULK, cost_each=5, estimate=5)
