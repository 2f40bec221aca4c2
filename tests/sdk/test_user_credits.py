"""`CreditSDK` and its decorators, on a ledger in memory."""

from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from credit_sdk import (
    Account,
    AsyncCreditSDK,
    ConfigurationError,
    CreditDeductionService,
    CreditSDK,
    InsufficientCreditsError,
    MemoryLedger,
    NotFoundError,
    ValidationFailedError,
    acting_as,
    consume_credits,
    current_charge,
    decorators,
    default_sdk,
    require_credits,
)
from credit_sdk.operations import ListTransactions

pytestmark = pytest.mark.anyio
USER = 123


@pytest.fixture
def books(ledger: MemoryLedger) -> MemoryLedger:
    ledger.add_user(USER, credits=100)
    return ledger


@pytest.fixture
def sdk(books: MemoryLedger) -> CreditSDK:
    return CreditSDK(books)


@pytest.fixture
def taken(books: MemoryLedger) -> Callable[[], list[Decimal]]:
    """What was taken from the user so far, newest first; a hold left open fails here."""

    def look() -> list[Decimal]:
        assert not books.live_balance_holds, "a hold was left open"
        page = books.execute(ListTransactions(user_id="123", transaction_type="service"))
        return [-each.amount for each in page.items]

    return look


Taken = Callable[[], list[Decimal]]


class TestOrganisationsFirst:
    """The first system's methods for organisations."""

    def test_the_paying_organisation(self, sdk: CreditSDK) -> None:
        assert sdk.get_user_org_id("ada") == "acme"
        assert sdk.get_user_org_id(USER) is None
        share = sdk.get_user_org_credits("ada")
        assert share is not None
        assert share.remaining_credits == 1_000
        assert sdk.get_user_org_credits(USER) is None

    def test_whether_it_would_pay(self, sdk: CreditSDK) -> None:
        assert sdk.has_sufficient_org_credits("ada", 1_000) == (
            True,
            "acme",
            "Sufficient credits: 1,000 required, 1,000 available.",
        )
        enough, org_id, message = sdk.has_sufficient_org_credits("ada", "1000.5")
        assert (enough, org_id) == (False, "acme")
        assert message == "Insufficient credits: 1,000.5 required, 1,000 available."
        assert sdk.has_sufficient_org_credits(USER, 1)[:2] == (False, None)

    def test_what_it_pays(self, sdk: CreditSDK, books: MemoryLedger) -> None:
        assert sdk.deduct_org_credits("ada", "2.5", "llm_inference", "gpt", request_id="r-1") == (
            True,
            "acme",
            997_500,
        )
        assert sdk.deduct_org_credits("ada", "2.5", "llm_inference", "gpt", request_id="r-1").success
        assert sdk.deduct_org_credits("ada", 998) == (False, "acme", 997_500)
        assert sdk.deduct_org_credits(USER, 1) == (False, None, 0)
        books.deactivate("acme", "ada")
        assert sdk.deduct_org_credits("ada", 1) == (False, "acme", 0)
        assert sdk.get_balance(USER) == 100

    async def test_the_awaiting_sdk_does_the_same(self, books: MemoryLedger) -> None:
        async with AsyncCreditSDK(books) as sdk:
            assert await sdk.get_user_org_id("ada") == "acme"
            assert (await sdk.deduct_org_credits("ada", 1)).remaining_credits == 999_000
            assert (await sdk.has_sufficient_org_credits("ada", 999)).has_credits
            assert await sdk.get_balance(USER) == 100


class TestPayers:
    """Who pays, by which name."""

    def test_numbers_and_their_text_are_the_same_user(self, sdk: CreditSDK) -> None:
        assert sdk.consume_credits(123, 1)
        assert sdk.consume_credits("123", 1)
        assert sdk.get_balance(123) == sdk.get_balance("123") == 98
        assert Account(user_id=123) == Account(user_id="123")

    @pytest.mark.parametrize("nobody", [True, None, 1.5, "", " ", "x" * 256])
    def test_what_names_nobody_is_refused(self, sdk: CreditSDK, nobody: Any) -> None:
        for method in sdk.charge, sdk.can_afford, sdk.consume_credits, sdk.add_credits:
            with pytest.raises(ValidationFailedError, match="user_id"):
                method(nobody, 1)

    def test_both_faces_share_their_books(self, sdk: CreditSDK, books: MemoryLedger) -> None:
        receipt = sdk.billing.deduct(Account(user_id=USER), 10, service_type="x")
        assert receipt.remaining == sdk.get_balance(USER) == 90
        assert CreditDeductionService(books).check(Account(user_id=USER), 90)

    def test_a_description_is_the_balances_only(
        self, sdk: CreditSDK, books: MemoryLedger, ada: Account
    ) -> None:
        with sdk.charge(USER, 1, "Print job"):
            pass
        with sdk.billing.charge(ada, 1, service_type="x"):
            pass
        assert next(sdk.transactions(USER)).description == "Print job"


@pytest.fixture
def default(sdk: CreditSDK, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the environment's SDK the one of the test."""
    monkeypatch.setattr(decorators, "default_sdk", lambda: sdk)


@pytest.mark.usefixtures("default")
class TestConsumeCredits:
    """`@consume_credits`: each successful call is charged to its user."""

    def test_a_call_is_charged_when_it_succeeds(self, sdk: CreditSDK, taken: Taken) -> None:
        @consume_credits(5, "Print job")
        def print_label(user_id: int, *, fail: bool = False) -> str:
            if fail:
                raise OSError
            current_charge().metadata["user"] = user_id
            return "label"

        assert print_label(USER) == "label"
        with pytest.raises(OSError):  # noqa: PT011 - the function's own
            print_label(USER, fail=True)
        assert taken() == [5]
        row = next(sdk.transactions(USER))
        assert (row.description, row.request_metadata) == ("Print job", {"user": USER})

    def test_a_call_without_credits_does_not_run(self, taken: Taken) -> None:
        @consume_credits(101)
        def print_labels(user_id: int) -> None:
            pytest.fail(f"ran for {user_id}")

        with pytest.raises(InsufficientCreditsError) as caught:
            print_labels(USER)
        assert (caught.value.limit, caught.value.required, caught.value.available) == ("balance", 101, 100)
        assert taken() == []

    async def test_coroutines_and_generators_too(self, taken: Taken) -> None:
        @consume_credits(1)
        async def one(user_id: int) -> int:
            return user_id

        @consume_credits(2)
        def several(user_id: int) -> Iterator[int]:
            yield user_id

        @consume_credits(3)
        async def many(user_id: int) -> AsyncIterator[int]:
            yield user_id

        assert await one(USER) == USER
        assert list(several(USER)) == [USER]
        assert [each async for each in many(USER)] == [USER]
        assert taken() == [3, 2, 1]

    def test_the_payer_may_be_an_account_or_that_of_the_surroundings(self, taken: Taken) -> None:
        @consume_credits(1)
        def with_account(account: Account) -> None:
            assert account.user_id == "123"

        @consume_credits(2)
        def without() -> None:
            """Do the work."""

        with_account(Account(user_id=USER))
        with acting_as(Account(user_id=USER)):
            without()
        assert taken() == [2, 1]
        with pytest.raises(ConfigurationError, match="user_id or account"):
            without()

    @pytest.mark.parametrize("decorator", [consume_credits, require_credits])
    def test_impossible_credits_are_refused_at_once(self, decorator: Callable[[Any], Any]) -> None:
        with pytest.raises(ValidationFailedError):
            decorator(0)


@pytest.mark.usefixtures("default")
class TestRequireCredits:
    """`@require_credits`: a function runs only for who could pay so much; nothing is taken."""

    def test_lets_who_could_pay_in_and_takes_nothing(self, taken: Taken) -> None:
        @require_credits(100)
        def preview(user_id: int) -> int:
            return user_id

        assert preview(USER) == USER
        assert taken() == []

    async def test_keeps_others_out(self, sdk: CreditSDK) -> None:
        @require_credits(100)
        async def preview(user_id: int) -> int:
            pytest.fail(f"ran for {user_id}")

        sdk.consume_credits(USER, "0.001")
        with pytest.raises(InsufficientCreditsError):
            await preview(USER)


class TestDefaultSdk:
    """The SDK of the environment is made when it is first needed."""

    def test_is_the_one_of_the_database_url(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CREDIT_SDK_URL", raising=False)
        monkeypatch.setenv("DATABASE_URL", "memory://")
        sdk = default_sdk()
        assert default_sdk() is sdk
        with pytest.raises(NotFoundError):
            sdk.get_balance(USER)

    def test_is_made_anew_once_it_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CREDIT_SDK_URL", "memory://")
        sdk = default_sdk()
        sdk.close()
        assert default_sdk() is not sdk
        with pytest.raises(NotFoundError):
            default_sdk().get_balance(USER)

    def test_decorating_needs_no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in "CREDIT_SDK_URL", "DATABASE_URL", "API_BASE_URL":
            monkeypatch.delenv(name, raising=False)

        @consume_credits(5)
        def work(user_id: int) -> int:
            return user_id

        with pytest.raises(ConfigurationError, match="DATABASE_URL"):
            work(USER)
