"""scripts/system-packages installs what tests need where it may, and says what is missing elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.tools.tooling import ROOT, Program, stub

pytestmark = pytest.mark.fleet


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Make a folder to be the whole PATH: what the script needs, an apt-get that works, no foreman."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "cat", "env", "mktemp", "rm", "chmod"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    log = tmp_path / "apt.log"
    foreman = folder / "foreman"
    stub(
        folder / "apt-get",
        f'echo "$DEBIAN_FRONTEND: $*" >> "{log}"\n'
        f'case "$1" in install) echo "#!/bin/sh" > "{foreman}"; chmod 755 "{foreman}";; esac\n'
        "echo noise",
    )
    stub(folder / "id", "echo 1000")
    for there in ("ip", "nft", "nc", "node", "npm", "simavr", "avr-g++", "tsc", "chromium"):
        stub(folder / there, "exit 0")
    return folder


def system_packages(programs: Path, **env: str) -> tuple[int, list[str]]:
    with Program(
        [ROOT / "scripts/system-packages"], env={"PATH": str(programs), "CI": "", "DEBIAN_FRONTEND": ""} | env
    ) as run:
        return run.end(), run.lines


def apt(programs: Path) -> list[str]:
    log = programs.parent / "apt.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def test_root_gets_it_installed_quietly_and_only_once(programs: Path) -> None:
    stub(programs / "id", "echo 0")
    assert system_packages(programs) == (0, ["system-packages: installing ruby-foreman"])
    assert apt(programs) == [
        ": update -qq",
        "noninteractive: install -y -qq --no-install-recommends ruby-foreman",
    ]
    assert system_packages(programs) == (0, [])
    assert len(apt(programs)) == 2


def test_a_user_is_told_what_is_skipped_and_the_command(programs: Path) -> None:
    code, lines = system_packages(programs)
    assert code == 0
    [line] = lines
    assert line == (
        "system-packages: no foreman here: the tests of the Procfile under foreman will be skipped; "
        "to run them: apt-get install ruby-foreman"
    )
    assert apt(programs) == []


def test_ci_installs_with_sudo(programs: Path) -> None:
    stub(programs / "sudo", '[ "$1" = -n ] && shift && exec "$@"')
    assert system_packages(programs, CI="true")[0] == 0
    assert len(apt(programs)) == 2


def test_a_failure_shows_the_words_of_apt_get_and_goes_on(programs: Path) -> None:
    stub(programs / "id", "echo 0")
    stub(programs / "apt-get", "echo 'E: nothing works'; exit 100")
    code, lines = system_packages(programs, CI="true")
    assert code == 0
    assert "E: nothing works" in lines
    assert "will fail" in lines[-1]


def test_without_apt_get_it_only_says_what_is_missing(programs: Path) -> None:
    (programs / "apt-get").unlink()
    code, lines = system_packages(programs, CI="true")
    assert (code, len(lines)) == (0, 1)
