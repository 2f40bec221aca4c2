"""docs/performance.md says what was measured: it is made of the kept figures."""

import json
from collections import Counter

import pytest

from benchmarks.flame import drawn, sampled
from benchmarks.registry import BENCHMARKS
from benchmarks.report import BEGIN, END, KEPT, PAGE, with_figures

FIGURE = {
    "name": "ours / theirs", "value": 0.5, "lowest": 0.4, "highest": 0.625, "unit": "ratio", "aim": "≤ 1",
    "verdict": "met", "note": "5.0 against 10.0 us at best", "pressure": 12.4,
}  # fmt: skip
MACHINE = {
    "processor": "P", "cores": "2", "system": "S", "Python": "3", "server_version": "18", "psycopg": "3",
    "httpx": "0", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "wal_sync_method": "w",
    "shared_buffers": "128MB", "rounds": "7", "measured": "2026-01-01 00:00Z",
}  # fmt: skip
RESULTS = {
    "benchmarks": {
        "p5": {
            "compares": "ours beside theirs", "target": "half", "command": "python -m benchmarks p5",
            "machine": MACHINE, "figures": [FIGURE], "exhibits": {"plan": "Index Scan"},
        }
    }
}  # fmt: skip


def test_the_page_is_made_of_the_kept_figures() -> None:
    page = PAGE.read_text()
    assert with_figures(page, json.loads(KEPT.read_text())) == page


def test_the_kept_figures_are_of_benchmarks_that_there_are() -> None:
    kept = json.loads(KEPT.read_text())["benchmarks"]
    assert kept.keys() <= BENCHMARKS.keys()
    assert all(benchmark["machine"]["fsync"] == "on" for benchmark in kept.values())


def test_a_figure_says_its_spread_its_target_its_machine_and_its_command() -> None:
    page = with_figures(f"# Page\n{BEGIN}\nold\n{END}\nafter\n", RESULTS)
    assert "| ours / theirs | 0.50 | 0.40 to 0.62 | ≤ 1 | met | 5.0 against 10.0 us at best |" in page
    assert "```text\nIndex Scan\n```" in page
    assert "`python -m benchmarks p5`, 2026-01-01 00:00Z: 7 rounds, CPU pressure up to 12 %" in page
    assert "`fsync` on" in page
    assert "old" not in page
    assert page.startswith("# Page\n")
    assert page.endswith("after\n")


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the marks"):
        with_figures("# Page\n", RESULTS)


def test_a_drawing_shows_callers_below_and_shares_as_widths() -> None:
    svg = drawn(Counter({("main", "a"): 3, ("main", "b"): 1}), "T & T")
    assert "T &amp; T: 4 samples" in svg
    assert '<title>a: 75.0%</title><rect x="0.0" y="34" width="900.0"' in svg
    assert '<title>b: 25.0%</title><rect x="900.0" y="34" width="300.0"' in svg
    assert '<title>main: 100.0%</title><rect x="0.0" y="51" width="1200.0"' in svg


def test_stacks_are_sampled_from_the_call_on() -> None:
    def busy() -> int:
        return sum(range(300_000))

    stacks = sampled(busy, 40)
    assert {stack[0].rpartition(".")[2] for stack in stacks} == {"busy"}
