"""The rights that a server logs in with: those of an application, and no more.

Neither row-level security nor a revoked right holds for a superuser, whatever role it acts as: one
statement takes it back.
"""

import logging
import secrets

import psycopg
from psycopg import sql

from credit_sdk.backends._poolers import is_pooled
from credit_sdk.errors import ConfigurationError

logger = logging.getLogger(__name__)

APPLICATION = "credits_app"
SERVER = "credits_server"

_STRONGEST = """
    SELECT session_user::text, rolname::text, rolsuper
    FROM pg_roles
    WHERE (rolsuper OR rolbypassrls) AND pg_has_role(session_user, oid, 'MEMBER')
    ORDER BY rolname = session_user DESC, rolname
    LIMIT 1
"""
_OWNS = """
    SELECT pg_get_userbyid(relowner) FROM pg_class
    WHERE oid = to_regclass('public.credit_holds') AND pg_has_role(session_user, relowner, 'MEMBER')
"""
_PLAIN = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"


def refuse_superuser(database_url: str) -> None:
    """Raise `ConfigurationError` if the URL logs in as somebody whom no right in the database stops."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = connection.execute(_STRONGEST).fetchone()
    if found is None:
        return
    login, role, is_superuser = found
    who = f"the role {login}, which" if role == login else f"the role {login}, which may become {role}, which"
    raise ConfigurationError(
        f"The database URL logs in as {who} {'is a superuser' if is_superuser else 'bypasses row security'}: "
        "no right in the database would hold for the server. Run `credits migrate` as the owner, then "
        f"CREATE ROLE {SERVER} LOGIN PASSWORD '...' IN ROLE {APPLICATION}; and serve with its URL, "
        "or give --allow-superuser."
    )


def refuse_owner_behind_pooler(database_url: str) -> None:
    """Raise `ConfigurationError` if the URL logs in as the owner of the tables, through a pooler.

    There the server cannot leave those rights behind: a pooler takes no role for a session.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = connection.execute(_OWNS).fetchone()
        if found is not None and is_pooled(connection):
            raise ConfigurationError(
                f"The database URL logs in as {found[0]}, which owns the tables, and through a pooler the "
                f"server cannot leave those rights behind: CREATE ROLE {SERVER} LOGIN PASSWORD '...' IN ROLE "
                f"{APPLICATION}; and serve with its URL, or give --allow-superuser."
            )


def warn_of_owner(database_url: str) -> None:
    """Say so if the URL logs in as the owner of the tables: what the server drops it could take back."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = connection.execute(_OWNS).fetchone()
    if found is not None:
        logger.warning(
            "The database URL logs in as %s, which owns the tables: the server acts as %s, but could take "
            "those rights back. A role of its own is safer: CREATE ROLE %s LOGIN PASSWORD '...' IN ROLE %s;",
            found[0],
            APPLICATION,
            SERVER,
            APPLICATION,
        )


def role_to_act_as(database_url: str, role: str) -> str:
    """Return the role that sessions of a URL begin in; nothing through a pooler, which passes none on."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        return "" if is_pooled(connection) else role


def least_privileged(owner_url: str) -> str:
    """Make the server's login role at a migrated database, with a fresh password; return its URL."""
    password = secrets.token_urlsafe(32)
    with psycopg.connect(owner_url, autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [SERVER]).fetchone()
        statement = sql.SQL("{} ROLE {} {} PASSWORD {}").format(
            sql.SQL("CREATE" if known is None else "ALTER"),
            sql.Identifier(SERVER),
            sql.SQL(_PLAIN),
            # Not the password itself: what is executed may be logged.
            sql.Literal(_verifier(connection, password)),
        )
        connection.execute(statement)
        connection.execute(
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(APPLICATION), sql.Identifier(SERVER))
        )
        fields = connection.info
        return f"postgresql://{SERVER}:{password}@{fields.host}:{fields.port}/{fields.dbname}"


def _verifier(connection: psycopg.Connection[tuple[object, ...]], password: str) -> str:
    return connection.pgconn.encrypt_password(password.encode(), SERVER.encode(), b"scram-sha-256").decode()
