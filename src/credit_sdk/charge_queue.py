"""`async with billing.queue()`: charges of many tasks, sent together."""

import asyncio
import copy
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from credit_sdk._flows import retrying
from credit_sdk._ledgers import payer_fields
from credit_sdk._questions import given
from credit_sdk._runners import run_async
from credit_sdk._till import Metadata, Till, paying_organization
from credit_sdk.account import Account
from credit_sdk.amounts import Amount
from credit_sdk.errors import ConfigurationError, CreditError, NotAuthenticatedError
from credit_sdk.operations import LARGEST_BATCH, Deduct, DeductBatch, parse

if TYPE_CHECKING:
    from credit_sdk._runners import AsyncBackend
    from credit_sdk.models import Receipt


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    charge: Deduct
    backend: "AsyncBackend"
    session_token: str | None
    """Whose session charges, where that makes a difference: others' are sent by themselves."""
    receipt: "asyncio.Future[Receipt]"

    def fail(self, error: BaseException) -> None:
        if not self.receipt.done():
            self.receipt.set_exception(error)

    def succeed(self, receipt: "Receipt") -> None:
        if not self.receipt.done():
            self.receipt.set_result(receipt)


class ChargeQueue:
    """Sends what comes together as one batch: the next batch begins when the last one has ended.

    A charge that comes alone is sent alone, at once. For one event loop, and for organisations' charges: a
    user's own balance has no batches.
    """

    def __init__(self, till: Till) -> None:
        self._till = till
        self._waiting: deque[_Waiting] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._is_closed = False

    async def deduct(
        self,
        account: Account,
        credits: Amount,
        *,
        service_type: str,
        service_name: str | None = None,
        request_id: str | None = None,
        metadata: Metadata | None = None,
    ) -> "Receipt":
        """Take credits for an operation that has succeeded; return or raise what `billing.deduct` would.

        Cancelled before it is sent, it takes nothing; later, it is charged, and the others are in any case.
        """
        if self._is_closed:
            raise ConfigurationError("The queue is closed; charge within its block.")
        fields = {
            "credits": credits,
            "service_type": service_type,
            "service_name": service_name,
            "request_id": request_id,
            "request_metadata": metadata,
        }
        payer = payer_fields(paying_organization(account), account.user_id)
        waiting = _Waiting(
            parse(Deduct, payer | given(fields)),
            self._till.async_backend(account),
            self._till.session_of(account),
            asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(waiting)
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return await waiting.receipt

    async def close(self) -> None:
        """Wait until everything that was taken in is answered; nothing more is taken in."""
        self._is_closed = True
        if self._sender is not None:
            await asyncio.wait({self._sender})

    async def __aenter__(self) -> Self:
        """Return the queue itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what waits, whatever ended the block."""
        await self.close()

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                try:
                    await self._send(batch)
                except BaseException as error:
                    # Whoever waits hears of a defect, too; a cancellation ends the queue with its loop.
                    for each in batch:
                        each.fail(copy.copy(error))
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._sender = None

    def _next_batch(self) -> list[_Waiting]:
        """Take the first charge that somebody still waits for, and those that can be sent with it."""
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        for each in self._waiting:
            if each.receipt.done():
                continue
            fits = len(batch) < LARGEST_BATCH and (not batch or each.session_token == batch[0].session_token)
            (batch if fits else left).append(each)
        self._waiting = left
        return batch

    async def _send(self, batch: list[_Waiting]) -> None:
        if len(batch) > 1:
            batch = await self._send_together(batch)
        for each in batch:
            try:
                each.succeed(await run_async(retrying(each.charge, self._till.retries), each.backend))
            except CreditError as error:
                each.fail(error)

    async def _send_together(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Send a batch, and return the charges that have to be sent alone after all."""
        charges = DeductBatch(charges=tuple(each.charge for each in batch))
        try:
            result = await run_async(retrying(charges, self._till.retries), batch[0].backend)
        except CreditError as error:
            if not (error.retryable or isinstance(error, ConfigurationError | NotAuthenticatedError)):
                # A charge that the caller may not take stops all of a batch.
                return batch
            for each in batch:
                each.fail(copy.copy(error))
            return []
        for each, outcome in zip(batch, result.outcomes, strict=True):
            if outcome.receipt is not None:
                each.succeed(outcome.receipt)
            elif outcome.problem is not None:
                each.fail(outcome.problem.exception())
        return []
