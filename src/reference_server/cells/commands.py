"""`credits cells`: what lives where, new organisations, and moves."""

import json
import os
from typing import Annotated

import typer

from credit_sdk.errors import ConfigurationError
from credit_sdk.operations import _base
from reference_server.cells.naming import HOME, Cell, parse_cells
from reference_server.command_arguments import Name, checked
from reference_server.command_database import DatabaseUrl, one_line_errors, url_of

Cells = Annotated[
    str | None,
    typer.Option(
        "--cells",
        help="The other databases, as their owners: b=postgresql://... c=... (or CREDITS_CELLS).",
        show_default=False,
    ),
]
OrgId = Annotated[str, typer.Argument(help="The organisation.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    cells = typer.Typer(help="Organisations in several databases.", no_args_is_help=True)
    cells.command("list")(list_cells)
    cells.command()(add)
    cells.command()(move)
    app.add_typer(cells, name="cells")


def list_cells(
    database_url: DatabaseUrl = None,
    cells: Cells = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the cells, how many organisations live in each, and how many of them are moving."""
    named = _cells(database_url, cells)
    with one_line_errors(named[HOME].url):
        import psycopg  # noqa: PLC0415

        from reference_server.cells.placing import counts  # noqa: PLC0415

        with psycopg.connect(named[HOME].url) as home:
            there = counts(home)
    rows = [
        {"cell": name, "weight": named[name].weight if name in named else None}
        | dict(zip(("organizations", "moving"), there.get(name, (0, 0)), strict=True))
        for name in [*named, *sorted(there.keys() - named.keys())]
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        weight = "not named here" if row["weight"] is None else f"weight {row['weight']}"
        typer.echo(f"{row['cell']}: {row['organizations']} organisations, {row['moving']} moving, {weight}")


def add(
    org_id: OrgId,
    name: Annotated[str, typer.Argument(help="What it is called.", show_default=False)],
    cell: Annotated[str | None, typer.Option("--cell", help="Where; else where most room is.")] = None,
    database_url: DatabaseUrl = None,
    cells: Cells = None,
) -> None:
    """Make an organisation, in the cell with the fewest for its weight."""
    named = _cells(database_url, cells)
    checked(_base.OrgId, org_id, "ORG_ID")
    checked(Name, name, "NAME")
    with one_line_errors(named[HOME].url):
        from reference_server.cells.placing import add_organization  # noqa: PLC0415

        chosen = add_organization(named, org_id, name, cell)
    typer.echo(f"{org_id} lives in {chosen}.")


def move(
    org_id: OrgId,
    cell: Annotated[str, typer.Argument(help="Where it goes.", show_default=False)],
    database_url: DatabaseUrl = None,
    cells: Cells = None,
) -> None:
    """Move an organisation with all its books, while it is charged.

    Charges are refused, to be sent again, while the books are copied. If this is interrupted, do it again; or
    move it to where it was, which takes it back.
    """
    named = _cells(database_url, cells)
    with one_line_errors(named[HOME].url):
        from reference_server.cells.moving import move_organization  # noqa: PLC0415

        urls = {name: each.url for name, each in named.items()}
        source = move_organization(urls, org_id, cell, reached=lambda step: typer.echo(step, err=True))
    typer.echo(f"{org_id} stays in {cell}." if source == cell else f"{org_id} moved from {source} to {cell}.")


def _cells(database_url: str | None, text: str | None) -> dict[str, Cell]:
    from reference_server.database_urls import libpq_url  # noqa: PLC0415

    home = Cell(HOME, url_of(database_url))
    try:
        others = parse_cells(os.environ.get("CREDITS_CELLS", "") if text is None else text)
    except ValueError as error:
        raise ConfigurationError(f"CREDITS_CELLS {error}.") from None
    return {HOME: home} | {
        name: Cell(name, libpq_url(cell.url), cell.weight) for name, cell in others.items()
    }
