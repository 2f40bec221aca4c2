"""Applications whose users log in with a credits server, for asyncio; `cross_app.py` is its blocking twin."""

import time
from types import TracebackType
from typing import Any, Self

from credit_sdk._cross_app import CrossAppSettings, is_ending
from credit_sdk._flows import retrying
from credit_sdk._questions import given
from credit_sdk._runners import run_async
from credit_sdk.amounts import Amount
from credit_sdk.errors import NotAuthenticatedError, TokenExpiredError
from credit_sdk.models import crossapp as models
from credit_sdk.operations import Operation, ResultT_co, crossapp, parse


class AsyncCrossApp(CrossAppSettings):
    """An application and the user who has logged in with it.

    See `CrossAppSettings` for the arguments.

    One object stands for one user's session. Its token is refreshed before it ends, and once when the
    server says that it has; threads and tasks that share the object wait for the one that refreshes. All
    methods may raise `NotAuthenticatedError`, `PermissionDeniedError`, `RateLimitedError` and
    `UnavailableError`, the latter after all retries.
    """

    async def login(
        self,
        email: str,
        password: str,
        *,
        app_user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> models.AppSession:
        """Log a user in. Raises `InvalidTokenError` for a wrong email or password."""
        fields = {"app_id": self.app_id, "email": email, "password": password} | given(
            {"app_user_id": app_user_id, "app_metadata": metadata}
        )
        session = await self._send(parse(crossapp.LogIn, fields), None)
        self._keep(session.session_token, session.expires_at)
        return session

    async def validate(self) -> models.TokenValidity:
        """Ask whether the session is good; one that has ended is not refreshed for it."""
        return await self._send(self._about(crossapp.ValidateToken, session_token=self._token()), None)

    async def user_info(self) -> models.AppUser:
        """Look at the user."""
        return await self.execute(self._about(crossapp.GetUserInfo))

    async def check(self, required_credits: Amount | None = None) -> models.AppCredits:
        """Look at the user's balance, and whether so much could be taken now: advice, no more."""
        return await self.execute(self._about(crossapp.CheckAppCredits, required_credits=required_credits))

    async def consume(
        self,
        credits: Amount,
        service: str,
        description: str | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        request_id: str | None = None,
    ) -> models.AppConsumption:
        """Take credits for a service that has succeeded, once for each `request_id`.

        Raises `InsufficientCreditsError`, `IdempotencyConflictError`.
        """
        said = given({"description": description, "metadata": metadata, "request_id": request_id})
        order = self._about(crossapp.ConsumeAppCredits, credits=credits, service=service, **said)
        return await self.execute(order)

    async def purchase(
        self, return_url: str, *, package_id: str | None = None, credits: Amount | None = None
    ) -> models.AppCheckout:
        """Begin a purchase of a package, or of so many credits.

        Raises `PaymentsUnavailableError` where nothing can be bought.
        """
        said = given({"package_id": package_id, "credits": credits})
        return await self.execute(self._about(crossapp.PurchaseCredits, return_url=return_url, **said))

    async def packages(self) -> tuple[models.CreditPackage, ...]:
        """List what is for sale."""
        return (await self.execute(self._about(crossapp.ListPackages))).packages

    async def subscriptions(self) -> tuple[models.AppSubscription, ...]:
        """List what the user has subscribed to."""
        return (await self.execute(self._about(crossapp.ListAppSubscriptions))).subscriptions

    async def logout(self) -> None:
        """End the session; without one, do nothing."""
        token = self._session_token
        if token is None:
            return
        try:
            await self._send(self._about(crossapp.LogOut), token)
        except NotAuthenticatedError:
            # It has ended already.
            self._forget()
            return
        self._forget()

    async def execute(self, operation: Operation[ResultT_co]) -> ResultT_co:
        """Carry out an operation of `credit_sdk.operations.crossapp` in the session, with retries."""
        if self._expires_at is not None and is_ending(self._expires_at, time.time()):
            await self._refresh(self._token())
        token = self._token()
        try:
            return await self._send(operation, token)
        except TokenExpiredError:
            await self._refresh(token)
        return await self._send(operation, self._token())

    async def _refresh(self, old: str) -> None:
        """Exchange the token, unless somebody else just has."""
        async with self._async_lock.held():
            if self._session_token != old:
                return
            new = await self._send(self._about(crossapp.RefreshToken), old)
            self._keep(new.new_session_token, new.expires_at)

    async def _send(self, operation: Operation[ResultT_co], token: str | None) -> ResultT_co:
        backend = self._connections.async_backend
        view = backend if token is None else backend.as_caller(token)
        return await run_async(retrying(operation, self._retries), view)

    async def close(self) -> None:
        """Close the connections, for good; the session goes on elsewhere."""
        await self._connections.close_async()

    async def __aenter__(self) -> Self:
        """Return the object itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()
