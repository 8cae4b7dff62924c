"""From a reference to a sketch class, and what is said when there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import factory
import sketches
from factory.find import CORE, find_sketch, own_name, same_sketch, shipped

SKETCH = """
import factory

class {name}(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel, msg):
        return {answer!r}
"""


@pytest.fixture(autouse=True)
def _imports_as_before() -> Iterator[None]:
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def sketch(path: Path, name: str = "Thermostat", answer: str = "", more: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SKETCH.format(name=name, answer=answer) + more)
    return path


@pytest.mark.source("B1", "B23")
@pytest.mark.parametrize("word", ["buzzer", "Buzzer", "BUZZER"])
def test_a_shipped_sketch_by_its_name_in_any_case(word: str, tmp_path: Path) -> None:
    assert find_sketch(word, tmp_path) is sketches.Buzzer


def test_the_shipped_sketches_in_the_order_of_the_lessons() -> None:
    lines = ["echo", "rawecho", "greeting", "robustgreeting", "line", "bridge"]
    assert list(shipped()) == [*CORE, *lines, "board", "ringchat", "rooms", "chat"]


@pytest.mark.source("B40")
@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("buzer", "; did you mean 'buzzer'?"),
        (
            "toaster",
            " (got 'toaster'); arduino.py --help lists them all",
        ),
        (
            "",
            " (got ''); arduino.py --help lists them all",
        ),
    ],
)
def test_an_unknown_sketch(word: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(factory.SketchNotFoundError) as caught:
        find_sketch(word, tmp_path)
    assert str(caught.value) == f"unknown sketch, please choose clock, iopin or buzzer{words}"
    assert isinstance(caught.value, LookupError)


def test_a_file_beside_one_is_suggested(tmp_path: Path) -> None:
    sketch(tmp_path / "thermostat.py")
    with pytest.raises(factory.SketchNotFoundError, match=r"did you mean the file, thermostat\.py\?"):
        find_sketch("thermostat", tmp_path)


# -- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["thermostat.py:Thermostat", "thermostat.py", "./thermostat.py"])
def test_a_class_in_a_file(reference: str, tmp_path: Path) -> None:
    sketch(tmp_path / "thermostat.py")
    found = find_sketch(reference, tmp_path)
    assert found.__name__ == "Thermostat"
    assert "thermostat" not in sys.modules, "a sketch must not become what others import by that name"


def test_a_file_by_its_absolute_path(tmp_path: Path) -> None:
    path = sketch(tmp_path / "deep" / "thermostat.py")
    assert find_sketch(f"{path}:Thermostat", Path("/nowhere")).__name__ == "Thermostat"


def test_a_file_may_import_what_lies_beside_it_and_its_own_types_resolve(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("ANSWER = 42\n")
    (tmp_path / "own.py").write_text(
        "from __future__ import annotations\n"
        "import dataclasses, factory\n"
        "from beside_it import ANSWER\n"
        "@dataclasses.dataclass\n"
        "class Point:\n    x: int = ANSWER\n"
        "class Own(factory.FactoryLoop):\n"
        "    @factory.reactive\n"
        "    async def loop(self, channel: str, msg: Point): ...\n"
    )
    plan = find_sketch("own.py", tmp_path).plan
    assert plan.fallback is not None
    assert repr(plan.fallback.decoder()("{}")) == "Point(x=42)"


def test_a_file_called_as_a_module_of_the_standard_library(tmp_path: Path) -> None:
    sketch(tmp_path / "json.py")
    assert find_sketch("json.py", tmp_path).__name__ == "Thermostat"
    import json

    assert json.loads("1") == 1


def test_several_in_one_file_have_to_be_chosen(tmp_path: Path) -> None:
    sketch(tmp_path / "two.py", "One", more=SKETCH.format(name="Other", answer=""))
    with pytest.raises(
        factory.SketchNotFoundError, match=r"two\.py holds One and Other: choose one, as in two\.py:One"
    ):
        find_sketch("two.py", tmp_path)
    assert find_sketch("two.py:Other", tmp_path).__name__ == "Other"


def test_what_is_imported_does_not_count_as_the_files_own(tmp_path: Path) -> None:
    sketch(tmp_path / "mine.py", "Mine", more="\nfrom sketches import Buzzer\n")
    assert find_sketch("mine.py", tmp_path).__name__ == "Mine"
    assert find_sketch("mine.py:Buzzer", tmp_path) is sketches.Buzzer, "but may be named"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("termostat.py:X", "there is no file {folder}/termostat.py, did you mean 'thermostat.py'?"),
        ("zzz.py", "there is no file {folder}/zzz.py"),
        ("nowhere/x.py", "there is no file {folder}/nowhere/x.py"),
        ("thermostat.py:Thermometer", "thermostat.py has no 'Thermometer', did you mean 'Thermostat'?"),
        ("thermostat.py:Zzz", "thermostat.py has no 'Zzz'; it has Thermostat"),
        ("empty.py", "empty.py holds no sketch (a subclass of factory.FactoryLoop)"),
        ("empty.py:X", "empty.py has no 'X'; it has no sketch at all"),
    ],
)
def test_what_is_not_there(reference: str, words: str, tmp_path: Path) -> None:
    sketch(tmp_path / "thermostat.py")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(factory.SketchNotFoundError) as caught:
        find_sketch(reference, tmp_path)
    assert str(caught.value) == words.format(folder=tmp_path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(factory.SketchNotFoundError, match="there is no file"):
        find_sketch("folder.py", tmp_path)


def test_a_class_that_is_no_sketch(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("class Plain: ...\nvalue = 5\n")
    for name in ("Plain", "value"):
        with pytest.raises(factory.SketchError, match=rf"x\.py:{name} is no sketch; .*factory\.FactoryLoop"):
            find_sketch(f"x.py:{name}", tmp_path)


# What the file holds; what is said of it, after the path.
BROKEN: dict[str, tuple[str, str]] = {
    "syntax": ("x = 1\ndef f(:\n", "x.py:2: invalid syntax"),
    "indentation": ("def f():\nx = 1\n", "x.py:2: expected an indented block"),
    "import": (
        "import os\nimport no_such_thing\n",
        "x.py:2: cannot be imported: ModuleNotFoundError: No module",
    ),
    "name": ("x = 1\n\nfactroy.x\n", "x.py:3: cannot be imported: NameError: name 'factroy' is not defined"),
    "in a function": (
        "def f():\n    return 1 / 0\nf()\n",
        "x.py:2: cannot be imported: ZeroDivisionError: division by zero",
    ),
    "in what it calls": (
        "import json\n\njson.loads('[')\n",
        "x.py:3: cannot be imported: JSONDecodeError",
    ),
    "exit": ("import sys\nsys.exit(3)\n", "x.py:2: cannot be imported: SystemExit: 3"),
    "sketch": (
        "import factory\nclass X(factory.FactoryLoop):\n    async def loop(self, channel, msg): ...\n",
        "x.py:3 is not decorated; write @factory.reactive above it",
    ),
    "decorator": (
        "import factory\nclass X(factory.FactoryLoop):\n    @factory.every('soon')\n    def x(self): ...\n",
        "x.py:3: 'soon' is no duration",
    ),
    "bytes": ("x = '\udcff'\n", "x.py"),
    "null": ("x = 1\0\n", "x.py"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_broken_says_where(name: str, tmp_path: Path) -> None:
    text, words = BROKEN[name]
    path = tmp_path / "x.py"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(factory.SketchError) as caught:
        find_sketch("x.py", tmp_path)
    assert f"{tmp_path}/{words}" in str(caught.value)
    assert "None" not in str(caught.value)
    assert "sketch_file_x" not in sys.modules, "half a module must not stay"


def test_what_is_broken_in_an_import_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "broken_part.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "x.py").write_text("import broken_part\n")
    with pytest.raises(factory.SketchError, match=r"broken_part\.py:2: invalid syntax"):
        find_sketch("x.py", tmp_path)


# -- modules -----------------------------------------------------------------------------------


def test_a_class_in_a_module_beside_one(tmp_path: Path) -> None:
    sketch(tmp_path / "housepack" / "rooms.py")
    (tmp_path / "housepack" / "__init__.py").write_text("")
    assert find_sketch("housepack.rooms:Thermostat", tmp_path).__name__ == "Thermostat"


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("no_such_pack:X", factory.SketchNotFoundError, "there is no module 'no_such_pack'; is it spelled"),
        ("housepack.roms:X", factory.SketchNotFoundError, "there is no module 'housepack.roms'"),
        ("housepack.rooms:Termostat", factory.SketchNotFoundError, "did you mean 'Thermostat'?"),
        ("housepack.lacking:X", factory.SketchError, "cannot be imported: ModuleNotFoundError: No module"),
        ("housepack.wrong:X", factory.SketchError, "wrong.py:2: invalid syntax"),
        (".rooms:X", factory.SketchError, "cannot be imported"),
        (":X", factory.SketchError, "cannot be imported"),
    ],
)
def test_a_module_that_is_not_there_or_broken(
    reference: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    sketch(tmp_path / "housepack" / "rooms.py")
    (tmp_path / "housepack" / "__init__.py").write_text("")
    (tmp_path / "housepack" / "lacking.py").write_text("import no_such_thing\n")
    (tmp_path / "housepack" / "wrong.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(error) as caught:
        find_sketch(reference, tmp_path)
    assert words in str(caught.value)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "one_base", "other", "other_base", "same"),
    [
        ("buzzer", "/a", "Buzzer", "/b", True),
        ("buzzer", "/a", "clock", "/a", False),
        ("x.py:X", "/a", "x.py:X", "/a", True),
        ("x.py:X", "/a", "x.py:X", "/b", False),
        ("../b/x.py:X", "/a", "x.py:X", "/b", True),
        ("/b/x.py:X", "/a", "x.py:X", "/b", True),
        ("x.py:X", "/a", "x.py:Y", "/a", False),
        ("x.py", "/a", "x.py", "/a", True),
        ("x.py", "/a", "x.py:X", "/a", True),
        ("x.py:X", "/a", "x.py", "/a", True),
        ("x.py", "/a", "x.py:X", "/b", False),
        ("buzzer", "/a", "buzzer:Other", "/a", False),
        ("pack.m:X", "/a", "pack.m:X", "/b", True),
        ("pack.m:X", "/a", "pack.m:x", "/b", False),
    ],
)
def test_whether_two_references_mean_one_sketch(
    one: str, one_base: str, other: str, other_base: str, same: bool
) -> None:
    assert same_sketch(one, Path(one_base), other, Path(other_base)) is same


@pytest.mark.parametrize(
    ("reference", "name"),
    [("IOPin", "iopin"), ("x.py:Buzzer", "buzzer"), ("x.py", "buzzer"), ("m:Buzzer", "buzzer")],
)
def test_the_name_that_a_sketch_goes_by(reference: str, name: str) -> None:
    assert own_name(reference, sketches.Buzzer) == name
