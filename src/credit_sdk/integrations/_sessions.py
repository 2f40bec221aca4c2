"""From the session of a web request to the account that pays, looked up once for several requests."""

import hashlib
import time
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from threading import Lock
from typing import Any

from credit_sdk import context
from credit_sdk.account import Account
from credit_sdk.async_service import AsyncCreditDeductionService
from credit_sdk.errors import CreditError, problem_from_error
from credit_sdk.service import CreditDeductionService
from credit_sdk.wire import SESSION_COOKIE

PROBLEM_TYPE = "application/problem+json"
_MOST_SESSIONS = 10_000


@dataclass
class Sessions:
    """Accounts by session. `cache_seconds` is how long one is believed without asking again."""

    billing: CreditDeductionService | AsyncCreditDeductionService
    cookie: str = SESSION_COOKIE
    cache_seconds: float = 10.0
    _known: "OrderedDict[str, tuple[float, Account]]" = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def token_of(self, cookies: str | None, authorization: str | None) -> str | None:
        """Return the session's token in the headers `Cookie` and `Authorization`, if there is one."""
        kind, _, bearer = (authorization or "").partition(" ")
        if kind.lower() == "bearer" and bearer.strip():
            return bearer.strip()
        try:
            morsel = SimpleCookie(cookies or "").get(self.cookie)
        except CookieError:
            return None
        return morsel.value if morsel and morsel.value else None

    def account(self, token: str) -> Account:
        """Return whose session it is; raises what `billing.account` raises."""
        known = self._recall(token)
        if known is not None:
            return known
        if not isinstance(self.billing, CreditDeductionService):
            raise TypeError("A blocking application needs a CreditDeductionService.")
        return self._remember(token, self.billing.account(session_token=token))

    async def account_async(self, token: str) -> Account:
        """Return whose session it is; raises what `billing.account` raises."""
        known = self._recall(token)
        if known is not None:
            return known
        if isinstance(self.billing, CreditDeductionService):
            from anyio import to_thread  # noqa: PLC0415

            blocking = self.billing
            return self._remember(
                token, await to_thread.run_sync(lambda: blocking.account(session_token=token))
            )
        return self._remember(token, await self.billing.account(session_token=token))

    def paying(self, token: str | None) -> AbstractContextManager[Any]:
        """Return a block in which the session pays, or in which what is billed is refused."""
        try:
            return nullcontext() if token is None else context.acting_as(self.account(token))
        except CreditError as error:
            return context.refusing(error)

    async def paying_async(self, token: str | None) -> AbstractContextManager[Any]:
        """Return a block in which the session pays, or in which what is billed is refused."""
        try:
            return nullcontext() if token is None else context.acting_as(await self.account_async(token))
        except CreditError as error:
            return context.refusing(error)

    def _recall(self, token: str) -> Account | None:
        with self._lock:
            until, account = self._known.get(_digest(token), (0.0, None))
        return account if time.monotonic() < until else None

    def _remember(self, token: str, account: Account) -> Account:
        with self._lock:
            self._known[_digest(token)] = time.monotonic() + self.cache_seconds, account
            self._known.move_to_end(_digest(token))
            while len(self._known) > _MOST_SESSIONS:
                self._known.popitem(last=False)
        return account


def problem(error: CreditError) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Return body, status and headers that explain a refusal to a client (RFC 9457)."""
    members = {
        name: value if isinstance(value, str | int | list | None) else str(value)
        for name, value in problem_from_error(error).items()
    }
    headers = {"Content-Type": PROBLEM_TYPE}
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, round(retry_after)))
    return members, error.status, headers


def _digest(token: str) -> str:
    """Return what a session is remembered by: no token stays in memory longer than its request."""
    return hashlib.sha256(token.encode()).hexdigest()
