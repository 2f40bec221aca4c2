"""ASGI: the session of a request pays for what is billable in it."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from credit_sdk.async_service import AsyncCreditDeductionService
from credit_sdk.errors import CreditError
from credit_sdk.integrations._sessions import Sessions, problem
from credit_sdk.service import CreditDeductionService
from credit_sdk.wire import SESSION_COOKIE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class AccountMiddleware:
    """Lets whoever a request's session belongs to pay for billable functions that it calls.

    The session is that of the cookie, else of `Authorization: Bearer`. Without one, billable functions
    have to name who pays; with one that is not valid they raise `NotAuthenticatedError`. A `CreditError`
    that nobody else answers becomes a problem document (RFC 9457) with its status: in Starlette and
    FastAPI give it as `middleware=`, within the application's own answer to errors.
    """

    def __init__(
        self,
        app: App,
        billing: CreditDeductionService | AsyncCreditDeductionService,
        *,
        cookie: str = SESSION_COOKIE,
        cache_seconds: float = 10.0,
    ) -> None:
        self.app = app
        self._sessions = Sessions(billing, cookie, cache_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        token = self._sessions.token_of(headers.get(b"cookie"), headers.get(b"authorization"))
        has_begun = False

        async def watch(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            with await self._sessions.paying_async(token):
                await self.app(scope, receive, watch)
        except CreditError as error:
            if has_begun or scope["type"] != "http":
                raise
            await _answer(error, send)


async def _answer(error: CreditError, send: Send) -> None:
    members, status, headers = problem(error)
    body = json.dumps(members).encode()
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    sent.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})
