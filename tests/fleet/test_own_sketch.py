"""A user's own sketch: from a file, from a module, and in a grid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.clients import ask, serving_port
from tests.helpers.fleet import write_grid
from tests.helpers.proc import Proc, arduino, finished

pytestmark = pytest.mark.fleet

THERMOSTAT = '''\
import factory


class Thermostat(factory.FactoryLoop):
    """Keep the room at a temperature."""

    def setup(self, wanted: float = 20.0, unit: str = "C"):
        """Choose the temperature.

        Args:
            wanted: Degrees to keep.
            unit: C or F.

        """
        self.wanted, self.unit = wanted, unit

    @factory.reactive
    async def loop(self, channel, msg: float):
        return f"{'on' if msg < self.wanted else 'off'} at {self.wanted} {self.unit}"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "thermostat.py").write_text(THERMOSTAT, encoding="utf-8")
    return tmp_path


def answer(proc: Proc, *messages: str) -> list[str | bytes]:
    return ask(serving_port(proc), *messages)


@pytest.mark.parametrize("reference", ["thermostat.py:Thermostat", "thermostat.py", "thermostat:Thermostat"])
def test_from_a_file(folder: Path, reference: str) -> None:
    with arduino(reference, "--port", "0", "--wanted", "18.5", cwd=folder) as proc:
        assert answer(proc, "18", "19.5") == ["on at 18.5 C", "off at 18.5 C"]
        proc.wait_for(r"^\[ thermostat \] serving on ")


def test_from_a_file_somewhere_else(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    reference = f"{folder / 'thermostat.py'}:Thermostat"
    with arduino(reference, "--port", "0", cwd=elsewhere) as proc:
        assert answer(proc, "25") == ["off at 20.0 C"]


def test_from_a_module_of_a_package(folder: Path) -> None:
    package = folder / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (folder / "thermostat.py").rename(package / "sketches.py")
    with arduino("mypackage.sketches:Thermostat", "--port", "0", cwd=folder) as proc:
        assert answer(proc, "25") == ["off at 20.0 C"]


def test_its_help_comes_from_its_signature_and_docstring(folder: Path) -> None:
    done = finished(arduino("thermostat.py:Thermostat", "--help", cwd=folder))
    assert done.wait() == 0
    text = " ".join(" ".join(done.stdout).split())
    assert "Keep the room at a temperature." in text
    assert re.search(r"-w, --wanted FLOAT Degrees to keep\. \[default: 20\.0\]", text)
    assert re.search(r"-u, --unit \w+ C or F\. \[default: C\]", text)
    assert done.stderr == []


def test_in_a_grid_its_file_counts_from_the_grid(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    grid = write_grid(
        folder,
        "nodes:\n"
        "  kitchen: {sketch: 'thermostat.py:Thermostat', args: {wanted: 21, unit: F}}\n"
        "  other: {port: 8771}\n",
    )
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with arduino(folder / "thermostat.py:Thermostat", "--grid", grid, "-p", "0", cwd=elsewhere) as proc:
        assert answer(proc, "25") == ["off at 21.0 F"]
        proc.wait_for(r"^\[ kitchen \] serving on ")


def test_a_same_named_file_elsewhere_is_another_sketch(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    grid = write_grid(folder, "nodes: {kitchen: {sketch: 'thermostat.py:Thermostat', args: {wanted: 21}}}")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "thermostat.py").write_text(THERMOSTAT, encoding="utf-8")
    with arduino("thermostat.py:Thermostat", "--grid", grid, "-p", "0", cwd=elsewhere) as proc:
        assert answer(proc, "25") == ["off at 20.0 C"]
        proc.wait_for(r"^\[ thermostat \] serving on ")


@pytest.mark.parametrize(
    ("reference", "code", "words"),
    [
        ("thermostt.py:Thermostat", 2, "there is no file .*thermostt.py, did you mean 'thermostat.py'"),
        ("thermostat.py:Thermostats", 2, "has no 'Thermostats', did you mean 'Thermostat'"),
        ("thermostat", 2, "did you mean the file, thermostat.py?"),
        ("nowhere.sketches:Thermostat", 2, "there is no module 'nowhere'"),
        ("broken.py", 1, r"broken\.py:1: "),
        ("dividing.py", 1, r"dividing\.py:2: cannot be imported: ZeroDivisionError"),
        ("importing.py", 1, r"importing\.py:1: cannot be imported: ModuleNotFoundError: .*'no_such_thing'"),
        ("bad.py", 1, r"loop\(\) at .*bad\.py:3 is not decorated; write @factory\.reactive above it"),
        ("plain.py:int", 2, "has no 'int'"),
        ("plain.py:Plain", 1, "is no sketch; a sketch is a subclass of factory.FactoryLoop"),
        ("plain.py", 2, "holds no sketch"),
        ("idle.py", 1, "Idle does nothing: write a handler"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_traceback(
    folder: Path, reference: str, code: int, words: str
) -> None:
    files = {
        "broken.py": "class (:\n",
        "dividing.py": "import factory\n1 / 0\n",
        "importing.py": "import no_such_thing\n",
        "bad.py": "import factory\nclass Bad(factory.FactoryLoop):\n"
        "    async def loop(self, channel, msg): ...\n",
        "plain.py": "class Plain: ...\n",
        "idle.py": "import factory\nclass Idle(factory.FactoryLoop): ...\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    done = finished(arduino(reference, cwd=folder))
    assert done.wait() == code, done
    assert done.stdout == []
    said = [line for line in done.stderr if "registering new node" not in line]
    assert len(said) == 1, said
    assert re.search(words, said[0]), said
    assert said[0].startswith("Error: ")
