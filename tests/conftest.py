"""Fixtures and rules for all tests: tools, leaked tasks, a clean environment, rows of the source."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings

# What steers a program of ours from outside, and so must not steer a test.
OUR_VARIABLES = (
    "MESH_GRID",
    "PORT",
    "NO_COLOR",
    "FORCE_COLOR",
    "PYTHONPATH",
    "SKETCHMESH_REEXECUTED",
    "SKETCHMESH_SUPERVISED",
    "SKETCHMESH_UVLOOP",
)
SOURCE_ROW = re.compile(r"[A-Z]\d{1,3}")

# An example may take as long as it likes: how long it takes says more of the machine than of us.
# Built on the profile that is in use, for under CI that is one without chance.
settings.register_profile(
    "patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# `nohup make test` has SIGHUP ignored, and so would every process that a test starts. A
# handler, unlike SIG_IGN, is not inherited, and the tests themselves still survive the hangup.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


class RequireTool(Protocol):
    """The type of the `require_tool` fixture."""

    def __call__(self, program: str, *, package: str) -> str: ...


@pytest.fixture(scope="session")
def require_tool() -> RequireTool:
    """Find a program that pip cannot install: ``require_tool("foreman", package="ruby-foreman")``.

    The call gives the program's path. Without it the test is skipped, with the
    command that would install it; under ``CI`` it fails, so that no skip can pass
    for a success there.
    """

    def require(program: str, *, package: str) -> str:
        path = shutil.which(program)
        if path is None:
            reason = f"needs {program}, which is not installed; to run this test: apt-get install {package}"
            if os.environ.get("CI"):
                pytest.fail(f"{reason} (CI is set, so this is no skip)", pytrace=False)
            pytest.skip(reason)
        return path

    return require


@pytest.fixture
def soak_seconds() -> float:
    """Return for how long a test marked `soak` goes on: 2 seconds, or $SOAK_SECONDS."""
    return float(os.environ.get("SOAK_SECONDS") or 2)


@pytest.fixture(scope="session")
def _runtime_directory() -> Iterator[str]:
    # Not the user's own; and not in pytest's folder, whose path is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="sm-") as path:
        yield path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, _runtime_directory: str) -> None:
    for name in OUR_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SKETCHMESH_RUNTIME", _runtime_directory)
    monkeypatch.setenv("SKETCHMESH_UVLOOP", "0")


@pytest.fixture(autouse=True)
def _no_leaked_tasks(request: pytest.FixtureRequest) -> None:
    # Only for async tests: others must not pay for an event loop.
    function = getattr(request.node, "obj", None)
    if inspect.iscoroutinefunction(inspect.unwrap(function) if function else None):
        request.getfixturevalue("_task_check")


@pytest.fixture
async def _task_check() -> AsyncIterator[None]:
    # Set up first and torn down last, so what the test's own fixtures close is gone by then.
    before = asyncio.all_tasks()
    yield
    # A task that was just cancelled, or a connection that was just closed, needs a few turns.
    for _ in range(10):
        await asyncio.sleep(0)
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    if leaked:
        # And whoever waits for the other end needs the system, which may have others to serve.
        _, leaked = await asyncio.wait(leaked, timeout=1.0)
    for task in leaked:
        task.cancel()
    await asyncio.gather(*leaked, return_exceptions=True)
    if leaked:
        names = "; ".join(sorted(f"{task.get_name()}: {_where(task)}" for task in leaked))
        pytest.fail(f"the test left {len(leaked)} task(s) running: {names}", pytrace=False)


def _where(task: asyncio.Task[object]) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", repr(coroutine))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a `source` marker that names no row."""
    for item in items:
        for marker in item.iter_markers("source"):
            if not marker.args or not all(
                isinstance(r, str) and SOURCE_ROW.fullmatch(r) for r in marker.args
            ):
                raise pytest.UsageError(
                    f"{item.nodeid}: write the marker as source('B7') or source('B7', 'M1')"
                )
