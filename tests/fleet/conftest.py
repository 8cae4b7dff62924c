"""What tests with real processes share."""

from __future__ import annotations

import importlib.util
import os

import pytest

from tests.helpers import proc


@pytest.fixture(params=["asyncio", "uvloop"])
def each_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers of a test run in one event loop, and again in the other."""
    if request.param == "asyncio":
        return
    if importlib.util.find_spec("uvloop") is None:
        if os.environ.get("CI"):
            pytest.fail("needs uvloop, which is not installed (CI is set, so this is no skip)", pytrace=False)
        pytest.skip("needs uvloop; to run this test: pip install uvloop")
    monkeypatch.setitem(proc.LOOP, "SKETCHMESH_UVLOOP", None)
