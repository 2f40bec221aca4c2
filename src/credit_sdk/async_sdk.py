"""Users' own credits for asyncio; `sdk.py` is the same text without async and await."""

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from credit_sdk import models, operations
from credit_sdk._billing import Billing
from credit_sdk._first_names import OrgCheck, OrgDeduction, in_millicredits
from credit_sdk._flows import retrying
from credit_sdk._ledgers import refunding
from credit_sdk._questions import given
from credit_sdk._runners import run_async
from credit_sdk._till import ChargeRequest, Metadata
from credit_sdk.account import parse_account
from credit_sdk.amounts import Amount, format_credits, parse_credits
from credit_sdk.async_service import AsyncCreditDeductionService
from credit_sdk.charge import AsyncOpenCharge
from credit_sdk.errors import InsufficientCreditsError, NoAllocationError
from credit_sdk.operations import Operation, ResultT_co, parse


class AsyncCreditSDK(Billing):
    """Users' own credits. Amounts are credits; see `Billing` for the arguments.

    A user is named by number, or by the identity provider's subject. Every method may raise `NotFoundError`
    for an unknown user, `UnavailableError` when the books cannot be reached after all retries,
    `OutcomeUnknownError` when it is also unknown what became of the request, `NotAuthenticatedError` and
    `PermissionDeniedError` over HTTP, `InvalidAmountError` and `ValidationFailedError` before anything is
    sent.
    """

    @property
    def billing(self) -> AsyncCreditDeductionService:
        """The service for organisations and users, on the same connections."""
        return AsyncCreditDeductionService._at(self._till, self._probes)  # noqa: SLF001 - another face of this object

    async def get_balance(self, user_id: int | str | None = None) -> Decimal:
        """Return what a user has; what is held is counted. Over HTTP, without an id: one's own balance."""
        balance = await self.execute(parse(operations.GetBalance, {"user_id": user_id}))
        return balance.credits

    async def can_afford(self, user_id: int | str, credits: Amount) -> bool:
        """Ask whether so much could be taken now: advice, for credits are decided on when they are taken."""
        fields = {"user_id": user_id, "credits": credits}
        return bool(await self.execute(parse(operations.CheckBalance, fields)))

    async def consume_credits(
        self,
        user_id: int | str,
        credits: Amount,
        description: str | None = None,
        metadata: Metadata | None = None,
        *,
        request_id: str | None = None,
    ) -> bool:
        """Take credits for what has succeeded; answer False if there are too few, and take nothing.

        A `request_id` of the operation's own, such as a job's, makes it one charge however often it is sent.
        Raises `NoAllocationError` for a user who was switched off, `IdempotencyConflictError` when
        `request_id` was used for something else.
        """
        fields = {"user_id": user_id, "credits": credits} | given(
            {"description": description, "request_metadata": metadata, "request_id": request_id}
        )
        try:
            await self.execute(parse(operations.Spend, fields))
        except InsufficientCreditsError:
            return False
        return True

    async def add_credits(
        self,
        user_id: int | str,
        credits: Amount,
        description: str | None = None,
        admin_id: int | str | None = None,
        *,
        metadata: Metadata | None = None,
        transaction_type: models.GrantType = "credit_addition",
        request_id: str | None = None,
        expires_in_days: int | None = None,
        priority: int | None = None,
    ) -> bool:
        """Add credits and answer True.

        `admin_id` says which administrator does it. A `request_id`, such as a payment's, makes it one
        addition however often it is sent. What is not used in `expires_in_days` expires; a lower `priority`
        is used first.
        """
        fields = {"user_id": user_id, "credits": credits, "transaction_type": transaction_type} | given(
            {
                "description": description,
                "admin_id": admin_id,
                "request_metadata": metadata,
                "request_id": request_id,
                "expires_in_days": expires_in_days,
                "priority": priority,
            }
        )
        await self.execute(parse(operations.GrantCredits, fields))
        return True

    async def statement(self, user_id: int | str) -> models.Statement:
        """Look at a user's balance and newest transactions."""
        return await self.execute(parse(operations.GetStatement, {"user_id": user_id}))

    async def transactions(
        self,
        user_id: int | str,
        *,
        transaction_type: models.TransactionType | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[models.Transaction]:
        """Iterate over a user's transactions, newest first, page after page."""
        fields: dict[str, Any] = {
            "user_id": user_id,
            "transaction_type": transaction_type,
            "since": since,
            "until": until,
        }
        cursor: str | None = None
        while True:
            page = await self.execute(parse(operations.ListTransactions, fields | {"cursor": cursor}))
            for transaction in page.items:
                yield transaction
            cursor = page.next_cursor
            if cursor is None:
                return

    def charge(
        self,
        user_id: int | str,
        credits: Amount,
        description: str | None = None,
        *,
        estimate: Amount | None = None,
        service_type: str = operations.UNNAMED_SERVICE,
        service_name: str | None = None,
        request_id: str | None = None,
        metadata: Metadata | None = None,
        ttl_seconds: int = operations.DEFAULT_HOLD_SECONDS,
        reserve: bool = True,
    ) -> AsyncOpenCharge:
        """Return a block that is charged to a user if it succeeds; an exception in it takes nothing.

        `credits`, or `estimate` if given, is held meanwhile; the block may set `charge.credits` and
        `charge.metadata`. On entry raises `InsufficientCreditsError`, `NoAllocationError`; on exit
        `InsufficientCreditsError` if the cost outgrew hold and balance.
        """
        request = ChargeRequest(
            service_type=service_type,
            credits=credits,
            estimate=estimate,
            service_name=service_name,
            request_id=request_id,
            metadata=metadata,
            ttl_seconds=ttl_seconds,
            reserve=reserve,
            description=description,
        )
        return self._till.open_async(parse_account(user_id), request)

    async def refund(
        self,
        charge: models.Receipt | UUID | int | str,
        credits: Amount | None = None,
        *,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> models.RefundReceipt:
        """Give a charge back, whole or in part: a receipt, or a transaction's number.

        Raises `ConflictError` when that is more than what is left of the charge, `NotFoundError`.
        """
        ledger, named = refunding(charge)
        fields = named | {"credits": credits, "reason": reason} | given({"idempotency_key": request_id})
        return await self.execute(parse(ledger.refund, fields))

    async def get_user_org_id(self, user_id: int | str) -> str | None:
        """Return the organisation that pays for a user: the default one, else the first; None without."""
        return (await self.billing.account(str(user_id))).org_id

    async def get_user_org_credits(self, user_id: int | str) -> models.OrganizationCredits | None:
        """Return a user's share of the organisation that pays for them; None without."""
        return (await self.billing.account(str(user_id))).organization

    async def has_sufficient_org_credits(self, user_id: int | str, credits_needed: Amount) -> OrgCheck:
        """Ask whether a user's organisation would pay so much: yes or no, which organisation, and why."""
        account = await self.billing.account(str(user_id))
        if account.org_id is None:
            return OrgCheck(False, None, f"User {user_id} is in no organisation.")
        check = await self.billing.check(account, credits_needed)
        shown = format_credits(check.available_credits)
        needed = format_credits(parse_credits(credits_needed))
        verdict = "Sufficient credits" if check else "Insufficient credits"
        return OrgCheck(bool(check), account.org_id, f"{verdict}: {needed} required, {shown} available.")

    async def deduct_org_credits(
        self,
        user_id: int | str,
        credits_used: Amount,
        service_type: str = operations.UNNAMED_SERVICE,
        service_name: str | None = None,
        *,
        request_id: str | None = None,
        metadata: Metadata | None = None,
    ) -> OrgDeduction:
        """Take credits from a user's share: whether it was done, of which organisation, what is left.

        What is left is in millicredits, as in the first system. Without an organisation nothing is taken.
        """
        account = await self.billing.account(str(user_id))
        if account.org_id is None:
            return OrgDeduction(False, None, 0)
        try:
            receipt = await self.billing.deduct(
                account,
                credits_used,
                service_type=service_type,
                service_name=service_name,
                request_id=request_id,
                metadata=metadata,
            )
        except InsufficientCreditsError as error:
            return OrgDeduction(False, account.org_id, in_millicredits(error.available))
        except NoAllocationError:
            return OrgDeduction(False, account.org_id, 0)
        return OrgDeduction(True, account.org_id, in_millicredits(receipt.remaining))

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Carry out any operation of `credit_sdk.operations`, with retries."""
        return await run_async(retrying(operation, self._till.retries), self._till.connections.async_backend)

    async def close(self) -> None:
        """Close the connections, for good: every further call raises `ConfigurationError`."""
        await self._till.close_async()

    async def __aenter__(self) -> Self:
        """Return the SDK itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()
