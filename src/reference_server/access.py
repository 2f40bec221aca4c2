"""Who may do what (SPEC section 6): one rule for each kind of operation.

A rule looks at the caller and the operation and raises, or returns the operation as it is to be
carried out. What a caller names and does not belong to is refused before the ledger is asked, so
that nobody learns which organisations exist; what is only known by its id does not exist for others.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, TypeVar

from credit_sdk import models, operations
from credit_sdk.backends.sql import Actor
from credit_sdk.errors import NotAMemberError, NotFoundError, PermissionDeniedError, ValidationFailedError
from credit_sdk.operations import Operation, ResultT_co
from reference_server.callers import CONSUME, MANAGE, READ, ApiKey, Caller, Session

MANAGERS = frozenset({"owner", "admin", "billing_admin"})
OperationT = TypeVar("OperationT", bound=Operation[Any])
OfHold: TypeAlias = (
    operations.ExtendHold
    | operations.ChargeHold
    | operations.CaptureHold
    | operations.VoidHold
    | operations.GetHold
)


class Ledger(Protocol):
    """What carries operations out; rules for holds look the hold up."""

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result."""
        ...

    def on_behalf_of(self, actor: Actor) -> "Ledger":
        """Return the same ledger, whose audit names the actor."""
        ...


Rule = Callable[[Caller, Any, Ledger], Awaitable[Operation[Any]]]


async def reads_organization(caller: Caller, operation: OperationT, _: Ledger) -> OperationT:
    """Members read their organisation, and so do keys that may read or consume."""
    org_id: str = operation.org_id  # type: ignore[attr-defined]  # every operation of this rule names one
    if isinstance(caller, ApiKey):
        _require_scope(caller, READ, CONSUME)
        _require_key_of(caller, org_id)
    else:
        _require_member(caller, org_id)
    return operation


async def manages_organization(caller: Caller, operation: OperationT, _: Ledger) -> OperationT:
    """Owners, admins and billing admins manage the credits of their organisation, and keys made for it."""
    org_id: str = operation.org_id  # type: ignore[attr-defined]  # every operation of this rule names one
    if isinstance(caller, ApiKey):
        _require_scope(caller, MANAGE)
        _require_key_of(caller, org_id)
        return operation
    _require_member(caller, org_id)
    if not caller.is_system_admin and caller.roles[org_id] not in MANAGERS:
        raise PermissionDeniedError("Only owners, admins and billing admins of the organisation may do this.")
    return operation


async def allocates(caller: Caller, operation: operations.Allocate, ledger: Ledger) -> operations.Allocate:
    """Allocate as a manager, in one's own name; a key says for whom it does."""
    await manages_organization(caller, operation, ledger)
    return _in_own_name(caller, operation, "allocated_by")


async def sets_in_own_name(caller: Caller, operation: OperationT, ledger: Ledger) -> OperationT:
    """Set caps and alerts as a manager, in one's own name; a key says for whom it does."""
    await manages_organization(caller, operation, ledger)
    return _in_own_name(caller, operation, "updated_by")


async def spends(
    caller: Caller, operation: operations.CheckCredits | operations.Deduct | operations.PlaceHold, _: Ledger
) -> Operation[Any]:
    """Spend (or ask to) with a key that may consume, or from one's own allocation."""
    _require_spender(caller, operation.org_id, operation.user_id)
    return operation if operation.is_question else _by_key(caller, operation)


async def holds(caller: Caller, operation: operations.PlaceHold, ledger: Ledger) -> Operation[Any]:
    """Set aside what one may spend. Sessions do it in person: such a hold is theirs to end."""
    operation = operation.model_copy(update={"by_payer": in_person(caller, operation.user_id)})
    return await spends(caller, operation, ledger)


async def spends_many(caller: Caller, operation: operations.DeductBatch, _: Ledger) -> operations.DeductBatch:
    """Spend a batch: the caller may take each of its charges, or none is taken."""
    for org_id, user_id in {(charge.org_id, charge.user_id) for charge in operation.charges}:
        _require_spender(caller, org_id, user_id)
    return operation.model_copy(
        update={"charges": tuple(_by_key(caller, charge) for charge in operation.charges)}
    )


async def uses_hold(caller: Caller, operation: OfHold, ledger: Ledger) -> Operation[Any]:
    """Extend, charge, capture or void with a key that may consume, or what one has set aside in person.

    What a program has set aside stays: a member who ended it would not pay for the work that it is for.
    """
    if isinstance(caller, ApiKey):
        _require_scope(caller, CONSUME)
        return _within_key(caller, operation)
    hold = await _find_hold(caller, operation, ledger)
    if not caller.is_system_admin and hold.user_id != caller.user_id:
        raise PermissionDeniedError("The hold belongs to another member.")
    require_placed_in_person(caller, hold)
    return operation.model_copy(update={"org_id": hold.org_id})


async def sees_hold(caller: Caller, operation: operations.GetHold, ledger: Ledger) -> Operation[Any]:
    """Look at a hold of one's organisation."""
    if isinstance(caller, ApiKey):
        _require_scope(caller, READ, CONSUME)
        return _within_key(caller, operation)
    hold = await _find_hold(caller, operation, ledger)
    return operation.model_copy(update={"org_id": hold.org_id})


async def refunds(caller: Caller, operation: operations.Refund, _: Ledger) -> operations.Refund:
    """Give back with a key that may consume, or as the system administrator."""
    if isinstance(caller, ApiKey):
        _require_scope(caller, CONSUME)
        return _within_key(caller, operation)
    if not caller.is_system_admin:
        raise PermissionDeniedError("Only an API key with consume_credits or a system administrator refunds.")
    return operation


async def reads_user(caller: Caller, operation: operations.GetUserCredits, _: Ledger) -> Operation[Any]:
    """Look at oneself, or at anyone with a key of all organisations."""
    _require_view_of(caller, operation.user_id)
    return operation


async def reads_billing(caller: Caller, operation: operations.GetUserBilling, _: Ledger) -> Operation[Any]:
    """Look at one's own billing screen; a key names whose."""
    if operation.user_id is not None:
        _require_view_of(caller, operation.user_id)
        return operation
    if isinstance(caller, Session):
        return operation.model_copy(update={"user_id": caller.user_id})
    raise ValidationFailedError(
        "user_id: an API key has no billing screen of its own.",
        errors=[{"loc": ["user_id"], "msg": "Field required", "type": "missing"}],
    )


def in_person(caller: Caller, user_id: str) -> bool | None:
    """Return what a hold notes of who places it; a caller who may do it for others is the payer or not."""
    is_payer = isinstance(caller, Session) and (not caller.is_system_admin or caller.user_id == user_id)
    return is_payer or None


def require_placed_in_person(session: Session, hold: models.Hold) -> None:
    """Leave the holds of programs to programs."""
    if not hold.by_payer and not session.is_system_admin:
        raise PermissionDeniedError(
            "A service has set these credits aside for its work, and ends the hold with its API key."
        )


def _in_own_name(caller: Caller, operation: OperationT, field: str) -> OperationT:
    """Write down who does it: persons themselves, a key whom it names."""
    named: str | None = getattr(operation, field)
    if isinstance(caller, ApiKey) or named == caller.user_id:
        return operation
    if named is not None and not caller.is_system_admin:
        raise PermissionDeniedError(f"{field} can only be yourself.")
    return operation.model_copy(update={field: named or caller.user_id})


def _by_key(caller: Caller, operation: OperationT) -> OperationT:
    """Write down with which key it is spent, so that the caps of the key count."""
    if not isinstance(caller, ApiKey):
        return operation
    return operation.model_copy(update={"api_key_id": caller.key_id})


def _require_scope(key: ApiKey, *scopes: str) -> None:
    if key.scopes.isdisjoint(scopes):
        raise PermissionDeniedError(f"The API key has no scope {' or '.join(scopes)}.")


def _require_key_of(key: ApiKey, org_id: str) -> None:
    if key.org_id not in {None, org_id}:
        raise NotAMemberError


def _require_member(session: Session, org_id: str) -> None:
    if not session.is_system_admin and org_id not in session.roles:
        raise NotAMemberError


def _require_spender(caller: Caller, org_id: str, user_id: str) -> None:
    if isinstance(caller, ApiKey):
        _require_scope(caller, CONSUME)
        _require_key_of(caller, org_id)
        return
    _require_member(caller, org_id)
    if not caller.is_system_admin and user_id != caller.user_id:
        raise PermissionDeniedError("A member spends from their own allocation only.")


def _require_view_of(caller: Caller, user_id: str) -> None:
    if isinstance(caller, ApiKey):
        _require_scope(caller, READ, CONSUME)
        if caller.org_id is not None:
            raise PermissionDeniedError("An API key of one organisation sees no user as a whole.")
    elif not caller.is_system_admin and user_id != caller.user_id:
        raise PermissionDeniedError("Users see their own credits only.")


def _within_key(key: ApiKey, operation: OperationT) -> OperationT:
    """Confine what is addressed by id to the key's organisation: elsewhere it is not found."""
    if key.org_id is None:
        return operation
    _require_key_of(key, operation.org_id or key.org_id)  # type: ignore[attr-defined]  # see the rules
    return operation.model_copy(update={"org_id": key.org_id})


async def _find_hold(session: Session, operation: OfHold, ledger: Ledger) -> models.Hold:
    """Return the hold; one of someone else's organisation is not found."""
    if operation.org_id is not None:
        _require_member(session, operation.org_id)
    unknown = NotFoundError(f"There is no hold {operation.hold_id} here.")
    try:
        hold = await ledger.execute(operations.GetHold(hold_id=operation.hold_id, org_id=operation.org_id))
    except NotFoundError:
        raise unknown from None
    if not session.is_system_admin and hold.org_id not in session.roles:
        raise unknown
    return hold
