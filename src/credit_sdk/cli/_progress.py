"""How far long work has come: on a terminal, beside the output, and gone when it is done."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

T = TypeVar("T")


def counted(items: Iterable[T], doing: str) -> Iterator[T]:
    """Pass items through and show how many there were: how many will come is not known."""
    with counting(doing) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def counting(doing: str) -> Iterator[Callable[[], None]]:
    """Show how often the function that this yields was called: how often it will be is not known."""
    with _progress(TextColumn("{task.completed:,.0f}")) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda: progress.advance(task)


def read_lines(file: IO[str], size: int, doing: str) -> Iterator[str]:
    """Pass the lines of a file through and show how much of it is read. `size` is in bytes."""
    with _progress(BarColumn(), TextColumn("{task.percentage:>3.0f}%")) as progress:
        task = progress.add_task(doing, total=size)
        for line in file:
            yield line
            progress.advance(task, len(line.encode()))


@contextmanager
def busy(doing: str) -> Iterator[None]:
    """Show that something is under way of which nobody knows how long it takes."""
    with _progress() as progress:
        progress.add_task(doing, total=None)
        yield


def _progress(*columns: BarColumn | TextColumn) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *columns,
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


__all__ = ["busy", "counted", "counting", "read_lines"]
