"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.registry import broker_path

PACKAGES = ("websockets", "msgspec", "uvloop", "picows", "nats-py", "eclipse-zenoh", "pyzmq")


def describe() -> dict[str, str]:
    """Return the machine, the software and the hour, each as text for people."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _first_line("git", "describe", "--always", "--dirty") or "unknown",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{_system()}, Linux {platform.release()}" if _system() else platform.platform(),
        "load": load(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_package(name) for name in PACKAGES),
        "nats-server": _nats_server(),
    }


def load() -> str:
    """Return the load average of the last minute.

    More than 0.5 before the benchmark means that others work here too.
    """
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


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
