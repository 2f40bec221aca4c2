"""The charge of each call of a billable function, worked out from the call's arguments."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from credit_sdk import context
from credit_sdk._arguments import Reader, argument_reader, named_call
from credit_sdk._leases.leasing import LeaseChoice
from credit_sdk._till import ChargeRequest, Till
from credit_sdk.account import Account, require_account
from credit_sdk.amounts import SMALLEST_AMOUNT, Amount, parse_credits, parse_price
from credit_sdk.billable import CostOfResult
from credit_sdk.charge import AsyncOpenCharge, OpenCharge
from credit_sdk.errors import ConfigurationError
from credit_sdk.policy import ChargePolicy


@dataclass(frozen=True, slots=True)
class Tariff:
    """What the decorator says about every call. Amounts are credits."""

    service_type: str
    cost: Amount | CostOfResult | None
    service_name: str | None
    ttl_seconds: int
    reserve: bool
    policy: ChargePolicy | None
    lease: LeaseChoice


@dataclass(frozen=True, slots=True)
class Readers:
    """What is read out of the arguments of each call."""

    estimate: Reader
    account: Reader
    request_id: Reader
    metadata: Reader
    is_same: bool
    """Whether they find the same in each call, but for the account."""

    @classmethod
    def of(cls, function: Callable[..., Any], **rules: Any) -> "Readers":
        """Return the readers for the decorator's arguments: constants, or functions of named arguments."""
        readers = {purpose: _reader(function, rule, f"{purpose}=") for purpose, rule in rules.items()}
        estimate, payer = rules["estimate"], rules["account"]
        if estimate is not None and not callable(estimate):
            parse_price(estimate, argument="estimate")
        if payer is None:
            readers["account"] = argument_reader(function, "account") or _nothing
        elif not callable(payer):
            require_account(payer, "account=")
        is_same = not any(map(callable, (rules["estimate"], rules["request_id"], rules["metadata"])))
        return cls(**readers, is_same=is_same)


@dataclass(frozen=True)
class CallCharges:
    """Makes the charge of one call."""

    till: Till
    tariff: Tariff
    reads: Readers

    @cached_property
    def _same(self) -> ChargeRequest | None:
        """The request of each call, where nothing in it depends on the arguments."""
        if not self.reads.is_same:
            return None
        request = self._read((), {})
        return replace(request, quote=self.till.quote(request))

    def check(self) -> None:
        """Refuse at decoration time what could not work at call time."""
        tariff, prices = self.tariff, self.till.prices
        self.till.check_lease(tariff.lease)
        if tariff.cost is None:
            prices[tariff.service_type]
        elif not callable(tariff.cost):
            parse_credits(tariff.cost, argument="cost")
        elif tariff.reserve and self.reads.estimate is _nothing and tariff.service_type not in prices:
            raise ConfigurationError(
                f"The cost of {tariff.service_type!r} is only known afterwards: give estimate=, "
                "the most that is held meanwhile, or reserve=False."
            )

    def blocking(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenCharge:
        """Return a charge to be entered with `with`."""
        return self.till.open(self._payer(args, kwargs), self._request(args, kwargs))

    def awaiting(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncOpenCharge:
        """Return a charge to be entered with `async with`."""
        return self.till.open_async(self._payer(args, kwargs), self._request(args, kwargs))

    def _request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ChargeRequest:
        return self._same or self._read(args, kwargs)

    def _read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ChargeRequest:
        estimate = self.reads.estimate(args, kwargs)
        return ChargeRequest(
            service_type=self.tariff.service_type,
            credits=self._expected_cost(estimate),
            estimate=estimate,
            service_name=self.tariff.service_name,
            request_id=self.reads.request_id(args, kwargs),
            metadata=self.reads.metadata(args, kwargs),
            ttl_seconds=self.tariff.ttl_seconds,
            reserve=self.tariff.reserve,
            policy=self.tariff.policy,
            lease=self.tariff.lease,
        )

    def _expected_cost(self, estimate: Amount | None) -> Amount | None:
        """Return the cost as far as it is known before the call; None asks the price list."""
        if not callable(self.tariff.cost):
            return self.tariff.cost
        if estimate is None and self.tariff.service_type not in self.till.prices:
            # Nothing is held, so all that can be asked beforehand is whether anything is left.
            return SMALLEST_AMOUNT
        return estimate

    def _payer(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Account:
        account = self.reads.account(args, kwargs) or context.acting_account()
        if account is None:
            raise ConfigurationError(
                f"It is not known who pays for this call of {self.tariff.service_type!r}: "
                "pass an Account as the argument account, give account= to the decorator, "
                "or call it within billing.acting_as(account)."
            )
        return account


def _reader(function: Callable[..., Any], rule: Any, purpose: str) -> Reader:
    if rule is None:
        return _nothing
    if callable(rule):
        return named_call(function, rule, purpose)
    return lambda _args, _kwargs: rule


def _nothing(_args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Read nothing."""
