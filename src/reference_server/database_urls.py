"""The database URL that an operator gives: checked, never repeated, and named in errors by its host."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from credit_sdk.amounts import MILLICREDITS_PER_CREDIT
from credit_sdk.backends._postgres_errors import connection_error, statement_error
from credit_sdk.errors import ConfigurationError, CreditError

_NAME = "The database URL (--database-url or DATABASE_URL)"


def libpq_url(url: str) -> str:
    """Return a database URL as libpq reads it, without a driver; raise `ConfigurationError` for none."""
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ConfigurationError(f"{_NAME} must start with postgresql://.")
    bare = f"postgresql://{rest}"
    try:
        conninfo_to_dict(bare)
    except psycopg.Error:
        raise ConfigurationError(
            f"{_NAME} cannot be read; it looks like postgresql://user:password@host:5432/database."
        ) from None
    return bare


def database_error(error: psycopg.Error, url: str | None) -> CreditError:
    """Return what a failure on the database of a URL means; without one it is the embedded one."""
    host = _host_of(url) if url else "the embedded socket"
    if error.sqlstate is None:
        return connection_error(error, host)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return ConfigurationError(
            f"The role of the database URL ({host}) may not do this; give the URL of the role that owns the "
            "tables."
        )
    return statement_error(error, host, MILLICREDITS_PER_CREDIT)


def _host_of(url: str) -> str:
    parts = conninfo_to_dict(url)
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
