"""Operations as HTTP requests, and responses as results or errors. No I/O, and no HTTP library."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

from pydantic import ValidationError

from credit_sdk.backends._reasons import reason_of
from credit_sdk.errors import (
    ConfigurationError,
    CreditError,
    HoldsUnsupportedError,
    MalformedRequestError,
    NotAuthenticatedError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    TokenExpiredError,
    UnavailableError,
    UnexpectedResponseError,
    error_from_problem,
)
from credit_sdk.operations import Operation, PlaceBalanceHold, PlaceHold, ResultT_co
from credit_sdk.wire import ADDRESS_OF, API_KEY_HEADER, REQUEST_ID_HEADER, SESSION_COOKIE

LARGEST_RESPONSE_BYTES = 16 * 1024 * 1024
LONGEST_RETRY_AFTER_SECONDS = 120.0

_ERRORS_BY_STATUS: dict[int, type[CreditError]] = {
    401: NotAuthenticatedError,
    403: PermissionDeniedError,
    429: RateLimitedError,
    503: UnavailableError,
}
_SERVER_ERROR = 500
_LOOK_FURTHER = ". `credits doctor` says more."
_NEXT_STEPS = {
    "connection refused": ": is the server running there (`credits serve`)? `credits doctor` says more.",
}
_WRONG_PLACE = (
    "the address of the books is the server's own, such as https://ops.example, to which /api/... is added. "
    "`credits doctor` says more."
)
_METADATA = frozenset({"request_metadata", "event_metadata", "before", "after"})


@dataclass(frozen=True, slots=True)
class Credential:
    """Who is calling: one of the three, or none."""

    api_key: str | None = None
    bearer_token: str | None = None
    session_token: str | None = None

    def __post_init__(self) -> None:
        """Refuse several, and what cannot travel in a header, without repeating it."""
        given = [name for name in self.__slots__ if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigurationError(f"One credential says who is calling, not {' and '.join(given)}.")
        for name in given:
            secret = getattr(self, name)
            if not isinstance(secret, str):
                raise ConfigurationError(f"{name} must be a str, not {type(secret).__name__}.")
            if not (secret.isascii() and secret.isprintable()):
                raise ConfigurationError(f"{name} has characters that no credential has.")

    def __repr__(self) -> str:
        """Name the kind of credential, never the secret."""
        kinds = [name for name in ("api_key", "bearer_token", "session_token") if getattr(self, name)]
        return f"Credential({', '.join(kinds) or 'none'})"

    @property
    def advice(self) -> str:
        """Where the credential came from, or how to give one."""
        if self.api_key:
            return "It was given as api_key=, CREDIT_SDK_API_KEY or API_KEY."
        if self.bearer_token or self.session_token:
            return f"It was given as {'bearer_token' if self.bearer_token else 'session_token'}=."
        return (
            "Give api_key=, session_token= or bearer_token=, or set CREDIT_SDK_API_KEY; "
            "`credits token create-key` makes a key."
        )

    def headers(self) -> dict[str, str]:
        """Return the headers that carry the credential."""
        if self.api_key:
            return {API_KEY_HEADER: self.api_key}
        if self.bearer_token:
            return {"Authorization": f"Bearer {self.bearer_token}"}
        if self.session_token:
            return {"Cookie": f"{SESSION_COOKIE}={self.session_token}"}
        return {}

    def of_session(self, session_token: str) -> "Credential":
        """Return the credential of a user's session."""
        return Credential(session_token=session_token)


class AppCredential(Credential):
    """An application's key, and beside it the session of the user whom it acts for."""

    def __post_init__(self) -> None:
        """Refuse what cannot travel in a header, without repeating it."""
        for name in Credential.__slots__:
            if getattr(self, name) is not None:
                Credential(**{name: getattr(self, name)})

    def headers(self) -> dict[str, str]:
        """Return the headers that carry both."""
        key = {API_KEY_HEADER: self.api_key} if self.api_key else {}
        return key | ({"Authorization": f"Bearer {self.session_token}"} if self.session_token else {})

    @property
    def advice(self) -> str:
        """Nothing: of password, session and application's key, the server has said which one is wrong."""
        return ""

    def of_session(self, session_token: str) -> "Credential":
        """Return the same application's credential with a user's session."""
        return AppCredential(api_key=self.api_key, session_token=session_token)


@dataclass(frozen=True, slots=True)
class Request:
    """An operation on the wire."""

    method: str
    url: str
    content: bytes | None


def server_url(url: str) -> str:
    """Return a server's address without a trailing slash; raise `ConfigurationError` for what is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("The server's address must look like https://ops.example.")
    if parts.username or parts.password:
        raise ConfigurationError(
            "Give credentials as api_key=, bearer_token= or session_token=, "
            f"not in the address of {parts.hostname}."
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(f"The address of {parts.hostname} must not have a query or a fragment.")
    return url.rstrip("/")


def encode(operation: Operation[Any], base_url: str) -> Request:
    """Return the request for an operation; raise `ConfigurationError` if HTTP has no address for it."""
    address = ADDRESS_OF.get(type(operation))
    if address is None:
        raise ConfigurationError(
            f"{(type(operation).__doc__ or '').partition('.')[0]}: that is done on the database itself, not "
            "through a server; give the database's postgresql:// address."
        )
    path = address.path.format_map(
        {name: quote(str(getattr(operation, name)), safe="") for name in address.path_fields}
    )
    # A session travels as a cookie, not as a field.
    elsewhere = address.path_fields | {"session_digest"}
    if address.has_body:
        content = operation.model_dump_json(exclude_none=True, exclude=set(elsewhere)).encode()
        if address.wire_names:
            content = _renamed(content, address.wire_names)
        return Request(address.method, base_url + path, content)
    fields = operation.model_dump(
        mode="json", exclude_none=True, exclude_defaults=True, exclude=set(elsewhere)
    )
    query = urlencode({name: json.dumps(value) if value is True else value for name, value in fields.items()})
    return Request(address.method, f"{base_url}{path}?{query}" if query else base_url + path, None)


def _renamed(content: bytes, names: Mapping[str, str]) -> bytes:
    """Call fields by the names that the address gives them."""
    body = json.loads(content)
    return json.dumps({names.get(name, name): value for name, value in body.items()}).encode()


def decode(
    operation: Operation[ResultT_co], status: int, headers: Mapping[str, str], content: bytes, host: str
) -> ResultT_co:
    """Return the result in a response, or raise the error that it stands for."""
    body = _json(content)
    if status in {200, 201}:
        return _result(operation, headers, body, host)
    raise _error(operation, status, headers, body, host)


def _result(
    operation: Operation[ResultT_co], headers: Mapping[str, str], body: dict[str, Any] | None, host: str
) -> ResultT_co:
    try:
        return cast("ResultT_co", operation.result.model_validate(body))
    except ValidationError as error:
        detail = f"{host} answered {type(operation).__name__} with something that cannot be read"
        if headers.get("Content-Type", "").startswith("application/json"):
            # It did carry the operation out, or a proxy cut the answer: asking again tells.
            raise OutcomeUnknownError(f"{detail} ({error.error_count()} fields do not fit).") from None
        raise UnexpectedResponseError(f"{detail}: {_WRONG_PLACE}") from None


def transport_error(error: Exception, host: str, *, sent: bool) -> CreditError:
    """Return what a failure of the connection means: once sent, a request may have been carried out."""
    reason = reason_of(error)
    if sent:
        return OutcomeUnknownError(f"The connection to {host} was lost before it answered ({reason}).")
    return UnavailableError(f"{host} cannot be reached ({reason}){_NEXT_STEPS.get(reason, _LOOK_FURTHER)}")


def explained(error: NotAuthenticatedError, credential: Credential) -> NotAuthenticatedError:
    """Return the error saying where the credential came from, or how to give one."""
    if isinstance(error, TokenExpiredError):
        return error
    return type(error)(f"{error.detail} {credential.advice}".rstrip(), request_id=error.request_id)


def too_large(host: str) -> CreditError:
    """Return the error for a response that is larger than any of this protocol."""
    return UnexpectedResponseError(f"{host} answered with more than {LARGEST_RESPONSE_BYTES} bytes.")


def too_slow(host: str) -> CreditError:
    """Return the error for a response that does not end in time."""
    return OutcomeUnknownError(f"{host} did not finish its answer in time.")


def _error(
    operation: Operation[Any], status: int, headers: Mapping[str, str], body: dict[str, Any] | None, host: str
) -> CreditError:
    retry_after = _retry_after(headers.get("Retry-After"))
    request_id = headers.get(REQUEST_ID_HEADER)
    if body is not None:
        known = error_from_problem({"request_id": request_id, **body, "retry_after": retry_after})
        if known is not None:
            return known
        if status < _SERVER_ERROR and isinstance(body.get("detail"), str) and "code" in body:
            # A reason that a newer server gives, in its own words.
            return MalformedRequestError(body["detail"], request_id=request_id)
    if isinstance(operation, PlaceHold | PlaceBalanceHold) and status in {404, 405, 501}:
        return HoldsUnsupportedError(f"The server at {host} knows no holds.")
    return _unexplained(status, retry_after, request_id, host)


def _unexplained(status: int, retry_after: float | None, request_id: str | None, host: str) -> CreditError:
    """Return the error for a status without a problem body of ours: a proxy's, or another server's."""
    detail = f"{host} answered with status {status} and no explanation."
    figures = {"retry_after": retry_after, "request_id": request_id}
    kind = _ERRORS_BY_STATUS.get(status)
    if kind is not None:
        return kind.of_figures(detail, figures)
    if status >= _SERVER_ERROR:
        return OutcomeUnknownError.of_figures(detail, figures)
    return UnexpectedResponseError(
        f"{host} answered with status {status}, and not as the credits API does: {_WRONG_PLACE}",
        request_id=request_id,
    )


def _json(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object, its amounts never passing through a binary float; None for anything else."""
    try:
        body = json.loads(content, parse_float=Decimal, object_hook=_with_plain_metadata)
    except (ValueError, RecursionError, InvalidOperation):
        return None
    return body if isinstance(body, dict) else None


def _with_plain_metadata(members: dict[str, Any]) -> dict[str, Any]:
    """Make metadata, and what the audit shows, plain JSON again, which knows no `Decimal`."""
    for name in _METADATA & members.keys():
        members[name] = _plain(members[name])
    return members


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for (RFC 9110 section 10.2.3), within bounds."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else _seconds_until(value)
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _seconds_until(value: str) -> float:
    moment = parsedate_to_datetime(value)
    return (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()
