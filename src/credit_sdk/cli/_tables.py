"""Tables on a terminal, and the same columns in a file or a pipe."""

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from credit_sdk.amounts import format_credits

_WIDTH_OF_A_FILE = 400


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under their headings; numbers stand at the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    listed = [tuple(row) for row in rows]
    for position, column in enumerate(columns):
        is_number = any(isinstance(row[position], Decimal | int) for row in listed)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in listed:
        table.add_row(*(_text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE, highlight=False, markup=False).print(
        table
    )


def _text(cell: object) -> str:
    if isinstance(cell, Decimal):
        return format_credits(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    return "" if cell is None else str(cell)
