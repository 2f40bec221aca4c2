"""The contract of `Deduct` and `CheckCredits`: the database decides, once for each request id."""

from decimal import Decimal
from typing import Any

import pytest

from credit_sdk.contract.harness import (
    SERVICE,
    Harness,
    Payer,
    assert_shows,
    capture,
    changed,
    look,
    refused,
    unique,
    void,
)
from credit_sdk.errors import (
    IdempotencyConflictError,
    InsufficientCreditsError,
    InvalidAmountError,
    NoAllocationError,
    NotAMemberError,
    ValidationFailedError,
)


class TestDeduct:
    """What a charge takes, and when it is refused."""

    def test_takes_credits_and_says_what_is_left(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=1_000)
        receipt = ledger.execute(payer.deduct(50, service_name="full", request_id="lookup-1"))
        assert (receipt.org_id, receipt.user_id, receipt.request_id) == (
            payer.org_id,
            payer.user_id,
            "lookup-1",
        )
        assert_shows(
            receipt,
            service_type=SERVICE,
            service_name="full",
            credits_used=50,
            remaining_credits=950,
            replayed=False,
        )
        ledger.assert_balance(payer, allocated=1_000, used=50, held=0)

    @pytest.mark.parametrize("credits", ["0.001", "0.05", "2.5", "999.999"])
    def test_is_exact_to_a_thousandth(self, ledger: Harness, credits: str) -> None:
        payer = ledger.prepare(allocated=1_000)
        receipt = ledger.execute(payer.deduct(credits))
        assert receipt.credits_used + receipt.remaining_credits == 1_000
        assert ledger.allocation(payer).used_credits == receipt.credits_used

    def test_large_amounts_are_exact(self, ledger: Harness) -> None:
        payer = ledger.prepare(pool=10**12, allocated=10**12)
        receipt = ledger.execute(payer.deduct("999999999999.999"))
        assert f"{receipt.remaining_credits:f}" == "0.001"

    def test_takes_the_last_credit_and_no_more(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=50)
        assert ledger.execute(payer.deduct(50)).remaining_credits == 0
        with refused(InsufficientCreditsError, limit=payer.limit, required=1, available=0):
            ledger.execute(payer.deduct(1))

    def test_a_refusal_names_the_limit_and_takes_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.deduct(60))
        with refused(InsufficientCreditsError, limit=payer.limit, required=60, available=40):
            ledger.execute(payer.deduct(60))
        ledger.assert_balance(payer, allocated=100, used=60, held=0)

    def test_what_is_held_is_not_available(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.hold(70))
        with refused(InsufficientCreditsError, limit=payer.limit, required=Decimal("30.001"), available=30):
            ledger.execute(payer.deduct("30.001"))
        assert ledger.execute(payer.deduct(30)).remaining_credits == 70

    def test_members_do_not_share(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        other = ledger.join(payer.org_id, allocated=100)
        ledger.execute(payer.deduct(100))
        assert ledger.execute(other.deduct(100)).remaining_credits == 0

    def test_keeps_metadata_with_the_charge(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        metadata = {"company_id": "c-1", "nested": {"list": [1, None, "ü", 0.5]}}
        receipt = ledger.execute(payer.deduct(1, request_metadata=metadata))
        [charge] = ledger.charges(payer)
        assert_shows(charge, charge_id=receipt.charge_id, request_metadata=metadata)

    def test_keeps_no_secrets(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(1, request_metadata={"api_key": "k-123", "tokens_used": 9}))
        [charge] = ledger.charges(payer)
        assert charge.request_metadata == {"api_key": "[redacted]", "tokens_used": 9}

    @pytest.mark.parametrize("credits", [0, -1, "0.0001", True, "1e3", float("nan"), 10**12 + 1])
    def test_impossible_amounts_are_refused(self, ledger: Harness, credits: Any) -> None:
        payer = ledger.prepare()
        with refused(InvalidAmountError):
            ledger.billing.deduct(payer.account, credits, service_type=SERVICE)

    @pytest.mark.parametrize("request_id", ["", " ", "a\nb", "ü", "x" * 256])
    def test_impossible_request_ids_are_refused(self, ledger: Harness, request_id: str) -> None:
        payer = ledger.prepare()
        with pytest.raises(ValidationFailedError) as caught:
            ledger.billing.deduct(payer.account, 1, service_type=SERVICE, request_id=request_id)
        assert [error["loc"] for error in caught.value.errors] == [["request_id"]]


class TestRequestIds:
    """A request id charges once, for ever."""

    def test_the_same_charge_again_is_the_first_outcome_again(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        first = ledger.execute(payer.deduct(10, request_id="job-7"))
        ledger.execute(payer.deduct(20))
        again = ledger.execute(payer.deduct(10, request_id="job-7"))
        assert again == first.model_copy(update={"replayed": True})
        ledger.assert_balance(payer, allocated=100, used=30, held=0)

    def test_metadata_is_annotation_and_the_first_is_kept(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(10, request_id="job-7", request_metadata={"run": 1}))
        assert ledger.execute(payer.deduct(10, request_id="job-7", request_metadata={"run": 2})).replayed
        [charge] = ledger.charges(payer)
        assert charge.request_metadata == {"run": 1}

    @pytest.mark.parametrize(
        "other",
        [{"credits": 11}, {"service_type": "valuation"}, {"service_name": "full"}],
        ids=["credits", "service_type", "service_name"],
    )
    def test_other_content_is_refused(self, ledger: Harness, other: dict[str, Any]) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.deduct(10, request_id="job-7"))
        with refused(IdempotencyConflictError):
            ledger.execute(changed(payer.deduct(10, request_id="job-7"), other))
        ledger.assert_balance(payer, allocated=100, used=10, held=0)

    def test_another_member_is_other_content(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        other = ledger.join(payer.org_id, allocated=100)
        ledger.execute(payer.deduct(10, request_id="job-7"))
        with refused(IdempotencyConflictError):
            ledger.execute(other.deduct(10, request_id="job-7"))
        ledger.assert_balance(other, allocated=100, used=0, held=0)

    def test_another_organisation_is_independent(self, ledger: Harness) -> None:
        payer, other = ledger.prepare(), ledger.prepare()
        ledger.execute(payer.deduct(10, request_id="job-7"))
        assert not ledger.execute(other.deduct(20, request_id="job-7")).replayed

    def test_strangers_learn_nothing_of_ids(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.execute(payer.deduct(10, request_id="job-7"))
        stranger = Payer(payer.org_id, unique("user"))
        for operation in stranger.deduct(10, request_id="job-7"), stranger.hold(10, request_id="job-7"):
            with refused(NotAMemberError):
                ledger.execute(operation)

    def test_a_refused_attempt_does_not_use_the_id_up(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=5)
        with refused(InsufficientCreditsError, limit=payer.limit, required=10, available=5):
            ledger.execute(payer.deduct(10, request_id="job-7"))
        ledger.execute(payer.allocate(5))
        receipt = ledger.execute(payer.deduct(10, request_id="job-7"))
        assert_shows(receipt, remaining_credits=0, replayed=False)

    def test_a_replay_needs_no_credits_and_no_standing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=10)
        first = ledger.execute(payer.deduct(10, request_id="job-7"))
        ledger.deactivate(payer)
        ledger.administrator.suspend(payer.org_id)
        again = ledger.execute(payer.deduct(10, request_id="job-7"))
        assert_shows(again, charge_id=first.charge_id, replayed=True)

    def test_the_id_of_an_open_hold_is_taken(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(10, request_id="job-7"))
        with refused(IdempotencyConflictError):
            ledger.execute(payer.deduct(10, request_id="job-7"))
        ledger.execute(void(hold))
        assert not ledger.execute(payer.deduct(10, request_id="job-7")).replayed

    def test_the_id_of_another_members_hold_is_taken(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        other = ledger.join(payer.org_id)
        hold = ledger.execute(payer.hold(10, request_id="job-7"))
        with refused(IdempotencyConflictError):
            ledger.execute(other.deduct(10, request_id="job-7"))
        assert not ledger.execute(capture(hold)).replayed

    def test_an_overdue_hold_does_not_keep_its_id(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        hold = ledger.execute(payer.hold(10, request_id="job-7", ttl_seconds=60))
        ledger.advance(61)
        assert ledger.execute(payer.deduct(10, request_id="job-7")).remaining_credits == 990
        assert ledger.execute(look(hold)).status == "expired"


class TestWhoMaySpend:
    """Members with an active allocation of an active organisation."""

    def test_a_member_without_allocation_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=None)
        with refused(NoAllocationError, limit="no_allocation"):
            ledger.execute(payer.deduct(1))

    def test_an_inactive_allocation_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.deactivate(payer)
        with refused(NoAllocationError, limit="inactive"):
            ledger.execute(payer.deduct(1))

    def test_a_suspended_organisation_is_refused(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        ledger.administrator.suspend(payer.org_id)
        with refused(NoAllocationError, limit="inactive"):
            ledger.execute(payer.deduct(1))

    def test_a_stranger_and_an_unknown_organisation_look_alike(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        for stranger in Payer(payer.org_id, unique("user")), Payer(unique("org"), payer.user_id):
            with refused(NotAMemberError):
                ledger.execute(stranger.deduct(1))

    def test_an_allocation_lowered_below_what_is_used_gives_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.deduct(80))
        ledger.administrator.set_allocation(payer.org_id, payer.user_id, 50)
        with refused(InsufficientCreditsError, limit=payer.limit, required=1, available=0):
            ledger.execute(payer.deduct(1))
        allocation = ledger.allocation(payer)
        assert_shows(allocation, allocated_credits=50, remaining_credits=-30)


class TestOverage:
    """Where an organisation allows it, its members may each spend more than is allocated."""

    def test_is_spent_after_the_allocation(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100, overage=20)
        assert ledger.execute(payer.deduct(115)).remaining_credits == -15
        with refused(InsufficientCreditsError, limit="overage", required=6, available=5):
            ledger.execute(payer.deduct(6))
        assert ledger.execute(payer.hold(5)).status == "held"

    def test_ends_when_it_is_taken_back(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100, overage=20)
        ledger.execute(payer.deduct(115))
        ledger.administrator.set_overage(payer.org_id, None)
        with refused(InsufficientCreditsError, limit=payer.limit, required=1, available=0):
            ledger.execute(payer.deduct(1))


class TestCheck:
    """Advice that agrees with what a charge would be told."""

    def test_says_what_is_left_and_what_of_it_is_free(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.deduct(20))
        ledger.execute(payer.hold(30))
        check = ledger.execute(payer.check(50))
        assert check
        assert_shows(check, remaining_credits=80, available_credits=50, required_credits=50)
        assert not ledger.execute(payer.check("50.001"))

    def test_does_not_count_overdue_holds(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.hold(30, ttl_seconds=60))
        assert not ledger.execute(payer.check(100))
        ledger.advance(61)
        assert ledger.execute(payer.check(100)).available_credits == 100

    def test_counts_overage(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100, overage=20)
        assert ledger.execute(payer.check(120))
        assert not ledger.execute(payer.check("120.001"))

    def test_changes_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare(allocated=100)
        ledger.execute(payer.check(100))
        ledger.assert_balance(payer, allocated=100, used=0, held=0)

    def test_without_an_active_allocation_the_answer_is_no(self, ledger: Harness) -> None:
        none, inactive = ledger.prepare(allocated=None), ledger.prepare()
        ledger.deactivate(inactive)
        for payer in none, inactive:
            check = ledger.execute(payer.check(1))
            assert not check
            assert_shows(check, remaining_credits=0, available_credits=0)

    def test_strangers_learn_nothing(self, ledger: Harness) -> None:
        payer = ledger.prepare()
        with refused(NotAMemberError):
            ledger.execute(Payer(payer.org_id, unique("user")).check(1))
        with refused(NotAMemberError):
            ledger.execute(Payer(unique("org"), payer.user_id).check(1))
