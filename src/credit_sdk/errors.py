"""Everything that can go wrong with credits, as one tree of exceptions.

    CreditError
    ├── ConfigurationError               how the SDK was set up cannot work
    │   ├── SchemaMissingError           the database has no (or an old) billing schema
    │   ├── HoldsUnsupportedError        the server or database knows no holds
    │   ├── ProofsUnsupportedError       the books keep no chain of digests
    │   └── OutboxError                  the file for unconfirmed charges cannot be used
    ├── BrokenProofError                 a receipt or a chain does not fit: something was changed
    ├── ValidationFailedError       422  an argument or field cannot be right; nothing was sent
    │   └── InvalidAmountError      400
    ├── MalformedRequestError       400  a body that cannot be read (and 406, 408, 413, 415)
    ├── NotAuthenticatedError       401
    │   ├── InvalidTokenError       401
    │   └── TokenExpiredError       401
    ├── RefusedError                     names the limit that was hit, with figures
    │   ├── InsufficientCreditsError 402
    │   ├── NoAllocationError       403
    │   └── NotAMemberError         403
    ├── PermissionDeniedError       403
    ├── NotFoundError               404
    ├── MethodNotAllowedError       405
    ├── ConflictError               409
    │   └── IdempotencyConflictError 409
    ├── HoldClosedError             410
    │   └── HoldExpiredError        410
    ├── RateLimitedError            429  retryable
    ├── UnavailableError            503  retryable
    │   ├── PaymentsUnavailableError     nothing can be bought here; not retryable
    │   └── OutcomeUnknownError          the request may have been carried out
    └── UnexpectedResponseError          the other side does not speak this protocol

Each class knows its `code`, its HTTP `status` and the SQLSTATE that the stored functions raise.
HTTP and SQL build exceptions from the same problem fields (SPEC section 6, RFC 9457), so that
every backend raises the same error for the same reason. The docstring is the default message.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal, TypedDict

Limit = Literal["allocation", "pool", "cap", "hold", "overage", "no_allocation", "inactive", "balance"]
"""The limit that a refusal names (SPEC section 3)."""


class FieldError(TypedDict):
    """One thing that is wrong with a request: where, what, and which rule."""

    loc: list[str | int]
    msg: str
    type: str


class CreditError(Exception):
    """The billing operation failed."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    sqlstate: ClassVar[str | None] = None
    retryable: ClassVar[bool] = False
    """Whether the same request, with the same request id, may be sent again."""

    def __init__(self, detail: str | None = None, *, request_id: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or "").partition("\n")[0]
        self.request_id = request_id
        super().__init__(self.detail)

    def figures(self) -> dict[str, Any]:
        """Return the numbers that explain this error, under the names that the problem body uses."""
        return {}

    @classmethod
    def of_figures(cls, detail: str | None, figures: Mapping[str, Any]) -> "CreditError":
        """Make this error from the members of a problem body."""
        return cls(detail, request_id=figures.get("request_id"))


class ConfigurationError(CreditError):
    """The SDK is set up in a way that cannot work."""

    code = "configuration"


class SchemaMissingError(ConfigurationError):
    """The database has no billing schema; run `credits migrate`."""

    code = "schema_missing"
    status = 503


class HoldsUnsupportedError(ConfigurationError):
    """The server or database knows no holds."""

    code = "holds_unsupported"
    status = 501


class ProofsUnsupportedError(ConfigurationError):
    """These books keep no chain of digests; PostgreSQL does."""

    code = "proofs_unsupported"
    status = 501


class OutboxError(ConfigurationError):
    """The outbox cannot be used."""

    code = "outbox"


class BrokenProofError(CreditError):
    """The receipt or chain does not fit: something was changed.

    `sequence` names the link; None when there is none to name.
    """

    code = "broken_proof"

    def __init__(
        self, detail: str | None = None, *, sequence: int | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(detail, request_id=request_id)
        self.sequence = sequence

    def figures(self) -> dict[str, Any]:
        """Return the sequence number."""
        return {} if self.sequence is None else {"sequence": self.sequence}


class ValidationFailedError(CreditError):
    """The request is not valid."""

    code = "validation_failed"
    status = 422
    sqlstate = "CR422"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: list[FieldError] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, request_id=request_id)
        self.errors: list[FieldError] = errors or []

    def figures(self) -> dict[str, Any]:
        """Return the list of what is wrong, one entry a field."""
        return {"errors": self.errors}

    @classmethod
    def of_figures(cls, detail: str | None, figures: Mapping[str, Any]) -> "CreditError":
        """Make this error from the members of a problem body."""
        return cls(detail, errors=figures.get("errors"), request_id=figures.get("request_id"))


class InvalidAmountError(ValidationFailedError):
    """The amount is not a positive number of credits with at most three decimals."""

    code = "invalid_amount"
    status = 400
    sqlstate = "CR400"

    def figures(self) -> dict[str, Any]:
        """Return nothing: the sentence says it all."""
        return {}


class MalformedRequestError(CreditError):
    """The request cannot be read."""

    code = "malformed_json"
    status = 400


class NotAuthenticatedError(CreditError):
    """No valid credential came with the request."""

    code = "not_authenticated"
    status = 401


class InvalidTokenError(NotAuthenticatedError):
    """The credential is not known here, was revoked, or was tampered with."""

    code = "invalid_token"
    sqlstate = "CR401"


class TokenExpiredError(NotAuthenticatedError):
    """The session has expired; log in again."""

    code = "token_expired"


class RefusedError(CreditError):
    """The charge was refused.

    `limit` names the limit that was hit; `required` and `available` are credits; `resets_at` is when
    the limit starts afresh; `top_up_url` is where to get more.
    """

    def __init__(
        self,
        detail: str | None = None,
        *,
        limit: Limit | None = None,
        required: Decimal | None = None,
        available: Decimal | None = None,
        resets_at: datetime | None = None,
        top_up_url: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(detail, request_id=request_id)
        self.limit = limit
        self.required = required
        self.available = available
        self.resets_at = resets_at
        self.top_up_url = top_up_url

    def figures(self) -> dict[str, Any]:
        """Return limit, required, available, resets_at and top_up_url, as far as they are known."""
        names = ("limit", "required", "available", "resets_at", "top_up_url")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @classmethod
    def of_figures(cls, detail: str | None, figures: Mapping[str, Any]) -> "CreditError":
        """Make this error from the members of a problem body."""
        return cls(
            detail,
            limit=figures.get("limit"),
            required=_amount(figures.get("required")),
            available=_amount(figures.get("available")),
            resets_at=_moment(figures.get("resets_at")),
            top_up_url=figures.get("top_up_url"),
            request_id=figures.get("request_id"),
        )


class InsufficientCreditsError(RefusedError):
    """Insufficient credits."""

    code = "insufficient_credits"
    status = 402
    sqlstate = "CR402"


class NoAllocationError(RefusedError):
    """No credit allocation: the member has no active share of the organisation's credits."""

    code = "no_allocation"
    status = 403
    sqlstate = "CR403"


class NotAMemberError(RefusedError):
    """The user is not a member of this organisation."""

    code = "not_a_member"
    status = 403
    sqlstate = "CR413"


class PermissionDeniedError(CreditError):
    """The caller may not do this."""

    code = "permission_denied"
    status = 403


class NotFoundError(CreditError):
    """There is no such thing here."""

    code = "not_found"
    status = 404
    sqlstate = "CR404"


class MethodNotAllowedError(CreditError):
    """This address does not answer that method."""

    code = "method_not_allowed"
    status = 405


class ConflictError(CreditError):
    """The request does not fit the present state."""

    code = "conflict"
    status = 409
    sqlstate = "CR408"


class IdempotencyConflictError(ConflictError):
    """The request id was used before, for something else."""

    code = "idempotency_conflict"
    sqlstate = "CR409"


class HoldClosedError(CreditError):
    """The hold was already captured or voided."""

    code = "hold_closed"
    status = 410
    sqlstate = "CR410"


class HoldExpiredError(HoldClosedError):
    """The hold has expired and the balance no longer covers it."""

    code = "hold_expired"
    sqlstate = "CR411"


class _RetryLaterError(CreditError):
    """The request may be sent again after a while; `retry_after` is in seconds."""

    retryable = True

    def __init__(
        self, detail: str | None = None, *, retry_after: float | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(detail, request_id=request_id)
        self.retry_after = retry_after

    @classmethod
    def of_figures(cls, detail: str | None, figures: Mapping[str, Any]) -> "CreditError":
        """Make this error from the members of a problem body."""
        return cls(detail, retry_after=figures.get("retry_after"), request_id=figures.get("request_id"))


class RateLimitedError(_RetryLaterError):
    """Too many requests."""

    code = "rate_limited"
    status = 429


class UnavailableError(_RetryLaterError):
    """The billing system cannot be reached."""

    code = "unavailable"
    status = 503
    sqlstate: ClassVar[str | None] = "CR503"


class PaymentsUnavailableError(UnavailableError):
    """Payments are not set up here: nothing can be bought."""

    code = "payments_unavailable"
    sqlstate = None
    retryable = False


class OutcomeUnknownError(UnavailableError):
    """The connection was lost; the request may or may not have been carried out."""

    code = "outcome_unknown"
    sqlstate = None


class UnexpectedResponseError(CreditError):
    """What answered does not speak the credits protocol."""

    code = "unexpected_response"
    status = 502


def error_from_problem(problem: Mapping[str, Any]) -> CreditError | None:
    """Return the exception for problem fields with a known `code`, else None.

    Amounts are credits: `Decimal`, int, float or str. Unknown members are ignored.
    """
    kind = ERRORS_BY_CODE.get(str(problem.get("code")))
    detail = problem.get("detail")
    return kind.of_figures(str(detail) if detail is not None else None, problem) if kind else None


def problem_from_error(error: CreditError) -> dict[str, Any]:
    """Return the members of the problem body (RFC 9457) that describe the error."""
    members: dict[str, Any] = {
        "type": f"urn:credits:error:{error.code}",
        "title": (type(error).__doc__ or "").partition("\n")[0].rstrip("."),
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
    }
    if error.request_id is not None:
        members["request_id"] = error.request_id
    return members | error.figures()


def _amount(value: object) -> Decimal | None:
    """Read a figure of a refusal; one that makes no sense is left out, the refusal stands."""
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _descendants(kind: type[CreditError]) -> Iterator[type[CreditError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


ERRORS_BY_CODE: dict[str, type[CreditError]] = {
    kind.code: kind for kind in _descendants(CreditError) if "code" in vars(kind)
}
"""The one table from the codes on the wire and in the database to exceptions."""
