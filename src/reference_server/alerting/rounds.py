"""Looking for alerts and sending webhooks, in the background of every server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from credit_sdk.backends.sql import AsyncSqlBackend
from credit_sdk.errors import CreditError
from reference_server.alerting.settings import AlertSettings
from reference_server.alerting.webhooks import deliver_due
from reference_server.identities import ask

logger = logging.getLogger(__name__)

_DETECT = "SELECT to_jsonb(found) FROM alerts.detect($1, $2) AS found"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did."""

    raised: int
    cleared: int
    delivered: int


@asynccontextmanager
async def alerting(backend: AsyncSqlBackend, settings: AlertSettings) -> AsyncIterator[None]:
    """Do a round every `alert_seconds` while the context is open."""
    task = asyncio.create_task(_for_ever(backend, settings), name="alerts")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def run_round(
    backend: AsyncSqlBackend, settings: AlertSettings, *, seconds: float = 0, usage_seconds: float = 0
) -> Round:
    """Look at what is watched and send what is due.

    What another process looked at in the last `seconds`, or `usage_seconds`, is not looked at again.
    """
    found = await ask(backend, _DETECT, round(seconds), round(usage_seconds))
    return Round(found["raised"], found["cleared"], await deliver_due(backend, settings))


async def _for_ever(backend: AsyncSqlBackend, settings: AlertSettings) -> None:
    # A round a little early would find the last one too young, and be in vain.
    ages = {
        "seconds": settings.alert_seconds * 0.9,
        "usage_seconds": settings.alert_usage_seconds * 0.9,
    }
    while True:
        await asyncio.sleep(settings.alert_seconds)
        try:
            await run_round(backend, settings, **ages)
        except CreditError as error:
            logger.warning("alerts could not be looked for: %s", error)
        except Exception:
            # The next round may succeed; being late costs nothing but the delay.
            logger.exception("alerts could not be looked for")
