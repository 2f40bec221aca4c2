"""Doing what is due, in the background: overdue holds, resets, refreshes, ends of subscriptions.

Every worker process does it; the database sees to it that each thing is done once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from credit_sdk.errors import CreditError
from credit_sdk.models import DueRun
from credit_sdk.operations import RunDue
from reference_server.access import Ledger

logger = logging.getLogger(__name__)

AT_ONCE = 100


@asynccontextmanager
async def sweeping(ledger: Ledger, seconds: float) -> AsyncIterator[None]:
    """Sweep every `seconds` while the context is open."""
    task = asyncio.create_task(_sweep_for_ever(ledger, seconds), name="sweep")
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
            logger.warning("what is due could not be done: %s", error)
        except Exception:
            # The next round may succeed; being late costs nothing but the delay.
            logger.exception("what is due could not be done")


async def _sweep(ledger: Ledger) -> None:
    # Members wait for as long as their resets take, so each round is short.
    operation = RunDue(limit=AT_ONCE)
    while _may_be_more(operation, await ledger.execute(operation)):
        pass


def do_all_due(execute: Callable[[RunDue], DueRun]) -> dict[str, int]:
    """Do all that is due and return how much it was of each kind."""
    operation, sums = RunDue(limit=AT_ONCE), Counter[str]()
    while True:
        done = execute(operation)
        sums.update(done.model_dump())
        if not _may_be_more(operation, done):
            return dict(sums)


def _may_be_more(operation: RunDue, done: DueRun) -> bool:
    return operation.limit in done.model_dump().values()
