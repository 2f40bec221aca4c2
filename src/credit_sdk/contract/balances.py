"""The contract of charges, on users' own balances: the same tests as for members of organisations.

What is said of organisations there is replaced here by what holds for users, or left out where there is no
such thing: pools, allocations, other members.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, cast
from uuid import uuid4

import pytest

from credit_sdk.account import Account
from credit_sdk.amounts import Amount, parse_credits
from credit_sdk.contract.billing import TestBillable, TestChargeBlock, TestMethods
from credit_sdk.contract.capturing import TestCapture, TestExpiry
from credit_sdk.contract.deducting import TestCheck, TestDeduct, TestRequestIds
from credit_sdk.contract.extending import TestExtendHold, TestExtensionsOnce
from credit_sdk.contract.harness import (
    SERVICE,
    Harness,
    assert_shows,
    capture,
    changed,
    make,
    refund,
    refused,
    unique,
)
from credit_sdk.contract.holding import TestPlaceHold, TestVoid
from credit_sdk.contract.refunding import TestRefund, TestRefundKeys
from credit_sdk.errors import (
    ConflictError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    Limit,
    NoAllocationError,
    NotFoundError,
)
from credit_sdk.models import UserBalance
from credit_sdk.operations import (
    CaptureBalanceHold,
    CheckBalance,
    ExtendBalanceHold,
    GetBalance,
    GetBalanceHold,
    GrantCredits,
    ListTransactions,
    Operation,
    PlaceBalanceHold,
    RefundSpending,
    ResultT_co,
    Spend,
    VoidBalanceHold,
)


@dataclass(frozen=True, slots=True)
class Person:
    """A user who pays from a balance, to which `granted` credits were added in the beginning."""

    user_id: str
    granted: Decimal = Decimal(0)
    org_id: ClassVar[None] = None
    limit: ClassVar[Limit] = "balance"

    @property
    def account(self) -> Account:
        """The user as a payer."""
        return Account(user_id=self.user_id)

    def check(self, credits: Amount) -> CheckBalance:
        """Return the question whether so much would be taken."""
        return make(CheckBalance, user_id=self.user_id, credits=credits)

    def deduct(self, credits: Amount, **fields: Any) -> Spend:
        """Return a charge."""
        return make(Spend, user_id=self.user_id, credits=credits, **{"service_type": SERVICE, **fields})

    def hold(self, credits: Amount, **fields: Any) -> PlaceBalanceHold:
        """Return a hold to be placed."""
        named = {"service_type": SERVICE, **fields}
        return make(PlaceBalanceHold, user_id=self.user_id, credits=credits, **named)

    def allocate(self, credits: Amount, **fields: Any) -> GrantCredits:
        """Return an addition to the balance."""
        return make(GrantCredits, user_id=self.user_id, credits=credits, **fields)

    def refund(self, **fields: Any) -> RefundSpending:
        """Return the refund of a charge that is known by its request id."""
        return make(RefundSpending, user_id=self.user_id, **fields)


@dataclass(frozen=True, slots=True)
class Moved:
    """A transaction under the names that an organisation's charges have."""

    charge_id: int
    credits_used: Decimal
    user_id: str
    service_type: str | None
    service_name: str | None
    request_id: str
    request_metadata: dict[str, Any]
    refund_of: int | None


class Balances:
    """A ledger's users, as the tests of charges ask for members of an organisation."""

    def __init__(self, ledger: Harness) -> None:
        self.ledger = ledger
        self.administrator, self.billing, self.sdk = ledger.administrator, ledger.billing, ledger.sdk
        self.advance = ledger.advance

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        return self.ledger.execute(operation)

    def prepare(self, *, pool: Amount | None = None, allocated: Amount = 1_000) -> Person:  # noqa: ARG002 - users have no pool
        """Return a new user with so many credits."""
        return self.join(None, allocated=allocated)

    def join(self, _: None, *, allocated: Amount = 1_000) -> Person:
        """Return a new user with so many credits."""
        person = Person(unique("user"), parse_credits(allocated))
        self.administrator.add_user(person.user_id, credits=allocated)
        return person

    def deactivate(self, person: Person) -> None:
        """Let a user spend nothing any more."""
        self.administrator.switch_off(person.user_id)

    def charges(self, person: Person) -> list[Moved]:
        """Return what was taken and given back, newest first."""
        rows = self.execute(ListTransactions(user_id=person.user_id)).items
        return [
            Moved(
                row.transaction_id,
                -row.amount,
                row.user_id,
                row.service_type,
                row.service_name,
                row.request_id,
                row.request_metadata,
                row.refund_of,
            )
            for row in rows
            if row.transaction_type in {"service", "subscription", "refund"}
        ]

    def balance(self, person: Person) -> UserBalance:
        """Return a user's balance."""
        return self.execute(GetBalance(user_id=person.user_id))

    def allocation(self, person: Person) -> "Used":
        """Return what a user has used of what was there in the beginning."""
        return Used(person.granted - self.balance(person).credits)

    def assert_balance(self, person: Person, *, allocated: Amount, used: Amount, held: Amount) -> None:
        """Compare a user's balance with what it should be."""
        left = Decimal(str(allocated)) - Decimal(str(used))
        assert_shows(self.balance(person), credits=left, held_credits=held)


@dataclass(frozen=True, slots=True)
class Used:
    """What was used of a balance."""

    used_credits: Decimal


class OnBalances:
    """Puts the ledger's users in the place of its members."""

    @pytest.fixture
    def ledger(self, ledger: Harness) -> Harness:
        return cast("Harness", Balances(ledger))


def strangers(ledger: Harness) -> Iterable[Person]:
    """Return users that nobody knows, by subject and by number."""
    ledger.prepare()
    return Person(unique("user")), Person("999999999999999999")


class TestSpend(OnBalances, TestDeduct):
    """What a charge takes from a balance, and when it is refused."""

    def test_users_are_known_by_number_as_well(self, ledger: Harness) -> None:
        number = str(int.from_bytes(unique("n").encode()[-7:]))[:15]
        ledger.administrator.add_user(number, credits=10)
        receipt = ledger.execute(make(Spend, user_id=int(number), credits=4))
        assert_shows(receipt, user_id=number, remaining_credits=6, service_type="service", org_id=None)

    def test_says_so_in_words_and_figures(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_500)
        receipt = ledger.execute(payer.deduct("250.5")).model_dump()
        assert (receipt["message"], receipt["new_balance"]) == ("250.5 credits spent.", Decimal("1249.5"))

    def test_a_stranger_is_not_found(self, ledger: Harness) -> None:
        for stranger in strangers(ledger):
            for operation in stranger.deduct(1), stranger.hold(1), stranger.check(1), stranger.allocate(1):
                with refused(NotFoundError):
                    ledger.execute(operation)

    def test_who_was_switched_off_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.deactivate(payer)
        with refused(NoAllocationError, limit="inactive"):
            ledger.execute(payer.deduct(1))


class TestRequestIdsOfUsers(OnBalances, TestRequestIds):
    """A request id charges a user once, for ever."""

    test_strangers_learn_nothing_of_ids = None  # type: ignore[assignment]  # see TestSpend
    test_the_id_of_another_members_hold_is_taken = None  # type: ignore[assignment]  # ids are each user's own

    def test_another_member_is_other_content(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        ledger.execute(payer.hold(10, request_id="job-7"))
        assert not ledger.execute(other.deduct(10, request_id="job-7")).replayed
        assert not ledger.execute(other.hold(10, request_id="job-8")).replayed

    @pytest.mark.parametrize("place", ["deduct", "hold"])
    def test_another_transaction_type_is_other_content(self, ledger: Harness, place: str) -> None:
        payer = ledger.prepare()
        operation = getattr(payer, place)(10, request_id="job-7")
        ledger.execute(operation)
        with refused(IdempotencyConflictError):
            ledger.execute(changed(operation, {"transaction_type": "subscription"}))

    def test_a_replay_needs_no_credits_and_no_standing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=10)
        first = ledger.execute(payer.deduct(10, request_id="job-7"))
        ledger.deactivate(payer)
        again = ledger.execute(payer.deduct(10, request_id="job-7"))
        assert_shows(again, charge_id=first.charge_id, replayed=True)


class TestCheckOfBalances(OnBalances, TestCheck):
    """Advice that agrees with what a charge would be told."""

    test_counts_overage = None  # type: ignore[assignment]  # users have none
    test_strangers_learn_nothing = None  # type: ignore[assignment]  # see TestSpend

    def test_without_an_active_allocation_the_answer_is_no(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.deactivate(payer)
        check = ledger.execute(payer.check(1))
        assert not check
        assert_shows(check, remaining_credits=0, available_credits=0)


class TestPlaceBalanceHold(OnBalances, TestPlaceHold):
    """Setting a user's credits aside."""

    test_another_member_is_other_content = None  # type: ignore[assignment]  # ids are each user's own

    def test_who_may_not_spend_may_not_hold(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.deactivate(payer)
        with refused(NoAllocationError, limit="inactive"):
            ledger.execute(payer.hold(1))


class TestExtendBalanceHold(OnBalances, TestExtendHold):
    """Giving an open hold on a balance more."""

    def test_what_is_elsewhere_is_not_found(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        more = make(ExtendBalanceHold, hold_id=hold.hold_id, user_id=other.user_id, credits=1)
        for wrong in more, make(ExtendBalanceHold, hold_id=uuid4(), credits=1):
            with refused(NotFoundError):
                ledger.execute(wrong)
        assert ledger.execute(changed(more, {"user_id": payer.user_id})).credits == 51


class TestBalanceExtensionsOnce(OnBalances, TestExtensionsOnce):
    """A request id gives more once."""


class TestVoidOfBalanceHolds(OnBalances, TestVoid):
    """Giving a hold on a balance back."""

    def test_a_hold_of_another_user_is_not_found(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        hold = ledger.execute(payer.hold(50))
        for kind in GetBalanceHold, VoidBalanceHold, CaptureBalanceHold:
            with refused(NotFoundError):
                ledger.execute(make(kind, hold_id=hold.hold_id, user_id=other.user_id))
        ledger.execute(make(CaptureBalanceHold, hold_id=hold.hold_id, user_id=payer.user_id))


class TestCaptureOfBalanceHolds(OnBalances, TestCapture):
    """A hold on a balance becomes exactly one charge."""

    def test_what_is_held_can_be_taken_whatever_became_of_the_allocation(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        hold = ledger.execute(payer.hold(50))
        ledger.deactivate(payer)
        with refused(NoAllocationError, limit="inactive"):
            ledger.execute(capture(hold, 51))
        assert ledger.execute(capture(hold)).remaining_credits == 50

    def test_keeps_what_the_hold_said(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(5, description="Print job", transaction_type="subscription"))
        ledger.execute(capture(hold))
        row = ledger.execute(ListTransactions(user_id=payer.user_id)).items[0]
        assert_shows(row, description="Print job", transaction_type="subscription", hold_id=hold.hold_id)


class TestExpiryOfBalanceHolds(OnBalances, TestExpiry):
    """A hold on a balance ends by itself."""


class TestRefundOfUsers(OnBalances, TestRefund):
    """Giving charges back to a balance."""

    def test_needs_no_active_allocation(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        ledger.deactivate(payer)
        assert ledger.execute(refund(charge)).remaining_credits == 1_000

    def test_what_was_added_cannot_be_refunded(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        grant = ledger.execute(make(GrantCredits, user_id=payer.user_id, credits=10))
        with refused(ConflictError):
            ledger.execute(make(RefundSpending, transaction_id=grant.transaction_id))

    @pytest.mark.parametrize("name", ["transaction_id", "request_id"])
    def test_what_is_unknown_and_what_is_anothers_look_alike(self, ledger: Harness, name: str) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        charge = ledger.execute(payer.deduct(60))
        known = charge.charge_id if name == "transaction_id" else charge.request_id
        for unknown in known, 2**62 if name == "transaction_id" else "job-8":
            with refused(NotFoundError):
                ledger.execute(other.refund(**{name: unknown}))
        assert ledger.execute(payer.refund(**{name: known})).credits_refunded == 60


class TestRefundKeysOfUsers(OnBalances, TestRefundKeys):
    """A refund has a request id of its own, in the same space as charges."""


class TestMethodsOnBalances(OnBalances, TestMethods):
    """Each method of the service serves a user's own balance."""

    test_manage = None  # type: ignore[assignment]  # organisations are managed
    test_take_many = None  # type: ignore[assignment]  # a batch is of organisations

    def test_a_bare_id_of_a_hold_is_found_in_either_ledger(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        first, second = (ledger.billing.hold(payer.account, 40, service_type=SERVICE) for _ in range(2))
        assert ledger.billing.get_hold(first.hold_id) == first
        assert ledger.billing.capture(str(first.hold_id), 10).remaining == 90
        assert ledger.billing.void(second.hold_id).status == "voided"
        with refused(NotFoundError):
            ledger.billing.get_hold("00000000-0000-4000-8000-000000000000")


class TestChargeBlockOnBalances(OnBalances, TestChargeBlock):
    """`with billing.charge(...)` on a user's own balance."""


class TestBillableOnBalances(OnBalances, TestBillable):
    """`@billing.billable` on a user's own balance."""


class TestFallback:
    """A member's organisation pays; the member's own balance is touched only by whoever names it."""

    def test_the_organisation_pays_and_the_balance_is_not_touched(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=10)
        ledger.administrator.add_user(payer.user_id, credits=100)
        account = ledger.billing.account(payer.user_id)
        assert account.org_id == payer.org_id
        with (
            refused(InsufficientCreditsError, limit="allocation", required=20, available=10),
            ledger.billing.charge(account, 20, service_type=SERVICE),
        ):
            pytest.fail("the work began")
        assert ledger.execute(GetBalance(user_id=payer.user_id)).credits == 100

    def test_without_an_organisation_the_own_balance_pays(self, ledger: Harness) -> None:
        user_id = unique("user")
        ledger.administrator.add_user(user_id, credits=100)
        with ledger.billing.charge(ledger.billing.account(user_id), 20, service_type=SERVICE) as charge:
            pass
        assert_shows(charge.receipt, org_id=None, user_id=user_id, remaining=80)
