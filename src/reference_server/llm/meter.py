"""One call's credits: held before it, extended while it streams, captured for what was delivered."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from credit_sdk._flows import Flow, Growth, Retries, growing, retrying
from credit_sdk._ledgers import hold_fields, ledger_of, payer_fields
from credit_sdk._runners import AsyncRun, run_async
from credit_sdk._stream_meter import HOLD_SECONDS
from credit_sdk.amounts import SMALLEST_AMOUNT, to_number
from credit_sdk.errors import CreditError, InsufficientCreditsError
from credit_sdk.model_prices import TokenUsage
from credit_sdk.models import Hold
from credit_sdk.operations import Operation, ResultT_co, parse
from reference_server.access import Ledger
from reference_server.llm.payers import Payer
from reference_server.llm.prices import Tariff
from reference_server.llm.problems import RequestUsedError

if TYPE_CHECKING:
    from credit_sdk._runners import AsyncBackend

logger = logging.getLogger(__name__)

AFTERWARDS = Retries(attempts=60, deadline=180)
"""What was delivered is charged even if the database is away for a while."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a call has cost, and what is left afterwards; None where that is not known."""

    cost: Decimal
    remaining: Decimal | None


@dataclass(slots=True)
class Meter:
    """Holds, extends and captures a payer's credits for one call. Amounts are credits."""

    ledger: Ledger
    payer: Payer
    tariff: Tariff
    service_type: str
    metadata: Mapping[str, Any]
    hold: Hold | None = None

    @property
    def held(self) -> Decimal:
        """What is set aside."""
        return self.hold.credits if self.hold else Decimal(0)

    async def open(self, estimate: Decimal, request_id: str | None) -> None:
        """Set the estimate aside; raises what a charge raises, and `RequestUsedError`."""
        if not estimate:
            return
        payer = self.payer
        fields = payer_fields(payer.org_id, payer.user_id) | {
            "credits": estimate,
            "service_type": self.service_type,
            "service_name": self.tariff.model.name,
            "request_metadata": dict(self.metadata),
            "ttl_seconds": HOLD_SECONDS,
        }
        fields |= {"request_id": request_id} if request_id is not None else {}
        fields |= {"api_key_id": payer.api_key_id} if payer.api_key_id else {}
        await self._set_aside(retrying(parse(ledger_of(payer.org_id).place, fields), Retries()))
        if self.hold and self.hold.replayed and request_id is not None:
            self.hold = None
            raise RequestUsedError

    async def grow(self, growth: Growth) -> None:
        """Set more aside, and give the hold its whole time again; raises what a charge raises."""
        if self.hold is not None:
            await self._set_aside(growing(self.hold, growth, Retries()))

    async def charge(self, usage: TokenUsage) -> Bill:
        """Charge what was used; nothing for a usage of nothing.

        What is beyond the hold and the balance cannot be taken: then all that is held is.
        """
        cost = self.tariff.credits(usage)
        if cost and self.hold is None:
            await self.open(cost, None)
        if not cost or self.hold is None:
            return await self.release()
        kept = dict(self.metadata) | usage.figures() | {"cost": to_number(cost)}
        fields = hold_fields(self.hold) | {"credits": cost, "request_metadata": kept}
        capture = ledger_of(self.payer.org_id).capture
        try:
            receipt = await self._execute(parse(capture, fields), AFTERWARDS)
        except InsufficientCreditsError:
            if cost <= self.held:
                raise
            logger.warning("call %s cost %s credits beyond its hold", self.hold.request_id, cost - self.held)
            kept |= {"cost": to_number(self.held), "uncovered": to_number(cost - self.held)}
            fields |= {"credits": self.held, "request_metadata": kept}
            receipt = await self._execute(parse(capture, fields), AFTERWARDS)
        return Bill(receipt.credits_used, receipt.remaining_credits)

    async def release(self) -> Bill:
        """Give back what is held: nothing is charged."""
        if self.hold is not None:
            void = parse(ledger_of(self.payer.org_id).void, hold_fields(self.hold))
            await self._execute(void, AFTERWARDS)
        return Bill(Decimal(0), await self.remaining())

    async def remaining(self) -> Decimal | None:
        """Return what the payer has left; None where that cannot be found out."""
        fields = payer_fields(self.payer.org_id, self.payer.user_id) | {"credits": SMALLEST_AMOUNT}
        try:
            check = await self._execute(parse(ledger_of(self.payer.org_id).check, fields))
        except CreditError:
            return None
        return check.remaining_credits

    async def _set_aside(self, flow: Flow[Hold]) -> None:
        """Place or extend the hold, and know of it also when the call is cancelled meanwhile."""
        run = AsyncRun(flow, cast("AsyncBackend", self.ledger))
        try:
            await run.start()
        finally:
            self.hold = run.result or self.hold

    async def _execute(self, operation: Operation[ResultT_co], retries: Retries | None = None) -> ResultT_co:
        """Carry an operation out, seen through to its end also when the call is cancelled meanwhile."""
        flow = retrying(operation, retries or Retries())
        return await run_async(flow, cast("AsyncBackend", self.ledger))
