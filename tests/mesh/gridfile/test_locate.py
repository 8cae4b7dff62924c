"""Which grid is read, and what is said when it cannot be."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

import mesh.gridfile.locate
from mesh.errors import GridError
from mesh.gridfile import grid
from mesh.gridfile.locate import locate, read

ONE = "nodes: {one: {port: 1}}\n"
TWO = "nodes: {two: {port: 2}}\n"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MESH_GRID", raising=False)
    return tmp_path


def test_b15_the_order_in_which_a_grid_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert grid().names() == ["clock", "blink", "buzzer"]
    Path("grid.yaml").write_text(ONE)
    assert grid().names() == ["one"]
    assert grid().path == folder / "grid.yaml"
    Path("named.yaml").write_text(TWO)
    monkeypatch.setenv("MESH_GRID", "named.yaml")
    assert grid().names() == ["two"]
    assert grid("grid.yaml").names() == ["one"]
    assert grid(Path("grid.yaml")).names() == ["one"]
    monkeypatch.setenv("MESH_GRID", "")
    assert grid().names() == ["one"]


def test_the_copy_in_the_wheel_goes_before_the_checkout(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh.gridfile.locate, "_PACKAGE", folder / "mesh" / "gridfile")
    assert locate() == folder / "grid.yaml"
    (folder / "mesh" / "gridfile").mkdir(parents=True)
    (folder / "mesh" / "gridfile" / "default.yaml").write_text(TWO)
    assert grid().names() == ["two"]


def test_messages_call_the_file_as_the_user_does(folder: Path) -> None:
    Path("grid.yaml").write_text("nodes: 5")
    with pytest.raises(GridError, match=r"^grid\.yaml:1:8: "):
        grid()
    with pytest.raises(GridError, match=r"^\.\./.*/grid\.yaml:1:8: "):
        grid(f"../{folder.name}/grid.yaml")


def test_a_missing_grid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GridError, match=r"there is no grid no\.yaml; correct the path") as caught:
        grid("no.yaml")
    assert caught.value.problems == ()
    monkeypatch.setenv("MESH_GRID", "nowhere/no.yaml")
    with pytest.raises(GridError, match=r"there is no grid nowhere/no\.yaml \(named by \$MESH_GRID\); "):
        grid()


def test_a_dangling_link_does_not_fall_back(folder: Path) -> None:
    Path("grid.yaml").symlink_to("gone.yaml")
    with pytest.raises(GridError, match=r"there is no grid grid\.yaml"):
        grid()


def test_a_directory(folder: Path) -> None:
    Path("grids").mkdir()
    said = r"^the grid grids is a directory; name the file in it: grids/grid\.yaml$"
    with pytest.raises(GridError, match=said):
        grid("grids")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
def test_a_pipe_that_nobody_writes_to_does_not_hang(folder: Path) -> None:
    os.mkfifo("pipe")
    with pytest.raises(GridError, match="pipe is not a regular file"):
        grid("pipe")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs a system with /dev")
def test_an_endless_device_is_not_read() -> None:
    with pytest.raises(GridError, match="not a regular file"):
        grid("/dev/zero")


def test_an_unreadable_grid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("grid.yaml").write_text(ONE)

    def refuse(*args: object, **kwargs: object) -> None:  # root may read everything, so a mode is not enough
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(GridError, match=r"grid\.yaml may not be read; give yourself read access"):
        grid()


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "grid.yaml/x"])
def test_a_path_that_cannot_be(folder: Path, path: str) -> None:
    Path("grid.yaml").write_text(ONE)
    with pytest.raises(GridError, match=r"cannot be read: .*; name another file"):
        grid(path)


def test_a_path_cannot_control_a_terminal(folder: Path) -> None:
    with pytest.raises(GridError, match=r"no grid \\x1b\[2J"):
        grid("\x1b[2J")


def test_no_more_is_read_than_a_grid_may_have(folder: Path) -> None:
    with Path("grid.yaml").open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no space
    assert len(read(Path("grid.yaml"))) == 256 * 1024 + 1
    with pytest.raises(GridError, match="larger than 256 KiB"):
        grid()
