"""Who may look into a worker."""

from __future__ import annotations

import pytest

from factory.inspection import refusal


@pytest.mark.parametrize(
    "whence",
    ["127.0.0.1:57628", "[::1]:4", "ws://localhost:8765/", "unix:///run/x.sock", "a process of this machine"],
)
def test_this_machine_may(whence: str) -> None:
    assert refusal([whence]) is None


@pytest.mark.parametrize(
    "whence",
    [
        [],
        ["192.168.1.20:4000"],
        ["[fe80::1]:4"],
        ["127.0.0.1:1", "10.0.0.1:2"],  # two that call themselves the same
        ["ws://localhost.evil.example:80/"],
        ["serial:///dev/ttyUSB0"],
        ["evil://127.0.0.1@10.0.0.1:3/"],
        [""],
    ],
)
def test_nobody_else_may(whence: list[str]) -> None:
    found = refusal(whence)
    assert found is not None
    assert found.type == "PermissionError"
