"""Charging, blocking; `async_service.py` is the same text with async and await."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from credit_sdk import models, operations
from credit_sdk._billing import Billing
from credit_sdk._flows import Action, acting_on, deducting_many, selecting_account
from credit_sdk._leases.leasing import LeaseChoice
from credit_sdk._ledgers import ledger_of, payer_fields, refunding
from credit_sdk._questions import given, who_is_asking, with_session
from credit_sdk._runners import ask, run
from credit_sdk._till import BatchRequest, ChargeRequest, Metadata, paying_organization
from credit_sdk.account import Account, require_account
from credit_sdk.amounts import Amount
from credit_sdk.batch import Batch
from credit_sdk.charge import OpenCharge
from credit_sdk.operations import Operation, ResultT_co, parse
from credit_sdk.policy import ChargePolicy

if TYPE_CHECKING:
    from credit_sdk.backends._joined import Connection


class CreditDeductionService(Billing):
    """Charges organisation members and users for what succeeds.

    An account's organisation pays, or without one the user's own balance: the methods are the same.
    Amounts are credits; see `Billing` for the arguments.

    Every method may raise `UnavailableError` when the books cannot be reached after all retries,
    `OutcomeUnknownError` when it is also unknown what became of a change, `NotAuthenticatedError`
    and `PermissionDeniedError` over HTTP, and `ValidationFailedError` before anything is sent.
    """

    def account(
        self, user_id: str | None = None, *, session_token: str | None = None, org_id: str | None = None
    ) -> Account:
        """Look up who pays for a user, or for whoever a session belongs to.

        The organisation is `org_id` (`NotAMemberError` if the user is not in it), else the default one,
        else the one joined first, else there is none, and the user's own balance pays. Without arguments:
        whoever the service's own session or bearer token belongs to. Raises `NotFoundError` for a user
        whom the ledger does not know.
        """
        backend = self._till.connections.backend
        if session_token is not None:
            backend = backend.as_caller(session_token)
        question = who_is_asking(user_id, session_token, service_is_user=self._is_user)
        account = run(selecting_account(question, org_id, self._till.retries), backend)
        return with_session(account, session_token)

    def charge(
        self,
        account: Account,
        credits: Amount | None = None,
        *,
        service_type: str,
        estimate: Amount | None = None,
        service_name: str | None = None,
        request_id: str | None = None,
        metadata: Metadata | None = None,
        ttl_seconds: int = operations.DEFAULT_HOLD_SECONDS,
        reserve: bool = True,
        policy: ChargePolicy | None = None,
        lease: LeaseChoice = None,
    ) -> OpenCharge:
        """Return a block that is charged if it succeeds; an exception in it takes nothing.

        `credits` (else the price list's) is held meanwhile, or `estimate` if given; the block may set
        `charge.credits` and `charge.metadata`. A `request_id` of the operation's own makes it one charge
        however often it runs. On entry raises `InsufficientCreditsError`, `NoAllocationError`,
        `NotAMemberError`; on exit `InsufficientCreditsError` if the cost outgrew hold and balance.
        When the books are away at the end, the charge is kept in the outbox: `charge.is_pending`. So it is,
        in a journal, when it was paid out of a `lease`.
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
            policy=policy,
            lease=lease,
        )
        return self._till.open(account, request)

    def batch(
        self,
        account: Account,
        *,
        request_id: str,
        service_type: str,
        cost_each: Amount,
        estimate: Amount,
        service_name: str | None = None,
        ttl_seconds: int = operations.DEFAULT_HOLD_SECONDS,
    ) -> Batch:
        """Return a block in which each record of a job is charged `cost_each` as it succeeds, once.

        `estimate` is held at first, in credits, and again whenever that runs out. A job that runs again
        under its `request_id` goes on where it stopped. An organisation has to pay.
        """
        request = BatchRequest(service_type, service_name, request_id, cost_each, estimate, ttl_seconds)
        return self._till.open_batch(account, request)

    def within(self, connection: "Connection") -> "CreditDeductionService":
        """Return this service within the caller's own PostgreSQL transaction.

        `connection` is psycopg's or SQLAlchemy's (a session too), to the same database. Work and charge
        commit together or not at all; a refusal leaves the transaction usable. Nothing is held meanwhile.
        """
        return self._within(connection)

    def check(self, account: Account, credits: Amount) -> models.CreditCheck:
        """Ask whether a charge would be taken now: advice for a user interface."""
        return self._ask(ledger_of(require_account(account).org_id).check, account, credits=credits)

    def deduct(
        self,
        account: Account,
        credits: Amount,
        *,
        service_type: str,
        service_name: str | None = None,
        request_id: str | None = None,
        metadata: Metadata | None = None,
    ) -> models.Receipt:
        """Take credits for an operation that has succeeded.

        Raises `InsufficientCreditsError`, `NoAllocationError`, `NotAMemberError`, and
        `IdempotencyConflictError` when `request_id` was used for something else.
        """
        return self._ask(
            ledger_of(require_account(account).org_id).deduct,
            account,
            credits=credits,
            service_type=service_type,
            service_name=service_name,
            request_id=request_id,
            request_metadata=metadata,
        )

    def deduct_many(self, charges: Iterable[operations.Deduct]) -> models.BatchResult:
        """Take charges, each with an outcome of its own, as if one came after the other.

        They are sent 1,000 at a time. Each has its request id already: sent again, they charge once.
        """
        flow = deducting_many(tuple(charges), self._till.retries)
        return run(flow, self._till.connections.backend)

    def hold(
        self,
        account: Account,
        credits: Amount,
        *,
        service_type: str,
        service_name: str | None = None,
        request_id: str | None = None,
        metadata: Metadata | None = None,
        ttl_seconds: int = operations.DEFAULT_HOLD_SECONDS,
    ) -> models.Hold:
        """Set credits aside for `ttl_seconds`; raises what `deduct` raises."""
        return self._ask(
            ledger_of(require_account(account).org_id).place,
            account,
            credits=credits,
            service_type=service_type,
            service_name=service_name,
            request_id=request_id,
            request_metadata=metadata,
            ttl_seconds=ttl_seconds,
        )

    def get_hold(self, hold: models.Hold | UUID | str) -> models.Hold:
        """Look at a hold; raises `NotFoundError`."""
        found: models.Hold = self._act_on(hold, "look")
        return found

    def extend(
        self,
        hold: models.Hold | UUID | str,
        *,
        credits: Amount | None = None,
        ttl_seconds: int | None = None,
        request_id: str | None = None,
    ) -> models.Hold:
        """Set more credits aside for an open hold, or let it last for `ttl_seconds` from now, or both.

        Raises `HoldClosedError` or `HoldExpiredError` once the hold has ended, `NotFoundError`, and for the
        credits what `deduct` raises.
        """
        fields = given({"credits": credits, "ttl_seconds": ttl_seconds, "request_id": request_id})
        extended: models.Hold = self._act_on(hold, "extend", **fields)
        return extended

    def capture(
        self,
        hold: models.Hold | UUID | str,
        credits: Amount | None = None,
        *,
        metadata: Metadata | None = None,
    ) -> models.Receipt:
        """Charge a hold: all of it, less, or more if the balance allows.

        Raises `HoldClosedError` if it was voided, `HoldExpiredError` if it expired and the balance no
        longer covers it, `InsufficientCreditsError`, `NotFoundError`, and `IdempotencyConflictError`
        if it was captured with another amount.
        """
        receipt: models.Receipt = self._act_on(
            hold, "capture", credits=credits, request_metadata=dict(metadata or {})
        )
        return receipt

    def void(self, hold: models.Hold | UUID | str) -> models.Hold:
        """Give a hold back; raises `HoldClosedError` if it was captured, `NotFoundError`."""
        voided: models.Hold = self._act_on(hold, "void")
        return voided

    def refund(
        self,
        charge: models.Receipt | UUID | int | str,
        credits: Amount | None = None,
        *,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> models.RefundReceipt:
        """Give a charge back, whole or in part; `request_id` is the refund's own.

        A UUID names a charge of an organisation, a number one of a user's own balance.

        Raises `ConflictError` when that is more than what is left of the charge, `NotFoundError`.
        """
        ledger, named = refunding(charge)
        fields = named | {"credits": credits, "reason": reason} | given({"idempotency_key": request_id})
        return self.execute(parse(ledger.refund, fields))

    def pool(self, org_id: str) -> models.CreditPool:
        """Look at an organisation's pool."""
        return self.execute(parse(operations.GetPool, {"org_id": org_id}))

    def user_credits(self, user_id: str) -> models.UserCredits:
        """Look at a user's standing in all their organisations."""
        return self.execute(parse(operations.GetUserCredits, {"user_id": user_id}))

    def usage(self, org_id: str, *, days: int = 30) -> models.Usage:
        """Sum an organisation's usage of the last days: in all, by service, by user, by day."""
        return self.execute(parse(operations.GetUsage, {"org_id": org_id, "days": days}))

    def charges(
        self,
        org_id: str,
        *,
        user_id: str | None = None,
        service_type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[models.Charge]:
        """Iterate over an organisation's charges and refunds, newest first, page after page."""
        fields: dict[str, Any] = {
            "org_id": org_id,
            "user_id": user_id,
            "service_type": service_type,
            "since": since,
            "until": until,
        }
        cursor: str | None = None
        while True:
            page = self.execute(parse(operations.ListCharges, fields | {"cursor": cursor}))
            for charge in page.items:
                yield charge
            cursor = page.next_cursor
            if cursor is None:
                return

    def allocations(self, org_id: str) -> Iterator[models.Allocation]:
        """Iterate over an organisation's allocations by user id, page after page."""
        cursor: str | None = None
        while True:
            page = self.execute(parse(operations.ListAllocations, {"org_id": org_id, "cursor": cursor}))
            for allocation in page.items:
                yield allocation
            cursor = page.next_cursor
            if cursor is None:
                return

    def add_credits(
        self,
        org_id: str,
        credits: Amount,
        *,
        purchase_amount: Amount = 0,
        request_id: str | None = None,
        expires_in_days: int | None = None,
        priority: int | None = None,
    ) -> models.PoolChange:
        """Add credits to an organisation's pool, bought for `purchase_amount` USD or granted.

        What is not used in `expires_in_days` expires; a lower `priority` is used first.
        """
        fields = {"org_id": org_id, "credits": credits, "purchase_amount": purchase_amount}
        more = {"request_id": request_id, "expires_in_days": expires_in_days, "priority": priority}
        return self.execute(parse(operations.AddCredits, fields | given(more)))

    def allocate(
        self,
        account: Account,
        credits: Amount,
        *,
        reset_period: models.ResetPeriod | None = None,
        notes: str | None = None,
        request_id: str | None = None,
    ) -> models.AllocationChange:
        """Add credits of the pool to a member's allocation.

        Raises `InsufficientCreditsError` when the pool has not as many, `NotAMemberError`.
        """
        paying_organization(account)
        return self._ask(
            operations.Allocate,
            account,
            allocated_credits=credits,
            reset_period=reset_period,
            notes=notes,
            request_id=request_id,
        )

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Carry out any operation of `credit_sdk.operations`, with retries."""
        return ask(operation, self._till.retries, self._till.connections.backend)

    def close(self) -> None:
        """Close the connections, for good: every further call raises `ConfigurationError`."""
        self._till.close()

    def __enter__(self) -> Self:
        """Return the service itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def _act_on(self, hold: models.Hold | UUID | str, action: Action, **fields: object) -> Any:
        flow = acting_on(hold, action, fields, self._till.retries)
        return run(flow, self._till.connections.backend)

    def _ask(self, kind: type[Operation[ResultT_co]], account: Account, **fields: object) -> ResultT_co:
        payer = require_account(account)
        operation = parse(kind, payer_fields(payer.org_id, payer.user_id) | given(fields))
        return ask(operation, self._till.retries, self._till.backend(account))
