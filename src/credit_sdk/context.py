"""Who pays, and which charge is under way, for code that is not handed either."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from credit_sdk.account import Account, require_account
from credit_sdk.errors import ConfigurationError, CreditError

if TYPE_CHECKING:
    from credit_sdk.charge import Terms

ResultT = TypeVar("ResultT")

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


def call_while_running(
    charge: "Terms", function: Callable[..., ResultT], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ResultT:
    """Call a function with `charge` as the current one."""
    token = _charge.set(charge)
    try:
        return function(*args, **kwargs)
    finally:
        _charge.reset(token)


class running:  # noqa: N801 - it is written as a block; a generator's takes five times as long
    """Make `charge` the current one while a billable function runs."""

    __slots__ = ("_charge", "_token")

    def __init__(self, charge: "Terms") -> None:
        self._charge = charge

    def __enter__(self) -> None:
        self._token = _charge.set(self._charge)

    def __exit__(self, *_: object) -> None:
        _charge.reset(self._token)
