"""`with billing.charge(...)` and `async with`."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ConfigurationError,
    CreditDeductionService,
    InsufficientCreditsError,
    InvalidAmountError,
    MemoryLedger,
    NotFoundError,
    ValidationFailedError,
)
from credit_sdk.operations import AddCredits, ListCharges, PlaceHold, parse

pytestmark = pytest.mark.anyio
Taken = Callable[[], list[Decimal]]


def test_a_block_is_charged_when_it_ends(
    billing: CreditDeductionService, ledger: MemoryLedger, ada: Account, taken: Taken
) -> None:
    with billing.charge(ada, 50, service_type="contact_lookup", metadata={"api_key": "s3cret"}) as charge:
        assert charge.hold is not None
        assert charge.hold.credits == 50
        charge.metadata["company_id"] = "c1"
    assert charge.receipt.credits_used == 50
    assert charge.receipt.remaining == 950
    assert taken() == [50]
    [row] = ledger.execute(ListCharges(org_id="acme")).items
    assert row.request_metadata == {"api_key": "[redacted]", "company_id": "c1"}


def test_metadata_can_be_replaced_and_merged(
    billing: CreditDeductionService, ledger: MemoryLedger, ada: Account
) -> None:
    with billing.charge(ada, 5, service_type="contact_lookup") as charge:
        charge.metadata = {"company_id": "c1"}
        charge.metadata |= {"pages": 2}
    [row] = ledger.execute(ListCharges(org_id="acme")).items
    assert row.request_metadata == {"company_id": "c1", "pages": 2}


def test_an_exception_takes_nothing(billing: CreditDeductionService, ada: Account, taken: Taken) -> None:
    with pytest.raises(KeyError), billing.charge(ada, 50, service_type="contact_lookup") as charge:
        raise KeyError
    assert taken() == []
    assert not charge.is_charged
    with pytest.raises(ConfigurationError, match="no receipt: the operation failed or cost nothing"):
        _ = charge.receipt


def test_there_is_no_receipt_while_the_operation_runs(billing: CreditDeductionService, ada: Account) -> None:
    with (
        billing.charge(ada, 50, service_type="contact_lookup") as charge,
        pytest.raises(ConfigurationError, match="no receipt: the charge is not complete"),
    ):
        _ = charge.receipt
    assert charge.receipt.credits_used == 50


async def test_an_awaiting_charge_says_why_it_has_no_receipt(
    async_billing: AsyncCreditDeductionService, ada: Account
) -> None:
    async with async_billing.charge(ada, 50, service_type="contact_lookup") as charge:
        with pytest.raises(ConfigurationError, match="not complete"):
            _ = charge.receipt
        charge.credits = Decimal(0)
    with pytest.raises(ConfigurationError, match="cost nothing"):
        _ = charge.receipt


class QuietError(Exception):
    """An exception that is false, as one with a length of zero is."""

    def __len__(self) -> int:
        return 0


async def test_an_exception_that_is_false_takes_nothing_either(
    billing: CreditDeductionService, async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    with pytest.raises(QuietError), billing.charge(ada, 50, service_type="contact_lookup"):
        raise QuietError
    with pytest.raises(QuietError):
        async with async_billing.charge(ada, 50, service_type="contact_lookup"):
            raise QuietError
    assert taken() == []


@pytest.mark.parametrize("reserve", [True, False])
def test_what_could_not_be_charged_is_refused_before_the_work(
    billing: CreditDeductionService, ada: Account, *, reserve: bool
) -> None:
    for wrong in ({"metadata": {"a": "y" * 20_000}}, {"request_id": "\u00e9"}):
        with (
            pytest.raises(ValidationFailedError),
            billing.charge(ada, 5, service_type="x", reserve=reserve, **wrong),  # type: ignore[arg-type]  # wrong on purpose
        ):
            pytest.fail("the block ran")


@pytest.mark.parametrize("reserve", [True, False])
def test_metadata_of_the_work_that_cannot_be_kept_does_not_give_it_away(
    billing: CreditDeductionService, ledger: MemoryLedger, ada: Account, taken: Taken, *, reserve: bool
) -> None:
    with billing.charge(ada, 5, service_type="x", reserve=reserve) as charge:
        charge.metadata["a"] = "y" * 20_000
    assert taken() == [5]
    [row] = ledger.execute(ListCharges(org_id="acme")).items
    assert "16384 bytes" in str(row.request_metadata["metadata_not_kept"])


def test_what_costs_nothing_holds_nothing(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    with billing.charge(ada, 0, service_type="free") as charge:
        assert charge.hold is None
    assert not charge.is_charged
    with billing.charge(ada, estimate=0, service_type="contact_lookup") as dearer:
        dearer.credits = Decimal(3)
    assert taken() == [3]


def test_the_cost_may_change_inside_the_block(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    with billing.charge(ada, 50, service_type="contact_lookup") as charge:
        charge.credits = Decimal("0.05")
    with billing.charge(ada, 50, service_type="contact_lookup") as free:
        free.credits = Decimal(0)
    with billing.charge(ada, 10, service_type="contact_lookup") as dearer:
        dearer.credits = Decimal(70)
    assert taken() == [70, Decimal("0.05")]
    assert not free.is_charged


def test_an_estimate_is_held_and_the_cost_is_taken(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    with billing.charge(ada, 5, estimate=500, service_type="bulk_export") as charge:
        assert charge.hold is not None
        assert charge.hold.credits == 500
    assert taken() == [5]


def test_the_work_beyond_hold_and_balance_takes_nothing_and_says_so(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    with (
        pytest.raises(InsufficientCreditsError) as caught,
        billing.charge(ada, 5, service_type="bulk_export") as charge,
    ):
        charge.credits = Decimal(1_001)
    assert caught.value.required == 1_001
    assert taken() == []


def test_a_request_id_of_the_operation_charges_it_once(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    outcomes = []
    for _ in range(3):
        with billing.charge(ada, 50, service_type="print", request_id="job-1") as charge:
            """Do the job again."""
        outcomes.append((charge.receipt.charge_id, charge.receipt.replayed))
    assert [replayed for _, replayed in outcomes] == [False, True, True]
    assert len({charge_id for charge_id, _ in outcomes}) == 1
    assert taken() == [50]


def test_without_reserving_the_check_comes_before_and_the_deduction_after(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    with billing.charge(ada, 50, service_type="contact_lookup", reserve=False) as charge:
        assert charge.hold is None
        assert taken() == []
    assert taken() == [50]
    with (
        pytest.raises(InsufficientCreditsError),
        billing.charge(ada, 951, service_type="contact_lookup", reserve=False),
    ):
        pytest.fail("the block ran without the credits")


def test_a_charge_can_be_entered_once(billing: CreditDeductionService, ada: Account) -> None:
    charge = billing.charge(ada, 50, service_type="contact_lookup")
    with charge:
        """Do the work."""
    with pytest.raises(ConfigurationError, match="entered once"), charge:
        pytest.fail("the block ran twice")


async def test_an_async_block_is_charged_when_it_ends(
    async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    async with async_billing.charge(ada, 50, service_type="contact_lookup") as charge:
        charge.metadata["company_id"] = "c1"
    assert charge.receipt.remaining == 950
    with pytest.raises(KeyError):
        async with async_billing.charge(ada, 50, service_type="contact_lookup"):
            raise KeyError
    assert taken() == [50]


@pytest.mark.parametrize("amount", [-1, "1_0", True, float("nan"), "\u0665", 10**13, Decimal("0.0001")])
def test_a_wrong_amount_is_refused_before_anything_is_sent(
    billing: CreditDeductionService, ada: Account, amount: object
) -> None:
    with pytest.raises(InvalidAmountError):
        billing.charge(ada, amount, service_type="contact_lookup")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"service_type": ""}, "service_type"),
        ({"service_type": "x", "request_id": "line\nbreak"}, "request_id"),
        ({"service_type": "x", "ttl_seconds": 0}, "ttl_seconds"),
        ({"service_type": "x", "service_name": "nul\x00"}, "service_name"),
    ],
)
def test_a_wrong_argument_is_named(
    billing: CreditDeductionService, ada: Account, arguments: dict[str, object], named: str
) -> None:
    with pytest.raises(ValidationFailedError, match=named), billing.charge(ada, 5, **arguments):  # type: ignore[arg-type]  # wrong on purpose
        pytest.fail("the block ran")


def test_an_account_without_an_organisation_pays_alone(
    ledger: MemoryLedger, billing: CreditDeductionService
) -> None:
    ledger.add_user("ada", credits=8)
    with billing.charge(Account(user_id="ada"), 5, service_type="x") as charge:
        assert charge.hold is not None
        assert charge.hold.org_id is None
    assert charge.receipt.remaining == 3
    with pytest.raises(NotFoundError), billing.charge(Account(user_id="bob"), 5, service_type="x"):
        pytest.fail("the block ran")


@pytest.mark.parametrize("seconds", [True, "900", "1_0", 5.5, 0, 86_401, None])
def test_a_time_to_live_is_a_whole_number_of_seconds(seconds: object) -> None:
    with pytest.raises(ValidationFailedError, match="ttl_seconds"):
        parse(PlaceHold, HOLD | {"ttl_seconds": seconds})


def test_a_whole_number_may_be_written_with_a_point() -> None:
    assert parse(PlaceHold, HOLD | {"ttl_seconds": Decimal("5.0")}).ttl_seconds == 5


@pytest.mark.parametrize("amount", ["1_0", "\u0665", "1e2", -1, "0.005", True, Decimal("NaN")])
def test_a_purchase_is_an_exact_amount_of_money(amount: object) -> None:
    fields = {"org_id": "acme", "credits": 1, "purchase_amount": amount}
    with pytest.raises(ValidationFailedError, match="purchase_amount"):
        parse(AddCredits, fields)


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00", "1763683200", 1763683200, "2026-01-01", "soon"])
def test_a_moment_has_a_zone(moment: object) -> None:
    with pytest.raises(ValidationFailedError, match="since"):
        parse(ListCharges, {"org_id": "acme", "since": moment})


def test_no_amount_is_a_missing_field_and_not_a_wrong_amount() -> None:
    with pytest.raises(ValidationFailedError, match="Field required") as caught:
        parse(PlaceHold, HOLD | {"credits": None})
    assert caught.value.code == "validation_failed"


HOLD = {"org_id": "acme", "user_id": "ada", "credits": 1, "service_type": "x"}
