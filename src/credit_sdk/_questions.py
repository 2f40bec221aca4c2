"""What callers say about users and themselves, as operations and their fields."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pydantic import SecretStr

from credit_sdk.account import Account
from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import GetUserBilling, GetUserCredits, parse


def who_is_asking(
    user_id: str | None, session_token: str | None, *, service_is_user: bool
) -> GetUserBilling | GetUserCredits:
    """Return the question after a user, or after whoever a session or the service's credential stands for.

    Raises `ConfigurationError` when there is neither.
    """
    if user_id is not None:
        return parse(GetUserCredits, {"user_id": user_id})
    if session_token is not None:
        return GetUserBilling(session_digest=sha256(session_token.encode()).hexdigest())
    if service_is_user:
        return GetUserBilling()
    raise ConfigurationError(
        "It is not known whose account is meant: give user_id or session_token=. (Without them it is that "
        "of the session_token= or bearer_token= of the service, which has none.)"
    )


def with_session(account: Account, session_token: str | None) -> Account:
    """Return the account carrying the session that stands for its user."""
    if session_token is None:
        return account
    return account.model_copy(update={"session_token": SecretStr(session_token)})


def given(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields that were given; None says nothing."""
    return {name: value for name, value in fields.items() if value is not None}
