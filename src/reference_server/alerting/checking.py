"""An endpoint to which nothing would ever be sent is refused when it is made, with the words of sending."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from credit_sdk.backends.sql import Actor
from credit_sdk.errors import ValidationFailedError
from credit_sdk.operations import CreateWebhook, Operation, ResultT_co
from reference_server.access import Ledger
from reference_server.alerting.addresses import ForbiddenAddressError, resolve
from reference_server.alerting.settings import Network

_LOOKUP_SECONDS = 3


@dataclass(frozen=True, slots=True)
class CheckedEndpoints:
    """A ledger that keeps no endpoint which webhooks may not go to."""

    ledger: Ledger
    networks: Sequence[Network]

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Return the operation's result."""
        if isinstance(operation, CreateWebhook):
            await require_sendable(operation.url, self.networks)
        return await self.ledger.execute(operation)

    def on_behalf_of(self, actor: Actor) -> "CheckedEndpoints":
        """Return the same ledger, whose audit names the actor."""
        return replace(self, ledger=self.ledger.on_behalf_of(actor))


async def require_sendable(url: str, networks: Sequence[Network]) -> None:
    """Raise `ValidationFailedError` for an address that webhooks may not go to.

    A name that is not known (yet) may be known when there is something to send, and is checked again then.
    """
    try:
        with suppress(OSError, UnicodeError):
            async with asyncio.timeout(_LOOKUP_SECONDS):
                await resolve(url, networks)
    except ForbiddenAddressError as error:
        raise ValidationFailedError(
            f"url: {error}", errors=[{"loc": ["url"], "msg": str(error), "type": "forbidden_address"}]
        ) from None
