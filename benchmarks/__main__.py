"""Run benchmarks, print a table and keep the figures as JSON.

python -m benchmarks                                    # all of them
python -m benchmarks p5 p6 --rounds 7 --json out.json   # some
python -m benchmarks --keep                             # and docs/performance.md is made of them
python -m benchmarks report                             # make that page anew
python -m benchmarks --list
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import FEWEST_ROUNDS, ROUNDS, Figure
from benchmarks.registry import chosen
from benchmarks.report import KEPT, RESULTS, number
from benchmarks.report import write as write_report
from benchmarks.running import keep, machine, measure, pressure
from benchmarks.setting import served

WIDTH = 160


def main() -> None:
    """Measure, and check at the end that no figure cost a guarantee."""
    if sys.argv[1:] == ["report"]:
        write_report()
        return
    arguments = _arguments()
    benchmarks = chosen(arguments.names)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if arguments.list:
        for name, benchmark in benchmarks.items():
            console.print(f"{name:10} {benchmark.compares}: {benchmark.target}", soft_wrap=True)
        return
    table = Table("", "figure", "median", "spread", "target", "", "")
    with served() as setting:
        console.print(
            " · ".join(f"{name} {value}" for name, value in machine(setting, arguments.rounds).items())
        )

        def show(name: str, figure: Figure) -> None:
            console.print(f"{name}: {figure.name}: {number(figure.document(), 'value')}", style="dim")
            table.add_row(name, *_cells(figure))

        results = measure(benchmarks, setting, arguments.rounds, show)
    console.print(table)
    agree = "agree" if results["verified"] else "DO NOT AGREE"
    console.print(f"{results['charges']} charges; the books {agree}. {pressure()}.")
    if not results["verified"]:
        raise SystemExit(1)
    if arguments.keep:
        keep(results, KEPT)
        write_report()
    else:
        keep(results, arguments.json or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help="which benchmarks; all if none is named")
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, help=f"at least {FEWEST_ROUNDS}")
    parser.add_argument("--json", type=Path, help="the file that keeps the figures")
    parser.add_argument(
        "--keep", action="store_true", help="keep the figures, and put them into docs/performance.md"
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and measure nothing")
    arguments = parser.parse_args()
    try:
        chosen(arguments.names)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < FEWEST_ROUNDS:
        raise argparse.ArgumentTypeError(f"at least {FEWEST_ROUNDS} rounds make a median, not {rounds}")
    return rounds


def _cells(figure: Figure) -> tuple[str, ...]:
    document = figure.document()
    value, lowest, highest = (number(document, field) for field in ("value", "lowest", "highest"))
    spread = "" if lowest == highest else f"{lowest} to {highest}"
    return (figure.name, value, spread, figure.aim, figure.verdict, figure.note)


if __name__ == "__main__":
    main()
