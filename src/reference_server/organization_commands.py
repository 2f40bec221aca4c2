"""The command that makes an organisation, on the database: all the rest about it is work for the API."""

from typing import Annotated

import typer

from credit_sdk.errors import ConflictError
from credit_sdk.operations import AddCredits, AddMember, GetPool, parse
from reference_server.command_arguments import Name, checked
from reference_server.command_database import DatabaseUrl, one_line_errors, url_of

_CREATE = "INSERT INTO organizations (id, name) VALUES (%s, %s)"


def register(app: typer.Typer) -> None:
    """Add the command."""
    organization = typer.Typer(help="Organisations, on the database.", no_args_is_help=True)
    # With one command alone, typer would leave its name out.
    organization.callback()(lambda: None)
    organization.command("create")(create_organization)
    app.add_typer(organization, name="organization")


def create_organization(
    org_id: Annotated[str, typer.Argument(help="Its id, for good: up to 36 characters.")],
    name: Annotated[str | None, typer.Option(help="Its name; else the id.", show_default=False)] = None,
    owner: Annotated[
        str | None, typer.Option(help="The id of a user who becomes its owner.", show_default=False)
    ] = None,
    credits: Annotated[
        str | None, typer.Option(help="Credits to begin its pool with.", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Make an organisation, all of it or nothing, and print its id."""
    url = url_of(database_url)
    # An id that nothing could be asked of is refused like one that is asked.
    parse(GetPool, {"org_id": org_id})
    called = org_id if name is None else checked(Name, name, "--name")
    wanted: list[AddMember | AddCredits] = []
    if owner is not None:
        wanted.append(parse(AddMember, {"org_id": org_id, "user_id": owner, "role": "owner"}))
    if credits is not None:
        wanted.append(parse(AddCredits, {"org_id": org_id, "credits": credits}))
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415

        from credit_sdk.backends.sql import SqlBackend  # noqa: PLC0415

        with psycopg.connect(url) as connection:
            try:
                connection.execute(_CREATE, [org_id, called])
            except psycopg.errors.UniqueViolation:
                raise ConflictError(f"There is an organisation {org_id} or one of that name.") from None
            books = SqlBackend(url).within(connection)
            for operation in wanted:
                books.execute(operation)
    typer.echo(org_id)
