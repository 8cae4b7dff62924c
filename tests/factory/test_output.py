"""What is printed: whole lines, at once, safe for a terminal, whatever becomes of the reader."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from factory.output import OUTPUT, LineFormatter, configure
from tests.helpers.proc import DEADLINE, ROOT

NASTY = [
    ("\x1b[2J", "\\x1b[2J", "\\u001b[2J"),
    ("a\nb", "a\\x0ab", "a\\nb"),
    ("a\r", "a\\x0d", "a\\r"),
    ("\x07", "\\x07", "\\u0007"),
    ("\x7f", "\\x7f", "\\u007f"),
    ("\x9b31m", "\\x9b31m", "\\u009b31m"),
    ("\u202eabc", "\\u202eabc", "\\u202eabc"),
    ("\u2028", "\\u2028", "\\u2028"),
    ("\ud800", "\\ud800", "\\ud800"),
    ("tab\tstays", "tab\tstays", "tab\\tstays"),
    ("Grüße ✓", "Grüße ✓", "Grüße ✓"),
]


@pytest.fixture
def json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUTPUT, "format", "json")


@pytest.mark.source("B7", "B38")
def test_one_line_with_the_name_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    OUTPUT.line("buzzer", "signal 1 received -> buzz")
    assert capsys.readouterr() == ("[ buzzer ] signal 1 received -> buzz\n", "")


@pytest.mark.parametrize(("text", "pretty", "_json"), NASTY)
def test_control_characters_are_escaped(
    capsys: pytest.CaptureFixture[str], text: str, pretty: str, _json: str
) -> None:
    OUTPUT.line(text, text)
    assert capsys.readouterr().out == f"[ {pretty} ] {pretty}\n"


@pytest.mark.usefixtures("json_lines")
@pytest.mark.parametrize(("text", "_pretty", "written"), NASTY)
def test_json_lines_escape_them_too_and_still_say_the_same(
    capsys: pytest.CaptureFixture[str], text: str, _pretty: str, written: str
) -> None:
    OUTPUT.line("n", text)
    out = capsys.readouterr().out
    assert f'"text": "{written}"' in out
    assert out.count("\n") == 1
    assert json.loads(out)["text"] == text


@pytest.mark.usefixtures("json_lines")
def test_a_json_line_has_time_node_level_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC)
    OUTPUT.line("buzzer", "hello")
    fields = json.loads(capsys.readouterr().out)
    at = datetime.fromisoformat(fields.pop("time"))
    assert fields == {"node": "buzzer", "level": "out", "text": "hello"}
    assert before - timedelta(milliseconds=1) <= at <= datetime.now(UTC)


def record(level: int, text: str, *, node: str | None = None, error: bool = False) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise ValueError("bad \x1b[2J")
        except ValueError:
            info = sys.exc_info()
    made = logging.LogRecord("factory.x", level, __file__, 1, text, (), info)
    if node:
        made.node = node
    return made


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.INFO, "[ mesh ] a\\x1bb"),
        (logging.DEBUG, "[ mesh ] a\\x1bb"),
        (logging.WARNING, "[ mesh ] warning: a\\x1bb"),
        (logging.ERROR, "[ mesh ] error: a\\x1bb"),
    ],
)
def test_log_lines_look_like_the_sketchs_own(level: int, line: str) -> None:
    assert LineFormatter("pretty").format(record(level, "a\x1bb")) == line
    assert LineFormatter("pretty").format(record(level, "a\x1bb", node="n")) == line.replace("mesh", "n")


def test_a_traceback_follows_escaped() -> None:
    first, *rest = LineFormatter("pretty").format(record(logging.DEBUG, "oops", error=True)).splitlines()
    assert first == "[ mesh ] oops"
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: bad \\x1b[2J"


def test_in_json_a_traceback_is_a_field_of_the_one_line() -> None:
    line = LineFormatter("json").format(record(logging.WARNING, "oops", node="n", error=True))
    fields = json.loads(line)
    assert "\n" not in line
    assert (fields["node"], fields["level"], fields["text"]) == ("n", "warning", "oops")
    assert fields["traceback"].endswith("ValueError: bad \x1b[2J")
    assert "traceback" not in json.loads(LineFormatter("json").format(record(logging.INFO, "fine")))


# -- readers that go away ---------------------------------------------------------------------


class Stdout(io.TextIOWrapper):
    """A standard output that raises at the flush, as real ones do."""

    def __init__(self, error: Exception) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")
        self.error: Exception | None = error
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError("gone"),
        OSError(28, "No space left on device"),
        BlockingIOError("full"),
        ValueError("I/O operation on closed file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_trouble_with_the_output_is_no_trouble_of_the_sketch(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    stdout = Stdout(error)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        OUTPUT.line("n", "text")
        OUTPUT.line("n", "text")
    assert stdout.flushes == 2
    stdout.error = None
    stdout.close()


def test_no_standard_output_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)
        OUTPUT.line("n", "text")


def test_a_terminal_that_cannot_show_a_character_gets_it_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stdout = io.TextIOWrapper(raw, encoding="ascii")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stdout)
        OUTPUT.line("n", "ü")
    assert raw.getvalue() == b"[ n ] \\xfc\n"


HEAD = """
import sys
from factory.output import OUTPUT
for number in range(10_000):
    OUTPUT.line("n", f"line {number}")
sys.stderr.write("went on to the end")
"""


def test_a_reader_that_takes_one_line_and_leaves() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HEAD], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"[ n ] line 0\n"
        process.stdout.close()
        assert process.stderr.read() == b"went on to the end"
        assert process.wait(DEADLINE) == 0


THREADS = """
import threading
from factory.output import OUTPUT
def talk(name):
    for _ in range(200):
        OUTPUT.line(name, name * 200)
threads = [threading.Thread(target=talk, args=(letter,)) for letter in "abcd"]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_lines_of_many_threads_stay_whole() -> None:
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 800
    assert set(lines) == {f"[ {letter} ] {letter * 200}" for letter in "abcd"}


CONFIGURED = """
import logging, sys
from factory.output import configure, OUTPUT
configure(sys.argv[1], logging.INFO)
OUTPUT.line("n", "out \\ud800")
logging.getLogger("factory.worker").info("info")
logging.getLogger("mesh.node").warning("careful")
logging.getLogger("mesh.node").debug("never shown")
logging.getLogger("else").warning("of somebody else")
"""


@pytest.mark.parametrize("format", ["pretty", "json"])
def test_out_goes_to_standard_output_and_the_log_to_standard_error(format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONFIGURED, format],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    if format == "pretty":
        assert done.stdout == "[ n ] out \\ud800\n"
        assert done.stderr.splitlines() == ["[ mesh ] info", "[ mesh ] warning: careful", "of somebody else"]
    else:
        assert json.loads(done.stdout)["text"] == "out \ud800"
        first, second, _ = done.stderr.splitlines()
        assert json.loads(first)["level"] == "info"
        assert json.loads(second)["text"] == "careful"


def test_configure_copes_with_a_standard_output_that_is_no_text_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loggers = [logging.getLogger(name) for name in ("mesh", "factory")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    monkeypatch.setattr(logging, "raiseExceptions", True)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", io.StringIO())
            patched.setattr(sys, "stderr", None)
            configure("pretty", logging.INFO)
    finally:
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)
