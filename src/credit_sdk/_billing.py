"""What the blocking and the awaiting service share: everything but I/O."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import copy
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from credit_sdk import context
from credit_sdk._calls import CallCharges, Readers, Tariff
from credit_sdk._connect import Options, Source, connect, key_from_environment
from credit_sdk._courier import Courier, OutboxChoice, Probe, make_courier
from credit_sdk._flows import Retries
from credit_sdk._leases.leasing import LeaseChoice, Leasing
from credit_sdk._metered_calls import Meter
from credit_sdk._metered_client import MeteredClient, paying_by_default
from credit_sdk._till import Metadata, Till
from credit_sdk.account import Account, require_account
from credit_sdk.amounts import Amount, parse_price
from credit_sdk.backends._wire_format import Credential
from credit_sdk.billable import CostOfResult, FunctionT, wrap
from credit_sdk.charge_queue import ChargeQueue
from credit_sdk.errors import ConfigurationError
from credit_sdk.model_prices import ModelPrice
from credit_sdk.models import Delivery, OutboxEntry
from credit_sdk.operations import DEFAULT_HOLD_SECONDS
from credit_sdk.policy import ChargePolicy, LeasePolicy
from credit_sdk.prices import PriceList

if TYPE_CHECKING:
    import httpx

    from credit_sdk.outbox import Outbox

ClientT = TypeVar("ClientT")


class Billing:
    """The parts of a service that need no I/O: configuration, prices, the decorator."""

    def __init__(
        self,
        url: Source = None,
        *,
        api_key: str | None = None,
        session_token: str | None = None,
        bearer_token: str | None = None,
        prices: Mapping[str, Amount] | None = None,
        retries: Retries | None = None,
        policy: ChargePolicy | None = None,
        outbox: OutboxChoice = None,
        probes: Mapping[str, Probe] | None = None,
        lease: LeasePolicy | None = None,
        timeout: float = 10.0,
        sql_scale: int = 1000,
        pool_size: int = 10,
        http_client: "httpx.Client | None" = None,
        async_http_client: "httpx.AsyncClient | None" = None,
    ) -> None:
        """Set the service up without opening a connection.

        `url` is a server (`https://...`), a database (`postgresql://...`), `memory://`, an engine of
        SQLAlchemy or a `MemoryLedger`; without it `CREDIT_SDK_URL`, `DATABASE_URL` or `API_BASE_URL`
        is read. At most one of `api_key` (else `CREDIT_SDK_API_KEY` or `API_KEY`), `session_token`
        and `bearer_token` says who calls a server. `timeout` is in seconds, for each attempt;
        `retries` says how often and how long to try. `policy` says what becomes of a charge when
        something dies in the middle of it. `outbox` is the file that keeps charges until they are
        confirmed: None for `CREDIT_SDK_OUTBOX` or the user's state folder, False for none. `probes` say,
        by service type, whether an operation whose outcome is unknown was done. `lease` lets charges be paid
        out of credits that the process holds in bulk, without asking the books each time. `sql_scale` is
        how many units of the database's integers make one credit. Raises `ConfigurationError` for what
        cannot work.
        """
        if api_key is None and session_token is None and bearer_token is None:
            api_key = key_from_environment(os.environ)
        credential = Credential(api_key=api_key, session_token=session_token, bearer_token=bearer_token)
        options = Options(
            timeout=timeout,
            sql_scale=sql_scale,
            pool_size=pool_size,
            http_client=http_client,
            async_http_client=async_http_client,
        )
        if not isinstance(retries, Retries | None):
            raise ConfigurationError(f"retries must be Retries(...), not {type(retries).__name__}.")
        self._is_user = session_token is not None or bearer_token is not None
        connections = connect(url, credential, options)
        self._probes = dict(probes or {})
        courier = None
        if connections.destination is not None:
            courier = make_courier(
                outbox, connections.destination, lambda: connections.lasting_backend, self._probes
            )
        retries = retries or Retries()
        leasing = Leasing(
            lease,
            lambda: connections.lasting_backend,
            courier,
            retries,
            needs_journal=connections.destination is not None,
        )
        self._till = Till(
            connections=connections,
            policy=policy or ChargePolicy(),
            courier=courier,
            prices=PriceList() if prices is None else PriceList(prices),
            retries=retries,
            has_credential=credential != Credential(),
            leasing=leasing,
        )
        if courier is not None:
            courier.wake_if_waiting()
            leasing.wake_if_left()

    if not TYPE_CHECKING:  # type checkers know that there is none

        def __getattr__(self, name: str) -> Any:
            """Say where a queue is: charges of one thread come one after the other, and need none."""
            words = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name == "queue":
                words += ": AsyncCreditDeductionService has one; deduct_many() sends many charges at once"
            raise AttributeError(words, name=name, obj=self)

    @property
    def prices(self) -> PriceList:
        """The prices of operations whose cost is not given, in credits."""
        return self._till.prices

    def acting_as(self, account: Account) -> AbstractContextManager[Account]:
        """Let billable functions in this block be paid by `account`, unless they name another payer."""
        return context.acting_as(account)

    @classmethod
    def _at(cls, till: Till, probes: Mapping[str, Probe]) -> Self:
        """Return a service of this kind on the connections, and with the probes, of another."""
        service = object.__new__(cls)
        service._till = till
        service._probes = dict(probes)
        service._is_user = False
        return service

    def _within(self, connection: Any) -> Self:
        joined = copy(self)
        joined._till = self._till.within(connection)  # noqa: SLF001 - a copy of this very object
        return joined

    def flush_outbox(self, outbox: "Outbox | None" = None) -> Delivery:
        """Deliver once what the outbox (another than the service's own, if given) keeps for these books.

        What was spent from leases is settled before. What cannot be delivered stays, with the reason. Blocks,
        also in an async service, and works after `close()`, too. Raises `OutboxError`, and
        `UnavailableError` when leases cannot be settled.
        """
        courier, leasing = self._till.courier, self._till.leasing
        connections = self._till.connections
        if outbox is not None and connections.destination is not None:
            courier = Courier(
                outbox, connections.destination, lambda: connections.lasting_backend, self._probes
            )
            leasing = Leasing(None, lambda: connections.lasting_backend, courier, self._till.retries)
        if courier is None:
            return Delivery()
        if leasing is not None and leasing.is_in_use():
            leasing.settle()
        return courier.deliver()

    def settle_leases(self) -> None:
        """Charge now what was spent from leases, here and by processes that have ended.

        Blocks, also in an async service. Raises `UnavailableError` when the books cannot be reached, and
        `OutboxError`; what was spent stays in the journal then.
        """
        if self._till.leasing is not None:
            self._till.leasing.settle()

    def pending_charges(self) -> list[OutboxEntry]:
        """Return what the outbox keeps, for these and for other books, oldest first."""
        return [] if self._till.courier is None else self._till.courier.outbox.entries()

    async def aclose(self) -> None:
        """Close the connections that async functions opened on the running loop."""
        await self._till.connections.leave_loop()

    def llm(
        self,
        client: ClientT,
        account: Account,
        *,
        prices: Mapping[str, ModelPrice],
        markup: Amount = 1,
        estimate: Amount | None = None,
        provider: str | None = None,
        policy: ChargePolicy | None = None,
    ) -> ClientT:
        """Return an OpenAI-shaped client, blocking or awaiting, whose calls `account` pays for.

        `chat.completions.create` (streams too), `embeddings.create` and `images.generate` are charged by the
        usage that they report, and counted where they report none: `prices` are the provider's, by model, in
        USD, times `markup`. Held meanwhile is what the call may cost, or `estimate` credits. A call that
        fails costs nothing; a stream that its reader closes costs what was delivered, unless `policy` says
        otherwise. The calls raise `InsufficientCreditsError`, `NoAllocationError`, `NotAMemberError` before
        anything is sent, and `ConfigurationError` for a model without a price and for calls not metered.
        """
        meter = Meter(
            till=self._till,
            account=require_account(account),
            prices=prices,
            markup=parse_price(markup, argument="markup"),
            estimate=estimate,
            provider=provider,
            policy=policy or paying_by_default(self._till.policy),
        )
        return cast("ClientT", MeteredClient(client, meter))

    def billable(
        self,
        service_type: str,
        *,
        cost: Amount | CostOfResult | None = None,
        estimate: Amount | Callable[..., Amount] | None = None,
        account: Account | Callable[..., Account] | None = None,
        request_id: Callable[..., str] | None = None,
        service_name: str | None = None,
        metadata: Metadata | Callable[..., Metadata] | None = None,
        ttl_seconds: int = DEFAULT_HOLD_SECONDS,
        reserve: bool = True,
        policy: ChargePolicy | None = None,
        lease: LeaseChoice = None,
    ) -> Callable[[FunctionT], FunctionT]:
        """Charge each successful call of a function, coroutine, generator or async generator.

        `cost` is in credits, or works it out from what the function returned (for a generator: from
        how many items it yielded); without it the price list decides. `estimate` is what is held
        meanwhile, needed where the cost is only known afterwards. The payer is the argument
        `account`, or `account=`, or that of the surrounding `acting_as`. `estimate`, `account`,
        `request_id` and `metadata` may be functions, which are called with those arguments of the
        decorated function that their own parameters name. An exception, a cancellation or a generator
        that is closed early takes nothing. `reserve=False` checks before and deducts after instead of
        holding. `policy` and `lease` replace the service's; `lease=False` is none.
        """
        if not isinstance(service_type, str):
            raise ConfigurationError(
                "billable needs to know the service: write @billing.billable('company_enrichment', cost=50)."
            )
        tariff = Tariff(service_type, cost, service_name, ttl_seconds, reserve, policy, lease)

        def decorate(function: FunctionT) -> FunctionT:
            reads = Readers.of(
                function, estimate=estimate, account=account, request_id=request_id, metadata=metadata
            )
            charges = CallCharges(self._till, tariff, reads)
            charges.check()
            return wrap(function, charges, cost if callable(cost) else None)

        return decorate


class AsyncBilling(Billing):
    """What only makes sense where many tasks share an event loop."""

    def queue(self) -> ChargeQueue:
        """Return a block whose charges are sent together: what comes while one is sent is the next batch."""
        return ChargeQueue(self._till)
