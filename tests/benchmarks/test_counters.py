"""What a charge costs where it can be counted: round trips, flushes, rows, log, modules. No times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from benchmarks import counters, imports
from benchmarks.growth import QUESTIONS, fill
from benchmarks.measuring import FEWEST_ROUNDS

if TYPE_CHECKING:
    from benchmarks.measuring import Figure
    from benchmarks.setting import Setting
    from tests.conftest import MakeDatabase

SHORT, LONG = 2_000, 40_000
READ = """SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
WHERE relname = 'credit_usage_attribution'"""


def missed(figures: list[Figure]) -> list[Figure]:
    return [figure for figure in figures if figure.target is not None and figure.verdict != "met"]


def test_a_charge_costs_what_it_may(setting: Setting) -> None:
    figures = list(counters.run(setting, FEWEST_ROUNDS))
    assert {figure.name for figure in figures} >= {
        "SQL deduct: round trips", "HTTP deduct: round trips", "deduct: fsyncs", "deduct: rows written",
        "deduct: rows written that members share", "deduct: log", "hold and capture: fsyncs",
    }  # fmt: skip
    assert missed(figures) == []


def test_the_import_is_light(setting: Setting) -> None:
    # Times depend on how busy the machine is.
    counted = [figure for figure in imports.run(setting, FEWEST_ROUNDS) if figure.unit == "count"]
    assert [figure.name for figure in counted] == ["modules after import credit_sdk"]
    assert missed(counted) == []


@pytest.fixture
def histories(make_database: MakeDatabase, migrated_template: str) -> list[str]:
    """Books with a short history, and books with a long one of the same density."""
    urls = []
    for rows in (SHORT, LONG):
        urls.append(make_database(migrated_template))
        with psycopg.connect(urls[-1], autocommit=True) as connection:
            fill(connection, rows)
    return urls


def rows_read(url: str, statement: str) -> int:
    """Return how many charges a statement reads."""
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
        row = connection.execute(READ).fetchone()
    return row[0] if row else 0


def test_no_call_reads_more_because_the_history_is_longer(histories: list[str]) -> None:
    read = {
        name: tuple(rows_read(url, statement) for url in histories)
        for name, (_, statement) in QUESTIONS.items()
    }
    # Ten thousand charges are thirty days, so the short history is all within the range of the screens.
    more = {name: counts for name, counts in read.items() if counts[1] > max(counts[0], 1) * 10_000 / SHORT}
    assert more == {}
    assert {name: counts for name, counts in read.items() if "last 50" in name and counts[1] > 60} == {}
