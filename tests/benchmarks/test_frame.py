"""The frame of the benchmarks: sides take turns, ratios are of one round, a busy machine is not judged."""

import json
from collections.abc import Iterator

import pytest

from benchmarks import __main__ as command
from benchmarks.measuring import Figure, counter, in_turn, ratio
from benchmarks.registry import BENCHMARKS, ON_REQUEST, chosen
from benchmarks.running import keep


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_says_what_it_compares_and_what_it_should_reach(name: str) -> None:
    benchmark = chosen([name])[name]
    assert benchmark.compares
    assert benchmark.target


def test_all_benchmarks_run_in_their_order_when_none_is_named() -> None:
    assert list(chosen([])) == [name for name in BENCHMARKS if name not in ON_REQUEST]


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no benchmark p99: there are .*p6"):
        chosen(["p6", "p99"])


def test_sides_take_turns_and_the_first_round_only_warms_up() -> None:
    order: list[str] = []
    values: Iterator[int] = iter(range(100))

    def side(name: str) -> float:
        order.append(name)
        return next(values)

    measured = in_turn({"ours": lambda: side("ours"), "theirs": lambda: side("theirs")}, rounds=3)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert measured == {"ours": [3, 4, 7], "theirs": [2, 5, 6]}


def test_a_ratio_is_the_median_of_the_rounds_not_of_the_sides() -> None:
    figure = ratio("x", [1.0, 20.0, 30.0], [1.0, 10.0, 10.0])
    assert (figure.value, figure.lowest, figure.highest) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("value", "at_least", "verdict"),
    [(1.0, False, "met"), (1.1, False, "missed"), (1.1, True, "met"), (0.9, True, "missed")],
)
def test_a_target_is_a_ceiling_or_a_floor(value: float, at_least: bool, verdict: str) -> None:
    figure = Figure("x", value, value, value, "ratio", 1.0, at_least, pressure=0)
    assert figure.verdict == verdict


def test_a_busy_machine_is_judged_by_its_counters_only() -> None:
    busy = Figure("x", 2.0, 2.0, 2.0, "ratio", 1.0, pressure=90)
    assert busy.verdict.startswith("not judged")
    assert counter("x", 2.0, 1.0).verdict == "missed"


def test_results_are_kept_beside_those_of_other_benchmarks(tmp_path) -> None:
    path = tmp_path / "kept.json"
    keep({"benchmarks": {"p5": 1, "p6": 1}}, path)
    keep({"benchmarks": {"p6": 2}}, path)
    assert json.loads(path.read_text())["benchmarks"] == {"p5": 1, "p6": 2}


@pytest.mark.parametrize("arguments", [["p99"], ["p6", "--rounds", "4"]])
def test_the_command_refuses_what_it_cannot_measure(arguments: list[str], monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit) as refusal:
        command.main()
    assert refusal.value.code == 2
    assert "error:" in capsys.readouterr().err
