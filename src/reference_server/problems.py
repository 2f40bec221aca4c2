"""Refusals that only a server says: a request that it cannot read, or not now (SPEC section 6).

`headers` go into the response.
"""

from collections.abc import Mapping
from typing import ClassVar

from credit_sdk.errors import (
    CreditError,
    MalformedRequestError,
    MethodNotAllowedError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from credit_sdk.redaction import redact_text

LONGEST_PATH_SHOWN = 200

# The rest of a body that is refused half-way is not waited for.
_CLOSE: Mapping[str, str] = {"Connection": "close"}


class NoSuchAddressError(NotFoundError):
    """There is no such address."""

    def __init__(self, raw_path: bytes) -> None:
        # Still percent-encoded; what is not ASCII all the same is replaced, as are secrets.
        path = redact_text(raw_path.decode("ascii", "replace"))
        shown = "".join(sign if " " <= sign <= "~" else "?" for sign in path[: LONGEST_PATH_SHOWN + 1])
        more = "..." if len(shown) > LONGEST_PATH_SHOWN else ""
        super().__init__(
            f"There is no address {shown[:LONGEST_PATH_SHOWN]}{more} here; the API is under /api."
        )


class WrongMethodError(MethodNotAllowedError):
    """This address does not answer that method."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This address answers {', '.join(allowed)}.")
        self.headers = {"Allow": ", ".join(allowed)}


class NotAcceptableError(MalformedRequestError):
    """This address does not answer in a type that the request accepts."""

    code = "not_acceptable"
    status = 406


class SlowBodyError(MalformedRequestError):
    """The body did not arrive in time."""

    code = "timeout"
    status = 408
    headers: ClassVar[Mapping[str, str]] = _CLOSE


class BodyTooLargeError(MalformedRequestError):
    """The body is too large."""

    code = "body_too_large"
    status = 413
    headers: ClassVar[Mapping[str, str]] = _CLOSE


class UnsupportedMediaTypeError(MalformedRequestError):
    """The body must be application/json, in UTF-8 and not compressed."""

    code = "unsupported_media_type"
    status = 415
    headers: ClassVar[Mapping[str, str]] = _CLOSE


class TooManyRequestsError(RateLimitedError):
    """Too many requests."""

    def __init__(self, retry_after: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"Too many requests; try again in {retry_after} s.", retry_after=retry_after)
        self.headers = {**headers, "Retry-After": str(retry_after)}


class InternalError(CreditError):
    """Something went wrong here; quote the request id when you report it."""

    code = "internal_error"
    status = 500


class LogInError(MalformedRequestError):
    """This log-in was not begun in this browser, took too long, or is over; log in again."""

    code = "login_failed"


class ProviderUnavailableError(UnavailableError):
    """The identity provider does not answer."""


class InvalidSignatureError(MalformedRequestError):
    """The signature does not fit this body and this moment."""

    code = "invalid_signature"
