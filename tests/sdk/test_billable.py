"""The decorator on all four kinds of functions, on every way a call can end."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk import (
    Account,
    AsyncCreditDeductionService,
    ConfigurationError,
    CreditDeductionService,
    InsufficientCreditsError,
    InvalidAmountError,
    MemoryLedger,
    current_charge,
)
from credit_sdk.operations import ListCharges

Taken = Callable[[], list[Decimal]]
pytestmark = pytest.mark.anyio


class PrinterOnFireError(Exception):
    """The operation failed."""


# --- What is charged ---------------------------------------------------------------------------------


def test_a_function_is_charged_when_it_returns(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("company_enrichment", cost=50)
    def enrich(company_id: str, *, account: Account) -> str:
        return f"{company_id} of {account.org_id}"

    assert enrich("c1", account=ada) == "c1 of acme"
    assert taken() == [50]


def test_the_price_list_decides_without_a_cost(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("valuation")
    def value(account: Account) -> None:
        """Value a property."""

    value(ada)
    assert taken() == [75]


def test_the_cost_may_come_from_the_result(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("bulk_export", cost=lambda records: 5 * len(records), estimate=500)
    def export(count: int, account: Account) -> list[int]:
        return list(range(count))

    assert len(export(7, ada)) == 7
    assert export(0, ada) == []
    assert taken() == [35]


def test_what_turns_out_to_cost_nothing_takes_nothing(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("cached", cost=lambda answer: 0 if answer == "cached" else 5, estimate=5)
    def look(account: Account) -> str:
        assert current_charge().hold is not None
        return "cached"

    assert look(ada) == "cached"
    assert taken() == []


def test_a_price_of_nothing_in_the_price_list_is_free(
    ledger: MemoryLedger, ada: Account, taken: Taken
) -> None:
    @CreditDeductionService(ledger, prices={"look": 0}).billable("look")
    def look(account: Account) -> str:
        return "looked"

    assert look(ada) == "looked"
    assert taken() == []


def test_the_estimate_may_come_from_the_arguments(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    held: list[Decimal] = []

    @billing.billable("bulk_export", cost=len, estimate=lambda limit: 5 * limit)
    def export(query: str, limit: int, account: Account) -> str:
        hold = current_charge().hold
        assert hold is not None
        held.append(hold.credits)
        return query

    export("abc", 20, ada)
    assert held == [100]
    assert taken() == [3]


def test_the_operation_may_change_its_cost_and_metadata(
    billing: CreditDeductionService, ledger: MemoryLedger, ada: Account, taken: Taken
) -> None:
    @billing.billable("company_enrichment", cost=50, metadata=lambda company_id: {"company_id": company_id})
    def enrich(company_id: str, *, account: Account) -> None:
        current_charge().credits = Decimal(30)
        current_charge().metadata["pages"] = 2

    enrich("c1", account=ada)
    assert taken() == [30]
    [charge] = ledger.execute(ListCharges(org_id="acme")).items
    assert charge.request_metadata == {"company_id": "c1", "pages": 2}


def test_a_request_id_from_the_arguments_charges_a_job_once(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("bulk_export", cost=5, request_id=lambda job_id: f"job-{job_id}")
    def export(job_id: int, account: Account) -> int:
        return job_id

    assert [export(7, ada), export(7, ada), export(8, ada)] == [7, 7, 8]
    assert taken() == [5, 5]


async def test_a_blocking_service_charges_coroutines_too(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("contact_lookup", cost=10)
    async def look_up(account: Account) -> str:
        await asyncio.sleep(0)
        return account.user_id

    assert await look_up(ada) == "ada"
    assert taken() == [10]


async def test_an_awaiting_service_charges_plain_functions_too(
    async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    @async_billing.billable("contact_lookup", cost=10)
    def look_up(account: Account) -> str:
        return account.user_id

    assert look_up(ada) == "ada"
    assert taken() == [10]


def test_a_generator_is_charged_when_it_is_exhausted(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("bulk_export", cost=lambda delivered: 5 * delivered, estimate=500)
    def records(account: Account) -> Iterator[int]:
        yield from range(4)

    stream = records(ada)
    assert next(stream) == 0
    assert list(stream) == [1, 2, 3]
    assert taken() == [20]


async def test_an_async_generator_is_charged_when_it_is_exhausted(
    async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    @async_billing.billable("bulk_export", cost=lambda delivered: 5 * delivered, estimate=500)
    async def records(account: Account) -> AsyncIterator[int]:
        for record in range(4):
            await asyncio.sleep(0)
            yield record

    assert [record async for record in records(ada)] == [0, 1, 2, 3]
    assert taken() == [20]


def test_a_generator_keeps_its_protocol(billing: CreditDeductionService, ada: Account, taken: Taken) -> None:
    @billing.billable("bulk_export", cost=5)
    def conversation(account: Account) -> Any:
        heard = []
        try:
            heard.append((yield "first"))
        except PrinterOnFireError:
            heard.append("fire")
        heard.append((yield "second"))
        return heard

    def listen() -> Iterator[Any]:
        result = yield from conversation(ada)
        yield result

    stream = listen()
    assert next(stream) == "first"
    assert stream.throw(PrinterOnFireError()) == "second"  # type: ignore[attr-defined]  # a generator, typed as an iterator
    assert stream.send("bye") == ["fire", "bye"]  # type: ignore[attr-defined]
    assert taken() == [5]


# --- What is not charged ------------------------------------------------------------------------------


def test_an_exception_takes_nothing(billing: CreditDeductionService, ada: Account, taken: Taken) -> None:
    @billing.billable("contact_lookup", cost=10)
    def look_up(account: Account) -> None:
        raise PrinterOnFireError

    with pytest.raises(PrinterOnFireError):
        look_up(ada)
    assert taken() == []


async def test_an_exception_in_a_coroutine_takes_nothing(
    async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    @async_billing.billable("contact_lookup", cost=10)
    async def look_up(account: Account) -> None:
        raise PrinterOnFireError

    with pytest.raises(PrinterOnFireError):
        await look_up(ada)
    assert taken() == []


async def test_a_time_out_takes_nothing(
    async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    @async_billing.billable("contact_lookup", cost=10)
    async def look_up(account: Account) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await look_up(ada)
    assert taken() == []


async def test_a_cancelled_task_takes_nothing_and_stays_cancelled(
    async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    started = asyncio.Event()

    @async_billing.billable("contact_lookup", cost=10)
    async def look_up(account: Account) -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(look_up(ada))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert taken() == []


@pytest.mark.parametrize("end", ["close", "collected", "raises"])
def test_a_generator_that_does_not_finish_takes_nothing(
    billing: CreditDeductionService, ada: Account, taken: Taken, end: str
) -> None:
    @billing.billable("bulk_export", cost=5)
    def records(account: Account) -> Iterator[int]:
        yield 1
        raise PrinterOnFireError

    stream = records(ada)
    next(stream)
    match end:
        case "close":
            stream.close()  # type: ignore[attr-defined]  # a generator, typed as an iterator
        case "collected":
            del stream
            gc.collect()
        case _:
            with pytest.raises(PrinterOnFireError):
                next(stream)
    assert taken() == []


async def test_an_async_stream_closed_early_takes_nothing(
    async_billing: AsyncCreditDeductionService, ada: Account, taken: Taken
) -> None:
    closed = []

    @async_billing.billable("bulk_export", cost=5)
    async def records(account: Account) -> AsyncIterator[int]:
        try:
            for record in range(10):
                yield record
        finally:
            closed.append(True)

    async with aclosing(records(ada)) as stream:  # type: ignore[type-var]  # a generator, typed as an iterator
        async for record in stream:
            if record == 2:
                break
    assert closed == [True]
    assert taken() == []


def test_a_cost_that_cannot_be_worked_out_takes_nothing(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("bulk_export", cost=len, estimate=10)
    def export(account: Account) -> int:
        return 3

    with pytest.raises(TypeError):
        export(ada)
    assert taken() == []


def test_nothing_runs_without_the_credits(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    calls = []

    @billing.billable("company_enrichment", cost=1_001)
    def enrich(account: Account) -> None:
        calls.append(account)

    with pytest.raises(InsufficientCreditsError) as caught:
        enrich(ada)
    assert (caught.value.required, caught.value.available, caught.value.limit) == (1_001, 1_000, "allocation")
    assert calls == []
    assert taken() == []


def test_nested_charges_stand_for_themselves(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("contact_lookup", cost=10)
    def look_up(account: Account) -> None:
        """Succeed."""

    @billing.billable("company_enrichment", cost=50)
    def enrich(account: Account, *, fails: bool) -> None:
        outer = current_charge()
        look_up(account)
        assert current_charge() is outer
        if fails:
            raise PrinterOnFireError

    enrich(ada, fails=False)
    assert taken() == [50, 10]
    with pytest.raises(PrinterOnFireError):
        enrich(ada, fails=True)
    assert taken() == [10, 50, 10]


def test_the_current_charge_does_not_leak_out_of_a_generator(
    billing: CreditDeductionService, ada: Account
) -> None:
    @billing.billable("bulk_export", cost=5)
    def records(account: Account) -> Iterator[int]:
        assert current_charge().credits == 5
        yield 1
        assert current_charge().credits == 5

    stream = records(ada)
    next(stream)
    with pytest.raises(ConfigurationError, match="outside a billable function"):
        current_charge()
    assert list(stream) == []


# --- Who pays -----------------------------------------------------------------------------------------


def test_the_surrounding_context_may_name_the_payer(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    @billing.billable("contact_lookup", cost=10)
    def look_up() -> None:
        """Look somebody up."""

    with billing.acting_as(ada):
        look_up()
    assert taken() == [10]


async def test_a_stream_is_paid_by_whoever_asked_for_it(
    billing: CreditDeductionService, ledger: MemoryLedger, ada: Account, taken: Taken
) -> None:
    ledger.add_member("acme", "bob", allocated=100)

    @billing.billable("bulk_export", cost=5)
    def records() -> Iterator[int]:
        yield 1

    @billing.billable("bulk_export", cost=5)
    async def records_later() -> AsyncIterator[int]:
        yield 1

    with billing.acting_as(ada):
        stream, stream_later = records(), records_later()
    with billing.acting_as(Account(org_id="acme", user_id="bob")):
        assert list(stream) == [1]
        assert [record async for record in stream_later] == [1]
    assert {charge.user_id for charge in ledger.execute(ListCharges(org_id="acme")).items} == {"ada"}
    assert taken() == [5, 5]


def test_the_decorator_may_name_the_payer(
    billing: CreditDeductionService, ledger: MemoryLedger, ada: Account
) -> None:
    ledger.add_member("acme", "bob", allocated=100)

    @billing.billable("contact_lookup", cost=10, account=lambda user: Account(org_id="acme", user_id=user))
    def look_up(user: str) -> None:
        """Look somebody up."""

    with billing.acting_as(ada):
        look_up("bob")
    [charge] = ledger.execute(ListCharges(org_id="acme")).items
    assert charge.user_id == "bob"


def test_methods_name_their_payer_like_functions(
    billing: CreditDeductionService, ada: Account, taken: Taken
) -> None:
    class Office:
        @billing.billable("contact_lookup", cost=10)
        def look_up(self, name: str, account: Account | None = None) -> str:
            return name

    assert Office().look_up("x", ada) == "x"
    assert Office().look_up("y", account=ada) == "y"
    with billing.acting_as(ada):
        assert Office().look_up("z") == "z"
    assert taken() == [10, 10, 10]


def test_a_call_without_a_payer_says_how_to_name_one(billing: CreditDeductionService) -> None:
    @billing.billable("contact_lookup", cost=10)
    def look_up() -> None:
        """Look somebody up."""

    with pytest.raises(ConfigurationError, match="acting_as"):
        look_up()


# --- What is refused at decoration time ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"service_type": "property_search"}, ConfigurationError, "No price is set for 'property_search'"),
        ({"service_type": "x", "cost": len}, ConfigurationError, "give estimate="),
        ({"service_type": "x", "cost": 0.0005}, InvalidAmountError, "cost must have at most 3 decimals"),
        (
            {"service_type": "x", "cost": len, "estimate": "many"},
            InvalidAmountError,
            "estimate must be a plain",
        ),
        ({"service_type": "x", "cost": 0}, InvalidAmountError, "cost must be more than zero, not 0"),
        ({"service_type": "x", "cost": -1}, InvalidAmountError, "cost must be more than zero, not -1"),
        (
            {"service_type": "x", "cost": 1, "request_id": lambda jobid: jobid},
            ConfigurationError,
            "request_id= of .* asks for an argument 'jobid'",
        ),
    ],
)
def test_what_cannot_work_is_refused_where_the_function_is_decorated(
    billing: CreditDeductionService, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    def export(job_id: str, account: Account) -> str:
        return job_id

    with pytest.raises(error, match=message):
        billing.billable(**arguments)(export)


def test_a_decorator_without_its_parentheses_says_how_it_is_written(billing: CreditDeductionService) -> None:
    with pytest.raises(
        ConfigurationError, match=r"write @billing\.billable\('company_enrichment', cost=50\)"
    ):

        @billing.billable  # type: ignore[arg-type]  # wrong on purpose
        def look_up(account: Account) -> None:
            """Look somebody up."""


def test_a_decorated_function_keeps_its_name_and_kind(billing: CreditDeductionService) -> None:
    @billing.billable("x", cost=1)
    async def look_up(account: Account) -> None:
        """Look somebody up."""

    assert look_up.__name__ == "look_up"
    assert look_up.__doc__ == "Look somebody up."
    assert asyncio.iscoroutinefunction(look_up)
