"""Choose who pays for a user: never the first organisation that happens to come along."""

from credit_sdk._flows.retrying import Retries, retrying
from credit_sdk._flows.steps import Flow
from credit_sdk.account import Account
from credit_sdk.errors import NotFoundError
from credit_sdk.models import UserCredits
from credit_sdk.operations import GetUserBilling, GetUserCredits


def selecting_account(
    question: GetUserBilling | GetUserCredits, org_id: str | None, retries: Retries
) -> Flow[Account]:
    """Look a user up and choose the organisation that pays.

    That is `org_id` if given (`NotAMemberError` if the user is not in it), else the default
    organisation, else the one joined first, else none: the user's own balance (SPEC section 3).
    Raises `NotFoundError` for a user whom the ledger does not know.
    """
    standing: UserCredits = yield from retrying(question, retries)
    require_known(standing)
    account = Account(user_id=standing.user_id, organizations=standing.organizations)
    if org_id is not None:
        return account.switch(org_id)
    ranked = sorted(
        standing.organizations, key=lambda each: (not each.is_default, each.joined_at, each.org_id)
    )
    return account.switch(ranked[0].org_id) if ranked else account


def require_known(standing: UserCredits) -> None:
    """Raise `NotFoundError` for a user whom the ledger does not know."""
    if not standing.is_known:
        raise NotFoundError(
            f"The ledger knows no user {standing.user_id!r}: no organisation has such a member, "
            "and they have no balance of their own."
        )
