"""The commands that this package adds to `credits`: serve, migrate, run-due, token, and its parts'."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from credit_sdk.errors import NotFoundError
from credit_sdk.operations import crossapp
from credit_sdk.operations._base import OrgId, UserId
from reference_server import organization_commands as organizations
from reference_server import people_commands as people
from reference_server.alerting import commands as alerts
from reference_server.cells import commands as cells
from reference_server.command_arguments import Name, checked, checked_if_given
from reference_server.command_database import DatabaseUrl, given_url, one_line_errors, url_of
from reference_server.payments import commands as payments
from reference_server.transfer import commands as transfers

LONGEST_SESSION_SECONDS = 366 * 86_400


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command("migrate")(migrate_database)
    app.command("run-due")(run_due)
    app.command("archive")(archive)
    token = typer.Typer(help="Make sessions and API keys, on the database.", no_args_is_help=True)
    token.command("create-session")(create_session)
    token.command("create-key")(create_key)
    token.command("register-app")(register_application)
    token.command("rotate-keys")(rotate_keys)
    app.add_typer(token, name="token")
    organizations.register(app)
    people.register(app)
    transfers.register(app)
    payments.register(app)
    cells.register(app)
    alerts.register(app)


def serve(
    *,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            "--url",
            help="A postgresql:// URL; else DATABASE_URL, else an embedded PostgreSQL.",
            show_default=False,
        ),
    ] = None,
    data_directory: Annotated[
        Path, typer.Option(help="Where the embedded PostgreSQL keeps its data.", envvar="CREDITS_DATA_DIR")
    ] = Path(".data/credits"),
    host: Annotated[str | None, typer.Option(help="Where to listen; 127.0.0.1 by default.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="0 takes any free one; 8080 by default.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes.")] = 1,
    demo: Annotated[bool, typer.Option("--demo", help="Load the demonstration data.")] = False,
    allow_superuser: Annotated[
        bool, typer.Option("--allow-superuser", help="Serve although the database URL is a superuser's.")
    ] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write addresses and credentials there as JSON once it answers.")
    ] = None,
) -> None:
    """Run the server: migrate, listen, and stop cleanly at SIGTERM or Ctrl+C."""
    url = given_url(database_url)
    with one_line_errors(url):
        from reference_server import serving  # noqa: PLC0415 - the other commands need no server
        from reference_server.demo import BooksOfOthersError  # noqa: PLC0415

        given = {
            "database_url": url,
            "host": host,
            "port": port,
            "allow_superuser": allow_superuser or None,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        try:
            serving.serve(serving.Serving(data_directory, settings, workers, demo, ready_file))
        except BooksOfOthersError as error:
            typer.echo(f"credits: {error}", err=True)
            raise typer.Exit(2) from None


def migrate_database(
    database_url: DatabaseUrl = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be applied.")] = False,
) -> None:
    """Bring a database to this version's schema; one of the first system is adopted, with its rows."""
    url = url_of(database_url)
    with one_line_errors(url):
        from reference_server.adoption import AdoptionError  # noqa: PLC0415
        from reference_server.migrate import migrate  # noqa: PLC0415

        try:
            report = migrate(url, dry_run=dry_run)
        except AdoptionError as error:
            if dry_run:
                for reason in error.reasons:
                    typer.echo(f"Cannot be adopted: {reason}.")
            raise
    if report.adopted is not None:
        rows = ", ".join(f"{table} ({count})" for table, count in report.adopted.rows.items())
        typer.echo(f"{'Would adopt' if dry_run else 'Adopted'} {rows}; the old tables stay in first_system.")
        for note in report.adopted.notes:
            typer.echo(f"Note: {note}.")
    done = [*report.applied, *(["functions and views"] if report.repeatable_applied else [])]
    verb = "Would apply" if dry_run else "Applied"
    typer.echo(
        f"{verb} {', '.join(done)}." if done else f"Nothing to do: the schema is at version {report.version}."
    )


def run_due(
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Do what is due: expire holds, refresh pools, reset allocations, end or renew subscriptions, seal rows.

    The server does the same in the background. Safe to run late, twice and beside it.
    """
    url = url_of(database_url)
    with one_line_errors(url):
        from credit_sdk.backends.sql import SqlBackend  # noqa: PLC0415
        from reference_server.sweeping import do_all_due  # noqa: PLC0415

        backend = SqlBackend(url, pool_size=1)
        try:
            done = do_all_due(backend.execute)
        finally:
            backend.close()
    typer.echo(json.dumps(done) if as_json else _sentence(done))


def archive(
    before: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="A day or moment (UTC): what is older is archived.",
        ),
    ],
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="How many charges at once.")] = 1_000,
    database_url: DatabaseUrl = None,
) -> None:
    """Move the metadata of old, sealed charges into the archive, month by month.

    Safe to stop, to repeat and to run while everybody charges. Needs the owner of the tables.
    """
    url = url_of(database_url)
    with one_line_errors(url):
        from reference_server.archiving import archive_before  # noqa: PLC0415

        archived = archive_before(url, before.replace(tzinfo=UTC), batch)
    typer.echo(f"{archived} charges archived.")


def _sentence(done: dict[str, int]) -> str:
    parts = [f"{name.replace('_', ' ')} {count}" for name, count in done.items() if count]
    return f"Done: {', '.join(parts)}." if parts else "Nothing was due."


def create_session(
    user: Annotated[str, typer.Option(help="The user's id.")],
    system_admin: Annotated[bool, typer.Option("--system-admin", help="May do everything.")] = False,
    ttl: Annotated[
        int, typer.Option(min=1, max=LONGEST_SESSION_SECONDS, help="Seconds until it expires.")
    ] = 86_400,
    database_url: DatabaseUrl = None,
) -> None:
    """Open a session and print its token, once.

    The user must be known: a member of an organisation, or in the table of users. A system administrator
    need not be: somebody has to begin.
    """
    url = url_of(database_url)
    checked(UserId, user, "--user")
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415

        from reference_server.credentials import is_known, open_session  # noqa: PLC0415

        with psycopg.connect(url) as connection:
            if not system_admin and not is_known(connection, user):
                raise NotFoundError(f"The ledger knows no user {user!r}: no organisation has such a member.")
            lifetime = timedelta(seconds=ttl)
            token = open_session(connection, user, is_system_admin=system_admin, ttl=lifetime)
    typer.echo(token)


def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="What it may do; give it several times for more.")],
    org: Annotated[str | None, typer.Option(help="The only organisation; else all.")] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="A limit; else none.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create an API key and print it, once. Its id, by which it can have caps, goes to standard error."""
    from reference_server.callers import SCOPES  # noqa: PLC0415

    unknown = set(scope).difference(SCOPES)
    if unknown:
        raise typer.BadParameter(f"{min(unknown)!r} is not one of {', '.join(SCOPES)}.", param_hint="--scope")
    url = url_of(database_url)
    checked(Name, name, "--name")
    checked_if_given(OrgId, org, "--org")
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415

        from reference_server.credentials import create_api_key  # noqa: PLC0415

        with psycopg.connect(url) as connection:
            key_id = uuid4()
            limits: dict[str, Any] = {"org_id": org, "requests_per_minute": requests_per_minute}
            key = create_api_key(connection, name, scope, key_id=key_id, **limits)
    typer.echo(f"id {key_id}", err=True)
    typer.echo(key)


def register_application(
    *,
    app_id: Annotated[str, typer.Argument(help="What the application calls itself in requests.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    permission: Annotated[list[str], typer.Option(help="What it may do; give it several times for more.")],
    domain: Annotated[str | None, typer.Option(help="Where it lives.")] = None,
    key_required: Annotated[
        bool, typer.Option("--key-required", help="Refuse requests without the API key.")
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Register an application in which users log in, or change it, and print its new API key, once."""
    from reference_server.callers import APP_PERMISSIONS  # noqa: PLC0415

    unknown = set(permission).difference(APP_PERMISSIONS)
    if unknown:
        choices = ", ".join(APP_PERMISSIONS)
        raise typer.BadParameter(f"{min(unknown)!r} is not one of {choices}.", param_hint="--permission")
    url = url_of(database_url)
    checked(crossapp.AppId, app_id, "APP_ID")
    checked(Name, name, "--name")
    checked_if_given(Name, domain, "--domain")
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415

        from reference_server.credentials import register_app  # noqa: PLC0415

        with psycopg.connect(url) as connection:
            key = register_app(connection, app_id, name, permission, domain=domain, key_required=key_required)
    typer.echo(key)


def rotate_keys(database_url: DatabaseUrl = None) -> None:
    """Let a new key sign the sessions of applications' users; sessions of the old one end by themselves."""
    url = url_of(database_url)
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415

        from reference_server.credentials import rotate_signing_key  # noqa: PLC0415
        from reference_server.crossapp.tokens import SigningKey  # noqa: PLC0415

        new = SigningKey.new()
        with psycopg.connect(url) as connection:
            rotate_signing_key(connection, new.kid, new.private_key, new.public_key)
    typer.echo(f"Key {new.kid} signs from now on.")
