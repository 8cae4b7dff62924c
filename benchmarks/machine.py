"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.processes import broker_path

PACKAGES = ("websockets", "msgspec", "uvloop", "picows", "nats-py", "eclipse-zenoh", "pyzmq")


def describe() -> dict[str, str]:
    """Return the machine, the software and the hour, each as text for people."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _first_line("git", "describe", "--always", "--dirty") or "unknown",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{_system()}, Linux {platform.release()}" if _system() else platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_package(name) for name in PACKAGES),
        "nats-server": _nats_server(),
    }


class Disturbance:
    """How much of the machine others take, from now on.

    What all programs took less what this process and its children took. The children have to
    have ended by then, for only then does the system count them.
    """

    def __init__(self) -> None:
        self._begin = self._now()

    def cores(self) -> float | None:
        """Return the cores that others kept busy on the average; ``None`` where nobody counts them."""
        everybody, own, at = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return round(max((everybody - own) / at, 0.0), 2) if everybody else None

    @staticmethod
    def _now() -> tuple[float, float, float]:
        fields = (_lines("/proc/stat") or [""])[0].split()
        # user, nice and system, and what the host gave to other guests while this one wanted it
        ticks = sum(map(int, [*fields[1:4], *fields[8:9]]))
        everybody = ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
        return everybody, own, time.monotonic()


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    for line in _lines("/etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return ""


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def _nats_server() -> str:
    path = broker_path("nats-server")
    return _first_line(path, "--version") if path else "missing"


def _first_line(program: str, *arguments: str) -> str:
    path = shutil.which(program)
    if path is None:
        return ""
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    return done.stdout.strip().partition("\n")[0]
