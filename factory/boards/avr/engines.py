"""Finds an engine that can run here, and starts it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from factory.boards.avr.engine import Engine
from factory.boards.avr.errors import EngineMissingError
from factory.boards.avr.image import Image
from factory.boards.avr.simavr import SimavrEngine, find_library

INSTALL = {
    "avr8js": 'pip install "sketchmesh[avr]"',
    "simavr": "apt-get install libsimavr2 (or your system's package of simavr)",
}


def start_engine(image: Image, name: str | None = None) -> Engine:
    """Put firmware into a simulated chip, at cycle 0.

    Args:
        image: The firmware.
        name: ``avr8js`` or ``simavr``; ``None`` takes the first of them that is installed.

    Raises:
        EngineMissingError: It, or each of them, is not installed; the message says what to install.
        EngineError: The simulator does not start.

    """
    if name is None:
        name = next(iter(installed_engines()), None)
        if name is None:
            ways = ", or ".join(INSTALL.values())
            raise EngineMissingError(f"no simulator of the ATmega328P is installed; install one: {ways}")
    if name not in ENGINES:
        raise EngineMissingError(f"no engine is called {name!r}; there are {' and '.join(ENGINES)}")
    is_here, start = ENGINES[name]
    if not is_here():
        raise EngineMissingError(f"the engine {name} is not installed; to install it: {INSTALL[name]}")
    return start(image)


def installed_engines() -> list[str]:
    """Return the names of the engines that can run here, the preferred one first."""
    return [name for name, (is_here, _) in ENGINES.items() if is_here()]


def _mini_racer_is_here() -> bool:
    return find_spec("py_mini_racer") is not None


def _simavr_is_here() -> bool:
    return find_library() is not None


def _start_avr8js(image: Image) -> Engine:
    # Only here, since it needs the extra.
    from factory.boards.avr.avr8js import Avr8jsEngine

    return Avr8jsEngine(image)


ENGINES: dict[str, tuple[Callable[[], bool], Callable[[Image], Engine]]] = {
    "avr8js": (_mini_racer_is_here, _start_avr8js),
    "simavr": (_simavr_is_here, SimavrEngine),
}
