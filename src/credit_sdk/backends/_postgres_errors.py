"""PostgreSQL's errors as ours. Only SQLSTATEs and the figures in DETAIL are read, never a message.

The one exception are failures to connect, for which libpq gives no SQLSTATE.
"""

import json
from decimal import Decimal
from typing import Any

import psycopg
import sqlalchemy.exc

from credit_sdk.backends._bounded import SilenceError
from credit_sdk.backends._reasons import postgres_reason
from credit_sdk.errors import (
    ConfigurationError,
    CreditError,
    OutcomeUnknownError,
    SchemaMissingError,
    UnavailableError,
    UnexpectedResponseError,
    error_from_problem,
)

_OWN_CLASS = "CR"

_STATE_MEANINGS: tuple[tuple[tuple[str, ...], type[CreditError], str], ...] = (
    (
        ("3F000", "42883", "42P01", "42703"),
        SchemaMissingError,
        "The database at {host} has no billing schema, or an older one; run `credits migrate` on it.",
    ),
    (
        ("42501",),
        ConfigurationError,
        "The database role at {host} may not use the ledger; grant it the role credits_app.",
    ),
    (
        ("26000", "42P05"),
        ConfigurationError,
        "A pooler before {host} loses what is prepared: make the engine with prepare_threshold=None.",
    ),
    (
        # After these the transaction is surely undone, so that sending it again is a plain retry. A migration
        # that gives a function another result stops the calls that it overtakes: 0A000, 42804, 42846.
        ("40001", "40P01", "55P03", "57014", "25006", "53", "0A000", "42804", "42846"),
        UnavailableError,
        "PostgreSQL at {host} could not finish the request now (SQLSTATE {state}).",
    ),
)

_CONNECTION_SIGNS: tuple[tuple[tuple[str, ...], type[CreditError], str], ...] = (
    (
        ("password authentication failed", "no password supplied"),
        ConfigurationError,
        "PostgreSQL at {host} refused the user or password of the database URL.",
    ),
    (
        ("does not exist",),
        ConfigurationError,
        "PostgreSQL at {host} has no such database or role; check the database URL.",
    ),
    (
        ("invalid response to", "expected authentication request"),
        UnexpectedResponseError,
        "What answers at {host} is not PostgreSQL.",
    ),
)


def connection_error(error: Exception, host: str) -> CreditError:
    """Return what a failure to connect to `host` means. Nothing was sent."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return UnavailableError(f"All connections to {host} are in use; raise pool_size or lower the load.")
    if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(error.orig, Exception):
        # SQLAlchemy says something itself on an engine's first connection.
        error = error.orig
    text = str(error)
    for signs, kind, sentence in _CONNECTION_SIGNS:
        if any(sign in text for sign in signs):
            return kind(sentence.format(host=host))
    if isinstance(error, psycopg.OperationalError):
        reason = postgres_reason(text)
        because = f" ({reason})" if reason else ""
        return UnavailableError(f"PostgreSQL at {host} cannot be reached{because}.")
    return ConfigurationError(f"The database URL of {host} cannot be used: {type(error).__name__}.")


def statement_error(error: psycopg.Error, host: str, scale: int) -> CreditError:
    """Return what a failed statement means."""
    state = error.sqlstate
    if isinstance(error, SilenceError):
        return OutcomeUnknownError(f"PostgreSQL at {host} did not answer in time.")
    if state is None:
        return OutcomeUnknownError(f"The connection to PostgreSQL at {host} was lost before it answered.")
    if state.startswith(_OWN_CLASS):
        return _refusal(error, scale)
    for states, kind, sentence in _STATE_MEANINGS:
        if state.startswith(states):
            return kind(sentence.format(host=host, state=state))
    # PostgreSQL stumbles over itself (XX000) where a migration overtakes a statement.
    if isinstance(error, psycopg.OperationalError) or state.startswith("XX"):
        return OutcomeUnknownError(f"PostgreSQL at {host} stopped the request (SQLSTATE {state}).")
    return UnexpectedResponseError(f"PostgreSQL at {host} refused the request (SQLSTATE {state}).")


def unexplained(error: psycopg.Error) -> psycopg.Error | None:
    """Return the error as the cause to show, unless it is a refusal, which explains itself."""
    return None if (error.sqlstate or "").startswith(_OWN_CLASS) else error


def _refusal(error: psycopg.Error, scale: int) -> CreditError:
    problem: dict[str, Any] = json.loads(error.diag.message_detail or "{}")
    for figure in ("required", "available"):
        if problem.get(figure) is not None:
            problem[figure] = Decimal(problem[figure]) / scale
    problem["detail"] = error.diag.message_primary
    return error_from_problem(problem) or UnexpectedResponseError(
        f"The database refused the request with SQLSTATE {error.sqlstate}, which this version does not know."
    )
