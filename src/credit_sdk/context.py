"""Who pays, and which charge is under way, for code that is not handed either."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from credit_sdk.account import Account, require_account
from credit_sdk.errors import ConfigurationError, CreditError

if TYPE_CHECKING:
    from credit_sdk.charge import Terms

_account: ContextVar[Account | CreditError | None] = ContextVar("credit_sdk_account", default=None)
_charge: ContextVar["Terms | None"] = ContextVar("credit_sdk_charge", default=None)


@contextmanager
def acting_as(account: Account) -> Iterator[Account]:
    """Let billable functions in this block be paid by `account`, unless they name another payer.

    The block's tasks and `asyncio.to_thread` calls inherit it; threads started by hand do not.
    """
    token = _account.set(require_account(account))
    try:
        yield account
    finally:
        _account.reset(token)


def acting_account() -> Account | None:
    """Return the account of the surrounding `acting_as`, if any; raise the error of `refusing`."""
    payer = _account.get()
    if isinstance(payer, CreditError):
        raise payer
    return payer


@contextmanager
def refusing(error: CreditError) -> Iterator[None]:
    """Let billable functions in this block raise `error`, unless they name who pays.

    For a request whose session is not valid: what is not billed works all the same.
    """
    token = _account.set(error)
    try:
        yield
    finally:
        _account.reset(token)


def current_charge() -> "Terms":
    """Return the charge of the billable function that is running: its cost and metadata may be changed.

    Raises `ConfigurationError` outside a billable function.
    """
    charge = _charge.get()
    if charge is None:
        raise ConfigurationError("current_charge() was called outside a billable function.")
    return charge


begin_running: Callable[["Terms"], Token["Terms | None"]] = _charge.set
"""Make a charge the current one, while a billable function runs: until `end_running` is given the answer.

Not a block: that would take as long as much of a charge that a lease pays.
"""
end_running: Callable[[Token["Terms | None"]], None] = _charge.reset
