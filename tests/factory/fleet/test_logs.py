"""The logs of a fleet: bounded, in the order of time, and followed across the change of files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory.fleet.logs import LAST, Log, Tail, nodes_with_logs, parse_line, read_logs

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def texts(folder: Path, *names: str) -> list[str]:
    return [line.text for line in read_logs(folder, names)]


def test_what_is_written_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    a, b = Log(tmp_path, "a"), Log(tmp_path, "b")
    a.write("one", at(1))
    b.write("two", at(2))
    a.note("-- three", at(3))
    b.write("bell \x07", at(4))
    assert nodes_with_logs(tmp_path) == ["a", "b"]
    assert texts(tmp_path, "a", "b") == ["one", "two", "-- three", "bell \\x07"]
    assert [line.time for line in read_logs(tmp_path, ["b"])] == [at(2), at(4)]
    assert list(a.last) == ["one"]
    a.close()
    b.close()


def test_a_log_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    log = Log(tmp_path, "a", most=2000)
    for number in range(200):
        log.write(f"line {number}", at(number))
    log.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    kept = texts(tmp_path, "a")
    assert kept == [f"line {number}" for number in range(200 - len(kept), 200)]
    assert sum(len(text) + 34 for text in kept) > 2000
    assert len(log.last) == LAST


def test_a_log_goes_on_where_an_earlier_run_ended(tmp_path: Path) -> None:
    for number in range(3):
        log = Log(tmp_path, "a", most=100)
        log.write(f"run {number}", at(number))
        log.close()
    assert texts(tmp_path, "a") == ["run 0", "run 1", "run 2"]


@pytest.mark.parametrize("raw", [b"", b"\n", b"no time\n", b"2026-01-02T03:04:05+00:00 half", b"\xff\xff \n"])
def test_what_is_no_line_is_passed_over(raw: bytes) -> None:
    assert parse_line("a", raw) is None


def test_a_tail_misses_nothing_when_the_file_changes(tmp_path: Path) -> None:
    tail = Tail(tmp_path, "a")
    assert tail.read() == []  # there is no file yet
    log = Log(tmp_path, "a", most=2000)
    found = []
    for number in range(120):
        log.write(f"line {number}", at(number))
        if number % 7 == 0:
            found += tail.read()
    found += tail.read()
    assert [line.text for line in found] == [f"line {number}" for number in range(120)]
    log.close()
    tail.close()


def test_a_tail_may_leave_out_what_is_there(tmp_path: Path) -> None:
    log, tail = Log(tmp_path, "a"), Tail(tmp_path, "a")
    log.write("old", at(0))
    tail.to_end()
    log.write("new", at(1))
    assert [line.text for line in tail.read()] == ["new"]
    log.close()
    tail.close()


def test_a_folder_that_is_gone_does_not_stop_the_fleet(tmp_path: Path) -> None:
    log = Log(tmp_path / "none", "a")
    log.write("kept for the verdict", at(0))
    assert list(log.last) == ["kept for the verdict"]
