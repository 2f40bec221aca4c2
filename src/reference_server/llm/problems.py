"""Refusals of the gateway, and how OpenAI's clients are told of any refusal."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from starlette.responses import Response

from credit_sdk.errors import ConflictError, CreditError, MalformedRequestError
from reference_server.encoding import described, headers_of, plain

COST_HEADER = "X-Cost-Incurred"
REMAINING_HEADER = "X-Credits-Remaining"
_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
# The official client repeats these by itself, which would not help.
_RETRIED_BY_CLIENTS = frozenset({408, 409})


class InvalidRequestError(MalformedRequestError):
    """The request is not one of this protocol. `param` is the member of the body that is wrong."""

    code = "invalid_request"

    def __init__(self, detail: str | None = None, *, param: str | None = None) -> None:
        super().__init__(detail)
        self.param = param


class ModelNotFoundError(InvalidRequestError):
    """There is no such model here."""

    code = "model_not_found"
    status = 404


class NoProviderKeyError(InvalidRequestError):
    """The organisation's plan runs on keys of its own, and it has none for this provider."""

    code = "provider_key_missing"


class SealingUnavailableError(CreditError):
    """This server keeps no keys of providers: it was given no CREDITS_LLM_SEALING_KEYS."""

    code = "sealing_unavailable"
    status = 501


class RequestUsedError(ConflictError):
    """A call with this Idempotency-Key has been made, or is under way: its answer is not kept."""

    code = "request_used"


class UpstreamError(CreditError):
    """The provider did not answer as it should. Nothing was charged."""

    code = "upstream_error"
    status = 502


class UpstreamTimeoutError(UpstreamError):
    """The provider did not answer in time. Nothing was charged."""

    code = "upstream_timeout"
    status = 504


class UpstreamRefusedError(UpstreamError):
    """The provider refused the request, in its own words. Nothing was charged."""

    code = "upstream_refused"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self, status: int, detail: str, *, code: str | None = None, retry_after: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status  # type: ignore[misc]  # the provider's, for this one refusal
        self.provider_code = code
        if retry_after is not None:
            self.headers = {"Retry-After": retry_after}  # type: ignore[misc]  # as above


class ClientGoneError(CreditError):
    """The client went away before there was an answer. Nothing was charged."""

    code = "client_gone"
    status = 499


def openai_error(error: CreditError) -> dict[str, Any]:
    """Return an error as OpenAI's clients expect it; figures stand beside the message."""
    shown = described(error)
    status = shown.status
    kind = _TYPES.get(status)
    if kind is None:
        server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        kind = "server_error" if server else "invalid_request_error"
    figures = json.loads(json.dumps(shown.figures(), default=plain))
    return {
        "error": figures
        | {
            "message": shown.detail,
            "type": kind,
            "param": getattr(shown, "param", None),
            "code": getattr(shown, "provider_code", None) or shown.code,
        }
    }


def error_response(error: CreditError, headers: Mapping[str, str]) -> Response:
    """Return an error's answer. It has cost nothing."""
    shown = described(error)
    merged = {COST_HEADER: "0", **headers, **headers_of(shown)}
    if shown.status in _RETRIED_BY_CLIENTS:
        merged["X-Should-Retry"] = "false"
    body = json.dumps(openai_error(error))
    return Response(body, status_code=shown.status, media_type="application/json", headers=merged)
