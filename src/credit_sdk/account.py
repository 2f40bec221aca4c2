"""Who pays: an organisation member, or a user."""

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from credit_sdk.errors import ConfigurationError, NotAMemberError
from credit_sdk.models import OrganizationCredits
from credit_sdk.operations import AnyUserId, OrgId, validation_failed


class Account(BaseModel):
    """Who pays: the member `user_id` of the organisation `org_id`, or, without one, the user.

    Without an organisation the user's own balance pays; a user of that ledger may also be given by number.
    An account that was looked up (`billing.account(...)`) also knows the user's `organizations`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: AnyUserId
    org_id: OrgId | None = None
    organizations: tuple[OrganizationCredits, ...] = Field(default=(), repr=False)
    session_token: SecretStr | None = Field(default=None, repr=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            user_id: str | int,
            org_id: str | None = None,
            organizations: tuple[OrganizationCredits, ...] = (),
            session_token: SecretStr | None = None,
        ) -> None: ...

    @property
    def organization(self) -> OrganizationCredits | None:
        """The user's standing in the organisation that pays, as it was when it was looked up."""
        return next((each for each in self.organizations if each.org_id == self.org_id), None)

    def switch(self, org_id: str) -> "Account":
        """Return the same user paying from another of their organisations.

        Raises `NotAMemberError` when the user is in no such organisation.
        """
        if all(each.org_id != org_id for each in self.organizations):
            raise NotAMemberError(f"User {self.user_id} is not a member of organisation {org_id}.")
        return self.model_copy(update={"org_id": org_id})


def require_account(account: Any, argument: str = "account") -> Account:
    """Return the account; raise `ConfigurationError` for anything else, such as a user's id."""
    if not isinstance(account, Account):
        raise ConfigurationError(
            f"{argument} must be an Account, not {type(account).__name__}: look it up with "
            "billing.account(user_id), or make it as Account(org_id=..., user_id=...)."
        )
    return account


def parse_account(payer: Account | int | str, org_id: str | None = None) -> Account:
    """Return a user, or a member of an organisation, as a payer.

    Raises `ValidationFailedError` for what names nobody.
    """
    if isinstance(payer, Account):
        return payer
    try:
        return Account(user_id=payer, org_id=org_id)
    except ValidationError as error:
        raise validation_failed(error) from None
