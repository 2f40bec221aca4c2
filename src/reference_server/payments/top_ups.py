"""Buying by itself: below a threshold a package is bought again, with the payment method kept at Stripe.

The credits come with the event that tells of the payment, like those of a checkout. What is done here can be
done twice, and by several processes: a top-up's id is the key under which Stripe charges once, for a day, and
who tries again looks first whether there is a payment with this id.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from credit_sdk.errors import CreditError, PaymentsUnavailableError
from reference_server.payments.books import Books
from reference_server.payments.stripe_api import RETRIES, TIMEOUT_SECONDS, PaymentRefusedError, StripeApi

logger = logging.getLogger(__name__)

LONGEST_CALL_SECONDS = TIMEOUT_SECONDS * (RETRIES + 2)
LEASE_SECONDS = LONGEST_CALL_SECONDS * 3
"""A lease is one of up to 20 top-ups, which are paid one after the other: those that are late are left."""


@dataclass(frozen=True, slots=True)
class TopUps:
    """Opens top-ups that are due, and asks Stripe for their payments."""

    books: Books
    stripe: StripeApi
    now: Callable[[], float] = time.time

    async def run(self) -> int:
        """Do what is due and return how many payments were asked for; raises `UnavailableError`."""
        await self.books.open_top_ups()
        asked = 0
        while leased := await self._lease():
            for top_up, until in leased:
                asked += await self._pay(top_up, until)
        return asked

    async def _lease(self) -> list[tuple[dict[str, Any], float]]:
        # Not the monotonic clock: that may stand still while a process or its machine is stopped.
        until = self.now() + LEASE_SECONDS - LONGEST_CALL_SECONDS
        return [(each, until) for each in await self.books.lease_top_ups(LEASE_SECONDS)]

    async def _pay(self, top_up: dict[str, Any], until: float) -> bool:
        top_up_id = str(top_up["id"])
        try:
            payment_id = await self._find(top_up)
            if payment_id is None:
                # Late, somebody else may have it by now, and Stripe may have forgotten its key.
                if self.now() > until or not await self.books.confirm_top_up(top_up_id) or self.now() > until:
                    return False
                payment_id = await self.stripe.charge_saved(
                    top_up_id,
                    amount=top_up["price_cents"],
                    currency=top_up["currency"],
                    customer=top_up["customer_id"],
                    payment_method=top_up["payment_method"],
                )
        except PaymentRefusedError as error:
            await self.books.fail_top_up(top_up_id, error.reason)
            return True
        except PaymentsUnavailableError:
            # Perhaps it was charged: whoever has it next, when the lease is over, looks.
            return False
        await self.books.note_top_up(top_up_id, payment_id)
        return True

    async def _find(self, top_up: dict[str, Any]) -> str | None:
        if top_up["asked_since"] is None:
            return None
        since = int(top_up["asked_since"])
        return await self.stripe.find_charge(str(top_up["id"]), customer=top_up["customer_id"], since=since)


@asynccontextmanager
async def topping_up(top_ups: TopUps, seconds: float) -> AsyncIterator[None]:
    """Do what is due every `seconds` while the context is open."""
    task = asyncio.create_task(_for_ever(top_ups, seconds), name="top-ups")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _for_ever(top_ups: TopUps, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await top_ups.run()
        except CreditError as error:
            logger.warning("what is to be bought by itself could not be: %s", error)
        except Exception:
            # The next round may succeed; being late costs nothing but the delay.
            logger.exception("what is to be bought by itself could not be")
