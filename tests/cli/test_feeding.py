"""What ``mesh pub --stdin`` makes of a line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from factory.cli import feeding
from factory.cli.feeding import BrokenLineError, Feed


def row(way: str, **more: Any) -> bytes:
    fields = {"at": "2026-01-01T00:00:00+00:00", "node": "x", "way": way, "peer": None, "channel": "c"}
    return json.dumps({**fields, **more}).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "data"),
    [
        (b"hello\n", "hello"),
        (b"7\r\n", 7),
        (b"\n", ""),
        (b"[torn\n", "[torn"),
        (b'{"at": 1}\n', {"at": 1}),
        ("grüß\n".encode(), "grüß"),
    ],
)
def test_a_line_is_json_where_it_is_some_and_else_text(line: bytes, data: Any) -> None:
    assert Feed("to", is_text=False).message(line) == ("to", data)


def test_every_line_is_text_if_that_was_said() -> None:
    feed = Feed("to", is_text=True)
    assert feed.message(b"{torn\n") == ("to", "{torn")
    assert feed.message(b"7\n") == ("to", "7")


def test_a_row_goes_to_its_own_channel_unless_one_is_given() -> None:
    assert Feed("", is_text=False).message(row("<", data=1)) == ("c", 1)
    assert Feed("to", is_text=False).message(row("<", base64="/w==")) == ("to", b"\xff")


def test_publications_and_acks_are_not_sent_and_counted() -> None:
    feed = Feed("", is_text=False)
    assert feed.left_out == ""
    assert [feed.message(row(way, data=1)) for way in (">", ">", "=")] == [None] * 3
    assert feed.left_out == "2 publications and 1 ack"
    assert feed.gap == 0


def test_what_a_row_says_that_was_not_shown_is_a_gap() -> None:
    feed = Feed("", is_text=False)
    assert feed.message(b'{"node": "x", "skipped": 3}\n') is None
    assert feed.message(row("<", large=True)) is None
    assert feed.gap == 4


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{torn\n", "line 0 of standard input begins as an object and is no JSON: {torn; mend it"),
        (b'{"a": 1}{"a": 1}\n', "begins as an object and is no JSON"),
        (b"ok \xff\n", "is no UTF-8 at byte 4"),
        (row("<"), "neither data nor base64"),
        (row("<", base64="!"), "is no row of `mesh echo --json`"),
        (row("<", base64=7), "is no row of `mesh echo --json`"),
        (row("?", data=1), '`way` is "<", ">" or "="'),
        (row("<", data=1).replace(b'"c"', b"7"), "`channel` is text"),
        (b'{"node": "x", "skipped": "many"}\n', "`skipped` is no number"),
        (b"{\x1b[31m" + b"x" * 999 + b"\n", r"no JSON: {\x1b[31mxxx"),
    ],
)
def test_a_broken_line_is_refused_with_the_reason(line: bytes, why: str) -> None:
    with pytest.raises(BrokenLineError) as caught:
        Feed("", is_text=False).message(line)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 250


# -- where the lines come from ---------------------------------------------------------------------


def fed() -> list[Any]:
    async def all_data() -> list[Any]:
        return [message.data async for message in Feed("to", is_text=True).messages()]

    return asyncio.run(all_data())


def test_nothing_comes_of_dev_null_or_of_a_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as null:
        monkeypatch.setattr(sys, "stdin", null)
        assert fed() == []
    monkeypatch.setattr(sys, "stdin", None)
    assert fed() == []


def test_lines_come_of_a_file_and_of_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines").write_text("one\ntwo")
    with (tmp_path / "lines").open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert fed() == ["one", "two"]
    readable, writable = os.pipe()
    os.write(writable, b"one\ntwo")
    os.close(writable)
    with os.fdopen(readable) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert fed() == ["one", "two"]


@pytest.mark.parametrize("is_pipe", [True, False])
def test_a_line_that_is_too_long_is_refused_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_pipe: bool
) -> None:
    monkeypatch.setattr(feeding, "LONGEST", 100)
    (tmp_path / "lines").write_text("short\n" + "x" * 300)
    readable, writable = os.pipe()
    os.write(writable, (tmp_path / "lines").read_bytes())
    os.close(writable)
    with os.fdopen(readable) as pipe, (tmp_path / "lines").open() as file:
        monkeypatch.setattr(sys, "stdin", pipe if is_pipe else file)
        with pytest.raises(BrokenLineError, match="line 2 of standard input is longer than 100 bytes"):
            fed()
