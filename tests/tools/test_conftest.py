"""The rules of tests/conftest.py hold: leaks, missing tools, markers."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
addopts = --strict-markers
markers =
    source(*rows): rows
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makefile(".ini", pytest=SETTINGS)
    return pytester


def test_a_leaked_task_fails_the_test_and_is_named(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import asyncio
        kept = []
        async def forever():
            await asyncio.Event().wait()
        async def test_leaks():
            kept.append(asyncio.create_task(forever(), name="stray"))
        async def test_awaits_its_task():
            task = asyncio.create_task(asyncio.sleep(0))
            await task
        async def test_cancels_its_task():
            asyncio.create_task(forever()).cancel()
        def test_sync():
            pass
        """
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*the test left 1 task(s) running: stray: forever*"])


def test_what_a_fixture_closes_is_no_leak(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import asyncio, pytest
        @pytest.fixture
        async def background():
            task = asyncio.create_task(asyncio.Event().wait())
            yield task
            task.cancel()
        async def test_uses_it(background):
            assert not background.done()
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize(("ci", "outcome"), [("", {"skipped": 1}), ("true", {"failed": 1})])
def test_a_missing_tool_skips_and_under_ci_fails(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: dict[str, int]
) -> None:
    monkeypatch.setenv("CI", ci)
    suite.makepyfile('def test_it(require_tool): require_tool("no-such-tool", package="the-package")')
    result = suite.runpytest_subprocess("-ra")
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*needs no-such-tool*apt-get install the-package*"])


def test_a_tool_that_is_there_is_found(suite: pytest.Pytester) -> None:
    suite.makepyfile('def test_it(require_tool): assert require_tool("sh", package="dash").endswith("/sh")')
    suite.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_source_marker_has_to_name_a_row(suite: pytest.Pytester) -> None:
    suite.makepyfile('import pytest\n@pytest.mark.source("b-7")\ndef test_it(): pass')
    result = suite.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*write the marker as source('B7')*"])


def test_what_a_test_starts_hears_a_hangup_even_under_nohup(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import subprocess, sys
        def test_child():
            code = "import signal; print(signal.getsignal(signal.SIGHUP).name)"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert done.stdout == "SIG_DFL\\n"
        """
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        suite.runpytest_subprocess().assert_outcomes(passed=1)
    finally:
        signal.signal(signal.SIGHUP, before)
