"""Doing what is due, in the background: overdue holds, resets, refreshes, ends of subscriptions, sealing.

Every worker process does it; the database sees to it that each thing is done once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from pydantic import BaseModel

from credit_sdk.errors import CreditError
from credit_sdk.operations import Operation, RunDue, Seal
from reference_server.access import Ledger

logger = logging.getLogger(__name__)

AT_ONCE = 100
"""Of what members wait for while it is done."""
SEALED_AT_ONCE = 5_000


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
    for operation in _DUE:
        while operation.limit in (await ledger.execute(operation)).model_dump().values():
            pass


def do_all_due(execute: Callable[[Operation[Any]], BaseModel]) -> dict[str, int]:
    """Do all that is due and return how much it was of each kind."""
    sums = Counter[str]()
    for operation in _DUE:
        while True:
            done = execute(operation).model_dump()
            sums.update(done)
            if operation.limit not in done.values():
                break
    return dict(sums)


# Members wait for as long as their resets take, so each round is short. Nobody waits for seals.
_DUE = (RunDue(limit=AT_ONCE), Seal(limit=SEALED_AT_ONCE))
