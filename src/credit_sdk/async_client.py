"""The rest of the HTTP API for asyncio; `client.py` is the same text without async and await."""

from collections.abc import AsyncIterator
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

from credit_sdk import models, operations
from credit_sdk._billing import Billing
from credit_sdk._flows import retrying
from credit_sdk._questions import given
from credit_sdk._runners import run_async
from credit_sdk._till import Till
from credit_sdk.amounts import Amount
from credit_sdk.operations import Operation, ResultT_co, parse


class AsyncBillingClient(Billing):
    """The administration of organisations, resource by resource; see `Billing` for the arguments.

    What is charged for goes through `AsyncCreditDeductionService`; this is for the screens and scripts of
    those who manage credits. Every method may raise what the service's methods may.
    """

    @property
    def subscriptions(self) -> "AsyncSubscriptions":
        """Subscriptions of organisations to plans."""
        return AsyncSubscriptions(self._till)

    @property
    def credits(self) -> "AsyncCredits":
        """Pools, allocations, usage and charges."""
        return AsyncCredits(self._till)

    @property
    def billing(self) -> "AsyncBillingScreens":
        """The billing screens and the history."""
        return AsyncBillingScreens(self._till)

    @property
    def organizations(self) -> "AsyncOrganizations":
        """Organisations and their members."""
        return AsyncOrganizations(self._till)

    @property
    def alerts(self) -> "AsyncAlerts":
        """What is watched, and the webhooks that tell of it."""
        return AsyncAlerts(self._till)

    async def close(self) -> None:
        """Close the connections, for good: every further call raises `ConfigurationError`."""
        await self._till.close_async()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()


class AsyncResource:
    """What every resource does: send an operation, with retries."""

    def __init__(self, till: Till) -> None:
        self._till = till

    async def _send(self, kind: type[Operation[ResultT_co]], /, **fields: object) -> ResultT_co:
        operation = parse(kind, given(fields))
        return await run_async(retrying(operation, self._till.retries), self._till.connections.async_backend)


class AsyncSubscriptions(AsyncResource):
    """Subscriptions of organisations to plans: platform 50, byok 30, hybrid 99 USD a month."""

    async def create(
        self,
        org_id: str,
        plan: models.SubscriptionPlan,
        *,
        monthly_price: Amount | None = None,
        billing_cycle: models.BillingCycle = "monthly",
        trial_days: int = 0,
    ) -> models.Subscription:
        """Subscribe an organisation and make its pool; raises `ConflictError` if it has an active one."""
        return await self._send(
            operations.CreateSubscription,
            org_id=org_id,
            subscription_plan=plan,
            monthly_price=monthly_price,
            billing_cycle=billing_cycle,
            trial_days=trial_days,
        )

    async def get(self, subscription_id: str) -> models.Subscription:
        """Look at a subscription by its id, or at an organisation's active one by the organisation's."""
        return await self._send(operations.GetSubscription, subscription_id=str(subscription_id))

    async def list(self, org_id: str) -> tuple[models.Subscription, ...]:
        """Return all subscriptions of an organisation, the newest first."""
        return (await self._send(operations.ListSubscriptions, org_id=org_id)).items

    async def update(
        self,
        subscription_id: str,
        *,
        plan: models.SubscriptionPlan | None = None,
        monthly_price: Amount | None = None,
        billing_cycle: models.BillingCycle | None = None,
        status: str | None = None,
    ) -> models.Subscription:
        """Change plan, price, cycle or status (active, paused, past_due)."""
        return await self._send(
            operations.UpdateSubscription,
            subscription_id=str(subscription_id),
            subscription_plan=plan,
            monthly_price=monthly_price,
            billing_cycle=billing_cycle,
            status=status,
        )

    async def upgrade(self, subscription_id: str, new_plan: models.SubscriptionPlan) -> models.Subscription:
        """Move to another plan at its own price."""
        return await self._send(
            operations.UpgradeSubscription, subscription_id=str(subscription_id), new_plan=new_plan
        )

    async def cancel(self, subscription_id: str, *, at_period_end: bool = False) -> models.Subscription:
        """Cancel at once, or when the period ends; raises `ConflictError` if it is canceled already."""
        return await self._send(
            operations.CancelSubscription, subscription_id=str(subscription_id), at_period_end=at_period_end
        )


class AsyncCredits(AsyncResource):
    """Pools, allocations, usage and charges. Amounts are credits."""

    async def pool(self, org_id: str) -> models.CreditPool:
        """Look at an organisation's pool."""
        return await self._send(operations.GetPool, org_id=org_id)

    async def add(
        self,
        org_id: str,
        credits: Amount,
        *,
        purchase_amount: Amount | None = None,
        request_id: str | None = None,
        expires_at: datetime | None = None,
        expires_in_days: int | None = None,
        priority: int | None = None,
    ) -> models.PoolChange:
        """Add credits to a pool, bought for `purchase_amount` USD or granted.

        What is not used by `expires_at`, or in `expires_in_days`, expires; a lower `priority` is used first.
        """
        return await self._send(
            operations.AddCredits,
            org_id=org_id,
            credits=credits,
            purchase_amount=purchase_amount,
            request_id=request_id,
            expires_at=expires_at,
            expires_in_days=expires_in_days,
            priority=priority,
        )

    async def allocate(
        self,
        org_id: str,
        user_id: str,
        credits: Amount,
        *,
        reset_period: models.ResetPeriod | None = None,
        notes: str | None = None,
        request_id: str | None = None,
    ) -> models.AllocationChange:
        """Give a member a share of the pool; raises `InsufficientCreditsError`, `NotAMemberError`."""
        return await self._send(
            operations.Allocate,
            org_id=org_id,
            user_id=user_id,
            allocated_credits=credits,
            reset_period=reset_period,
            notes=notes,
            request_id=request_id,
        )

    async def allocations(self, org_id: str) -> AsyncIterator[models.Allocation]:
        """Iterate over an organisation's allocations by user id, page after page."""
        cursor: str | None = None
        while True:
            page = await self._send(operations.ListAllocations, org_id=org_id, cursor=cursor)
            for allocation in page.items:
                yield allocation
            cursor = page.next_cursor
            if cursor is None:
                return

    async def caps(self, org_id: str) -> tuple[models.Cap, ...]:
        """Return an organisation's caps, with what is used of each."""
        return (await self._send(operations.ListCaps, org_id=org_id)).caps

    async def set_cap(
        self,
        org_id: str,
        scope: models.CapScope,
        period: models.CapPeriod,
        credits: Amount | None,
        *,
        subject: str | None = None,
    ) -> tuple[models.Cap, ...]:
        """Set the most that may be spent in a period, or with None remove the cap; returns all caps.

        `subject` is the id of the member or of the API key; an organisation's own cap has none.
        """
        changed = await self._send(
            operations.SetCap, org_id=org_id, scope=scope, period=period, credits=credits, subject=subject
        )
        return changed.caps

    async def top_up(self, org_id: str) -> models.TopUpSettings:
        """Look at what an organisation buys by itself."""
        return await self._send(operations.GetTopUp, org_id=org_id)

    async def set_top_up(
        self, org_id: str, *, package_id: str, payment_method: str, threshold: Amount, monthly_cents: int
    ) -> models.TopUpSettings:
        """Buy a package whenever fewer credits are left, for at most so much in a month.

        The payment method is one that Stripe keeps. Raises `NotFoundError` for a package that is not sold
        once, and for an organisation that has never bought.
        """
        return await self._send(
            operations.SetTopUp,
            org_id=org_id,
            package_id=package_id,
            payment_method=payment_method,
            threshold=threshold,
            monthly_cents=monthly_cents,
        )

    async def remove_top_up(self, org_id: str) -> models.TopUpSettings:
        """Buy nothing by itself any more."""
        return await self._send(operations.RemoveTopUp, org_id=org_id)

    async def of_user(self, user_id: str) -> models.UserCredits:
        """Look at a user's standing in all their organisations."""
        return await self._send(operations.GetUserCredits, user_id=user_id)

    async def usage(self, org_id: str, *, days: int = 30) -> models.Usage:
        """Sum an organisation's usage of the last days."""
        return await self._send(operations.GetUsage, org_id=org_id, days=days)

    async def forecast(self, org_id: str, *, user_id: str | None = None, days: int = 30) -> models.Forecast:
        """Say when an organisation's credits run out, or those of a member's allocation."""
        return await self._send(operations.GetForecast, org_id=org_id, user_id=user_id, days=days)

    async def burn_down(self, org_id: str, *, days: int = 30) -> models.BurnDown:
        """Say what an organisation had left at the end of each of the last days."""
        return await self._send(operations.GetBurnDown, org_id=org_id, days=days)

    async def charges(
        self,
        org_id: str,
        *,
        user_id: str | None = None,
        service_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[models.Charge]:
        """Iterate over an organisation's charges and refunds, newest first, page after page."""
        cursor: str | None = None
        while True:
            page = await self._send(
                operations.ListCharges,
                org_id=org_id,
                user_id=user_id,
                service_type=service_type,
                since=since,
                until=until,
                cursor=cursor,
            )
            for charge in page.items:
                yield charge
            cursor = page.next_cursor
            if cursor is None:
                return

    async def proof(self, org_id: str, request_id: str) -> models.Proof:
        """Get the receipt of a charge or refund that can be checked without us (`credit_sdk.proof`).

        Raises `ConflictError` until it is sealed, which takes the server some seconds.
        """
        return await self._send(operations.GetProof, org_id=org_id, request_id=request_id)


class AsyncBillingScreens(AsyncResource):
    """The three billing screens' data, and the history."""

    async def of_user(self, user_id: str | None = None) -> models.UserBilling:
        """Look at the user's own screen; without a user, that of whoever is calling."""
        return await self._send(operations.GetUserBilling, user_id=user_id)

    async def of_organization(self, org_id: str) -> models.OrganizationBilling:
        """Look at the screen of an organisation's administrator."""
        return await self._send(operations.GetOrganizationBilling, org_id=org_id)

    async def of_system(self) -> models.SystemBilling:
        """Look at the screen of the system administrator."""
        return await self._send(operations.GetSystemBilling)

    async def history(
        self, org_id: str, *, event_type: str | None = None
    ) -> AsyncIterator[models.BillingEvent]:
        """Iterate over an organisation's billing events, newest first, page after page."""
        cursor: str | None = None
        while True:
            page = await self._send(
                operations.ListBillingHistory, org_id=org_id, event_type=event_type, cursor=cursor
            )
            for event in page.items:
                yield event
            cursor = page.next_cursor
            if cursor is None:
                return


class AsyncOrganizations(AsyncResource):
    """Organisations and their members."""

    async def list(self, *, user_id: str | None = None) -> AsyncIterator[models.Organization]:
        """Iterate over the caller's organisations; an administrator's are all, or those of `user_id`."""
        cursor: str | None = None
        while True:
            page = await self._send(operations.ListOrganizations, user_id=user_id, cursor=cursor)
            for organization in page.items:
                yield organization
            cursor = page.next_cursor
            if cursor is None:
                return

    async def members(self, org_id: str) -> AsyncIterator[models.Member]:
        """Iterate over an organisation's members by user id, page after page."""
        cursor: str | None = None
        while True:
            page = await self._send(operations.ListMembers, org_id=org_id, cursor=cursor)
            for member in page.items:
                yield member
            cursor = page.next_cursor
            if cursor is None:
                return

    async def audit(self, org_id: str) -> AsyncIterator[models.AuditEntry]:
        """Iterate over what administrators changed, newest first, page after page."""
        cursor: str | None = None
        while True:
            page = await self._send(operations.ListAudit, org_id=org_id, cursor=cursor)
            for entry in page.items:
                yield entry
            cursor = page.next_cursor
            if cursor is None:
                return

    async def add_member(
        self, org_id: str, user_id: str, *, role: models.Role = "member", is_default: bool = False
    ) -> models.Member:
        """Make a user a member, or give a member another role.

        Raises `ConflictError` if no seat is left, or no owner would be.
        """
        return await self._send(
            operations.AddMember, org_id=org_id, user_id=user_id, role=role, is_default=is_default
        )


class AsyncAlerts(AsyncResource):
    """What is watched in an organisation, and the signed webhooks that tell of it."""

    async def list(self, org_id: str) -> models.AlertList:
        """Return what is watched, and which alerts are open."""
        return await self._send(operations.ListAlerts, org_id=org_id)

    async def set(
        self,
        org_id: str,
        kind: models.AlertKind,
        threshold: Amount | None,
        *,
        subject: str | None = None,
    ) -> models.AlertList:
        """Watch a figure, or with None watch it no more; see `SetAlert` for what the threshold counts."""
        return await self._send(
            operations.SetAlert, org_id=org_id, kind=kind, threshold=threshold, subject=subject
        )

    async def webhooks(self, org_id: str) -> tuple[models.Webhook, ...]:
        """Return the addresses to which alerts are sent."""
        return (await self._send(operations.ListWebhooks, org_id=org_id)).webhooks

    async def create_webhook(
        self, org_id: str, url: str, *events: models.WebhookEvent, request_id: str | None = None
    ) -> models.NewWebhook:
        """Have alerts sent to an address; the answer alone shows the secret that signs them."""
        return await self._send(
            operations.CreateWebhook, org_id=org_id, url=url, events=events, request_id=request_id
        )

    async def delete_webhook(self, org_id: str, webhook_id: UUID) -> tuple[models.Webhook, ...]:
        """Send no more alerts to an address; return those that are left."""
        left = await self._send(operations.DeleteWebhook, org_id=org_id, webhook_id=webhook_id)
        return left.webhooks

    async def test_webhook(self, org_id: str, webhook_id: UUID) -> models.WebhookDelivery:
        """Send a test to an address; raises `NotFoundError`."""
        return await self._send(operations.TestWebhook, org_id=org_id, webhook_id=webhook_id)

    async def deliveries(
        self, org_id: str, *, webhook_id: UUID | None = None, status: models.DeliveryStatus | None = None
    ) -> AsyncIterator[models.WebhookDelivery]:
        """Iterate over what was sent and is to be sent, newest first, page after page."""
        cursor: str | None = None
        while True:
            page = await self._send(
                operations.ListWebhookDeliveries,
                org_id=org_id,
                webhook_id=webhook_id,
                status=status,
                cursor=cursor,
            )
            for delivery in page.items:
                yield delivery
            cursor = page.next_cursor
            if cursor is None:
                return

    async def redeliver(self, org_id: str, delivery_id: UUID) -> models.WebhookDelivery:
        """Send a webhook again under its id; raises `NotFoundError`."""
        return await self._send(operations.RedeliverWebhook, org_id=org_id, delivery_id=delivery_id)
