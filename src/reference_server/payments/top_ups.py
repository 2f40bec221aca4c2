"""Buying by itself: below a threshold a package is bought again, with the payment method kept at Stripe.

The credits come with the event that tells of the payment, like those of a checkout. What is done here can be
done twice, and by several processes: a top-up's id is the key under which Stripe charges once.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from credit_sdk.errors import CreditError, PaymentsUnavailableError
from reference_server.payments.books import Books
from reference_server.payments.stripe_api import RETRIES, TIMEOUT_SECONDS, PaymentRefusedError, StripeApi

logger = logging.getLogger(__name__)

LEASE_SECONDS = TIMEOUT_SECONDS * (RETRIES + 2)


@dataclass(frozen=True, slots=True)
class TopUps:
    """Opens top-ups that are due, and asks Stripe for their payments."""

    books: Books
    stripe: StripeApi

    async def run(self) -> int:
        """Do what is due and return how many payments were asked for; raises `UnavailableError`."""
        await self.books.open_top_ups()
        asked = 0
        while leased := await self.books.lease_top_ups(LEASE_SECONDS):
            for top_up in leased:
                asked += await self._pay(top_up)
        return asked

    async def _pay(self, top_up: dict[str, object]) -> bool:
        top_up_id = str(top_up["id"])
        try:
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
            # Perhaps it was charged: the same question again, when the lease is over, says so.
            return False
        await self.books.note_top_up(top_up_id, payment_id)
        return True


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
