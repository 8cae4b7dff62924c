"""Noticing that a grid file has changed, and reading it once it rests."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from mesh.errors import GridError
from mesh.gridfile.watch import GridFile

ONE = "nodes:\n  a: {port: 1}\n"
TWO = "nodes:\n  a: {port: 2}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(ONE)
    return path


def resting(file: GridFile) -> bool:
    """Look twice, and return what the second look says."""
    file.has_changed()
    return file.has_changed()


def test_what_is_known_is_not_given_again(path: Path) -> None:
    file = GridFile(path, "grid.yaml", known=ONE.encode())
    assert resting(file)
    assert file.read() is None
    assert not resting(file)


def test_a_change_is_given_once_and_only_when_the_file_rests(path: Path) -> None:
    file = GridFile(path, "grid.yaml")
    assert not file.has_changed()  # it may be written just now
    assert file.has_changed()
    grid = file.read()
    assert grid is not None
    assert grid.path == path
    path.write_text(TWO)
    assert not file.has_changed()
    path.write_text(TWO + "# more\n")
    assert not file.has_changed()
    assert file.has_changed()
    assert (file.read() or [])[0].port == 2
    assert not resting(file)


def test_a_file_that_is_put_in_its_place_is_noticed_even_with_the_same_size_and_time(path: Path) -> None:
    file = GridFile(path, "grid.yaml")
    resting(file)
    file.read()
    times = path.stat()
    other = path.with_name("other")
    other.write_text(TWO)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert resting(file)
    assert (file.read() or [])[0].port == 2


def test_mistakes_are_told_once_and_what_is_mended_is_given(path: Path) -> None:
    file = GridFile(path, "grid.yaml", known=ONE.encode())
    resting(file)
    file.read()
    path.write_text("nodes:\n  a: {prot: 1}\n")
    assert resting(file)
    with pytest.raises(GridError, match=r"grid\.yaml:2:7: unknown field 'prot'"):
        file.read()
    assert not resting(file)
    os.utime(path)
    assert resting(file)  # whoever saves it once more is told once more
    with pytest.raises(GridError):
        file.read()
    path.write_text(ONE)
    assert resting(file)
    assert file.read() is not None


def test_a_file_that_is_gone_is_a_mistake_until_it_is_back(path: Path) -> None:
    file = GridFile(path, "grid.yaml", known=ONE.encode())
    resting(file)
    file.read()
    path.unlink()
    assert resting(file)
    with pytest.raises(GridError, match="there is no grid"):
        file.read()
    assert not resting(file)
    path.write_text(ONE)
    assert resting(file)
    assert file.read() is not None


def test_a_link_is_followed_wherever_it_is_turned(tmp_path: Path) -> None:
    # As maps of settings are mounted: the link that everybody reads goes through one that is replaced.
    for version, text in (("v1", ONE), ("v2", TWO), ("v3", TWO + "# three\n")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "grid.yaml").write_text(text)
    data, path = tmp_path / "data", tmp_path / "grid.yaml"
    data.symlink_to("v1")
    path.symlink_to("data/grid.yaml")
    file = GridFile(path, "grid.yaml", known=ONE.encode())
    resting(file)
    assert file.read() is None
    (tmp_path / "new").symlink_to("v2")
    (tmp_path / "new").replace(data)
    assert resting(file)
    assert (file.read() or [])[0].port == 2
    assert not resting(file)
    path.unlink()
    path.symlink_to("v3/grid.yaml")
    assert resting(file)
    assert file.read() is not None


def test_what_is_forgotten_is_given_again_when_it_is_saved_again(path: Path) -> None:
    file = GridFile(path, "grid.yaml")
    resting(file)
    assert file.read() is not None
    file.forget()
    assert not resting(file)
    os.utime(path)
    assert resting(file)
    assert file.read() is not None


def test_nodes_that_are_read_again_are_not_told_as_new(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mesh.node")
    file = GridFile(path, "grid.yaml")
    resting(file)
    assert file.read() is not None
    assert caplog.records == []
