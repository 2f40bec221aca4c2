"""Giving back the holds whose time is over, in the background."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from credit_sdk.errors import CreditError
from credit_sdk.operations import ExpireHolds
from reference_server.access import Ledger

logger = logging.getLogger(__name__)


@asynccontextmanager
async def sweeping(ledger: Ledger, seconds: float) -> AsyncIterator[None]:
    """Sweep every `seconds` while the context is open."""
    task = asyncio.create_task(_sweep_for_ever(ledger, seconds), name="sweep holds")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sweep_for_ever(ledger: Ledger, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await _sweep(ledger)
        except CreditError as error:
            logger.warning("overdue holds could not be given back: %s", error)
        except Exception:
            # The next round may succeed; meanwhile overdue holds are given back as they stand in the way.
            logger.exception("overdue holds could not be given back")


async def _sweep(ledger: Ledger) -> None:
    operation = ExpireHolds()
    while (await ledger.execute(operation)).expired == operation.limit:
        pass
