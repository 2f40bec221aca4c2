"""Django: the session of a request pays for what is billable in it.

MIDDLEWARE = [..., "credit_sdk.integrations.django.account_middleware"]
CREDITS_BILLING = "shop.billing.billing"    # where the service is
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from credit_sdk.errors import ConfigurationError, CreditError
from credit_sdk.integrations._sessions import Sessions, problem
from credit_sdk.wire import SESSION_COOKIE


class account_middleware:  # noqa: N801 - it is used as the function of that name
    """Lets whoever a request's credits session belongs to pay for billable functions that it calls.

    Without a session, billable functions have to name who pays; with one that is not valid they raise
    `NotAuthenticatedError`. A `CreditError` that no view answers becomes a problem document. Settings:
    `CREDITS_BILLING` (a service, or where it is), `CREDITS_SESSION_COOKIE`, `CREDITS_CACHE_SECONDS`.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._sessions = Sessions(
            _billing(),
            getattr(settings, "CREDITS_SESSION_COOKIE", SESSION_COOKIE),
            getattr(settings, "CREDITS_CACHE_SECONDS", 10.0),
        )
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer one request."""
        if self._is_async:
            return self._answer_async(request)
        with self._sessions.paying(self._token(request)):
            response: HttpResponse = self._get_response(request)
            return response

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer what a view raised, if it is a refusal."""
        if not isinstance(error, CreditError):
            return None
        members, status, headers = problem(error)
        return HttpResponse(json.dumps(members), status=status, headers=headers)

    async def _answer_async(self, request: HttpRequest) -> HttpResponse:
        with await self._sessions.paying_async(self._token(request)):
            response: HttpResponse = await self._get_response(request)
            return response

    def _token(self, request: HttpRequest) -> str | None:
        return self._sessions.token_of(request.headers.get("Cookie"), request.headers.get("Authorization"))


def _billing() -> Any:
    billing = getattr(settings, "CREDITS_BILLING", None)
    if billing is None:
        raise ConfigurationError(
            "Django's setting CREDITS_BILLING is missing: it says where the CreditDeductionService is, "
            "such as 'shop.billing.billing'."
        )
    return import_string(billing) if isinstance(billing, str) else billing
