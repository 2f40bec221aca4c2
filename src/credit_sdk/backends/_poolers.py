"""Poolers such as PgBouncer, which give every transaction whichever session is free.

What is said at the beginning of a session is lost there: settings, and statements that were prepared.
"""

from typing import Any

import psycopg

from credit_sdk.errors import ConfigurationError

ASK_SESSION = "SELECT pg_backend_pid()"
_REFUSED = "unsupported startup parameter"


def refuses_settings(error: psycopg.OperationalError) -> bool:
    """Whether a connection failed because a pooler takes no settings."""
    return _REFUSED in str(error)


def is_between(connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]", answer: Any) -> bool:
    """Whether a pooler is in between, by what `ASK_SESSION` answers.

    PostgreSQL names its own process when it is connected to; a pooler cannot know it yet.
    """
    return bool(answer != (connection.info.backend_pid,))


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler is between here and PostgreSQL."""
    return is_between(connection, connection.execute(ASK_SESSION).fetchone())


def lost_settings(options: str) -> ConfigurationError:
    """Return what is wrong with a URL whose own settings a pooler does not pass on."""
    return ConfigurationError(
        f"The database URL has options={options!r}, which the pooler between here and PostgreSQL does not "
        "pass on. Leave it out, and give the role its settings (ALTER ROLE ... SET ...); for a server, log "
        "in with a role of its own and set CREDITS_DATABASE_ROLE to nothing."
    )
