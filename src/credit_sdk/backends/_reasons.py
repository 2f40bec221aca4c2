"""Why a connection failed, in a few words: of the operating system, of the resolver, of TLS."""

import os
import socket
import ssl

_POSTGRES_SIGNS: tuple[tuple[str, str], ...] = (
    ("Connection refused", "connection refused"),
    ("resolve host", "the name is not known"),
    ("could not translate host name", "the name is not known"),
    ("No such file or directory", "there is no such socket"),
    ("timeout expired", "no answer in time"),
    ("certificate", "TLS: the certificate is not trusted"),
    ("SSL", "TLS failed"),
    ("too many clients", "it has too many clients"),
    ("remaining connection slots", "it has too many clients"),
    ("starting up", "it is starting"),
    ("shutting down", "it is stopping"),
)


def reason_of(error: BaseException) -> str:
    """Return what the first cause of a failed request says; no address and no secret is part of it."""
    cause = _first_cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {(cause.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.errno:
        # What the resolver says has a number of its own; elsewhere the text may hold an address.
        is_resolver = isinstance(cause, socket.gaierror) or cause.errno < 0
        text = str(cause.strerror).partition(" (")[0] if is_resolver else os.strerror(cause.errno)
        return text.lower()
    return type(error).__name__


def postgres_reason(text: str) -> str | None:
    """Return what libpq's words about a failed connection come to, if they are known."""
    return next((reason for sign, reason in _POSTGRES_SIGNS if sign in text), None)


def _first_cause(error: BaseException) -> BaseException:
    causes = [error]
    # A chain of causes may lead back to itself.
    while (cause := _cause_of(causes[-1])) is not None and cause not in causes:
        causes.append(cause)
    return causes[-1]


def _cause_of(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    # httpcore says `from None`, but keeps the cause as its argument. What else the caller was handling
    # (the context) is no cause.
    wrapped = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    return error.__cause__ or wrapped
