"""The public names: whoever adds or drops one has to say so here."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import factory
import mesh
import sketches

PUBLIC = {
    mesh: {
        "AckTimeoutError",
        "CertificateError",
        "Ask",
        "DeliveryError",
        "EnvRegistry",
        "FileRegistry",
        "FrameTooLargeError",
        "Gathered",
        "Grid",
        "GridError",
        "GridProblem",
        "Group",
        "LineProtocol",
        "LineTooLongError",
        "MeshError",
        "NackedError",
        "NameTakenError",
        "NoReceiptError",
        "Node",
        "NotAServerError",
        "OutcomeUnknownError",
        "PayloadError",
        "Peer",
        "PeerDownError",
        "ProtocolError",
        "Receipt",
        "Registry",
        "RingError",
        "RingLeftError",
        "ServeError",
        "StaticRegistry",
        "Subscription",
        "UnknownNodeError",
        "VersionMismatchError",
        "connect",
        "gather",
        "grid",
        "sync",
    },
    factory: {
        "Client",
        "Close",
        "FactoryError",
        "FactoryLoop",
        "HookError",
        "Nack",
        "Reject",
        "SketchError",
        "SketchNotFoundError",
        "Stream",
        "every",
        "on_start",
        "on_stop",
        "reactive",
    },
    sketches: {
        "Board",
        "Bridge",
        "Buzzer",
        "Chat",
        "Clock",
        "Echo",
        "Greeting",
        "IOPin",
        "Line",
        "RawEcho",
        "RingChat",
        "RobustGreeting",
        "Rooms",
    },
}
LATE = pytest.mark.parametrize("package", [mesh, factory], ids=lambda package: package.__name__)
PACKAGES = pytest.mark.parametrize("package", PUBLIC, ids=lambda package: package.__name__)


@dataclass
class Source:
    """The statements of a package's module.

    Attributes:
        plain: All of them but the docstring and those below.
        typed: What type checkers import: the module of each name, or the name if it is one.
        late: What is imported late, told in the same way.

    """

    plain: list[ast.stmt]
    typed: dict[str, str]
    late: dict[str, str]


def source(package: ModuleType) -> Source:
    assert package.__file__ is not None
    module = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    assert ast.get_docstring(module)
    read = Source([], {}, {})
    for statement in module.body[1:]:
        if not isinstance(statement, ast.If):
            read.plain.append(statement)
            continue
        assert ast.unparse(statement.test) == "TYPE_CHECKING"
        for line in statement.body:
            assert isinstance(line, ast.ImportFrom)
            for alias in line.names:
                whole = f"{line.module}.{alias.name}"
                read.typed[alias.name] = whole if line.module == package.__name__ else str(line.module)
        (assignment,) = statement.orelse
        assert isinstance(assignment, ast.Assign)
        assert ast.unparse(assignment.targets[0]) == "(__getattr__, __dir__)"
        assert isinstance(assignment.value, ast.Call)
        homes = ast.literal_eval(assignment.value.args[1])
        read.late.update({name: home for home, names in homes.items() for name in names})
    return read


@PACKAGES
def test_the_public_names_are_these(package: ModuleType) -> None:
    assert set(package.__all__) == PUBLIC[package]
    assert len(package.__all__) == len(PUBLIC[package])


@PACKAGES
def test_each_public_name_is_there_and_documented(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name).__doc__, f"{package.__name__}.{name} has no docstring"


@LATE
def test_the_public_names_are_sorted(package: ModuleType) -> None:
    assert package.__all__ == sorted(package.__all__)


def test_the_sketches_stand_in_the_order_of_the_lessons() -> None:
    lines = ["Echo", "RawEcho", "Greeting", "RobustGreeting", "Line", "Bridge"]
    assert sketches.__all__ == ["Clock", "IOPin", "Buzzer", *lines, "Board", "RingChat", "Rooms", "Chat"]


@PACKAGES
def test_a_package_module_holds_a_docstring_imports_and_all_and_no_code(package: ModuleType) -> None:
    for statement in source(package).plain:
        is_all = isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
        # What typing has as well; but to import that takes longer than all the rest.
        is_flag = ast.unparse(statement) == "TYPE_CHECKING = False"
        assert is_all or is_flag or isinstance(statement, ast.Import | ast.ImportFrom), ast.unparse(statement)


@LATE
def test_what_is_imported_late_is_what_type_checkers_see(package: ModuleType) -> None:
    read = source(package)
    assert read.late == read.typed
    assert set(read.late) <= set(package.__all__)


@LATE
def test_a_name_that_is_imported_late_is_listed_before(package: ModuleType) -> None:
    listed = f"import {package.__name__}; print(*dir({package.__name__}))"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    assert set(package.__all__) <= set(done.stdout.split())


@LATE
def test_a_name_that_there_is_not_is_missed_as_ever(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'conect'"):
        getattr(package, "conect")  # noqa: B009


@PACKAGES
def test_a_package_says_that_it_is_typed(package: ModuleType) -> None:
    assert package.__file__ is not None
    assert Path(package.__file__).with_name("py.typed").exists()
