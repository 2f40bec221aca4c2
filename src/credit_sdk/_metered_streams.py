"""Streams of a metered client: handed over as far as the hold pays for them, and charged at their end."""

import logging
from types import TracebackType
from typing import Any, Self

from credit_sdk._metered_calls import Ending, StreamedCall
from credit_sdk.charge import AsyncOpenCharge, OpenCharge
from credit_sdk.errors import InsufficientCreditsError, UnavailableError

logger = logging.getLogger("credit_sdk")


class MeteredStream:
    """A stream that is charged at its end, or for what it has delivered when it ends before.

    Its hold grows while it streams. Where it cannot, the stream ends in what the charge raises.
    """

    def __init__(self, stream: Any, charge: OpenCharge, call: StreamedCall) -> None:
        self._stream = stream
        self._chunks = iter(stream)
        self._call = call
        self._ended = False
        self.charge = charge
        """What is charged; its receipt is there when the stream has ended."""

    def __iter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __next__(self) -> Any:
        """Return the next chunk; raises what the charge raises, also after the last one."""
        if self._ended:
            raise StopIteration
        try:
            while not (chunk := self._call.look(next(self._chunks))).shown:
                self._call.deliver(chunk)
        except StopIteration:
            self._end("complete", None)
            raise
        except BaseException as error:
            self._end("failed" if isinstance(error, Exception) else "left", error)
            raise
        growth = self._call.growth(chunk, self.charge)
        if growth is not None:
            try:
                self.charge.grow(growth, self._call.retries)
            except BaseException as error:
                self._end("stopped" if isinstance(error, Exception) else "left", error)
                raise
        return self._call.deliver(chunk)

    def close(self) -> None:
        """Stop reading; charge what was delivered."""
        self._end("left", GeneratorExit())

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop reading; charge what was delivered."""
        self.close()

    def _end(self, ending: Ending, error: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        refusal = None
        try:
            if self._call.owes(ending, self.charge):
                refusal = self._settle()
        finally:
            try:
                self.charge.__exit__(type(error) if error else None, error, None)
            finally:
                self._stream.close()
        if refusal is not None and error is None:
            raise refusal

    def _settle(self) -> InsufficientCreditsError | None:
        """Set the cost; where there is not enough for it, all that is held, and return the refusal."""
        lacking = self._call.settle(self.charge)
        if lacking is None:
            return None
        try:
            self.charge.grow(lacking, self._call.retries)
        except InsufficientCreditsError as refusal:
            self._call.settle_held(self.charge)
            return refusal
        except UnavailableError as error:
            logger.info(
                "The hold of %s did not grow (%s); its capture asks again", self.charge.request_id, error
            )
        return None


class AsyncMeteredStream:
    """A stream that is charged at its end, or for what it has delivered when it ends before.

    Its hold grows while it streams. Where it cannot, the stream ends in what the charge raises.
    """

    def __init__(self, stream: Any, charge: AsyncOpenCharge, call: StreamedCall) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._call = call
        self._ended = False
        self.charge = charge
        """What is charged; its receipt is there when the stream has ended."""

    def __aiter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __anext__(self) -> Any:
        """Return the next chunk; raises what the charge raises, also after the last one."""
        if self._ended:
            raise StopAsyncIteration
        try:
            while not (chunk := self._call.look(await anext(self._chunks))).shown:
                self._call.deliver(chunk)
        except StopAsyncIteration:
            await self._end("complete", None)
            raise
        except BaseException as error:
            await self._end("failed" if isinstance(error, Exception) else "left", error)
            raise
        growth = self._call.growth(chunk, self.charge)
        if growth is not None:
            try:
                await self.charge.grow(growth, self._call.retries)
            except BaseException as error:
                await self._end("stopped" if isinstance(error, Exception) else "left", error)
                raise
        return self._call.deliver(chunk)

    async def close(self) -> None:
        """Stop reading; charge what was delivered."""
        await self._end("left", GeneratorExit())

    async def __aenter__(self) -> Self:
        """Return the stream itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop reading; charge what was delivered."""
        await self.close()

    async def _end(self, ending: Ending, error: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        refusal = None
        try:
            if self._call.owes(ending, self.charge):
                refusal = await self._settle()
        finally:
            try:
                await self.charge.__aexit__(type(error) if error else None, error, None)
            finally:
                await self._stream.close()
        if refusal is not None and error is None:
            raise refusal

    async def _settle(self) -> InsufficientCreditsError | None:
        """Set the cost; where there is not enough for it, all that is held, and return the refusal."""
        lacking = self._call.settle(self.charge)
        if lacking is None:
            return None
        try:
            await self.charge.grow(lacking, self._call.retries)
        except InsufficientCreditsError as refusal:
            self._call.settle_held(self.charge)
            return refusal
        except UnavailableError as error:
            logger.info(
                "The hold of %s did not grow (%s); its capture asks again", self.charge.request_id, error
            )
        return None
