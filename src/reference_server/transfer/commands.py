"""The commands that take an organisation out of a database and into another."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from credit_sdk.errors import ConfigurationError
from reference_server.command_database import DatabaseUrl, one_line_errors, url_of

if TYPE_CHECKING:
    from reference_server.transfer.lines import Contents

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export")(export_books)
    app.command("import")(import_books)


def export_books(
    org_id: Annotated[str, typer.Argument(help="The organisation.")],
    file: Annotated[Path, typer.Argument(help="Where to write; it is there when all is written.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write everything of one organisation to a file, as it is at one moment.

    Charges go on meanwhile. The file has digests of the organisation's API keys: keep it as you keep backups.
    """
    url = url_of(database_url)
    from credit_sdk.cli._progress import counting  # noqa: PLC0415

    if file.exists() and not force:
        raise ConfigurationError(f"{file} is there already; --force replaces it.")
    with one_line_errors(url), _replacing(file) as out, counting(f"Exporting {org_id}") as advance:
        import psycopg  # noqa: PLC0415

        from reference_server.transfer.exporting import export_organization  # noqa: PLC0415

        # A pooler gives the session, with what is prepared in it, to others.
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            contents = export_organization(connection, org_id, out, advance=advance)
    _report(f"Exported {org_id}", org_id, contents, as_json=as_json)


def import_books(
    file: Annotated[Path, typer.Argument(help="What `credits export` wrote.")],
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write one organisation from a file into a database that does not know it.

    All of it or nothing: digests, balances and chain are checked before anybody sees it.
    """
    url = url_of(database_url)
    from credit_sdk.cli._progress import counting  # noqa: PLC0415

    with one_line_errors(url), _reading(file) as lines, counting(f"Importing {file.name}") as advance:
        import psycopg  # noqa: PLC0415

        from reference_server.transfer.importing import import_organization  # noqa: PLC0415

        # A pooler gives the session, with what is prepared in it, to others.
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            org_id, contents = import_organization(connection, lines, advance=advance)
    _report(f"Imported {org_id}", org_id, contents, as_json=as_json)


def _report(sentence: str, org_id: str, contents: "Contents", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"org_id": org_id} | contents.model_dump(mode="json")))
        return
    end = contents.head
    chain = f"chain head {end.digest} at {end.sequence}" if end.sequence else "nothing sealed yet"
    typer.echo(f"{sentence}: {contents.rows:,} rows of {len(contents.tables)} tables, {chain}.")


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """Write a file beside `path`, for this account's eyes, and put it in its place when all went well."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


@contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8") as lines:
            yield lines
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {path}; `credits export` writes one.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is no text: is it what `credits export` wrote?") from None
