"""Who may administer organisations and subscriptions (SPEC section 6); see `access.py` for the rest."""

from typing import Any, TypeVar

from credit_sdk import operations
from credit_sdk.errors import NotAMemberError, NotFoundError, PermissionDeniedError
from credit_sdk.operations import Operation
from reference_server.access import Ledger, manages_organization, reads_organization
from reference_server.callers import MANAGE, READ, ApiKey, Caller

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


async def reads_subscription(caller: Caller, operation: OfSubscription, ledger: Ledger) -> OfSubscription:
    """Members read the subscriptions of their organisation; those of others do not exist for them."""
    org_id = await _organization_of(operation, ledger)
    try:
        await reads_organization(caller, operations.ListSubscriptions(org_id=org_id), ledger)
    except (NotAMemberError, PermissionDeniedError):
        raise _unknown(operation.subscription_id) from None
    return operation


async def manages_subscription(caller: Caller, operation: OfSubscription, ledger: Ledger) -> OfSubscription:
    """Change a subscription as a manager of its organisation."""
    await reads_subscription(caller, operation, ledger)
    org_id = await _organization_of(operation, ledger)
    await manages_organization(caller, operations.ListSubscriptions(org_id=org_id), ledger)
    return operation


async def _organization_of(operation: OfSubscription, ledger: Ledger) -> str:
    subscription = await ledger.execute(operations.GetSubscription(subscription_id=operation.subscription_id))
    return subscription.org_id


def _unknown(subscription_id: str) -> NotFoundError:
    return NotFoundError(f"There is no subscription {subscription_id} here.")
