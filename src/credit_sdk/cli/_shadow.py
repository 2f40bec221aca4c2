"""`credits shadow`: books beside the old code, what they found, and the balances of both."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from credit_sdk.amounts import to_number
from credit_sdk.cli._options import AsJson
from credit_sdk.errors import ConfigurationError

Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="The file; else CREDIT_SDK_SHADOW_REPORT or the user's state folder.",
        show_default=False,
    ),
]
Books = Annotated[str, typer.Option("--url", help="The copy, as its owner: postgresql://...")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    shadow = typer.Typer(help="Run the ledger beside code that charges by hand.", no_args_is_help=True)
    shadow.command()(begin)
    shadow.command()(end)
    shadow.command()(report)
    shadow.command()(compare)
    app.add_typer(shadow, name="shadow")


def begin(url: Books) -> None:
    """Mark a migrated copy as books that nobody pays from, so that a shadow takes from them."""
    _mark(url, "SET credits.shadow = 'on'")
    print("Marked: new connections may charge these books as a shadow.")


def end(url: Books) -> None:
    """Take the mark away, before anybody pays from these books."""
    _mark(url, "RESET credits.shadow")
    print("The mark is gone: no shadow takes from these books.")


def report(report: Report = None, as_json: AsJson = False) -> None:
    """Show what was compared and where the two differ. Exit code 1 if they do."""
    from credit_sdk.shadow import ReportFile  # noqa: PLC0415

    found = ReportFile(report).read()
    if as_json:
        print(found.model_dump_json())
    else:
        if found.differences:
            from credit_sdk.cli._tables import show_table  # noqa: PLC0415

            columns = ("kind", "service_type", "count", "last_at", "old", "new", "account", "request_id")
            rows = [[getattr(one, column) for column in columns] for one in found.differences]
            show_table([column.replace("_", " ") for column in columns], rows)
        print(
            f"{found.compared} compared, {found.agreed} agreed, {found.failed} without an answer, "
            f"{found.dropped} dropped."
        )
    raise typer.Exit(1 if found.differences else 0)


def compare(
    old: Annotated[str, typer.Option("--old", help="The database of the old code, postgresql://...")],
    new: Annotated[str, typer.Option("--new", help="That of the ledger.")],
    as_json: AsJson = False,
) -> None:
    """Compare every balance of two databases. Exit code 1 if one differs."""
    from credit_sdk.shadow import compare_balances  # noqa: PLC0415

    with _one_line_errors(old), _one_line_errors(new):
        found = compare_balances(_libpq(old), _libpq(new))
    if as_json:
        print(json.dumps(asdict(found), default=to_number))
    else:
        if found.differences:
            from credit_sdk.cli._tables import show_table  # noqa: PLC0415

            rows = [(one.kind, one.owner, one.old, one.new) for one in found.differences]
            show_table(("balance", "of", "old", "new"), rows)
        print(f"{found.compared} balances compared, {found.differing} differ.")
    raise typer.Exit(1 if found.differing else 0)


def _mark(url: str, change: str) -> None:
    with _one_line_errors(url):
        import psycopg  # noqa: PLC0415
        from psycopg import sql  # noqa: PLC0415

        with psycopg.connect(_libpq(url), autocommit=True) as connection:
            if connection.execute("SELECT to_regnamespace('ledger')").fetchone() == (None,):
                raise ConfigurationError(
                    "This database has no ledger yet; run `credits migrate` on the copy."
                )
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("ALTER DATABASE {} {}").format(name, sql.SQL(change)))


def _libpq(url: str) -> str:
    from credit_sdk.backends.sql import database_url  # noqa: PLC0415

    return database_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@contextmanager
def _one_line_errors(url: str) -> Iterator[None]:
    import psycopg  # noqa: PLC0415

    from credit_sdk.backends._postgres_errors import connection_error, statement_error  # noqa: PLC0415
    from credit_sdk.backends.sql import database_url, host_of  # noqa: PLC0415

    try:
        yield
    except psycopg.Error as error:
        host = host_of(database_url(url))
        raise (statement_error(error, host, 1) if error.sqlstate else connection_error(error, host)) from None


__all__ = ["register"]
