"""Who may administer organisations and subscriptions (SPEC section 6); see `access.py` for the rest."""

from typing import Any, TypeVar

from credit_sdk import operations
from credit_sdk.errors import NotAMemberError, NotFoundError, PermissionDeniedError
from credit_sdk.operations import Operation
from reference_server.access import Ledger, Rule, manages_organization, reads_organization
from reference_server.callers import MANAGE, READ, ApiKey, Caller

AUDITORS = frozenset({"owner", "admin"})
OperationT = TypeVar("OperationT", bound=Operation[Any])
OfSubscription = TypeVar(
    "OfSubscription",
    operations.GetSubscription,
    operations.UpdateSubscription,
    operations.UpgradeSubscription,
    operations.CancelSubscription,
)


async def administers_system(caller: Caller, operation: OperationT, _: Ledger) -> OperationT:
    """Only the system administrator sees the system as a whole."""
    if isinstance(caller, ApiKey) or not caller.is_system_admin:
        raise PermissionDeniedError("Only a system administrator may do this.")
    return operation


async def lists_organizations(
    caller: Caller, operation: operations.ListOrganizations, _: Ledger
) -> operations.ListOrganizations:
    """List one's own organisations; an administrator, and a key of all organisations, list anybody's."""
    if isinstance(caller, ApiKey):
        if caller.org_id is not None or caller.scopes.isdisjoint({READ, MANAGE}):
            raise PermissionDeniedError("Only an API key of all organisations with read_credits lists them.")
        return operation
    if caller.is_system_admin:
        return operation
    if operation.user_id not in {None, caller.user_id}:
        raise PermissionDeniedError("Users list their own organisations only.")
    return operation.model_copy(update={"user_id": caller.user_id})


async def admits(caller: Caller, operation: operations.AddMember, ledger: Ledger) -> operations.AddMember:
    """Let users in as a manager. Which organisation pays for whom by default is no other one's to change."""
    await manages_organization(caller, operation, ledger)
    if not operation.is_default or _may_move_default(caller, operation.user_id):
        return operation
    standing = await ledger.execute(operations.GetUserCredits(user_id=operation.user_id))
    if any(each.org_id != operation.org_id for each in standing.organizations):
        raise PermissionDeniedError(
            "The user is in other organisations: only they themselves or a system administrator "
            "change which one is the default."
        )
    return operation


async def audits(caller: Caller, operation: operations.ListAudit, _: Ledger) -> operations.ListAudit:
    """Owners and admins see what was done in their organisation, and by whom."""
    if isinstance(caller, ApiKey):
        raise PermissionDeniedError("No API key reads the audit.")
    if not caller.is_system_admin:
        if operation.org_id not in caller.roles:
            raise NotAMemberError
        if caller.roles[operation.org_id] not in AUDITORS:
            raise PermissionDeniedError("Only owners and admins of the organisation read its audit.")
    return operation


async def reads_subscription(caller: Caller, operation: OfSubscription, ledger: Ledger) -> OfSubscription:
    """Members read the subscriptions of their organisation; those of others do not exist for them."""
    await _apply(reads_organization, caller, operation.subscription_id, ledger)
    return operation


async def manages_subscription(caller: Caller, operation: OfSubscription, ledger: Ledger) -> OfSubscription:
    """Change a subscription as a manager of its organisation."""
    await _apply(manages_organization, caller, operation.subscription_id, ledger)
    return operation


async def _apply(rule: Rule, caller: Caller, subscription_id: str, ledger: Ledger) -> None:
    """Apply the rule of an organisation to its subscription."""
    if isinstance(caller, ApiKey):
        # What the key may do at all, before it learns whether there is such a subscription.
        await rule(caller, operations.ListSubscriptions(org_id=caller.org_id or "any"), ledger)
    try:
        found = await ledger.execute(operations.GetSubscription(subscription_id=subscription_id))
        await rule(caller, operations.ListSubscriptions(org_id=found.org_id), ledger)
    except (NotAMemberError, NotFoundError):
        raise _unknown(subscription_id) from None


def _may_move_default(caller: Caller, user_id: str) -> bool:
    if isinstance(caller, ApiKey):
        return caller.org_id is None
    return caller.is_system_admin or caller.user_id == user_id


def _unknown(subscription_id: str) -> NotFoundError:
    return NotFoundError(f"There is no subscription {subscription_id} here.")
