"""``mesh pins``, ``pin``, ``vcd`` and ``test``, against a board in a process of its own."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

import mesh
from factory.cli.fleet import main
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, ROOT, Proc, arduino
from tests.helpers.vcd import VCDVCD

pytestmark = pytest.mark.fleet

GRID = """
nodes:
  uno:
    sketch: board
    port: {port}
    args:
      modes: {{"2": INPUT_PULLUP}}
      wires: [[4, 5]]
      parts:
        key: {{button: "2", bounce: 0}}
        knob: {{potentiometer: A0}}
"""
Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a grid, one of whose nodes is a board that runs."""
    path = tmp_path_factory.mktemp("bench")
    (path / "grid.yaml").write_text(GRID.format(port=free_ports(1)[0]), encoding="utf-8")
    with arduino("board", "--name", "uno", cwd=path) as process:
        process.wait_for("serving on")
        yield path


@pytest.fixture
def cli(folder: Path) -> Cli:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["--grid", str(folder / "grid.yaml"), *words])

    return run


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def test_a_pin_is_written_and_read(cli: Cli) -> None:
    said(cli("pin", "set", "uno.13", "1"))
    assert said(cli("pin", "get", "uno.13")) == "1\n"
    said(cli("pin", "set", "uno.9", "77", "--as", "pwm"))
    assert said(cli("pin", "get", "uno.9")) == "77/255\n"
    said(cli("pin", "set", "uno.2", "0"))
    assert said(cli("pin", "get", "uno.2")) == "0\n"
    said(cli("pin", "set", "uno.2", "1"))
    assert said(cli("pin", "get", "uno.7")) == "unset\n"
    said(cli("pin", "set", "uno.4", "1"))
    assert said(cli("pin", "get", "uno.5")) == "unset (net at 1)\n"


def test_a_board_is_unplugged_and_plugged_in(cli: Cli) -> None:
    said(cli("pin", "unplug", "uno"))
    refused = cli("pin", "set", "uno.13", "1")
    assert (refused.exit_code, "uno is lost: it is unplugged" in refused.output) == (1, True)
    assert said(cli("pin", "get", "uno.13")).endswith(" (uno is lost: it is unplugged)\n")
    said(cli("pin", "plug", "uno"))
    said(cli("pin", "set", "uno.13", "1"))
    assert said(cli("pin", "get", "uno.13")) == "1\n"


def test_a_board_is_drawn(cli: Cli) -> None:
    said(cli("pin", "set", "uno.13", "1"))
    drawn = said(cli("pins"))
    assert drawn == said(cli("pins", "uno"))
    assert drawn.startswith("uno: Arduino Uno\n")
    assert re.search(r"^ +13 ● OUTPUT +1  SCK LED$", drawn, re.MULTILINE)
    assert re.search(r"^ +2 ● INPUT_PULLUP +1  INT0$", drawn, re.MULTILINE)
    assert "    key: released\n    knob: 50 %" in drawn


def test_changes_are_watched(cli: Cli, folder: Path) -> None:
    said(cli("pin", "set", "uno.12", "0"))
    command = ["-c", "from factory.cli.fleet import main; main()"]
    words = ("pin", "watch", "uno.12", "--count", "2")
    with Proc(sys.executable, *command, *words, cwd=folder, env={"PYTHONPATH": str(ROOT)}) as watcher:
        while watcher.process.poll() is None:
            # It says nothing before the first change, so there have to be changes until it has had enough.
            said(cli("pin", "pulse", "uno.12", "--ms", "5"))
        assert watcher.wait() == 0
        lines = [line.text for line in watcher.lines]
    values = [re.fullmatch(r"\d+\.\d{6} level ([01])", line) for line in lines]
    assert [value and value[1] for value in values] in (["1", "0"], ["0", "1"])


def test_what_happened_is_written_as_vcd(cli: Cli, folder: Path) -> None:
    said(cli("pin", "set", "uno.11", "0"))
    said(cli("pin", "pulse", "uno.11", "--ms", "20"))
    out = folder / "out.vcd"
    said(cli("test", str(_scenario(folder, "wait-pin: {11: 0}"))))
    assert re.fullmatch(rf"{out}: \d+ changes of uno\n", said(cli("vcd", "-o", str(out))))
    times = VCDVCD(str(out))["uno.pin_11"].tv
    (rise, high), (fall, low) = times[-2:]
    assert (high, low, fall - rise) == ("1", "0", 20_000)


def test_a_vcd_file_grows_until_ctrl_c(cli: Cli, folder: Path) -> None:
    out = folder / "live.vcd"
    said(cli("pin", "set", "uno.8", "1"))
    command = ["-c", "from factory.cli.fleet import main; main()", "vcd", "uno", "-o", str(out), "--follow"]
    with Proc(sys.executable, *command, cwd=folder, env={"PYTHONPATH": str(ROOT)}) as writer:
        until(lambda: out.exists() and "#0" in out.read_text())
        size = out.stat().st_size
        said(cli("pin", "set", "uno.8", "0"))
        until(lambda: out.stat().st_size > size)
        assert writer.stop() == 0
        writer.wait_for(r"live.vcd: \d+ changes of uno")
    assert out.read_text().endswith("\n")
    assert [value for _, value in VCDVCD(str(out))["uno.pin_8"].tv] == ["x", "1", "0"]


def until(ready: Callable[[], object]) -> None:
    """Wait for what another process writes."""
    end = time.monotonic() + DEADLINE
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("pin", "get", "uno.99"), 1, "uno has no pin '99'"),
        (("pin", "get", "nobody.1"), 1, "unknown node 'nobody'"),
        (("pin", "get", "uno"), 2, "'uno' is no pin; write BOARD.PIN, as in uno.13"),
        (("pin", "get", "ws://127.0.0.1:1"), 2, "is no pin; write BOARD.PIN, as in ws://127.0.0.1:1.13"),
        (("pin", "get", "ws://127.0.0.1:1/"), 2, "is no pin; write BOARD.PIN, as in ws://127.0.0.1:1.13"),
        (("pin", "unplug", "nobody"), 1, "unknown node 'nobody'"),
        (("vcd", "uno", "-o", "/nonexistent/x.vcd"), 1, "/nonexistent/x.vcd cannot be written: No such file"),
        (("vcd", "uno", "-o", "."), 1, ". cannot be written: Is a directory"),
        (("vcd", "uno", "-o", "/dev/full"), 1, "/dev/full cannot be written: No space left"),
        (("pin", "set", "uno.13", "2"), 1, "'2' is out of range for pin uno.13"),
        (("pin", "set", "uno.13", "1", "--as", "pwm"), 1, "cannot be PWM"),
        (("pin", "pulse", "uno.13", "--ms", "0"), 2, "0 is not in the range"),
        (("vcd", "uno"), 2, "Missing option '-o'"),
        (("test", "nothing.yaml"), 2, "does not exist"),
    ],
)
def test_what_cannot_be_is_one_sentence(cli: Cli, words: tuple[str, ...], code: int, error: str) -> None:
    result = cli(*words)
    assert result.exit_code == code
    assert error in result.output
    assert "Traceback" not in result.output


def _scenario(folder: Path, *lines: str) -> Path:
    path = folder / f"scenario{len(list(folder.iterdir()))}.yaml"
    text = "board: uno\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def _grid(folder: Path, *ports: int) -> str:
    """Return a grid with boards, of which those with the port of the fixture run."""
    path = folder / f"grid{len(list(folder.iterdir()))}.yaml"
    nodes = "".join(f"  board{n}:\n    sketch: board\n    port: {port}\n" for n, port in enumerate(ports))
    path.write_text(f"nodes:\n{nodes}", encoding="utf-8")
    return str(path)


def _port(folder: Path) -> int:
    return mesh.grid(folder / "grid.yaml").node("uno").port or 0


def test_a_board_that_is_down_keeps_no_other_from_being_drawn(folder: Path) -> None:
    result = CliRunner().invoke(main, ["--grid", _grid(folder, *free_ports(1), _port(folder)), "pins"])
    assert result.exit_code == 4
    assert result.output.startswith("board0: down (board0 could not be reached at ws://localhost:")
    assert "\nboard1: Arduino Uno\n" in result.output


def test_what_is_no_board_keeps_no_other_from_being_drawn(cli: Cli) -> None:
    result = cli("pins", "nobody", "uno")
    assert result.exit_code == 4
    assert result.output.startswith("nobody: not drawn (unknown node 'nobody'")
    assert "\nuno: Arduino Uno\n" in result.output


def test_of_several_boards_one_has_to_be_named(folder: Path) -> None:
    out = folder / "several.vcd"
    result = CliRunner().invoke(main, ["--grid", _grid(folder, *free_ports(2)), "vcd", "-o", str(out)])
    assert result.exit_code == 2
    assert "the grid has several boards; name one: board0 or board1" in result.output
    assert not out.exists()


def test_a_board_without_a_name_is_called_by_its_kind(cli: Cli, folder: Path) -> None:
    out = folder / "nameless.vcd"
    uri = f"ws://localhost:{_port(folder)}/"
    said(cli("pin", "set", "uno.13", "1"))
    assert said(cli("vcd", uri, "-o", str(out))).endswith(f"changes of {uri}\n")
    assert VCDVCD(str(out))["uno.pin_13"].tv


# Four processes, two of them one after the other: on a machine that is very busy each takes seconds to start.
@pytest.mark.timeout(120)
def test_a_board_that_restarts_is_said_and_read_on(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    (tmp_path / "grid.yaml").write_text(GRID.format(port=port), encoding="utf-8")

    def mesh_command(*words: str) -> Proc:
        command = ["-u", "-c", "from factory.cli.fleet import main; main()", *words]
        return Proc(sys.executable, *command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})

    def pulse() -> None:
        said(
            CliRunner().invoke(
                main, ["--grid", str(tmp_path / "grid.yaml"), "pin", "pulse", "uno.13", "--ms", "1"]
            )
        )

    out = tmp_path / "out.vcd"
    with ExitStack() as stack:
        board = stack.enter_context(arduino("board", "--name", "uno", cwd=tmp_path))
        board.wait_for("serving on")
        pulse()
        watcher = stack.enter_context(mesh_command("pin", "watch", "uno.13"))
        writer = stack.enter_context(mesh_command("vcd", "uno", "-o", str(out), "--follow"))
        while not watcher.lines:
            pulse()
        until(lambda: out.exists() and "#0" in out.read_text())
        board.send_signal_to_group(signal.SIGKILL)
        board.wait()
        # They notice that it is away, and wait for as long as it takes.
        board = stack.enter_context(arduino("board", "--name", "uno", cwd=tmp_path))
        board.wait_for("serving on")
        pulse()
        watcher.wait_for(r"\(the board started anew")
        anew = next(n for n, line in enumerate(watcher.lines) if "started anew" in line.text)
        watcher.wait_for(r"\d level 0", since=anew)
        assert writer.stop() == 0
        watcher.stop()
    values = [value for _, value in VCDVCD(str(out))["uno.pin_13"].tv]
    # Nothing of the new board is taken for old: as many edges as it made.
    assert values[-3:] == ["x", "1", "0"]
    after = [line.text for line in watcher.lines[anew + 1 :]]
    assert [text.split()[-1] for text in after if not text.startswith("(")] == ["1", "0"]


def test_scenarios(cli: Cli, folder: Path) -> None:
    good = _scenario(
        folder, "press: key", "expect-pin: {2: 0, within: 1s}", "release: key", "wait-pin: {2: 1}"
    )
    bad = _scenario(folder, "set: {13: 1}", "expect-pin: {13: 0, within: 10ms}")
    report = folder / "report.xml"
    result = cli("test", str(good), str(bad), "--junit", str(report))
    assert result.exit_code == 1
    assert re.search(rf"^ok      {good}: 4 steps, ", result.output, re.MULTILINE)
    assert f"FAILED  {bad}: line 4: expect-pin uno.13 0: it is 1, not 0 (after 0.01 s)" in result.output
    assert result.output.endswith("1 passed, 1 failed\n")
    suite = ElementTree.parse(report).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.find("failure") is None for case in suite] == [True, False]
    assert cli("test", str(good)).exit_code == 0
    broken = _scenario(folder, "pres: key")
    latin = folder / "latin.yaml"
    latin.write_bytes(b"board: uno # caf\xe9\n")
    result = cli("test", str(broken), str(good), str(latin))
    assert result.exit_code == 2
    assert "unknown step 'pres', did you mean 'press'?" in result.output
    assert f"{latin}:1:17: byte 0xe9 is not UTF-8 here" in result.output
    assert "ok " not in result.output


def test_a_report_that_cannot_be_written_is_told_before_anything_is_done(cli: Cli, folder: Path) -> None:
    said(cli("pin", "set", "uno.13", "0"))
    path = _scenario(folder, "set: {13: 1}")
    result = cli("test", str(path), "--junit", "/nonexistent/report.xml")
    assert result.exit_code == 1
    assert "/nonexistent/report.xml cannot be written: No such file or directory" in result.output
    assert said(cli("pin", "get", "uno.13")) == "0\n"
