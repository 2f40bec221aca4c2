"""What the commands share that work on a database: its URL, errors of one line, and rows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from credit_sdk.errors import ConfigurationError, ValidationFailedError

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url", "--url", help="A postgresql:// URL; else DATABASE_URL.", show_default=False
    ),
]


def given_url(option: str | None) -> str | None:
    """Return the checked URL of the option, else of the environment; an empty option is a mistake."""
    require_extra()
    from reference_server.database_urls import libpq_url  # noqa: PLC0415 - of the extra

    url = os.environ.get("DATABASE_URL") or None if option is None else option
    return None if url is None else libpq_url(url)


def url_of(option: str | None) -> str:
    """Return the checked URL; raises `ConfigurationError` if none is given."""
    url = given_url(option)
    if url is None:
        raise ConfigurationError("Give --database-url, or DATABASE_URL.")
    return url


def require_extra() -> None:
    """Raise `ConfigurationError` where the extra `server` is not installed."""
    try:
        import psycopg  # noqa: F401, PLC0415 - whether it is there

        from reference_server import embedded  # noqa: F401, PLC0415 - likewise
    except ImportError as error:
        raise ConfigurationError(
            f"This command needs an extra: pip install 'credit-sdk[server]' ({error})."
        ) from None


@contextmanager
def one_line_errors(url: str | None) -> Iterator[None]:
    """Turn what may go wrong outside of this program into one line; PostgreSQL's own words stay there."""
    import psycopg  # noqa: PLC0415 - of the extra, as all of these

    from reference_server.adoption import AdoptionError  # noqa: PLC0415 - likewise
    from reference_server.database_urls import database_error  # noqa: PLC0415 - likewise
    from reference_server.embedded import EmbeddedPostgresError  # noqa: PLC0415 - likewise
    from reference_server.migrate import MigrationError  # noqa: PLC0415 - likewise
    from reference_server.transfer.lines import TransferError  # noqa: PLC0415 - likewise

    try:
        yield
    except psycopg.Error as error:
        raise database_error(error, url) from None
    except UnicodeEncodeError:
        raise ValidationFailedError("An argument is no text in UTF-8.") from None
    except (AdoptionError, TransferError, EmbeddedPostgresError, MigrationError, OSError) as error:
        raise ConfigurationError(str(error).strip().partition("\n")[0]) from None


def rows_of(database_url: str | None, statement: str, *parameters: object) -> list[dict[str, Any]]:
    """Return the rows of a statement, which the owner of the database runs in its own transaction."""
    url = url_of(database_url)
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415 - of the extra, as in all commands
        from psycopg.rows import dict_row  # noqa: PLC0415

        with psycopg.connect(url, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []
