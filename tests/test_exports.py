"""The public names: whoever adds or drops one has to say so here."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

import factory
import mesh
import sketches

PUBLIC = {
    mesh: {
        "AckTimeoutError",
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
    sketches: {"Buzzer", "Clock", "IOPin", "RingChat"},
}
PACKAGES = pytest.mark.parametrize("package", PUBLIC, ids=lambda package: package.__name__)


@PACKAGES
def test_the_public_names_are_these(package: ModuleType) -> None:
    assert set(package.__all__) == PUBLIC[package]
    assert len(package.__all__) == len(PUBLIC[package])


@PACKAGES
def test_each_public_name_is_there_and_documented(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name).__doc__, f"{package.__name__}.{name} has no docstring"


@pytest.mark.parametrize("package", [mesh, factory], ids=lambda package: package.__name__)
def test_the_public_names_are_sorted(package: ModuleType) -> None:
    assert package.__all__ == sorted(package.__all__)


def test_the_sketches_stand_in_the_order_of_the_lessons() -> None:
    assert sketches.__all__ == ["Clock", "IOPin", "Buzzer", "RingChat"]


@PACKAGES
def test_a_package_module_holds_a_docstring_imports_and_all_and_no_code(package: ModuleType) -> None:
    assert package.__file__ is not None
    body = ast.parse(Path(package.__file__).read_text(encoding="utf-8")).body
    assert ast.get_docstring(ast.Module(body, []))
    for statement in body[1:]:
        is_all = isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
        assert is_all or isinstance(statement, ast.Import | ast.ImportFrom), ast.unparse(statement)


@PACKAGES
def test_a_package_says_that_it_is_typed(package: ModuleType) -> None:
    assert package.__file__ is not None
    assert Path(package.__file__).with_name("py.typed").exists()
