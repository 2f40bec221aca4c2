"""Who pays for a user who is in several organisations."""

from collections.abc import Callable

import psycopg
import pytest

from credit_sdk import (
    Account,
    ConfigurationError,
    CreditDeductionService,
    MemoryLedger,
    NotAMemberError,
    NotFoundError,
)


@pytest.fixture
def ledger(ledger: MemoryLedger) -> MemoryLedger:
    ledger.add_organization("beta", credits=100)
    ledger.add_member("beta", "ada", allocated=50)
    ledger.add_member("beta", "bob", allocated=50)
    ledger.add_member("acme", "bob", allocated=50, is_default=True)
    return ledger


def test_the_organisation_joined_first_pays_without_a_default(billing: CreditDeductionService) -> None:
    account = billing.account("ada")
    assert account.org_id == "acme"
    assert [each.org_id for each in account.organizations] == ["acme", "beta"]
    assert account.organization is not None
    assert account.organization.remaining_credits == 1_000


def test_the_default_organisation_pays(billing: CreditDeductionService) -> None:
    assert billing.account("bob").org_id == "acme"


def test_the_caller_may_choose_among_the_users_organisations(billing: CreditDeductionService) -> None:
    assert billing.account("ada", org_id="beta").org_id == "beta"
    assert billing.account("ada").switch("beta").org_id == "beta"


def test_a_foreign_organisation_is_refused(billing: CreditDeductionService) -> None:
    with pytest.raises(NotAMemberError):
        billing.account("ada", org_id="gamma")
    with pytest.raises(NotAMemberError):
        billing.account("ada").switch("gamma")


def test_a_user_whom_the_ledger_does_not_know_is_called_so(billing: CreditDeductionService) -> None:
    with pytest.raises(NotFoundError, match=r"The ledger knows no user 'carol': no organisation has"):
        billing.account("carol")


def test_a_known_user_without_organisations_has_an_account(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO users (subject, email) VALUES ('carol', 'carol@example.com')")
    with CreditDeductionService(database_url) as billing:
        account = billing.account("carol")
        assert (account.org_id, account.organizations) == (None, ())
        with pytest.raises(NotFoundError, match="'nobody'"):
            billing.account("nobody")


@pytest.mark.parametrize("credential", [{}, {"api_key": "csk_x"}], ids=["none", "api_key"])
def test_an_account_of_nobody_in_particular_says_what_to_give(credential: dict[str, str]) -> None:
    with (
        CreditDeductionService("https://ops.example", **credential) as billing,  # type: ignore[arg-type]  # strings only
        pytest.raises(ConfigurationError, match=r"give user_id or session_token="),
    ):
        billing.account()


WRONG_ACCOUNTS: dict[str, Callable[[CreditDeductionService], object]] = {
    "deduct": lambda billing: billing.deduct("ada", 5, service_type="x"),  # type: ignore[arg-type]  # wrong on purpose
    "check": lambda billing: billing.check(None, 5),  # type: ignore[arg-type]
    "charge": lambda billing: billing.charge(7, 5, service_type="x"),  # type: ignore[arg-type]
    "acting_as": lambda billing: billing.acting_as("ada").__enter__(),  # type: ignore[arg-type]
    "decorator": lambda billing: billing.billable("x", cost=1, account="ada")(print),  # type: ignore[arg-type]
    "argument": lambda billing: billing.billable("x", cost=1)(lambda account: account)("ada"),
    "rule": lambda billing: billing.billable("x", cost=1, account=lambda sep: sep)(print)(sep="ada"),  # type: ignore[arg-type, return-value]
}


@pytest.mark.parametrize("way", WRONG_ACCOUNTS)
def test_whatever_is_no_account_is_refused_and_the_error_says_how_to_make_one(
    billing: CreditDeductionService, way: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"account=? must be an Account, not .*: look it up with"):
        WRONG_ACCOUNTS[way](billing)


def test_a_session_stands_for_its_user(billing: CreditDeductionService, ledger: MemoryLedger) -> None:
    token = ledger.open_session("ada")
    account = billing.account(session_token=token)
    assert (account.user_id, account.org_id) == ("ada", "acme")
    assert token not in repr(account)


def test_accounts_are_values(ada: Account) -> None:
    assert ada == Account(org_id="acme", user_id="ada")
    assert ada.model_copy() == ada
