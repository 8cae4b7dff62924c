"""The benchmark of lines: it measures what it says, and its table is in the README."""

from __future__ import annotations

import pytest

from benchmarks.lines import README, SERVERS, WORK, byte_by_byte, measure, table


@pytest.mark.source("D18")
def test_each_server_has_its_row_in_the_readme() -> None:
    text = README.read_text("utf-8").partition("<!-- lines: begin -->")[2]
    for name in SERVERS:
        assert f"| {name} | " in text


@pytest.mark.fleet
def test_both_servers_answer_every_line() -> None:
    figures = measure(1, 200)
    assert set(figures) == {(name, work) for name in SERVERS for work in WORK}
    assert all(figure > 0 for (figure,) in figures.values())


def test_the_table_has_rates_and_their_ratios() -> None:
    first, second = SERVERS
    figures = {(name, work): [100.0, 300.0] for name in SERVERS for work in WORK}
    figures[second, "at once"] = [200.0, 900.0]
    lines = table(figures, [(1000, 250.0)]).splitlines()
    assert lines[2] == f"| {first} | 200 | x 1.00 | 200 | x 1.00 |"
    assert lines[3] == f"| {second} | 550 | x 2.50 | 200 | x 1.00 |"
    assert lines[-1] == "A line in reads of one byte, for each byte of it: 1,000 bytes 250 ns."


def test_a_line_is_measured_byte_by_byte() -> None:
    assert [size for size, _ in byte_by_byte(1600)] == [100, 400, 1600]
