"""Who pays for a call, on which terms, and with whose key.

The caller's organisation pays, and without one their own balance (SPEC section 3). A member whose
organisation's credits run out is refused: the personal balance is never touched then.
"""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from credit_sdk._flows import Retries, selecting_account
from credit_sdk._runners import run_async
from credit_sdk.account import Account
from credit_sdk.errors import NotAMemberError, PermissionDeniedError
from credit_sdk.operations import GetUserCredits, parse
from reference_server.access import Ledger
from reference_server.callers import CONSUME, ApiKey, Caller, Session
from reference_server.llm.keys import ProviderKeys
from reference_server.llm.prices import AT_COST, PLATFORM_MARKUP
from reference_server.llm.problems import InvalidRequestError, NoProviderKeyError
from reference_server.remembering import Remembered

if TYPE_CHECKING:
    from credit_sdk._runners import AsyncBackend

ORGANIZATION_HEADER = "OpenAI-Organization"


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays: an organisation's member, or a user. `api_key_id` is the key whose caps count as well."""

    user_id: str
    org_id: str | None = None
    plan: str = "platform"
    api_key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a call is made. `own_key` is the organisation's, None for the platform's."""

    markup: Decimal
    own_key: str | None = None


@dataclass(frozen=True, slots=True)
class Payers:
    """Finds out who pays. Who it was is believed for some seconds, but no member whose session has left."""

    ledger: Ledger
    seconds: float
    _remembered: Remembered[Account] = field(default_factory=Remembered)

    async def account_of(self, user_id: str, org_id: str | None, caller: Caller) -> Account:
        """Return the account that pays for a user; raises what `payer_of` raises."""
        key = json.dumps([user_id, org_id]).encode()
        account = self._remembered.get(key)
        if account is None or _has_left(caller, account):
            question = parse(GetUserCredits, {"user_id": user_id})
            flow = selecting_account(question, org_id, Retries())
            account = await run_async(flow, cast("AsyncBackend", self.ledger))
            self._remembered.keep(key, account, self.seconds)
        return account


async def payer_of(caller: Caller, org_id: str | None, named_user: Any, payers: Payers) -> Payer:
    """Return who pays for a caller's call.

    `org_id` is the organisation that the caller selects. A key names its user in the body's `user`; what
    a person says there is for the provider only. Raises `NotAMemberError`, `PermissionDeniedError`,
    `InvalidRequestError`, and `NotFoundError` for a user whom the ledger does not know.
    """
    user_id, key_id = _user_of(caller, named_user), None
    if isinstance(caller, ApiKey):
        if caller.org_id is not None and org_id not in {None, caller.org_id}:
            raise NotAMemberError
        org_id, key_id = caller.org_id or org_id, caller.key_id
    account = await payers.account_of(user_id, org_id, caller)
    return Payer(account.user_id, account.org_id, _plan_of(account), key_id if account.org_id else None)


async def terms_of(payer: Payer, provider: str, keys: ProviderKeys) -> Terms:
    """Return the terms of a payer's plan; raise `NoProviderKeyError` where it needs a key and has none."""
    if payer.org_id is None or payer.plan == "platform":
        return Terms(PLATFORM_MARKUP)
    own_key = await keys.find(payer.org_id, provider)
    if own_key is not None:
        return Terms(AT_COST, own_key)
    if payer.plan == "byok":
        raise NoProviderKeyError(
            f"The organisation's plan runs on its own keys, and it has none for {provider}: "
            f"an administrator sets one at /api/v1/llm/organizations/{payer.org_id}/keys/{provider}.",
            param="model",
        )
    return Terms(PLATFORM_MARKUP)


def _has_left(caller: Caller, account: Account) -> bool:
    """Whether a session, whose organisations are asked for each time, is in the account's no more."""
    return isinstance(caller, Session) and account.org_id is not None and account.org_id not in caller.roles


def _user_of(caller: Caller, named_user: Any) -> str:
    if not isinstance(caller, ApiKey):
        return caller.user_id
    if CONSUME not in caller.scopes:
        raise PermissionDeniedError(f"The API key has no scope {CONSUME}.")
    if not isinstance(named_user, str) or not named_user:
        raise InvalidRequestError("user: a call with an API key names the user who pays.", param="user")
    return named_user


def _plan_of(account: Account) -> str:
    organization = account.organization
    return organization.subscription_plan or "platform" if organization else "platform"
