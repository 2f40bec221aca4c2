"""Sending what the outbox has: signed, bounded in time and size, each under one id."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
from standardwebhooks import Webhook

from credit_sdk.backends.sql import AsyncSqlBackend
from reference_server.alerting.addresses import ForbiddenAddressError, Target, resolve
from reference_server.alerting.settings import AlertSettings
from reference_server.identities import ask

logger = logging.getLogger(__name__)

AT_ONCE = 20
LARGEST_ANSWER = 64 * 1024
_SPARE_SECONDS = 30
_LEASE = "SELECT alerts.lease($1, $2)"
_SETTLE = "SELECT alerts.settle($1, $2, $3, $4, $5)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt."""

    is_delivered: bool
    status: int | None = None
    error: str | None = None


async def deliver_due(backend: AsyncSqlBackend, settings: AlertSettings) -> int:
    """Send everything that is due and return how many webhooks arrived.

    Any number of processes may do so at once: each webhook is leased to one of them for longer than an
    attempt takes.
    """
    lease_seconds = round(settings.webhook_seconds) + _SPARE_SECONDS
    delivered = 0
    # A proxy of the environment would be asked to connect, and would look names up anew. Each attempt has a
    # time limit of its own, over all of it.
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None) as client:  # noqa: S113
        while leased := await ask(backend, _LEASE, AT_ONCE, lease_seconds):
            outcomes = await asyncio.gather(*(_attempt(client, each, settings) for each in leased))
            for delivery, outcome in zip(leased, outcomes, strict=True):
                await _settle(backend, delivery, outcome)
            delivered += sum(outcome.is_delivered for outcome in outcomes)
    return delivered


async def _settle(backend: AsyncSqlBackend, delivery: dict[str, Any], outcome: Outcome) -> None:
    about = (delivery["delivery_id"], delivery["lease"], outcome.is_delivered, outcome.status, outcome.error)
    became = await ask(backend, _SETTLE, *about)
    if became == "dead":
        logger.warning("webhook %s is given up: %s", delivery["delivery_id"], outcome.error)


async def _attempt(client: httpx.AsyncClient, delivery: dict[str, Any], settings: AlertSettings) -> Outcome:
    """Send a webhook once. Whatever an endpoint does ends as an outcome."""
    try:
        async with asyncio.timeout(settings.webhook_seconds):
            target = await resolve(delivery["url"], settings.webhook_networks)
            status = await _post(client, target, delivery)
    except TimeoutError:
        return Outcome(is_delivered=False, error="No answer in time.")
    except ForbiddenAddressError as error:
        return Outcome(is_delivered=False, error=str(error))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        # Its text may tell of what is inside of our network.
        return Outcome(is_delivered=False, error=f"The endpoint cannot be reached ({type(error).__name__}).")
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome(is_delivered=True, status=status)
    return Outcome(is_delivered=False, status=status, error=f"The endpoint answered {status}.")


async def _post(client: httpx.AsyncClient, target: Target, delivery: dict[str, Any]) -> int:
    headers = signed(delivery) | {"host": target.authority}
    request = client.build_request(
        "POST",
        target.url,
        content=delivery["payload"],
        headers=headers,
        extensions={"sni_hostname": target.host},
    )
    answer = await client.send(request, stream=True)
    try:
        # What it says beyond its status is nobody's business; it is read so that a polite peer can end.
        read = 0
        async for chunk in answer.aiter_raw():
            read += len(chunk)
            if read > LARGEST_ANSWER:
                break
    finally:
        await answer.aclose()
    return answer.status_code


def signed(delivery: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a webhook: its id, which all attempts share, the time and the signature."""
    message_id, now = f"msg_{delivery['delivery_id']}", datetime.now(UTC)
    return {
        "content-type": "application/json",
        "user-agent": "credits-webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(delivery["secret"]).sign(message_id, now, delivery["payload"]),
    }
