"""The commands that make users and give them passwords, on the database."""

import sys
from typing import Annotated

import typer

from credit_sdk.errors import ConflictError, NotFoundError, ValidationFailedError
from credit_sdk.operations import crossapp
from credit_sdk.operations._base import UserId, storable_text
from reference_server.command_arguments import Name, NewEmail, checked, checked_if_given
from reference_server.command_database import DatabaseUrl, one_line_errors, url_of

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1_024

_CREATE = (
    "INSERT INTO users (email, name, subject, user_type) VALUES (%s, %s, %s, %s)"
    " RETURNING ledger.user_name(users)"
)
_SET_PASSWORD = "UPDATE users SET password_hash = %s WHERE email = %s RETURNING id, ledger.user_name(users)"  # noqa: S105 - SQL
_END_SESSIONS = (
    "UPDATE auth_sessions SET revoked_at = ledger.now()"
    " WHERE user_id = %s AND revoked_at IS NULL AND expires_at > ledger.now()"
)
_END_APP_SESSIONS = (
    "UPDATE cross_app_sessions SET revoked_at = ledger.now()"
    " WHERE user_id = %s AND coalesce(revoked_at, 'infinity') > ledger.now() AND expires_at > ledger.now()"
)
Email = Annotated[str, typer.Argument(help="The user's email, as they write it when they log in.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    user = typer.Typer(help="Users and their passwords, on the database.", no_args_is_help=True)
    user.command("create")(create_user)
    user.command("set-password")(set_password)
    app.add_typer(user, name="user")


def create_user(
    email: Email,
    name: Annotated[str | None, typer.Option(help="What people call them.", show_default=False)] = None,
    user_id: Annotated[
        str | None,
        typer.Option("--id", help="Their id in an identity provider; else a number.", show_default=False),
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="A system administrator.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a user, with no credits and no password yet, and print their id."""
    url = url_of(database_url)
    fields = [
        checked(NewEmail, email, "EMAIL"),
        checked_if_given(Name, name, "--name"),
        checked_if_given(UserId, user_id, "--id"),
        "admin" if admin else "customer",
    ]
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415

        with psycopg.connect(url) as connection:
            try:
                row = connection.execute(_CREATE, fields).fetchone()
            except psycopg.errors.UniqueViolation:
                raise ConflictError(f"There is a user {email} (or one with that id) already.") from None
            except psycopg.errors.CheckViolation:
                raise ValidationFailedError(
                    f"--id: {user_id!r} is digits only; such ids are the database's own."
                ) from None
    typer.echo(row[0] if row else "")


def set_password(email: Email, database_url: DatabaseUrl = None) -> None:
    """Give a user a password for the dashboard and for applications; asks for it, or reads a line.

    What they are logged in with ends. Never an argument: those are seen by everybody on the machine.
    """
    url = url_of(database_url)
    checked(crossapp.Email, email, "EMAIL")
    with one_line_errors(url):
        import psycopg  # noqa: PLC0415

        from reference_server.passwords import hash_password  # noqa: PLC0415

        password_hash = hash_password(_password())
        with psycopg.connect(url) as connection:
            row = connection.execute(_SET_PASSWORD, [password_hash, email]).fetchone()
            if row is None:
                raise NotFoundError(f"There is no user {email}: `credits user create {email}` makes one.")
            connection.execute(_END_SESSIONS, [row[1]])
            connection.execute(_END_APP_SESSIONS, [row[0]])
    typer.echo(f"{email} has a new password.")


def _password() -> str:
    """Ask for a password without showing it; where nobody sits, read a line of standard input."""
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            password = sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError:
            raise ValidationFailedError("The password must be text in UTF-8.") from None
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValidationFailedError(
            f"The password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; "
            f"{len(password)} were given."
        )
    try:
        return storable_text(password)
    except ValueError as error:
        raise ValidationFailedError(f"The password {error}.") from None
