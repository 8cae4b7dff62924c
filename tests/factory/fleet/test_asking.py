"""Questions to a supervisor that is there and does not answer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from factory.cli.fleet import main
from factory.cli.shared import NO_ANSWER, code_of
from factory.fleet import asking
from factory.fleet.errors import SilentFleetError
from factory.looking.doctor import findings
from mesh.runtime import FleetRecord, fleet_of, start_of, write


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return the folder of a fleet whose supervisor is this process, and hears nothing."""
    with TemporaryDirectory(prefix="fleet-") as path:  # short, for that of a socket has a limit
        pid = os.getpid()
        record = FleetRecord(
            pid=pid, start=start_of(pid) or "", id="f", grid="/g.yaml", started_at=time.time()
        )
        write(Path(path) / "fleet.json", record)
        yield Path(path)


@pytest.mark.parametrize("do", ["status", "down", "restart", "wait"])
def test_a_supervisor_that_is_stopped_is_named_at_once_and_what_wakes_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, do: str
) -> None:
    monkeypatch.setattr(asking, "is_frozen", lambda pid: pid == os.getpid())
    with pytest.raises(SilentFleetError) as caught:
        asking.ask(folder, do, timeout=None)
    assert str(caught.value) == (
        f"the supervisor of the fleet (pid {os.getpid()}) is stopped by a signal; "
        f"`kill -CONT {os.getpid()}` lets it go on"
    )
    assert code_of(caught.value) == NO_ANSWER


def test_of_one_that_only_does_not_answer_it_is_not_said_that_it_is_down(folder: Path) -> None:
    with pytest.raises(SilentFleetError, match=r"has not answered within 0\.1 s; `mesh logs"):
        asking.ask(folder, "status", timeout=0.1)


def test_the_doctor_tells_what_wakes_it() -> None:
    (found,) = findings([], [], None, SilentFleetError(7, stopped=True))
    assert (found.code, found.next) == ("M11", "kill -CONT 7")
    assert found.what == "the supervisor of the fleet (pid 7) is stopped by a signal"


def test_no_verb_that_waits_for_a_fleet_waits_longer_than_it_may(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "find", lambda _: (folder, fleet_of(folder)))
    for words in ("is-ready", "down", "plan"):
        ended = CliRunner().invoke(main, [words, "--timeout", "100ms"])
        assert ended.exit_code == NO_ANSWER
        assert "has not answered within 0.1 s" in ended.output
