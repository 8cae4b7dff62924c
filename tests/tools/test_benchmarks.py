"""What the benchmark makes of its figures; that it measures is shown by running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import README, update_block
from benchmarks.goals import FLAT, GOALS, OURS, judge
from benchmarks.report import number, soak_markdown
from benchmarks.rounds import Plan, Results
from benchmarks.scaling import SCALING
from benchmarks.soak import MIB, SOAKS, summary

PLAN = Plan(rounds=1, seconds=10, limit=60, quick=False, uvloop=True)


def of_ours(**figures: float) -> Results:
    return Results({name: {OURS: [value]} for name, value in figures.items()}, rounds=1)


def words(results: Results) -> dict[str, str]:
    return {verdict.goal.figure: verdict.word for verdict in judge(results)}


def test_memory_that_stays_has_neither_slope_nor_growth() -> None:
    found = summary([(second, 30 * MIB) for second in range(50)])
    assert found == {"first": 30, "last": 30, "most": 30, "slope": 0, "growth": 0}


def test_memory_that_grows_is_seen_in_slope_and_growth() -> None:
    found = summary([(second, 30 * MIB + second * 1024) for second in range(100)])
    assert found["slope"] == pytest.approx(60)  # KiB per minute
    assert found["growth"] == pytest.approx(80 / 1024)  # from second 9.5 to 89.5


def test_a_single_peak_is_no_growth() -> None:
    samples = [(float(second), 30 * MIB) for second in range(50)]
    samples[-1] = (49.0, 90 * MIB)
    found = summary(samples)
    assert (found["growth"], found["most"], found["last"]) == (0, 90, 90)


@pytest.mark.parametrize("name", [*SCALING, *SOAKS])
def test_scaling_and_soaks_are_goals_of_which_less_is_better(name: str) -> None:
    (goal,) = [goal for goal in GOALS if goal.figure == name]
    assert words(Results())[name] == "not measured in this run"
    assert words(of_ours(**{name: goal.bound - 0.1}))[name] == "pass"
    assert words(of_ours(**{name: goal.bound + 0.1}))[name] == "FAIL"


def test_the_report_of_a_soak_has_its_own_goals_only() -> None:
    results = of_ours(soak_full=FLAT + 1, soak_full_sender_growth=FLAT + 1, soak_full_rate=1e6)
    text = soak_markdown(results, {"commit": "abc"}, PLAN)
    assert "- commit: abc" in text
    assert text.count("| FAIL ") == text.count("| not measured in this run ") == 1
    assert "websockets" not in text


def test_a_block_of_the_readme_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text(encoding="utf-8"), encoding="utf-8")
    update_block(copy, "soak", "all was flat")
    first = copy.read_text(encoding="utf-8")
    update_block(copy, "figures", "all was fast")
    second = copy.read_text(encoding="utf-8")
    assert "all was flat" in first
    assert "all was flat" in second
    assert "all was fast" in second
    assert len(second) < len(first)


def test_a_readme_without_markers_is_left_alone(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    copy.write_text("mine", encoding="utf-8")
    with pytest.raises(SystemExit, match="has lost its markers"):
        update_block(copy, "soak", "all was flat")
    assert copy.read_text(encoding="utf-8") == "mine"


def test_numbers_below_nothing_have_three_digits_too() -> None:
    assert [number(value) for value in (-861.0, -12.34, -0.123, 0.01234)] == [
        "-861",
        "-12.3",
        "-0.12",
        "0.012",
    ]
