"""VCD files, read by a reader of others."""

from __future__ import annotations

import re
from pathlib import Path

from factory.boards import SimBoard
from factory.boards.vcd import VcdWriter, date_text
from tests.helpers.boards import board
from tests.helpers.vcd import VCDVCD

DATE = date_text(2026, 3, 1, "12:34:56")


def written(uno: SimBoard, missed: int = 0) -> str:
    writer = VcdWriter(uno.name, [spec.name for spec in uno.profile.pins], DATE)
    edges, _ = uno.log.rows(0)
    return writer.header() + writer.changes(edges, missed)


def test_another_reader_finds_every_change(tmp_path: Path) -> None:
    uno = board()
    bench = uno.bench
    bench.advance(5.0)
    uno.pin(13).digital_write(1)
    uno.pin(9).analog_write(200)
    bench.advance(5.25)
    uno.pin(13).digital_write(0)
    bench.advance(5.250001)
    uno.pin(3).tone(440)
    uno.pin(10).servo_write(180)
    uno.pin("A0").analog_read()
    uno.pin("A0").drive(1023)
    path = tmp_path / "out.vcd"
    path.write_text(written(uno), encoding="ascii", newline="\n")
    read = VCDVCD(str(path))
    assert float(read.timescale["timescale"]) == 1e-6
    assert read["uno.pin_13"].tv == [(0, "x"), (0, "1"), (250_000, "0")]
    assert read["uno.pin_9_pwm"].tv == [(0, "x"), (0, "11001000")]
    assert read["uno.pin_3_tone"].tv[-1] == (250_001, format(440, "b"))
    assert read["uno.pin_10_servo"].tv[-1] == (250_001, format(180, "b"))
    assert read["uno.pin_A0_analog"].tv[-1] == (250_001, "1111111111")
    assert read["uno.pin_12"].tv == [(0, "x")]


def test_the_text_is_plain_and_whole() -> None:
    uno = board("mega", name="büro 1")
    uno.pin(13).digital_write(1)
    text = written(uno, missed=7)
    assert text.isascii()
    assert text.endswith("\n")
    assert text.startswith("$date Mar 1 2026 12:34:56 $end\n")
    assert "$scope module b_ro_1 $end" in text
    assert "$comment 7 edges before this are missing $end\n#0\n1" in text
    codes = re.findall(r"^\$var wire \d+ (\S+) ", text, re.MULTILINE)
    assert len(codes) == len(set(codes)) == 70 * 5


def test_a_stamp_never_goes_back() -> None:
    writer = VcdWriter("uno", ["0"], DATE)
    text = writer.changes([[1, 2.0, 0, "level", 1], [2, 2.5, 0, "level", 0], [3, 2.4, 0, "level", 1]])
    assert re.findall(r"#(\d+)", text) == ["0", "500000"]


def test_a_board_that_starts_anew_goes_on_behind_what_it_did_before(tmp_path: Path) -> None:
    writer = VcdWriter("uno", ["0", "1"], DATE)
    text = writer.header()
    text += writer.changes([[1, 1000.0, 0, "level", 1], [2, 1000.5, 0, "level", 0]])
    text += writer.anew()
    # On another machine, whose clock is far behind.
    text += writer.changes([[1, 7.0, 0, "level", 1], [2, 7.25, 1, "level", 1]])
    path = tmp_path / "out.vcd"
    path.write_text(text, encoding="ascii", newline="\n")
    read = VCDVCD(str(path))
    assert read["uno.pin_0"].tv == [(0, "x"), (0, "1"), (500_000, "0"), (500_001, "x"), (500_001, "1")]
    assert read["uno.pin_1"].tv == [(0, "x"), (500_001, "x"), (750_001, "1")]
    assert text.count("$comment the board has started anew") == 1


def test_a_board_without_a_name_makes_a_file_that_can_be_read() -> None:
    assert "$scope module board $end" in VcdWriter("", ["0"], DATE).header()


def test_after_missed_edges_nothing_is_known_until_it_changes(tmp_path: Path) -> None:
    writer = VcdWriter("uno", ["0", "1"], DATE)
    text = writer.header()
    text += writer.changes([[1, 3.0, 0, "level", 1], [2, 3.0, 1, "level", 1]])
    text += writer.changes([[10, 3.0, 0, "level", 0], [11, 4.0, 0, "level", 1]], missed=7)
    path = tmp_path / "out.vcd"
    path.write_text(text, encoding="ascii", newline="\n")
    read = VCDVCD(str(path))
    assert read["uno.pin_0"].tv == [(0, "x"), (0, "1"), (1, "x"), (1, "0"), (1_000_000, "1")]
    assert read["uno.pin_1"].tv == [(0, "x"), (0, "1"), (1, "x")]
