"""The ledger in plain Python: the executable specification, and what applications test with.

The rules are those of the stored functions, one method for each, on dictionaries:

    _memory_books     rows, and the questions that all rules ask
    _memory_caps      caps on spending
    _memory_charges   check, deduct, batch, refund
    _memory_holds     place, capture, void, expire
    _memory_pools     pools and allocations
    _memory_reports   a user's standing, usage, the attribution
    _memory_forecasts   when credits run out, and what was left before
    _memory_organizations   organisations and members
    _memory_subscriptions   subscriptions to plans
    _memory_billing   the billing screens and the history
    _memory_due       resets, refreshes, ends of periods
    _memory_verification   recomputing the books
    _memory_people, _memory_balances, _memory_balance_holds, _memory_personal   users' own credits
    _memory_proofs    which there are none of: memory has no history to prove

An operation changes everything it has to, or nothing: one lock is held while it runs.
"""

import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from credit_sdk.amounts import Amount, parse_credits, parse_price, to_millicredits
from credit_sdk.backends._memory_billing import BillingScreens
from credit_sdk.backends._memory_books import Member, Organization, OrganizationStatus, Pool
from credit_sdk.backends._memory_due import Due
from credit_sdk.backends._memory_forecasts import Forecasts
from credit_sdk.backends._memory_personal import PersonalLedger
from credit_sdk.backends._memory_proofs import NoProofs
from credit_sdk.backends._memory_reports import session_digest
from credit_sdk.errors import ConfigurationError
from credit_sdk.models import Role
from credit_sdk.operations import (
    AddCredits,
    AddMember,
    Allocate,
    CancelSubscription,
    CaptureBalanceHold,
    CaptureHold,
    CaptureHoldBatch,
    ChargeHold,
    CheckBalance,
    CheckCharges,
    CheckCredits,
    CreateSubscription,
    Deduct,
    DeductBatch,
    ExpireHolds,
    ExtendBalanceHold,
    ExtendHold,
    GetBalance,
    GetBalanceHold,
    GetBurnDown,
    GetForecast,
    GetHold,
    GetOrganizationBilling,
    GetPool,
    GetProof,
    GetStatement,
    GetSubscription,
    GetSystemBilling,
    GetUsage,
    GetUserBilling,
    GetUserCredits,
    GrantCredits,
    ListAllocations,
    ListAudit,
    ListBillingHistory,
    ListCaps,
    ListChain,
    ListCharges,
    ListMembers,
    ListOrganizations,
    ListSubscriptions,
    ListTransactions,
    Operation,
    PlaceBalanceHold,
    PlaceHold,
    PlaceHoldBatch,
    Refund,
    RefundSpending,
    ResultT_co,
    RunDue,
    Seal,
    SetCap,
    Spend,
    UpdateSubscription,
    UpgradeSubscription,
    VerifyChain,
    VerifyLedger,
    VoidBalanceHold,
    VoidHold,
)


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class MemoryLedger(PersonalLedger, Due, BillingScreens, Forecasts, NoProofs):
    """The books of organisations and users in memory. `now` is the only clock.

    The set-up methods do what an administrator does in the database by hand; amounts are credits.
    """

    def __init__(self, *, now: Callable[[], datetime] = utc_now) -> None:
        super().__init__(now=now)
        self._lock = threading.RLock()

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        if type(operation) not in _RULES:
            raise ConfigurationError(f"A ledger in memory has no {type(operation).__name__}: ask a database.")
        rule = cast("Callable[[MemoryLedger, Operation[ResultT_co]], ResultT_co]", _RULES[type(operation)])
        with self._lock:
            self.moment = self.now()
            return rule(self, operation)

    def add_organization(
        self,
        org_id: str,
        name: str | None = None,
        *,
        credits: Amount | None = 0,
        status: OrganizationStatus = "active",
    ) -> None:
        """Open an organisation's books, with credits in its pool; with None, without a pool."""
        with self._lock:
            self.organizations[org_id] = Organization(org_id, name or org_id, status, self.now())
            if credits is not None:
                self.pools[org_id] = Pool(self.now())
            if credits:
                self.execute(AddCredits(org_id=org_id, credits=parse_credits(credits)))

    def add_member(
        self,
        org_id: str,
        user_id: str,
        *,
        role: Role = "member",
        is_default: bool = False,
        allocated: Amount | None = None,
        email: str | None = None,
    ) -> None:
        """Let a user into an organisation, with credits of its pool if `allocated` is given."""
        with self._lock:
            self.members[org_id, user_id] = Member(org_id, user_id, role, is_default, self.now())
            if email is not None:
                self.add_user(user_id, email=email)
            if allocated is not None:
                self.execute(
                    Allocate(org_id=org_id, user_id=user_id, allocated_credits=parse_credits(allocated))
                )

    def add_user(self, user_id: str | int, *, credits: Amount = 0, email: str | None = None) -> None:
        """Open a user's own balance, known by a number or by a subject, with credits on it."""
        with self._lock:
            name = self.new_person(str(user_id)).name
            if email is not None:
                self.emails[name] = email
            if credits:
                self.execute(GrantCredits(user_id=name, credits=parse_credits(credits)))

    def switch_off(self, user_id: str | int) -> None:
        """Let a user spend nothing any more."""
        with self._lock:
            self.person(str(user_id)).is_active = False

    def set_allocation(self, org_id: str, user_id: str, credits: Amount) -> None:
        """Set what a member may use altogether, as the documents do by a plain `UPDATE`."""
        with self._lock:
            allocation, wanted = self.allocations[org_id, user_id], to_millicredits(parse_price(credits))
            if wanted > allocation.allocated:
                self.require_unallocated(org_id, wanted - allocation.allocated)
            elif wanted < allocation.allocated:
                # What somebody lowers by hand is meant to be that small.
                allocation.shortfall = 0
            allocation.allocated = wanted

    def deactivate(self, org_id: str, user_id: str) -> None:
        """Switch a member's allocation off."""
        with self._lock:
            self.allocations[org_id, user_id].is_active = False

    def suspend(self, org_id: str) -> None:
        """Suspend an organisation: nothing more is taken from it."""
        with self._lock:
            self.organizations[org_id].status = "suspended"

    def set_seats(self, org_id: str, seats: int | None) -> None:
        """Set how many members an organisation may have; with None, any number."""
        with self._lock:
            self.organizations[org_id].max_seats = seats

    def set_refresh(self, org_id: str, credits: Amount, *, days: float) -> None:
        """Let a pool grow by so much each month, for the first time in so many days."""
        with self._lock:
            self.pools[org_id].monthly_refresh = to_millicredits(parse_price(credits))
            self.pools[org_id].next_refresh_date = self.now() + timedelta(days=days)

    def set_overage(self, org_id: str, limit: Amount | None) -> None:
        """Let each member use so much more than is allocated, or no more than that (None)."""
        with self._lock:
            self.pools[org_id].allow_overage = limit is not None
            self.pools[org_id].overage_limit = to_millicredits(parse_price(limit or 0))

    def open_session(self, user_id: str) -> str:
        """Log a user in and return the session's token."""
        token = "cst_" + secrets.token_urlsafe(32)
        with self._lock:
            self.sessions[session_digest(token)] = user_id
        return token


_RULES: dict[type[Operation[Any]], Callable[..., Any]] = {
    CheckCredits: MemoryLedger.check_credits,
    CheckCharges: MemoryLedger.check_charges,
    Deduct: MemoryLedger.deduct,
    DeductBatch: MemoryLedger.deduct_batch,
    PlaceHold: MemoryLedger.place_hold,
    PlaceHoldBatch: MemoryLedger.place_hold_batch,
    ExtendHold: MemoryLedger.extend_hold,
    ChargeHold: MemoryLedger.charge_hold,
    CaptureHold: MemoryLedger.capture_hold,
    CaptureHoldBatch: MemoryLedger.capture_hold_batch,
    VoidHold: MemoryLedger.void_hold,
    GetHold: MemoryLedger.get_hold,
    ExpireHolds: MemoryLedger.expire_holds,
    Refund: MemoryLedger.refund,
    GetPool: MemoryLedger.get_pool,
    AddCredits: MemoryLedger.add_credits,
    Allocate: MemoryLedger.allocate,
    ListAllocations: MemoryLedger.list_allocations,
    GetUserCredits: MemoryLedger.get_user_credits,
    GetUserBilling: MemoryLedger.get_user_billing,
    GetUsage: MemoryLedger.get_usage,
    GetForecast: MemoryLedger.get_forecast,
    GetBurnDown: MemoryLedger.get_burn_down,
    ListCharges: MemoryLedger.list_charges,
    VerifyLedger: MemoryLedger.verify_ledger,
    ListOrganizations: MemoryLedger.list_organizations,
    ListMembers: MemoryLedger.list_members,
    AddMember: MemoryLedger.admit,
    ListAudit: MemoryLedger.list_audit,
    CreateSubscription: MemoryLedger.create_subscription,
    GetSubscription: MemoryLedger.get_subscription,
    ListSubscriptions: MemoryLedger.list_subscriptions,
    UpdateSubscription: MemoryLedger.update_subscription,
    UpgradeSubscription: MemoryLedger.upgrade_subscription,
    CancelSubscription: MemoryLedger.cancel_subscription,
    GetOrganizationBilling: MemoryLedger.get_organization_billing,
    GetSystemBilling: MemoryLedger.get_system_billing,
    ListBillingHistory: MemoryLedger.list_billing_history,
    RunDue: MemoryLedger.run_due,
    SetCap: MemoryLedger.set_cap,
    ListCaps: MemoryLedger.list_caps,
    CheckBalance: MemoryLedger.check_balance,
    Spend: MemoryLedger.spend,
    PlaceBalanceHold: MemoryLedger.place_balance_hold,
    ExtendBalanceHold: MemoryLedger.extend_balance_hold,
    CaptureBalanceHold: MemoryLedger.capture_balance_hold,
    VoidBalanceHold: MemoryLedger.void_balance_hold,
    GetBalanceHold: MemoryLedger.get_balance_hold,
    RefundSpending: MemoryLedger.refund_spending,
    GrantCredits: MemoryLedger.grant_credits,
    GetBalance: MemoryLedger.get_balance,
    GetStatement: MemoryLedger.get_statement,
    ListTransactions: MemoryLedger.list_transactions,
    Seal: MemoryLedger.seal,
    VerifyChain: MemoryLedger.verify_chain,
    ListChain: MemoryLedger.list_chain,
    GetProof: MemoryLedger.get_proof,
}


class MemoryBackend:
    """Carries operations out in memory, blocking; `session_token` says on whose behalf."""

    def __init__(self, ledger: MemoryLedger, session_token: str | None = None) -> None:
        self.ledger = ledger
        self._session_token = session_token

    def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        return self.ledger.execute(_as_session(operation, self._session_token))

    def as_caller(self, session_token: str) -> "MemoryBackend":
        """Return the same ledger on behalf of a session."""
        return MemoryBackend(self.ledger, session_token)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


class AsyncMemoryBackend:
    """Carries operations out in memory, awaiting; `session_token` says on whose behalf."""

    def __init__(self, ledger: MemoryLedger, session_token: str | None = None) -> None:
        self.ledger = ledger
        self._session_token = session_token

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result, or raise a `CreditError`."""
        return self.ledger.execute(_as_session(operation, self._session_token))

    def as_caller(self, session_token: str) -> "AsyncMemoryBackend":
        """Return the same ledger on behalf of a session."""
        return AsyncMemoryBackend(self.ledger, session_token)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def _as_session(operation: Operation[ResultT_co], session_token: str | None) -> Operation[ResultT_co]:
    if session_token is None or not isinstance(operation, GetUserBilling) or operation.user_id is not None:
        return operation
    return cast(
        "Operation[ResultT_co]",
        operation.model_copy(update={"session_digest": session_digest(session_token)}),
    )
