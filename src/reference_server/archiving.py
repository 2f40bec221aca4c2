"""Move what old charges need no more out of their rows, in batches that nobody waits for."""

from datetime import datetime

import psycopg

from credit_sdk.errors import ConfigurationError


def archive_before(database_url: str, moment: datetime, batch: int) -> int:
    """Archive the charges that were created before a moment and are sealed; return how many.

    Each batch is a transaction of its own. Raises `ConfigurationError` if the URL's role may not.
    """
    archived = 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        try:
            while done := _archive(connection, moment, batch):
                archived += done
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigurationError(
                f"The role of the database URL may not archive ({error.diag.message_primary}): "
                "give the owner's URL."
            ) from error
    return archived


def _archive(connection: "psycopg.Connection[tuple[int]]", moment: datetime, batch: int) -> int:
    row = connection.execute("SELECT ledger.archive(%s, %s)", [moment, batch]).fetchone()
    return row[0] if row else 0
