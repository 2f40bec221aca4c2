"""Who pays for a user who is in several organisations."""

import pytest

from credit_sdk import Account, CreditDeductionService, MemoryLedger, NotAMemberError


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


def test_a_user_without_organisations_pays_alone(billing: CreditDeductionService) -> None:
    account = billing.account("carol")
    assert account.org_id is None
    assert account.organizations == ()


def test_a_session_stands_for_its_user(billing: CreditDeductionService, ledger: MemoryLedger) -> None:
    token = ledger.open_session("ada")
    account = billing.account(session_token=token)
    assert (account.user_id, account.org_id) == ("ada", "acme")
    assert token not in repr(account)


def test_accounts_are_values(ada: Account) -> None:
    assert ada == Account(org_id="acme", user_id="ada")
    assert ada.model_copy() == ada
