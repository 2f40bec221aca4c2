"""Decorators for a default SDK, set up by the environment: `@consume_credits(5, "Print job")`."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from credit_sdk import context
from credit_sdk._arguments import Reader, argument_reader
from credit_sdk._connect import address_from_environment
from credit_sdk._till import ChargeRequest, Till
from credit_sdk.account import Account, parse_account
from credit_sdk.amounts import Amount, parse_credits
from credit_sdk.billable import FunctionT, wrap
from credit_sdk.charge import AsyncOpenCharge, OpenCharge
from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import UNNAMED_SERVICE
from credit_sdk.sdk import CreditSDK


def consume_credits(credits: Amount, description: str | None = None) -> Callable[[FunctionT], FunctionT]:
    """Charge each successful call of a function, coroutine, generator or async generator to its user.

    The user is the function's argument `user_id`, or its argument `account`, or that of the surrounding
    `acting_as`. The credits are held while the function runs; an exception takes nothing. A call raises
    `InsufficientCreditsError` when there are too few, and then the function does not run.
    """
    cost = parse_credits(credits)
    return _decorator(ChargeRequest(UNNAMED_SERVICE, credits=cost, description=description))


def require_credits(credits: Amount) -> Callable[[FunctionT], FunctionT]:
    """Let a function run only for a user who has so many credits; nothing is held or taken.

    The user is found as `consume_credits` finds them; a call raises `InsufficientCreditsError` otherwise.
    """
    wanted = parse_credits(credits)
    return _decorator(ChargeRequest(UNNAMED_SERVICE, credits=0, estimate=wanted, reserve=False))


def default_sdk() -> CreditSDK:
    """Return the SDK of the environment: `CREDIT_SDK_URL`, `DATABASE_URL` or `API_BASE_URL`.

    Once it is closed, the next call makes a new one. Raises `ConfigurationError` if none is set.
    """
    address = address_from_environment(os.environ)
    if _sdk_at(address)._till.connections.is_closed:  # noqa: SLF001 - the decorators are part of the SDK
        _sdk_at.cache_clear()
    return _sdk_at(address)


@lru_cache(maxsize=1)
def _sdk_at(address: str) -> CreditSDK:
    return CreditSDK(address)


@dataclass(frozen=True, slots=True)
class _Charges:
    """Makes the charge of one call; the environment is not asked before."""

    request: ChargeRequest
    payer: Reader

    def blocking(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCharge:
        """Return a charge to be entered with `with`."""
        return _till().open(self._account(args, kwargs), self.request)

    def awaiting(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncOpenCharge:
        """Return a charge to be entered with `async with`."""
        return _till().open_async(self._account(args, kwargs), self.request)

    def _account(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Account:
        payer = self.payer(args, kwargs)
        if payer is None:
            payer = context.acting_account()
        if payer is None:
            raise ConfigurationError(
                "It is not known who pays for this call: give the function an argument user_id or account, "
                "or call it within acting_as(account)."
            )
        return parse_account(payer)


def _till() -> Till:
    return default_sdk()._till  # noqa: SLF001 - the decorators are part of the SDK


def _decorator(request: ChargeRequest) -> Callable[[FunctionT], FunctionT]:
    def decorate(function: FunctionT) -> FunctionT:
        reader = argument_reader(function, "user_id") or argument_reader(function, "account") or _nobody
        return wrap(function, _Charges(request, reader), None)

    return decorate


def _nobody(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Read nothing."""
