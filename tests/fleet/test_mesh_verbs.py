"""Every verb of ``mesh`` on one fleet that runs: what it prints, on which output, and its exit code.

What each does in other cases is in the test files of its own; this is the table that leaves none out.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.cli.fleet import main
from tests.helpers import meshes
from tests.helpers.doc_blocks import pattern
from tests.helpers.fleet import trio_grid
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, finished

# Many processes start, which takes its time on a machine that has other things to do.
pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

LONG = 4 * DEADLINE
"""Seconds that a fleet may take to be there."""

OF_BOARDS = {"pins", "pin", "vcd", "test"}
"""Verbs that are told of in tests/cli/test_pins.py."""

OF_CERTIFICATES = {"cert"}
"""Told of in tests/cli/test_certificates.py."""

OF_LIFE = {"up", "down", "start", "stop", "restart", "new", "reply"}
"""Verbs that the story at the end tells."""

LOOKS = "looking on at blink; Ctrl-C ends it\n"

LIST = """\
NODE    STATE  WHERE …PID  UPTIME  LINKS  SKETCH  NOTE
clock   up     - …  1/1  clock
blink   up     localhost:… …  2/2  iopin
buzzer  up     localhost:… …  1/1  buzzer
"""

INFO = """\
name:        blink
sketch:      iopin
…
memory:      … MiB
…
link:        from clock at …: up
link:        to buzzer at …: up
"""

TABLE = [
    # words, exit code, standard output, standard error; … is anything
    (
        "list",
        0,
        LIST,
        "",
    ),
    (
        "info iopin",
        0,
        INFO,
        "",
    ),
    ("info blnk", 4, "", "Error: unknown node 'blnk', did you mean 'blink'?\n"),
    ("echo blink -n 2", 0, "… < blink/datafeed  …  [clock]\n… < blink/datafeed  …  [clock]\n", LOOKS),
    ("echo blink --filter ^nothing --timeout 2s", 124, "", f"{LOOKS}Error: 0 of 1 row came within 2 s\n"),
    ("hz blink -n 1 --window 500ms", 0, "< blink/datafeed  …/s\n", LOOKS),
    (
        "hz blink --window 1m --timeout 3s",
        124,
        "",
        f"{LOOKS}Error: 0 of 1 measurement came within 3 s\n",
    ),
    ("graph --timeout 5s", 0, "clock --> blink   target\nblink --> buzzer  link\n", ""),
    ("pub buzzer 1 -t 2", 0, "buzz buzz buzz\nbuzz buzz buzz\n", ""),
    ("pub buzer 1", 4, "", "Error: unknown node 'buzer', did you mean 'buzzer'?\n"),
    ("request buzzer 1", 0, "buzz buzz buzz\n", ""),
    ("ping buzzer -c 2 --interval 10ms", 0, "buzzer  … ms\nbuzzer  … ms\n", ""),
    (
        "top --once --every 300ms",
        0,
        "NODE …UPTIME\nblink   up …\nbuzzer  up …\nclock   up …\n",
        "",
    ),
    ("graph", 0, "clock --> blink   target\nblink --> buzzer  link\n", ""),
    ("graph --json", 0, '{"nodes": …}\n', ""),
    (
        "ring --once",
        2,
        "",
        "Usage: …\n…\nError: name a ring of …: it has none; give a group `topology: ring`\n",
    ),
    ("ledger clock", 0, "NODE …BALANCE\nclock  blink  sent  datafeed  …  yes\n", ""),
    ("wire blink -n 1", 0, "[ wire ] …\n", LOOKS),
    ("doctor", 0, "nothing is wrong with 3 nodes\n", ""),
    ("doctor --explain M2", 0, "M2: a node is down\n…\n", ""),
    ("completion bash", 0, "_mesh_completion() {\n…\n", ""),
    ("logs --node buzzer --grep serving", 0, "… buzzer | [ buzzer ] serving on localhost:…\n", ""),
    ("is-ready", 0, "", ""),
    ("is-ready nobody", 4, "", "Error: the fleet does not run 'nobody'; it has …\n"),
    ("validate", 0, "…: no mistakes; 3 nodes: clock, blink and buzzer\n", ""),
    ("plan", 0, "", "the fleet runs what the grid says\n"),
]


class Fleet:
    """A folder with a grid, and a runtime directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"SKETCHMESH_RUNTIME": str(folder / "run")}
        (folder / "run").mkdir(mode=0o700)
        self.grid, *_ = trio_grid(folder)

    def start(self, words: str) -> Proc:
        """Run ``mesh``."""
        return meshes.mesh(*words.split(), cwd=self.folder, env=self.env)

    def check(self, words: str, code: int, out: str, err: str) -> None:
        """Run ``mesh`` to its end, and compare all that comes of it."""
        proc = finished(self.start(words), within=LONG)
        assert proc.process.returncode == code, proc
        for expected, shown in ((out, proc.stdout), (err, proc.stderr)):
            text = "".join(f"{line}\n" for line in shown)
            assert re.fullmatch(pattern(expected), text), f"{expected}\nbut {text!r}"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Short, for the path of a socket has a limit.
    with tempfile.TemporaryDirectory(prefix="verbs-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def fleet(folder: Path) -> Iterator[Fleet]:
    found = Fleet(folder)
    with found.start("up") as up:
        up.wait_for("3 nodes are up", within=LONG)
        up.wait_for(r"\[ blink \] < ", within=LONG)  # all links are there
        yield found


@pytest.mark.parametrize(("words", "code", "out", "err"), TABLE, ids=[words for words, *_ in TABLE])
def test_a_verb(fleet: Fleet, words: str, code: int, out: str, err: str) -> None:
    fleet.check(words, code, out, err)


def test_no_verb_is_left_out() -> None:
    told = {words.split()[0] for words, *_ in TABLE} | OF_LIFE | OF_BOARDS | OF_CERTIFICATES
    assert told == set(main.commands)


def test_the_life_of_a_fleet() -> None:
    with tempfile.TemporaryDirectory(prefix="life-") as path:
        fleet = Fleet(Path(path))
        fleet.check("stop buzzer", 4, "", "Error: no fleet of … is up…\n")
        fleet.check("logs", 0, "", "nothing was logged yet: the fleet of … has never run here\n")
        with fleet.start("up -d") as up:
            assert up.wait(within=LONG) == 0, up
            assert up.stdout == []
            assert re.search(r"\d\d:\d\d:\d\d mesh   \| 3 nodes are up after \d+\.\d s$", up.stderr[-1])
            fleet.check("stop buzzer", 0, "", "buzzer has stopped\n")
            with fleet.start("reply buzzer yes") as standing:
                standing.wait_for("serving on", within=LONG)
                fleet.check("pub buzzer/here 7", 0, "yes\n", "")
                assert standing.stop() == 0
                # The pin sends to whoever is the buzzer.
                assert "here: 7 -> yes" in standing.stdout
                assert all(line.startswith("[ buzzer ] ") for line in standing.stderr)
            fleet.check("start buzzer", 0, "", "buzzer is ready\n")
            fleet.check("restart iopin", 0, "", "blink is ready\n")
            (port,) = free_ports(1)
            made = "lamp.py is the sketch, and grid.yaml has the node lamp\n"
            fleet.check(f"new sketch lamp --port {port}", 0, "", made)
            # The fleet has it as soon as it has read the grid.
            with fleet.start("logs -f --node mesh") as said:
                said.wait_for("the new grid is live", within=LONG)
            fleet.check("pub lamp on", 0, "got on\n", "")
            fleet.check("down --json", 0, '{"down": true, "pid": …}\n', "the fleet is down\n")
            assert up.family() == []
        fleet.check("down", 0, "", "nothing to do: no fleet of … is up…\n")
        fleet.check("down --json", 0, '{"down": true, "pid": null}\n', "nothing to do: …\n")
        fleet.check(
            "new fleet more", 0, "", "made more/grid.yaml and more/hello.py; next: cd more && mesh up\n"
        )
