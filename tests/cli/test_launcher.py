"""`arduino.py` as a user meets it: helps, mistakes, exit codes, and the shape of its lines."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.helpers.clients import ask, serving_port
from tests.helpers.fleet import write_grid
from tests.helpers.ports import free_ports
from tests.helpers.proc import LAUNCHER, Proc, arduino, finished

pytestmark = pytest.mark.fleet

COMMON = ["-s, --socket HOST", "-p, --port N", "--target NODE", "--grid FILE", "--name NODE"]
COMMON += ["--log-level [debug|info|warning|error]", "--log-format [pretty|json]", "-q, --quiet"]


def run(*arguments: str | Path, cwd: Path | None = None, env: dict[str, str | None] | None = None) -> Proc:
    return finished(arduino(*arguments, env=env) if cwd is None else arduino(*arguments, cwd=cwd, env=env))


def prose(lines: list[str]) -> str:
    """Return lines as one, for they are wrapped where the terminal ends."""
    return " ".join(" ".join(lines).split())


def said(proc: Proc) -> list[str]:
    """Return what a failed launch said, without the nodes that were registered before."""
    return [line for line in proc.stderr if "registering new node" not in line]


@contextmanager
def occupied() -> Iterator[int]:
    """Listen on a port, as another program does."""
    with ExitStack() as stack:
        (port,) = free_ports(1)
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                listener.bind((host, port))
                listener.listen()
            except OSError:  # no IPv6 here
                continue
        yield port


# -- helps ----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_sketches_with_their_first_lines(flag: str) -> None:
    done = run(flag)
    assert done.wait() == 0
    assert done.stderr == []
    text = prose(done.stdout)
    assert text.startswith("Usage: arduino.py [OPTIONS] SKETCH [OPTIONS] Launch one sketch:")
    assert re.search(r"clock Tick at a .* iopin Toggle a pin .* buzzer Buzz on light changes\.", text)
    assert "FILE.py:Class" in text
    assert "PACKAGE.MODULE:Class" in text
    assert "arduino.py SKETCH --help explains one" in text


def test_without_a_word_it_helps_and_exits_2() -> None:
    done = run()
    assert done.wait() == 2
    assert "Usage: arduino.py" in prose([line.text for line in done.lines])


@pytest.mark.parametrize(
    ("sketch", "own"),
    [
        ("buzzer", ["--sound", "--bell / --no-bell"]),
        ("iopin", ["--chance", "--sequence", "--seed", "Probability that a bit is 0, from 0 to 1."]),
        ("clock", ["-t, --tacks", "-d, --delay", "Seconds from tick to tick. [default: 1.0]"]),
    ],
)
def test_the_help_of_a_sketch(sketch: str, own: list[str]) -> None:
    done = run(sketch, "--help")
    assert done.wait() == 0
    assert done.stderr == []
    text = prose(done.stdout)
    assert text.startswith(f"Usage: arduino.py {sketch} [OPTIONS]")
    for words in [*COMMON, *own]:
        assert words in text


def test_the_help_says_whose_port_it_is() -> None:
    assert "-p, --port N This node's port to serve on. [default: the grid's, else $PORT, else 8765]" in prose(
        run("iopin", "--help").stdout
    )
    assert "-p, --port N The target's port to send to. [default: the grid's target, else 8765]" in prose(
        run("clock", "--help").stdout
    )


def test_help_works_where_the_grid_is_broken(tmp_path: Path) -> None:
    write_grid(tmp_path, "nodes: [")
    assert run("buzzer", "--help", cwd=tmp_path).wait() == 0


# -- mistakes ---------------------------------------------------------------------------


def test_an_unknown_sketch() -> None:
    done = run("toaster")
    assert done.wait() == 2
    assert done.stdout == []
    assert done.stderr[0].startswith("Error: unknown sketch, please choose clock, iopin or buzzer")
    assert len(done.stderr) == 1


@pytest.mark.parametrize(("typo", "meant"), [("buzer", "buzzer"), ("clok", "clock"), ("io-pin", "iopin")])
def test_a_misspelt_sketch(typo: str, meant: str) -> None:
    done = run(typo)
    assert done.wait() == 2
    assert f"did you mean {meant!r}?" in done.stderr[0]


def test_case_is_of_no_account() -> None:
    assert run("BUZZER", "--help").wait() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["buzzer", "--soun", "x"], "No such option '--soun'. Did you mean '--sound'?"),
        (["buzzer", "--port", "many"], "'many' is not a port; write a whole number from 0 to 65535."),
        (["buzzer", "--port", "65536"], "'65536' is not a port; write a whole number from 0 to 65535."),
        (["buzzer", "--port", "-1"], "'-1' is not a port"),
        (["clock", "--port", "0"], "'0' is not a port; write a whole number from 1 to 65535."),
        (["clock", "--delay", "soon"], "'soon' is not a valid float"),
        (["clock", "--delay", "0"], "clock: delay must be a finite number of seconds above 0, got 0.0"),
        (["clock", "--tacks", "1.5"], "'1.5' is not a valid int"),
        (["clock", "--tacks", "0"], "clock: tacks must be at least 1, got 0"),
        (["iopin", "--chance", "2"], "chance is a probability from 0 to 1, got 2.0"),
        (["iopin", "--sequence", "0"], "sequence must be at least 1, got 0"),
        (["iopin", "--seed", "x"], "'x' is not a valid int"),
        (["buzzer", "--sound"], "requires an argument"),
        (["buzzer", "loud"], "Got unexpected extra argument (loud)"),
        (["buzzer", "--log-level", "shout"], "'shout' is not one of 'debug', 'info', 'warning', 'error'"),
        (["buzzer", "--log-format", "xml"], "'xml' is not one of 'pretty', 'json'"),
        (["clock", "--target", "buzer"], "unknown node 'buzer', did you mean 'buzzer'?"),
        (["clock", "--target", "clock"], "node 'clock' has no port, so nobody can dial it"),
        (["buzzer", "--grid", "nowhere.yaml"], "there is no grid nowhere.yaml; correct the path"),
        (["buzzer", "--grid", "/"], "the grid / is a directory"),
        (["--port", "x", "buzzer"], "'x' is not a port"),
    ],
)
def test_a_wrong_option_exits_2_with_a_sentence(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.wait() == 2, done
    assert done.stdout == []
    assert words in said(done)[-1], done
    assert sum(line.startswith("Error: ") for line in said(done)) == 1
    assert not any("Traceback" in line for line in done.stderr)


def test_mesh_grid_that_names_no_file_is_said_to() -> None:
    done = run("buzzer", env={"MESH_GRID": "/nowhere.yaml"})
    assert done.wait() == 2
    assert re.search(r"there is no grid /nowhere\.yaml.*\$MESH_GRID", done.stderr[0])


def test_a_port_that_is_taken() -> None:
    with occupied() as port:
        done = run("buzzer", "--port", str(port))
    assert done.wait() == 1, done
    (line,) = said(done)
    assert line.startswith("[ buzzer ] error: Cannot bind to this port! Is the server already running?")
    assert f"(localhost:{port} is taken; stop what uses it, or choose another with --port)" in line
    assert done.stdout == []


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("no-such-host.invalid", "cannot serve on 'no-such-host.invalid': no such host"),
        ("192.0.2.1", "192.0.2.1 is no address of this machine; use localhost or 0.0.0.0"),
    ],
)
def test_a_host_that_is_not_here(host: str, words: str) -> None:
    done = run("buzzer", "--socket", host, "--port", "0")
    assert done.wait() == 1, done
    assert len(said(done)) == 1
    assert said(done)[0].startswith("[ buzzer ] error: ")
    assert words in said(done)[0]


def test_every_mistake_of_a_broken_grid_with_line_and_column(tmp_path: Path) -> None:
    text = "nodes:\n  a: {sketch: buzzer, port: 99999}\n  b: {prt: 1}\n  c: {sketch: clock, target: d}\n"
    grid = write_grid(tmp_path, text)
    for done in (run("buzzer", cwd=tmp_path), run("buzzer", "--grid", "grid.yaml", cwd=tmp_path)):
        assert done.wait() == 2
        assert done.stdout == []
        assert done.stderr[0] == "Error: grid.yaml has 4 mistakes:"
        places = [line.split(": ")[0] for line in done.stderr[1:]]
        assert places == ["  grid.yaml:2:29", "  grid.yaml:3:3", "  grid.yaml:3:7", "  grid.yaml:4:30"]
    assert run("buzzer", "--grid", grid).stderr[0] == f"Error: {grid} has 4 mistakes:"


def test_args_of_the_grid_that_setup_does_not_take(tmp_path: Path) -> None:
    write_grid(tmp_path, "nodes:\n  buzzer:\n    sketch: buzzer\n    args:\n      sond: moo\n")
    done = run("buzzer", cwd=tmp_path)
    assert done.wait() == 2
    (line,) = said(done)
    assert line.startswith("Error: grid.yaml:5:")
    assert "unknown argument 'sond', did you mean 'sound'?; Buzzer.setup(" in line


def test_args_of_the_grid_of_the_wrong_type(tmp_path: Path) -> None:
    write_grid(tmp_path, "nodes:\n  clock:\n    sketch: clock\n    args: {delay: often}\n")
    done = run("clock", cwd=tmp_path)
    assert done.wait() == 2
    (line,) = said(done)
    assert line.startswith("Error: grid.yaml:4:")
    assert "argument 'delay': expected float, got str; Clock.setup(" in line


# -- what it prints ------------------------------------------------------------------------


def test_what_the_sketch_says_goes_to_stdout_and_the_rest_to_stderr() -> None:
    with arduino("buzzer", "--port", "0") as buzzer:
        ask(serving_port(buzzer), "1")
        buzzer.wait_for("done processing")
        assert buzzer.stop() == 0
    assert all(line.startswith("[ buzzer ] ") for line in buzzer.stdout)
    assert buzzer.stderr[:3] == [f"[ mesh ] registering new node: {n}" for n in ("clock", "blink", "buzzer")]


@pytest.mark.parametrize("flags", [["--quiet"], ["-q"], ["--log-level", "warning"]])
def test_quiet_leaves_only_warnings_of_the_machinery(flags: list[str]) -> None:
    with arduino("buzzer", *flags, "--port", "0") as buzzer:
        serving_port(buzzer)
        assert buzzer.stop() == 0
        assert all(": " in line and "warning" in line for line in buzzer.stderr), buzzer
        assert buzzer.count("registering") == 0


def test_common_options_count_before_the_sketch_as_well() -> None:
    with arduino("--quiet", "--port", "0", "--log-format", "json", "buzzer") as buzzer:
        found = buzzer.wait_for(r'"text": "serving on localhost:(\d+)"')
        assert ask(int(found[1]), "0") == ["..."]
        assert buzzer.count("registering") == 0


def test_json_is_one_object_a_line_on_both_outputs() -> None:
    with arduino("buzzer", "--port", "0", "--log-format", "json") as buzzer:
        port = int(buzzer.wait_for(r'"serving on localhost:(\d+)"')[1])
        ask(port, "1", channel="gr%C3%B6%C3%9Fe/%F0%9F%94%94%0A")
        buzzer.wait_for("done processing")
        assert buzzer.stop(signal.SIGINT) == 0
    records = [json.loads(line.text) for line in buzzer.lines]
    assert all(set(record) == {"time", "node", "level", "text"} for record in records)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]) for record in records)
    out = [(r["node"], r["text"]) for r in records if r["level"] == "out"]
    assert ("buzzer", "signal 1 received -> buzz buzz buzz") in out
    assert ("buzzer", "** new client connected, path=/größe/\N{BELL}\n") in out
    assert {r["level"] for r in records} >= {"out", "info"}


def test_json_also_when_it_fails() -> None:
    with occupied() as port:
        done = run("buzzer", "--port", str(port), "--log-format", "json")
    records = [json.loads(line) for line in done.stderr]
    assert done.wait() == 1
    assert records[-1]["level"] == "error"
    assert "Cannot bind to this port!" in records[-1]["text"]


def test_a_client_cannot_write_to_the_terminal() -> None:
    with arduino("buzzer", "--port", "0") as buzzer:
        ask(serving_port(buzzer), "1", "\x1b]0;owned\x07\n[ clock ] > 7", channel="%1B[2J%0A[%20fake%20]%20x")
        buzzer.wait_for("done processing")
        assert buzzer.stop() == 0
    text = "\n".join(line.text for line in buzzer.lines)
    assert "\x1b" not in text
    assert r"path=/\x1b[2J\x0a[ fake ] x" in text
    assert not any(line.startswith(("[ fake ]", "[ clock ]")) for line in buzzer.stdout)


def test_an_ascii_terminal_gets_escapes_and_no_traceback() -> None:
    env: dict[str, str | None] = {"PYTHONIOENCODING": "ascii"}
    with arduino("buzzer", "--port", "0", "--sound", "größe", env=env) as buzzer:
        assert ask(serving_port(buzzer), "1") == ["größe"]
        buzzer.wait_for(r"received -> gr\\xf6\\xdfe$")


def test_debug_tells_more() -> None:
    with arduino("buzzer", "--port", "0", "--log-level", "debug") as buzzer:
        serving_port(buzzer)
        assert buzzer.stop() == 0


# -- who it is -------------------------------------------------------------------------------


def test_name_chooses_the_node_and_a_stranger_is_ad_hoc(tmp_path: Path) -> None:
    grid = write_grid(
        tmp_path,
        "nodes:\n  one: {sketch: buzzer, args: {sound: un}}\n  two: {sketch: buzzer, args: {sound: deux}}\n",
    )
    for arguments, name, sound in (
        (["--name", "two"], "two", "deux"),
        (["--name", "three"], "three", "buzz"),
        ([], "buzzer", "buzz"),  # two nodes run it, so neither is meant
    ):
        with arduino("buzzer", *arguments, "--grid", grid, "-p", "0") as buzzer:
            assert ask(serving_port(buzzer), "1") == [sound]
            buzzer.wait_for(rf"^\[ {name} \] serving")


def test_the_only_node_with_the_sketch_is_meant_whatever_its_name(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, "nodes: {siren: {sketch: buzzer, args: {sound: wee}}}")
    with arduino("buzzer", "--grid", grid, "-p", "0") as buzzer:
        assert ask(serving_port(buzzer), "1") == ["wee"]
        buzzer.wait_for(r"^\[ siren \] serving")


def test_the_command_line_beats_the_args_of_the_grid() -> None:
    with arduino("buzzer", "-p", "0", "--sound", "moo") as buzzer:
        assert ask(serving_port(buzzer), "1") == ["moo"]


def test_a_node_of_another_sketch_is_remarked_and_its_args_are_left() -> None:
    with arduino("buzzer", "--name", "blink", "-p", "0") as buzzer:
        assert ask(serving_port(buzzer), "1") == ["buzz"]
        buzzer.wait_for("warning: blink runs 'iopin' in the grid, not 'buzzer'; its args are not used")


# -- what a sketch of one's own does wrong ---------------------------------------------------

OWN = """\
import factory

class Own(factory.FactoryLoop):
    {setup}

    @factory.reactive
    async def loop(self, channel, msg):
        return msg
"""


def launch_own(folder: Path, setup: str, args: str = "", *more: str) -> Proc:
    (folder / "own.py").write_text(OWN.format(setup=setup))
    write_grid(folder, f"nodes:\n  own:\n    sketch: own.py:Own\n{args}")
    return run("own.py", "-p", "0", *more, cwd=folder)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_setup_that_fails_is_one_sentence(tmp_path: Path, kind: str) -> None:
    done = launch_own(tmp_path, f"{kind} setup(self, x=1): {{}}[x]")
    assert done.wait() == 1, done
    (line,) = said(done)
    assert re.search(r"rror: (own: )?setup\(\) raised KeyError: 1 \(at .*own\.py:4\)$", line)


def test_a_setup_may_raise_anything(tmp_path: Path) -> None:
    done = launch_own(tmp_path, "def setup(self): raise BaseException('x')")
    assert done.wait() == 1, done
    assert said(done)[-1].startswith("Error: own: setup() raised BaseException: x (at ")


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("from_grid", [True, False])
def test_what_setup_says_of_its_arguments_is_a_wrong_call(tmp_path: Path, kind: str, from_grid: bool) -> None:
    args = "    args: {x: 5}\n" if from_grid else ""
    done = launch_own(tmp_path, f"{kind} setup(self, x=1): raise ValueError(f'x is {{x}}')", args)
    assert done.wait() == 2, done
    assert f"x is {5 if from_grid else 1}" in said(done)[-1]
    assert ("grid.yaml:4:11: " in said(done)[-1]) is from_grid
    assert not any("Traceback" in line for line in done.stderr)


def test_a_constructor_without_super_is_told(tmp_path: Path) -> None:
    done = launch_own(tmp_path, "def __init__(self): pass")
    assert done.wait() == 1, done
    assert said(done)[-1].startswith("Error: Own has an __init__() of its own that does not call super()")


def test_a_registry_that_fails_is_told(tmp_path: Path) -> None:
    class_body = "class registry:\n        @staticmethod\n        def nodes(): return 1 / 0"
    done = launch_own(tmp_path, class_body)
    assert done.wait() == 2, done
    assert said(done)[-1] == "Error: type.nodes() raised ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("$x", "the name '$x' is reserved; names that start with $ belong to the mesh"),
        ("a b", "'a b' is not a name; a name starts with a letter"),
        ("", "'' is not a name; a name starts with a letter"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_rule(name: str, words: str) -> None:
    done = run("buzzer", "--name", name, "-p", "0")
    assert done.wait() == 2, done
    assert words in said(done)[-1]


def test_the_hint_for_a_node_heeds_the_grid_and_where_its_files_are(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "own.py").write_text(OWN.format(setup="x = 1"))
    write_grid(folder, "nodes:\n  kitchen: {sketch: own.py:Own, port: 1}\n")
    done = run("--grid", "there/grid.yaml", "kitchen", cwd=tmp_path)
    assert done.wait() == 2
    hint = "./arduino.py --grid there/grid.yaml there/own.py:Own --name kitchen"
    assert said(done)[-1] == (
        f"Error: unknown sketch, please choose clock, iopin or buzzer; kitchen is a node of the grid: {hint}"
    )
    assert run(*hint.split()[1:], "--help", cwd=tmp_path).wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_in_one_sentence() -> None:
    done = finished(Proc("sh", "-c", 'exec "$0" "$@" > /dev/full', sys.executable, LAUNCHER, "--help"))
    assert done.wait() == 1, done
    assert done.stderr == ["Error: the output cannot be written: No space left on device"]


@pytest.mark.parametrize("arguments", [["clock", "--tcp", "9804"], ["--tcp", "9804", "clock"]])
def test_a_sketch_that_opens_no_door_takes_no_tcp(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.wait() == 2
    assert "--tcp" in done.stderr[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "line needs --tcp"),
        (["--tcp", "70000"], "'70000' is not a port; write a whole number from 1 to 65535."),
        (["--tcp", "0"], "'0' is not a port"),
        (["--tcp", "a b:9804"], "'a b:9804' is no address; write it as PORT or HOST:PORT."),
    ],
)
def test_line_says_what_it_needs(arguments: list[str], words: str) -> None:
    done = run("line", *arguments)
    assert done.wait() == 2
    assert words in done.stderr[-1]
