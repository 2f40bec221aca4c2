"""Where charges are made ready: prices, the payer's organisation, the backend that will carry them out."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from pydantic import JsonValue

from credit_sdk._connect import Connections
from credit_sdk._courier import Courier, KeptRun
from credit_sdk._flows import ChargePlan, Flow, HoldSupport, Retries, charging, deducting_afterwards
from credit_sdk._flows.batching import BatchPlan
from credit_sdk._leases.charge import AsyncLeasedCharge, LeasedCharge
from credit_sdk._leases.leasing import LeaseChoice, Leasing
from credit_sdk._leases.lessee import Lessee
from credit_sdk._runners import AsyncBackend, AsyncRun, Backend, Run
from credit_sdk.account import Account, require_account
from credit_sdk.amounts import Amount, parse_credits, parse_price
from credit_sdk.batch import AsyncBatch, Batch
from credit_sdk.charge import AsyncOpenCharge, OpenCharge
from credit_sdk.errors import ConfigurationError
from credit_sdk.identifiers import new_request_id
from credit_sdk.models import Receipt
from credit_sdk.operations import DEFAULT_HOLD_SECONDS
from credit_sdk.policy import ChargePolicy, LeasePolicy
from credit_sdk.prices import PriceList

Metadata = Mapping[str, JsonValue]


@dataclass(slots=True)
class Quote:
    """What a till makes of a request, whoever pays. Amounts are credits."""

    cost: Decimal
    """What is taken, as far as it is known."""
    estimate: Decimal
    policy: ChargePolicy
    probed: bool
    lease: LeasePolicy | None
    """What may pay it; None for what is charged by itself."""


@dataclass(slots=True)
class ChargeRequest:
    """What a caller says about a charge. Amounts are credits; no `credits` means the price list's."""

    service_type: str
    credits: Amount | None = None
    estimate: Amount | None = None
    service_name: str | None = None
    request_id: str | None = None
    metadata: Metadata | None = None
    ttl_seconds: int = DEFAULT_HOLD_SECONDS
    reserve: bool = True
    policy: ChargePolicy | None = None
    lease: LeaseChoice = None
    description: str | None = None
    """Kept by a user's own balance only."""
    quote: Quote | None = None
    """The till's, where it has been asked before."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a caller says about a job of many records. Amounts are credits."""

    service_type: str
    service_name: str | None
    request_id: str
    cost_each: Amount
    estimate: Amount
    ttl_seconds: int


@dataclass(frozen=True, slots=True)
class Till:
    """Opens charges for a service."""

    connections: Connections
    prices: PriceList
    retries: Retries
    has_credential: bool
    policy: ChargePolicy = field(default_factory=ChargePolicy)
    courier: Courier | None = None
    holds: HoldSupport = field(default_factory=HoldSupport)
    leasing: Leasing | None = None

    def within(self, connection: Any) -> "Till":
        """Return a till whose charges are part of the caller's own transaction.

        There is nothing to hold: what cannot be charged at the end undoes the work with it. And
        nothing to send again, or to keep: a broken transaction is the caller's to repeat.
        """
        return Till(
            connections=self.connections.within(connection),
            prices=self.prices,
            retries=Retries(attempts=1),
            has_credential=self.has_credential,
            policy=self.policy,
            holds=HoldSupport(missing_until=math.inf),
        )

    def check_lease(self, choice: LeaseChoice) -> None:
        """Raise `ConfigurationError` for a choice of leases that cannot work."""
        if self.leasing is not None:
            self.leasing.check(choice)

    def open(self, account: Account, request: ChargeRequest) -> OpenCharge:
        """Return a charge to be entered with `with`."""
        self.connections.require_open()
        require_account(account)
        quote = request.quote or self.quote(request)
        plan = self._plan(account, request, quote)
        make_run = partial(self._run, plan, account, request)
        lessee = self._lessee(account, quote.lease)
        if lessee is None:
            return OpenCharge(plan, make_run)
        return LeasedCharge(plan, make_run, lessee)

    def open_async(self, account: Account, request: ChargeRequest) -> AsyncOpenCharge:
        """Return a charge to be entered with `async with`."""
        self.connections.require_open()
        require_account(account)
        quote = request.quote or self.quote(request)
        plan = self._plan(account, request, quote)
        make_run = partial(self._async_run, plan, account, request)
        lessee = self._lessee(account, quote.lease)
        if lessee is None:
            return AsyncOpenCharge(plan, make_run)
        return AsyncLeasedCharge(plan, make_run, lessee)

    def open_batch(self, account: Account, request: BatchRequest) -> Batch:
        """Return a job to be entered with `with`."""
        plan = _batch_plan(account, request)
        return Batch(plan, self.retries, self.backend(account), self._keeper(account))

    def open_async_batch(self, account: Account, request: BatchRequest) -> AsyncBatch:
        """Return a job to be entered with `async with`."""
        plan = _batch_plan(account, request)
        return AsyncBatch(plan, self.retries, self.async_backend(account), self._keeper(account))

    def backend(self, account: Account | None = None) -> Backend:
        """Return the blocking backend, on behalf of the account's session where that is all we have."""
        token = self.session_of(account)
        backend = self.connections.backend
        return backend.as_caller(token) if token else backend

    def async_backend(self, account: Account | None = None) -> AsyncBackend:
        """Return the awaiting backend, on behalf of the account's session where that is all we have."""
        token = self.session_of(account)
        backend = self.connections.async_backend
        return backend.as_caller(token) if token else backend

    def close(self) -> None:
        """Give leases back, stop delivering in the background, and close the blocking connections."""
        # Before anything ends: what another thread begins meanwhile would lease once more.
        self.connections.is_closed = True
        if self.leasing is not None:
            self.leasing.close()
        if self.courier is not None:
            self.courier.close()
        self.connections.close()

    async def close_async(self) -> None:
        """Close the running loop's connections too."""
        await asyncio.to_thread(self.close)
        await self.connections.close_async()

    def quote(self, request: ChargeRequest) -> Quote:
        """Work out what does not depend on who pays; raises `ConfigurationError` for what cannot work."""
        if request.lease is not None:
            self.check_lease(request.lease)
        cost = self.prices[request.service_type] if request.credits is None else parse_price(request.credits)
        estimate = cost if request.estimate is None else parse_price(request.estimate, argument="estimate")
        policy = request.policy or self.policy
        probed = self.courier is not None and self.courier.has_probe(request.service_type)
        lease = None
        if self.leasing is not None and request.reserve and estimate:
            lease = self.leasing.policy_for(policy, request.lease)
        return Quote(cost, estimate, policy, probed, lease)

    def _plan(self, account: Account, request: ChargeRequest, quote: Quote) -> ChargePlan:
        # By position: to give a class so many names takes longer than all the rest of this.
        return ChargePlan(
            account.org_id,
            account.user_id,
            request.service_type,
            quote.estimate,
            quote.cost,
            request.service_name,
            request.request_id or new_request_id(),
            dict(request.metadata) if request.metadata else {},
            request.ttl_seconds,
            request.description if account.org_id is None else None,
            quote.policy,
            quote.probed,
            request.request_id is not None,
            self.courier is not None,
        )

    def _run(self, plan: ChargePlan, account: Account, request: ChargeRequest) -> Run[Receipt | None]:
        flow = self._flow(plan, reserve=request.reserve)
        return Run(flow, self.backend(account), self._keeper(account))

    def _async_run(
        self, plan: ChargePlan, account: Account, request: ChargeRequest
    ) -> AsyncRun[Receipt | None]:
        flow = self._flow(plan, reserve=request.reserve)
        return AsyncRun(flow, self.async_backend(account), self._keeper(account))

    def _lessee(self, account: Account, policy: LeasePolicy | None) -> Lessee | None:
        """Return who leases for an account.

        A user's own balance has no parts of holds. A session's token is not on the disk, so it leases
        nothing.
        """
        if policy is None or self.leasing is None or account.org_id is None:
            return None
        if account.session_token is not None and self.session_of(account) is not None:
            return None
        return self.leasing.lessee(account.org_id, account.user_id, policy)

    def _keeper(self, account: Account) -> KeptRun | None:
        return self.courier.keeps(self.session_of(account)) if self.courier else None

    def _flow(self, plan: ChargePlan, *, reserve: bool) -> Flow[Receipt | None]:
        if reserve:
            return charging(plan, self.retries, self.holds)
        return deducting_afterwards(plan, self.retries)

    def session_of(self, account: Account | None) -> str | None:
        """Return the session that an account's charges are made with, where that is all we have."""
        if account is None or account.session_token is None or self.has_credential:
            return None
        return account.session_token.get_secret_value()


def _batch_plan(account: Account, request: BatchRequest) -> BatchPlan:
    return BatchPlan(
        org_id=paying_organization(account),
        user_id=account.user_id,
        service_type=request.service_type,
        service_name=request.service_name,
        request_id=request.request_id,
        cost_each=parse_credits(request.cost_each, argument="cost_each"),
        estimate=parse_credits(request.estimate, argument="estimate"),
        ttl_seconds=request.ttl_seconds,
    )


def paying_organization(account: Account) -> str:
    """Return the organisation of an account; raise `ConfigurationError` for an account without one."""
    org_id = require_account(account).org_id
    if org_id is None:
        raise ConfigurationError(
            f"No organisation pays for user {account.user_id}: they are in none, or the account names none; "
            "Account(org_id=..., user_id=...) does."
        )
    return org_id
