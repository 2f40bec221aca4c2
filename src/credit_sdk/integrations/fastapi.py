"""FastAPI: `Depends(account_of(billing))`, and answers for refusals.

Middleware that puts the account into context is `credit_sdk.integrations.asgi.AccountMiddleware`.
"""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from credit_sdk.account import Account
from credit_sdk.async_service import AsyncCreditDeductionService
from credit_sdk.errors import CreditError, NotAuthenticatedError
from credit_sdk.integrations._sessions import Sessions, problem
from credit_sdk.service import CreditDeductionService
from credit_sdk.wire import SESSION_COOKIE


def account_of(
    billing: CreditDeductionService | AsyncCreditDeductionService,
    *,
    cookie: str = SESSION_COOKIE,
    cache_seconds: float = 10.0,
) -> Callable[[Request], Awaitable[Account]]:
    """Return a dependency that answers whose session a request has.

    It raises `NotAuthenticatedError` without a valid session: `answer_refusals` makes that a 401.
    """
    sessions = Sessions(billing, cookie, cache_seconds)

    async def account(request: Request) -> Account:
        token = sessions.token_of(request.headers.get("cookie"), request.headers.get("authorization"))
        if token is None:
            raise NotAuthenticatedError("Log in first: this costs credits.")
        return await sessions.account_async(token)

    return account


def answer_refusals(app: FastAPI) -> None:
    """Let every `CreditError` that a handler raises be answered as a problem document (RFC 9457)."""

    async def answer(_: Request, error: Exception) -> Response:
        if not isinstance(error, CreditError):
            raise error
        members, status, headers = problem(error)
        return JSONResponse(members, status, headers)

    app.add_exception_handler(CreditError, answer)
