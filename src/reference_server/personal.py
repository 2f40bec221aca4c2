"""Who may do what with users' own credits (SPEC sections 5 and 6).

Users see and spend their own; programs spend with `consume_credits`; only a system administrator, or a
program with `manage_credits`, adds and gives back. A key that was made for one organisation has no
business with anybody's own credits.
"""

from typing import Any, TypeAlias, TypeVar

from credit_sdk import models, operations
from credit_sdk.errors import NotFoundError, PermissionDeniedError, ValidationFailedError
from credit_sdk.operations import Operation
from reference_server.access import Ledger, in_person, require_placed_in_person
from reference_server.callers import CONSUME, MANAGE, READ, ApiKey, Caller, Session

OperationT = TypeVar("OperationT", bound=Operation[Any])
OfOwnHold: TypeAlias = (
    operations.ExtendBalanceHold
    | operations.CaptureBalanceHold
    | operations.VoidBalanceHold
    | operations.GetBalanceHold
)


async def reads_own(caller: Caller, operation: operations.GetBalance, ledger: Ledger) -> Operation[Any]:
    """Look at one's own balance; a key names whose."""
    if operation.user_id is not None:
        return await reads_person(caller, operation, ledger)
    if isinstance(caller, Session):
        return operation.model_copy(update={"user_id": caller.user_id})
    raise ValidationFailedError(
        "user_id: an API key has no balance of its own.",
        errors=[{"loc": ["user_id"], "msg": "Field required", "type": "missing"}],
    )


async def reads_person(caller: Caller, operation: OperationT, ledger: Ledger) -> OperationT:
    """Look at one's own credits, or at anyone's with a key that may read or consume."""
    user_id: str = operation.user_id  # type: ignore[attr-defined]  # every operation of this rule names one
    if isinstance(caller, ApiKey):
        _require_scope(caller, READ, CONSUME)
    else:
        await _require_oneself(caller, user_id, ledger)
    return operation


async def spends_own(caller: Caller, operation: OperationT, ledger: Ledger) -> OperationT:
    """Spend (or ask to) one's own credits, or anyone's with a key that may consume."""
    user_id: str = operation.user_id  # type: ignore[attr-defined]  # every operation of this rule names one
    if isinstance(caller, ApiKey):
        _require_scope(caller, CONSUME)
    else:
        await _require_oneself(caller, user_id, ledger)
    return operation


async def holds_own(caller: Caller, operation: operations.PlaceBalanceHold, ledger: Ledger) -> Operation[Any]:
    """Set aside what one may spend. Sessions do it in person: such a hold is theirs to end."""
    operation = operation.model_copy(update={"by_payer": in_person(caller, operation.user_id)})
    return await spends_own(caller, operation, ledger)


async def uses_own_hold(caller: Caller, operation: OfOwnHold, ledger: Ledger) -> Operation[Any]:
    """Extend, capture or void what one has set aside in person, or anyone's with a key that may consume."""
    if isinstance(caller, ApiKey):
        _require_scope(caller, CONSUME)
        return operation
    if not caller.is_system_admin:
        require_placed_in_person(caller, await _own_hold(caller, operation, ledger))
    return operation


async def sees_own_hold(
    caller: Caller, operation: operations.GetBalanceHold, ledger: Ledger
) -> Operation[Any]:
    """Look at one's own hold, or at anyone's with a key that may read or consume."""
    if isinstance(caller, ApiKey):
        _require_scope(caller, READ, CONSUME)
        return operation
    if not caller.is_system_admin:
        await _own_hold(caller, operation, ledger)
    return operation


async def grants(caller: Caller, operation: operations.GrantCredits, _: Ledger) -> operations.GrantCredits:
    """Add credits as a system administrator, in one's own name; a key says for whom it does."""
    _require_manager(caller)
    if isinstance(caller, ApiKey) or operation.admin_id is not None:
        return operation
    return operation.model_copy(update={"admin_id": caller.user_id})


async def refunds_person(
    caller: Caller, operation: operations.RefundSpending, _: Ledger
) -> operations.RefundSpending:
    """Give back as a system administrator, or with a key that manages credits."""
    _require_manager(caller)
    return operation


def _require_scope(key: ApiKey, *scopes: str) -> None:
    if key.scopes.isdisjoint(scopes):
        raise PermissionDeniedError(f"The API key has no scope {' or '.join(scopes)}.")
    if key.org_id is not None:
        raise PermissionDeniedError("An API key of one organisation has no access to users' own credits.")


def _require_manager(caller: Caller) -> None:
    if isinstance(caller, ApiKey):
        _require_scope(caller, MANAGE)
    elif not caller.is_system_admin:
        raise PermissionDeniedError(
            "Only a system administrator, or an API key with manage_credits, may do this."
        )


async def _require_oneself(session: Session, user_id: str, ledger: Ledger) -> None:
    """Refuse other users alike, known or not. One's own number stands for oneself, too."""
    if session.is_system_admin or user_id == session.user_id:
        return
    if not user_id.isdecimal() or await _name_of(user_id, ledger) != session.user_id:
        raise PermissionDeniedError("Users see and spend their own credits only.")


async def _name_of(user_id: str, ledger: Ledger) -> str | None:
    """Return by which id the ledger answers for a user."""
    try:
        return (await ledger.execute(operations.GetBalance(user_id=user_id))).user_id
    except NotFoundError:
        return None


async def _own_hold(session: Session, operation: OfOwnHold, ledger: Ledger) -> models.Hold:
    """Return the hold; those of others are not found."""
    unknown = NotFoundError(f"There is no hold {operation.hold_id} here.")
    if operation.user_id is not None:
        await _require_oneself(session, operation.user_id, ledger)
    try:
        hold = await ledger.execute(operations.GetBalanceHold(hold_id=operation.hold_id))
    except NotFoundError:
        raise unknown from None
    if hold.user_id != session.user_id:
        raise unknown
    return hold
