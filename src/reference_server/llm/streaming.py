"""Passing a stream on while its meter runs: what is delivered is what is charged.

An event is sent only when the hold covers it. The end is held back until the charge is made, so that the last
thing a client reads before `[DONE]` is what the call has cost.
"""

import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from credit_sdk._stream_meter import StreamMeter
from credit_sdk.amounts import to_number
from credit_sdk.errors import CreditError
from reference_server.llm.events import Cutter, Event, look_into
from reference_server.llm.meter import Bill, Meter
from reference_server.llm.problems import (
    COST_HEADER,
    REMAINING_HEADER,
    UpstreamError,
    error_response,
    openai_error,
)
from reference_server.llm.requests import Asked
from reference_server.llm.upstreams import Upstreams

logger = logging.getLogger(__name__)

_TRAILERS = "http.response.trailers"
_EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")


async def until_gone(receive: Receive) -> None:
    """Return when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass(slots=True)
class MeteredStream:
    """The answer to one streamed call, as an ASGI application."""

    upstreams: Upstreams
    meter: Meter
    asked: Asked
    own_key: str | None
    prompt: int
    headers: Mapping[str, str]
    _seen: StreamMeter = field(init=False)
    _finished: bool = False
    _started: bool = False
    _trailers: bool = False

    def __post_init__(self) -> None:
        """Begin to count."""
        tariff = self.meter.tariff
        self._seen = StreamMeter(tariff.model.price, tariff.markup, self.prompt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream to the client until the provider's end, the client's, or that of the credits."""
        self._trailers = _TRAILERS in scope.get("extensions", {})
        gone = True
        failure: CreditError | None = None
        try:
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    await until_gone(receive)
                    group.cancel_scope.cancel()

                group.start_soon(watch)
                try:
                    await self._pump(send)
                except CreditError as error:
                    failure = error
                gone = False
                group.cancel_scope.cancel()
        finally:
            # The scope keeps anyio's cancellation out; the ledger sees each request through by itself.
            with anyio.CancelScope(shield=True):
                bill = await self._settle(failure)
        if not gone:
            await self._end(send, failure, bill)

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._events()) as events:
            async for event in events:
                self._finished = self._finished or event.finishes
                if event.is_last:
                    self._finished = True
                    return
                if event.raw is not None:
                    growth = self._seen.growth(event.size, self.meter.held)
                    if growth is not None:
                        await self.meter.grow(growth)
                    await self._start(send)
                    await _send_body(send, event.raw + b"\n\n")
                self._seen.deliver(event.size, event.usage, shown=event.raw is not None)
        if not self._finished:
            raise UpstreamError("The provider broke the stream off. Nothing was charged.")

    async def _events(self) -> AsyncGenerator[Event, None]:
        cutter = Cutter()
        service, model = self.asked.service, self.meter.tariff.model
        body = self.asked.for_upstream(model)
        async with self.upstreams.answering(model.provider, service.path, body, self.own_key) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise UpstreamError(
                    "The provider answered something else than a stream. Nothing was charged."
                )
            async for chunk in response.aiter_raw():
                for raw in cutter.feed(chunk):
                    yield look_into(raw, wants_usage=self.asked.wants_usage)

    async def _settle(self, failure: CreditError | None) -> Bill | None:
        """Charge what was delivered; what the provider failed to finish is free."""
        try:
            if isinstance(failure, UpstreamError) or not (self._seen.delivered or self._finished):
                return await self.meter.release()
            return await self.meter.charge(self._seen.used())
        except CreditError as error:
            hold = self.meter.hold
            logger.error(  # noqa: TRY400 - the text says it all, and a traceback may quote an address
                "a stream of %s bytes was not charged (request %s): %s",
                self._seen.size,
                hold.request_id if hold else None,
                error,
            )
            return None

    async def _start(self, send: Send) -> None:
        if self._started:
            return
        self._started = True
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        if self._trailers:
            headers.append((b"trailer", f"{COST_HEADER}, {REMAINING_HEADER}".encode()))
        await send(
            {
                "type": "http.response.start",
                "status": HTTPStatus.OK,
                "headers": [_EVENT_STREAM, *headers],
                "trailers": self._trailers,
            }
        )

    async def _end(self, send: Send, failure: CreditError | None, bill: Bill | None) -> None:
        if failure is not None and not self._started:
            await self._refuse(send, failure, bill)
            return
        await self._start(send)
        figures = bill_headers(bill)
        if failure is not None:
            await _send_body(send, b"data: " + json.dumps(openai_error(failure)).encode() + b"\n\n")
        if figures:
            line = ", ".join(f"{name}: {value}" for name, value in figures.items())
            await _send_body(send, f": {line}\n\n".encode())
        if failure is None:
            await _send_body(send, b"data: [DONE]\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self._trailers:
            trailers = [(name.lower().encode(), value.encode()) for name, value in figures.items()]
            await send({"type": _TRAILERS, "headers": trailers, "more_trailers": False})

    async def _refuse(self, send: Send, failure: CreditError, bill: Bill | None) -> None:
        """Answer with an error's own status: nothing was sent yet."""
        response = error_response(failure, {**self.headers, **bill_headers(bill)})
        await response({"type": "http"}, _nothing, send)


def bill_headers(bill: Bill | None) -> dict[str, str]:
    """Return the headers that say what a call has cost and what is left, as far as it is known."""
    if bill is None:
        return {}
    headers = {COST_HEADER: str(to_number(bill.cost))}
    return headers if bill.remaining is None else headers | {REMAINING_HEADER: str(to_number(bill.remaining))}


async def _send_body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _nothing() -> Any:
    """Receive nothing: the body has been read."""
