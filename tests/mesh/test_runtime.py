"""The runtime directory: records that tell the living from the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mesh import runtime
from mesh.runtime import FleetRecord, RuntimeDirectoryError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run"
    monkeypatch.setenv(runtime.VARIABLE, str(path))
    return path


def test_the_variable_comes_first_then_xdg_then_a_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.VARIABLE, "/here")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/there")
    assert runtime.place() == Path("/here")
    monkeypatch.delenv(runtime.VARIABLE)
    assert runtime.place() == Path("/there/sketchmesh")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime.place().name == f"sketchmesh-{os.geteuid()}"


def test_the_directory_is_made_for_us_alone(home: Path) -> None:
    assert runtime.directory().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_directory_that_others_may_enter_is_refused(home: Path, mode: int) -> None:
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(RuntimeDirectoryError, match="open to others; chmod 700"):
        runtime.directory()


def test_a_link_in_its_place_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    home.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RuntimeDirectoryError, match="no directory of ours"):
        runtime.directory()


def test_a_file_in_its_place_is_refused(home: Path) -> None:
    home.write_text("")
    with pytest.raises(RuntimeDirectoryError, match="cannot be used"):
        runtime.directory()


def test_a_worker_is_found_until_it_is_removed(home: Path) -> None:
    mine = runtime.register("blink", sketch="iopin", host="localhost", port=8765)
    (found,) = runtime.workers()
    assert (found.name, found.port, found.pid) == ("blink", 8765, os.getpid())
    mine.update(port=9000)
    assert runtime.workers()[0].port == 9000
    mine.remove()
    mine.remove()
    assert runtime.workers() == []
    assert list((home / "workers").iterdir()) == []


def test_several_workers_of_one_program_have_a_record_each(home: Path) -> None:
    runtime.register("b")
    runtime.register("a")
    assert [record.name for record in runtime.workers()] == ["a", "b"]


def test_the_record_of_a_dead_process_is_removed_by_whoever_finds_it(home: Path) -> None:
    code = "from mesh import runtime; runtime.register('gone').socket.touch()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list((home / "workers").iterdir())) == 2
    assert runtime.workers() == []
    assert list((home / "workers").iterdir()) == []


def test_a_pid_that_is_used_again_is_not_taken_for_the_worker(home: Path) -> None:
    mine = runtime.register("old")
    mine.update(start="1")
    (path,) = (home / "workers").glob("*.json")
    path.rename(path.with_name(f"{os.getpid()}-1.json"))
    assert runtime.workers() == []
    assert not path.with_name(f"{os.getpid()}-1.json").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "no"}', b"\xff\xfe", b"9" * 200_000])
def test_a_record_that_cannot_be_read_is_passed_over(home: Path, content: bytes) -> None:
    runtime.register("good")
    (home / "workers" / f"{os.getpid()}-{runtime.start_of(os.getpid())}-7.json").write_bytes(content)
    (home / "workers" / "1-0.json").write_bytes(content)
    assert [record.name for record in runtime.workers()] == ["good"]
    # Who knows whose it is: the living one's stays, for it may be written just now.
    assert len(list((home / "workers").iterdir())) == 2


def test_a_frozen_process_is_told_from_one_that_runs() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    try:
        assert not runtime.is_frozen(child.pid)
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert runtime.is_frozen(child.pid)
        assert runtime.is_running(child.pid, runtime.start_of(child.pid) or "")
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
    assert not runtime.is_frozen(child.pid)


def test_a_zombie_is_not_running() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    start = runtime.start_of(child.pid)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start is None or not runtime.is_running(child.pid, start)
    child.wait()
    child.stdout.close()


@pytest.fixture
def lab(home: Path, tmp_path: Path) -> Path:
    """A folder with a grid, and another one."""
    folder = tmp_path / "lab"
    folder.mkdir()
    for name in ("grid.yaml", "other.yaml"):
        (folder / name).touch()
    return folder


def bring_up(grid: Path) -> tuple[Path, FleetRecord]:
    folder = runtime.fleet_folder(grid)
    start = runtime.start_of(os.getpid()) or ""
    record = FleetRecord(id=folder.name, pid=os.getpid(), start=start, grid=str(grid), started_at=0.0)
    runtime.write(folder / "fleet.json", record)
    return folder, record


def test_a_fleet_is_found_by_the_name_of_its_grid(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = runtime.fleet_folder(lab / "grid.yaml")
    assert folder.name.startswith("lab-")
    assert runtime.fleet_of(folder) is None
    assert runtime.running_fleet(lab / "grid.yaml") is None
    up = bring_up(lab / "grid.yaml")
    assert up[0] == folder
    assert runtime.running_fleet(lab / "grid.yaml") == up
    assert list(runtime.fleets()) == [up]
    monkeypatch.chdir(lab)
    assert runtime.running_fleet(Path("grid.yaml")) == up
    assert runtime.running_fleet(Path("../lab/grid.yaml")) == up
    assert runtime.running_fleet(Path("other.yaml")) is None
    (lab / "grid.yaml").unlink()
    assert runtime.running_fleet(Path("grid.yaml")) == up


def test_a_link_that_is_turned_to_another_grid_is_the_same_fleet(lab: Path) -> None:
    link = lab / "link.yaml"
    link.symlink_to("grid.yaml")
    up = bring_up(link)
    assert runtime.running_fleet(lab / "grid.yaml") == up  # it is the same file by now
    link.unlink()
    link.symlink_to("other.yaml")
    assert runtime.running_fleet(link) == up
    assert runtime.running_fleet(lab / "other.yaml") == up
    assert runtime.running_fleet(lab / "grid.yaml") is None


def test_the_fleet_of_that_name_goes_before_one_of_the_same_file(lab: Path) -> None:
    link = lab / "link.yaml"
    link.symlink_to("grid.yaml")
    ups = [bring_up(grid) for grid in (link, lab / "grid.yaml")]
    assert [runtime.running_fleet(grid) for grid in (link, lab / "grid.yaml")] == ups


def test_what_is_behind_two_dots_is_where_the_system_finds_it(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (lab / "away").symlink_to(tmp_path / "deep" / "er")
    assert runtime.named(lab / "away" / ".." / "grid.yaml") == tmp_path.resolve() / "deep" / "grid.yaml"


def test_a_path_that_is_too_long_for_a_socket_is_told() -> None:
    with pytest.raises(RuntimeDirectoryError, match="too long for a socket; name a shorter directory"):
        runtime.checked_socket(Path("/" + "x" * 120))
