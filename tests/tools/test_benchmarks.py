"""What the benchmark makes of its figures; that it measures is shown by running it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.__main__ import README, update_block
from benchmarks.api import make_messages
from benchmarks.fanout import MOST, PROBE, SIZE, Audience, last_message
from benchmarks.flow import Bound
from benchmarks.goals import FLAT, GOALS, OURS, SILENT_MEMORY, SILENT_P99, judge
from benchmarks.looking import share_lost
from benchmarks.registry import BY_NAME
from benchmarks.report import as_markdown, number, silent_markdown, soak_markdown
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


@pytest.mark.parametrize("name", [*SCALING, *SOAKS, *SILENT_MEMORY, *SILENT_P99])
def test_scaling_and_memory_are_goals_of_which_less_is_better(name: str) -> None:
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


def test_the_report_of_silent_subscribers_has_its_own_goals_only() -> None:
    results = of_ours(
        silent_total_memory=99, silent_total_p99=2.5, silent_total_alone_most=80, silent_total_beside_most=99
    )
    text = silent_markdown(results, {"commit": "abc"}, PLAN)
    assert "- commit: abc" in text
    assert (text.count("| pass "), text.count("| FAIL ")) == (1, 1)
    assert text.count("| not measured in this run ") == 2
    assert "soak" not in text


def test_patterns_have_their_rows_and_goals() -> None:
    results = Results(rounds=1)
    for name, figures in {
        OURS: {"fanout": 3e6, "fanout_many": 2.7e6, "fanout_growth": 0.9, "request_p50": 90.0},
        "zenoh": {"fanout": 2e6},
        "nats": {"fanout": 2e6},
        "websockets-broadcast": {"fanout": 2e6},
        "nats-request": {"request_p50": 200.0},
    }.items():
        results.add(BY_NAME[name], figures)
    verdicts = [verdict for verdict in judge(results) if verdict.values]
    assert [(verdict.best, verdict.values, verdict.word) for verdict in verdicts] == [
        ("nats-request", (0.45,), "pass"),
        ("zenoh", (1.5,), "pass"),
        ("nats", (1.5,), "pass"),
        ("websockets-broadcast", (1.5,), "FAIL"),
        ("", (0.9,), "pass"),
    ]
    lines = [line.split("|")[1:-1] for line in as_markdown(results, {}, {}, PLAN).splitlines()]
    rows = [[cell.strip() for cell in line] for line in lines]
    assert ["sketchmesh", "3.00M", "1.50", "2.70M", "0.90"] in rows
    for title in ("websockets.broadcast", "nats-py", "zenoh"):
        assert [title, "2.00M", "1.00", "-", "-"] in rows


def an_audience(count: int) -> tuple[Audience, list[dict[str, object]]]:
    said: list[dict[str, object]] = []
    return Audience(count, True, said.append), said


async def test_an_audience_tells_when_all_are_there_and_when_all_have_had_everything() -> None:
    audience, said = an_audience(2)
    first, second = audience.handlers()
    messages = make_messages(3, SIZE, text=True)
    for message in [PROBE, PROBE, *messages, last_message(3), PROBE, messages[0]]:
        await first(message)
    assert said == []
    for message in [PROBE, *messages]:
        await second(message)
    assert said == [{"ready": 2}]
    await second(last_message(3))
    assert said == [{"ready": 2}, {"messages": 4}]


@pytest.mark.parametrize("got", [[0, 2], [0, 0], [1]], ids=["left out", "doubled", "late"])
async def test_an_audience_tells_what_is_wrong(got: list[int]) -> None:
    audience, said = an_audience(1)
    (handle,) = audience.handlers()
    messages = make_messages(3, SIZE, text=True)
    for which in got:
        await handle(messages[which])
    (words,) = said
    assert f"as message {len(got) - 1}" in str(words["wrong"])


async def test_a_run_that_ends_too_early_is_wrong() -> None:
    audience, said = an_audience(1)
    await audience.handlers()[0](last_message(7))
    assert list(said[0]) == ["wrong"]


async def test_an_audience_tells_what_all_connections_have_passed() -> None:
    audience, _ = an_audience(2)
    passed: list[int] = []
    first, second = audience.handlers(2, passed.append)
    messages = make_messages(5, SIZE, text=True)
    for message in messages:
        await first(message)
    for message in messages[:2]:
        await second(message)
    assert passed == [2]


async def test_a_bounded_publisher_waits_for_the_slowest() -> None:
    bound = Bound(4)
    sent: list[int] = []
    publishing = asyncio.create_task(bound.publish(sent.append, iter(range(6))))
    await asyncio.sleep(0)
    assert sent == [0, 1, 2, 3]
    bound.reached(1)
    await asyncio.sleep(0)
    assert sent == [0, 1, 2, 3, 4]
    bound.reached(6)
    await publishing
    assert sent == list(range(6))


def test_messages_of_a_fanout_all_differ_from_the_last_one() -> None:
    assert last_message(5) != make_messages(6, SIZE, text=True)[5]
    assert len(last_message(MOST)) == SIZE


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


def test_what_looking_on_costs_is_against_the_rates_around_it() -> None:
    # The machine becomes slower and slower, and looking on costs a tenth of what there is.
    assert share_lost([100, 80, 60], [81, 63]) == pytest.approx(0.1)
    assert share_lost([100, 100, 100, 100], [50, 100, 100]) == 0
