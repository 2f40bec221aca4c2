"""The command line: exit code 0 done, 1 refused or failed (one line says why), 2 wrong usage."""

import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from credit_sdk.cli import (
    _chain,
    _doctor,
    _granting,
    _ledger,
    _outbox,
    _reconcile,
    _shadow,
    _spending,
    _usage,
)
from credit_sdk.errors import CreditError

COMMANDS = "credit_sdk.commands"
"""The entry-point group from which other packages, such as the server, add their commands."""


def application() -> typer.Typer:
    """Return the command line with the commands of every installed package."""
    app = typer.Typer(
        name="credits",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_start)
    _ledger.register(app)
    _spending.register(app)
    _granting.register(app)
    _usage.register(app)
    _outbox.register(app)
    _chain.register(app)
    _reconcile.register(app)
    _shadow.register(app)
    _doctor.register(app)
    for entry_point in entry_points(group=COMMANDS):
        entry_point.load()(app)
    return app


def main() -> None:
    """Run the command line."""
    try:
        application()()
    except CreditError as error:
        print(f"credits: {error}", file=sys.stderr)
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"credits {version('credit-sdk')}")
        raise typer.Exit


def _start(
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Prepaid credits: look at the books, check them, run the server."""
