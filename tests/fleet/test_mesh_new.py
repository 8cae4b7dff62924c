"""``mesh new`` and ``mesh completion``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.looking.making import CannotMakeError, class_name, with_node
from mesh.errors import GridError
from mesh.gridfile.load import parse_grid
from tests.helpers.lab import eventually, lab
from tests.helpers.meshes import mesh
from tests.helpers.ports import free_ports
from tests.helpers.proc import Proc, finished

pytestmark = pytest.mark.fleet


def run(folder: Path, *arguments: str, code: int = 0) -> Proc:
    proc = finished(mesh(*arguments, cwd=folder))
    assert proc.process.returncode == code, proc
    return proc


def test_a_new_fleet_and_a_sketch_in_it_run(tmp_path: Path) -> None:
    made = run(tmp_path, "new", "fleet", "lab")
    assert made.stdout == []
    assert made.stderr == ["made lab/grid.yaml and lab/hello.py; next: cd lab && mesh up"]
    folder = tmp_path / "lab"
    (port,) = free_ports(1)
    run(folder, "new", "sketch", "my-lamp", "--port", str(port))
    assert "class MyLamp(factory.FactoryLoop):" in (folder / "my_lamp.py").read_text()
    assert run(folder, "validate").stdout[0].endswith("grid.yaml: no mistakes; 2 nodes: hello and my-lamp")
    with mesh("up", "my-lamp", cwd=folder) as up:
        up.wait_for(f"my-lamp is ready on localhost:{port}$")
        assert run(folder, "pub", "my-lamp", "on").stdout == ["got on"]
        assert up.stop() == 0


def test_what_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    run(tmp_path, "new", "fleet", "lab")
    before = (tmp_path / "lab/grid.yaml").read_bytes()
    assert "is there already" in run(tmp_path, "new", "fleet", "lab", code=1).stderr[0]
    (tmp_path / "lab/taken.py").write_text("mine")
    assert "is there already" in run(tmp_path / "lab", "new", "sketch", "taken", code=1).stderr[0]
    assert (tmp_path / "lab/grid.yaml").read_bytes() == before
    assert "there is no grid.yaml here" in run(tmp_path, "new", "sketch", "x", code=1).stderr[0]
    assert "names that start with $" in run(tmp_path, "new", "fleet", "$x", code=2).stderr[-1]


def test_what_was_made_as_a_document(tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "new", "fleet", "lab", "--json").stdout[0])
    assert made == {"grid": "lab/grid.yaml", "sketch": "lab/hello.py", "node": "hello", "port": 8770}
    made = json.loads(run(tmp_path / "lab", "new", "sketch", "lamp", "--json").stdout[0])
    assert Path(made.pop("grid")).name == "grid.yaml"
    assert Path(made.pop("sketch")).name == "lamp.py"
    assert made == {"node": "lamp", "port": 8771}


COMMENTED = """\
# The grid of the lab.
origins: [http://pi.local]   # who may come in

nodes:
    a:   # the first
        port: 8001 # its port

    b: {port: 8002}   # the last

    # c comes here one day

# the end
groups: {}
"""


def test_comments_and_order_are_kept() -> None:
    text = with_node(COMMENTED, "new", "new.py:New", 8003)
    entry = "    new:\n      sketch: new.py:New\n      port: 8003\n"
    assert text == COMMENTED.replace("# the last\n", f"# the last\n{entry}")


@pytest.mark.parametrize(
    "text",
    [
        "nodes: {a: {port: 1}} # flow\n",
        "nodes: {} # none\n",
        "nodes:\n  a: {port: 1}",
        "nodes:\r\n  a:\r\n    port: 1\r\n# end\r\n",
        "nodes:\n  a:\n    port: 1\n    args:\n      text: |\n        one\n\n        two\n\n# end\n",
        "nodes:\n  b: {port: 2}\n  a:\n    port: 1\n    peers:\n    - b\ngroups: {}\n",
        "nodes:\n",
        "nodes: # nobody yet\ngroups: {}\n",
    ],
)
def test_a_node_is_added_whatever_the_grid_looks_like(text: str) -> None:
    changed = with_node(text, "new", "new.py:New", 8003)
    assert parse_grid(changed.encode()).node("new").port == 8003
    assert len(changed) > len(text)
    rest = iter(changed)
    assert all(letter in rest for letter in text.strip())  # nothing is taken away
    assert ("\r\n" in changed) == ("\r\n" in text)


def test_a_node_is_not_added_twice_or_to_what_is_no_grid() -> None:
    for name in ("a", "b"):
        with pytest.raises(CannotMakeError, match=f"the grid has a node {name} already; choose another"):
            with_node("nodes:\n  a: {port: 1, aliases: [b]}\n", name, "a.py:A", 8003)
    with pytest.raises(GridError, match="unknown field"):
        with_node("nodes:\n  a: {prot: 1}\n", "b", "b.py:B", 8003)
    with pytest.raises(CannotMakeError, match="no `nodes:`"):
        with_node("groups: {}\n", "a", "a.py:A", 8003)


def test_the_name_of_a_class() -> None:
    assert [class_name(name) for name in ("lamp", "my-lamp", "my_lamp2")] == ["Lamp", "MyLamp", "MyLamp2"]


TALKER = """\
import factory


class Talker(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel, msg):
        await self.publish("told", msg)
        return msg
"""

# -- completion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    shown = run(Path.cwd(), "completion", shell)
    assert shown.stderr == []
    assert f"_MESH_COMPLETE={shell}_complete" in "\n".join(shown.stdout)
    run(Path.cwd(), "completion", "dos", code=2)


def completions(words: str, start: Callable[[dict[str, str]], Proc]) -> list[str]:
    """Return what a shell would be offered for the last word; an underscore stands for none."""
    env = {
        "COMP_WORDS": words.removesuffix("_"),
        "COMP_CWORD": str(len(words.split()) - 1),
        "_MESH_COMPLETE": "bash_complete",
    }
    return [line.removeprefix("plain,") for line in finished(start(env)).stdout]


@pytest.mark.parametrize(
    "words",
    [
        "up",
        "start",
        "stop",
        "restart",
        "is-ready",
        "logs --node",
        "info",
        "up a",
        "restart a",
        "wire",
        "ping",
    ],
)
def test_nodes_of_the_grid_are_completed_wherever_they_are_named(tmp_path: Path, words: str) -> None:
    (tmp_path / "grid.yaml").write_text("nodes: {blink: {port: 8001}, buzzer: {port: 8002}}")

    def start(env: dict[str, str]) -> Proc:
        return mesh(cwd=tmp_path, env={**env, "SKETCHMESH_RUNTIME": str(tmp_path / "run")})

    assert completions(f"mesh {words} _", start) == ["blink", "buzzer"]
    assert completions(f"mesh {words} bu", start) == ["buzzer"]


def test_codes_of_the_doctor_are_completed(tmp_path: Path) -> None:
    def start(env: dict[str, str]) -> Proc:
        return mesh(cwd=tmp_path, env=env)

    assert completions("mesh doctor --explain M1", start)[:2] == ["M1", "M10"]
    assert completions("mesh doctor --explain m2", start) == ["M2"]


def test_names_are_completed_live() -> None:
    with lab() as found:
        found.run("guest", "Echo", "--port", str(found.ports["spare"]))

        def completed(words: str) -> list[str]:
            return completions(words, lambda env: found.bare({**env, "MESH_GRID": str(found.grid)}))

        assert completed("mesh info e") == ["echo"]
        assert completed("mesh info g") == ["guest"]  # which the grid has not
        eventually(lambda: completed("mesh echo guest/n"), ["guest/number"])
        eventually(lambda: completed("mesh pub guest/s"), ["guest/said", "guest/slow"])
        assert "list" in completed("mesh l")


def test_channels_are_completed_that_no_class_names(tmp_path: Path) -> None:
    (tmp_path / "talker.py").write_text(TALKER)
    (port,) = free_ports(1)
    (tmp_path / "grid.yaml").write_text(f"nodes: {{talker: {{sketch: 'talker.py:Talker', port: {port}}}}}")
    with mesh("up", cwd=tmp_path) as up:
        up.wait_for("talker is ready")
        assert run(tmp_path, "pub", "talker/any", "1").stdout == ["1"]

        def completed(words: str) -> list[str]:
            return completions(words, lambda env: mesh(cwd=tmp_path, env=env))

        eventually(lambda: completed("mesh echo talker/_"), ["talker/any", "talker/told"])
        eventually(lambda: completed("mesh echo talker/t"), ["talker/told"])
        assert up.stop() == 0
