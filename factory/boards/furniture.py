"""What a grid says of a board: modes, fail-safe levels, parts and wires.

The same steps furnish a board that runs and check a grid that does not, so that what is told
when a grid is validated is what would go wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from factory.boards.bench import Bench
from factory.boards.board import Board
from factory.boards.errors import BoardError, PinError, PinModeError, PinUnsupportedError, UnknownPinError
from factory.boards.modes import Mode
from factory.boards.parts import KINDS, Part, make_part
from factory.boards.profiles import UNO, find_profile
from factory.boards.simulated import SimBoard, wire
from mesh.text import did_you_mean, listing

CHOICES = "choose sim:uno, avr:FIRMWARE.hex, serial:/dev/ttyACM0 or tcp:HOST:PORT"

Place = tuple[str, ...]
"""Where something stands in the arguments: ``("parts", "key")``."""


def mode_named(word: object, pin: str) -> Mode:
    """Return the mode that a word means.

    Raises:
        PinModeError: If it is none.

    """
    modes = {mode.value: mode for mode in Mode}
    mode = modes.get(str(word).upper())
    if mode is None:
        near, known = did_you_mean(str(word)[:20].upper(), modes), listing(modes, "or")
        raise PinModeError(f"{str(word)[:20]!r} is no mode of pin {pin}{near}; choose {known}", pin)
    return mode


def furnish(board: Board, said: Mapping[str, Any]) -> dict[str, Part]:
    """Set modes and fail-safe levels, join wires and hang parts on pins; return the parts by name.

    Args:
        board: The board.
        said: ``modes``, ``failsafe``, ``wires`` and ``parts``, as the grid has them.

    Raises:
        BoardError: If a part, a wire or a level makes no sense.
        PinError: If a pin is not there, or cannot do it.

    """
    parts: dict[str, Part] = {}
    for _, do in _steps(board, said, parts):
        do()
    return parts


def mistakes(url: str, said: Mapping[str, Any]) -> list[tuple[Place, str]]:
    """Return everything that is wrong with what a grid says, each with its place.

    Args:
        url: The board. Of one that is not simulated nothing can be said.
        said: As for ``furnish``.

    """
    scheme, _, kind = url.partition(":")
    found = _misfits(url, said)
    if scheme in ("serial", "tcp"):
        return found
    # Of a board that there is none, at least what is wrong with it whatever it was meant to be.
    kind_is_wrong: tuple[type[Exception], ...] = ()
    try:
        if not has_firmware(url) and scheme != "sim":
            raise BoardError(f"board {url[:60]!r}: {CHOICES}")
        profile = UNO if has_firmware(url) else find_profile(kind)
    except BoardError as exc:
        found.append((("board",), str(exc)))
        profile = find_profile("mega")
        kind_is_wrong = (UnknownPinError, PinUnsupportedError)
    board = SimBoard("board", profile, Bench())
    for place, do in _steps(board, said, {}):
        try:
            do()
        except kind_is_wrong:
            continue
        except (BoardError, PinError) as exc:
            found.append((place, str(exc)))
    return found


def has_firmware(url: str) -> bool:
    """Say whether the URL of a board is that of one with firmware: ``avr:FILE`` or ``avr+ENGINE:FILE``."""
    return url.partition(":")[0].partition("+")[0] == "avr"


def check_fit(url: str, said: Mapping[str, Any]) -> None:
    """Make sure that what is said of a board is something that such a board has.

    Raises:
        BoardError: If it is not.

    """
    for _, what in _misfits(url, said):
        raise BoardError(what)


def _misfits(url: str, said: Mapping[str, Any]) -> list[tuple[Place, str]]:
    """Return what a grid says of firmware that only other boards have, and the other way round."""
    if has_firmware(url):
        theirs = {
            "modes": "the firmware sets the modes of its pins",
            "failsafe": "the firmware is the only owner of its pins, and never leaves",
            "firmata_tcp": "the firmware itself speaks; serial_tcp opens its serial port",
            "firmata_pty": "the firmware itself speaks; serial opens its serial port",
        }
    else:
        words = "only boards with firmware (avr:FILE) have"
        theirs = {
            "serial": f"{words} a serial port of their own",
            "serial_tcp": f"{words} a serial port of their own",
        }
        if said.get("speed", 1.0) != 1.0:
            theirs["speed"] = f"{words} a speed"
    return [((name,), f"{name}: {why}") for name, why in theirs.items() if said.get(name) not in (None, {})]


def _steps(
    board: Board, said: Mapping[str, Any], parts: dict[str, Part]
) -> Iterator[tuple[Place, Callable[[], object]]]:
    for ref, level in (said.get("failsafe") or {}).items():
        yield ("failsafe", ref), partial(_set_failsafe, board, ref, level)
    for index, pins in enumerate(said.get("wires") or []):
        yield ("wires", str(index)), partial(_join, board, pins)
    for name, described in (said.get("parts") or {}).items():
        yield ("parts", name), partial(_hang, board, name, described, parts)
    for ref, word in (said.get("modes") or {}).items():
        yield ("modes", ref), partial(_set_mode, board, ref, word)


def _set_failsafe(board: Board, ref: str, level: object) -> None:
    pin = board.pin(ref)
    if level is not None and (type(level) is not int or level not in (0, 1)):
        raise BoardError(f"failsafe of pin {ref}: write 0, 1, or null for letting go, not {level!r}")
    pin.failsafe = level  # type: ignore[assignment]


def _set_mode(board: Board, ref: str, word: object) -> None:
    board.pin(ref).set_mode(mode_named(word, ref))


def _join(board: Board, pins: list[int | str]) -> None:
    if len(pins) < 2:
        raise BoardError(f"a wire joins two pins or more, not {len(pins)}")
    here = [simulated(board).pin(ref) for ref in pins if not _is_elsewhere(ref)]
    if not here:
        raise BoardError("a wire of which no end is on this board; write it at a board that it ends at")
    wire(*here)


def _is_elsewhere(ref: int | str) -> bool:
    return "." in str(ref)


def ends_elsewhere(wires: list[list[int | str]]) -> list[tuple[str, str, str]]:
    """Return each end of a wire that is on another board: a pin here, the node there and its pin."""
    return [
        (next(str(ref) for ref in pins if not _is_elsewhere(ref)), *end)
        for pins in wires
        for end in far_ends(pins)
    ]


def far_ends(pins: list[int | str]) -> list[tuple[str, str]]:
    """Return the ends of one wire that are on other boards: the node and its pin."""
    return [_node_and_pin(str(ref)) for ref in pins if _is_elsewhere(ref)]


def check_end(url: str, node: str, pin: str) -> None:
    """See that a wire can end at a pin of the board of another node.

    Args:
        url: That board. Of one that is not simulated nothing can be said.
        node: The node.
        pin: The pin.

    Raises:
        BoardError: If there is no such board.
        UnknownPinError: If it has no such pin.

    """
    scheme, _, kind = url.partition(":")
    if scheme == "sim":
        find_profile(kind).number(pin, node)


def check_is_far(node: str, pin: str, own: str) -> None:
    """See that what is written as a pin of another node is one.

    Raises:
        BoardError: If that node is our own.

    """
    if node == own:
        raise BoardError(f"{node}.{pin} is a pin of this board itself; write {pin}, without {node}.")


def _node_and_pin(end: str) -> tuple[str, str]:
    node, _, pin = end.rpartition(".")
    return node, pin


def _hang(board: Board, name: str, described: Mapping[str, Any], parts: dict[str, Part]) -> None:
    kind = next((word for word in described if word in KINDS), next(iter(described), ""))
    refs = described.get(kind, [])
    settings = {word: value for word, value in described.items() if word != kind}
    sim = simulated(board)
    pins = [sim.pin(ref) for ref in (refs if isinstance(refs, list) else [refs])]
    parts[name] = make_part(kind, name, *pins, **settings)


def simulated(board: Board) -> SimBoard:
    """Return a board that is simulated.

    Raises:
        BoardError: If it is not.

    """
    if not isinstance(board, SimBoard):
        raise BoardError(f"{board.name} is no simulated board; its parts and wires are real ones")
    return board
