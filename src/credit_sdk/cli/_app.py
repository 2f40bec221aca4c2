"""The command line: exit code 0 done, 1 refused or failed (one line says why), 2 wrong usage."""

import sys
from importlib.metadata import entry_points

import typer

from credit_sdk.cli import _ledger
from credit_sdk.errors import CreditError

COMMANDS = "credit_sdk.commands"
"""The entry-point group from which other packages, such as the server, add their commands."""


def application() -> typer.Typer:
    """Return the command line with the commands of every installed package."""
    app = typer.Typer(
        name="credits",
        help="Prepaid credits: look at the books, check them, run the server.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    _ledger.register(app)
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
